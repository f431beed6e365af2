//! Parquet: row groups of column chunks of pages, described by a footer. A page is decoded when a batch needs its rows.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Schema};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};

use super::super::positioned::AnyFile;
use super::labels::Labels;
use super::ranges::Ranges;
use super::{BatchIterator, Batches, Fault, Group, batch_rows};

/// An open file.
pub(super) struct ParquetFile {
    ranges: Ranges,
    metadata: ArrowReaderMetadata,
    groups: Vec<Group>,
    labels: Labels,
}

/// Reads the footer of a file.
pub(super) fn open(file: AnyFile) -> Result<ParquetFile, Fault> {
    let ranges = Ranges::new(file)?;
    let metadata = with_views(ArrowReaderMetadata::load(&ranges, ArrowReaderOptions::new())?);
    let mut first = 0_u64;
    let groups = metadata.metadata().row_groups().iter().map(|group| {
        let rows =
            u64::try_from(group.num_rows()).map_err(|_| "a row group has a negative number of rows")?;
        let bytes = u64::try_from(group.compressed_size()).unwrap_or(0);
        let group = Group { first, rows, bytes };
        first = first.checked_add(rows).ok_or("the row groups have too many rows")?;
        Ok(group)
    });
    let groups = groups.collect::<Result<_, Fault>>()?;
    let labels = Labels::of(metadata.schema().metadata());
    Ok(ParquetFile { ranges, metadata, groups, labels })
}

/// The same file with columns of bytes as views: images stay in the pages that they were read in, where another form would copy
/// every one.
fn with_views(metadata: ArrowReaderMetadata) -> ArrowReaderMetadata {
    let schema = metadata.schema();
    let fields: Vec<FieldRef> = schema.fields().iter().map(viewed).collect();
    let viewed = Schema::new_with_metadata(fields, schema.metadata().clone());
    let options = ArrowReaderOptions::new().with_schema(Arc::new(viewed));
    // What cannot be read in this form is read in the form that the file declares.
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options).unwrap_or(metadata)
}

fn viewed(field: &FieldRef) -> FieldRef {
    let view = match field.data_type() {
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::List(inner) => DataType::List(viewed(inner)),
        DataType::LargeList(inner) => DataType::LargeList(viewed(inner)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(viewed).collect()),
        _ => return Arc::clone(field),
    };
    Arc::new(Field::clone(field).with_data_type(view))
}

impl Batches for ParquetFile {
    fn columns(&self) -> Vec<String> {
        self.metadata.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn groups(&self) -> &[Group] {
        &self.groups
    }

    fn read(&self, group: usize) -> Result<BatchIterator, Fault> {
        let about = self.metadata.metadata().row_group(group);
        let bytes = u64::try_from(about.total_byte_size()).unwrap_or(0);
        let rows = batch_rows(bytes, self.groups[group].rows);
        let columns = about.columns().iter().map(|column| {
            let (start, length) = column.byte_range();
            (start, start.saturating_add(length))
        });
        let ranges = self.ranges.of_columns(columns);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(ranges, self.metadata.clone());
        let batches = builder.with_row_groups(vec![group]).with_batch_size(rows).build()?;
        Ok(Box::new(
            batches.map(move |batch| batch.map_err(|error| format!("row group {group}: {error}").into())),
        ))
    }
}
