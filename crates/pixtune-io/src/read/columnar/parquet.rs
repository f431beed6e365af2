//! Parquet: row groups of column chunks of pages, described by a footer. A page is decoded when a batch needs its rows.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::super::positioned::ReadFrom;
use super::labels::Labels;
use super::{BatchIterator, Batches, Fault, Group, batch_rows};

/// An open file.
pub(super) struct ParquetFile {
    chunks: Chunks,
    metadata: ArrowReaderMetadata,
    groups: Vec<Group>,
    labels: Labels,
}

/// Reads the footer of a file.
pub(super) fn open(file: File) -> Result<ParquetFile, Fault> {
    let length = file.metadata()?.len();
    let chunks = Chunks { file: Arc::new(file), length };
    let metadata = ArrowReaderMetadata::load(&chunks, ArrowReaderOptions::new())?;
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
    Ok(ParquetFile { chunks, metadata, groups, labels })
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
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.chunks.clone(), self.metadata.clone());
        let batches = builder.with_row_groups(vec![group]).with_batch_size(rows).build()?;
        Ok(Box::new(
            batches.map(move |batch| batch.map_err(|error| format!("row group {group}: {error}").into())),
        ))
    }
}

/// Ranges of a file. What its metadata refers to must lie within it, which bounds every read.
#[derive(Clone)]
struct Chunks {
    file: Arc<File>,
    length: u64,
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Chunks {
    type T = std::io::BufReader<ReadFrom<Arc<File>>>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(std::io::BufReader::new(ReadFrom { file: Arc::clone(&self.file), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.length) {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} are outside of the file")));
        }
        let mut bytes = Vec::with_capacity(length);
        let source = ReadFrom { file: Arc::clone(&self.file), at: start };
        source.take(length as u64).read_to_end(&mut bytes)?;
        if bytes.len() != length {
            return Err(ParquetError::EOF("the file became shorter".to_owned()));
        }
        Ok(bytes.into())
    }
}
