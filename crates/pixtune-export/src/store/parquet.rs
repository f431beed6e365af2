//! Parquet files as `datasets` reads them.

mod arrays;
mod chats;
mod columns;

use std::io::{self, Write as _};
use std::mem;
use std::path::{Path, PathBuf};

use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use pixtune_io::manifest::OutputFile;

use super::output::{HashedFile, Numbered};
use super::{Encode, ImageFiles, Piece, Store};
use crate::row::Exported;

pub(crate) use columns::Columns;

/// Bytes of samples that become one row group: what a reader decodes at once.
const ROW_GROUP: usize = 8 << 20;
/// Samples that become one row group.
const ROWS: usize = 1000;

/// A row on its way into columns.
#[derive(Debug)]
pub(crate) struct ParquetRow {
    sample: Exported,
    /// Names of image files, where images are files.
    paths: Vec<String>,
}

impl ParquetRow {
    fn size(&self) -> usize {
        let images: usize = self.sample.images.iter().map(|image| image.bytes.len()).sum();
        let paths: usize = self.paths.iter().map(String::len).sum();
        self.sample.text_bytes + images + paths
    }
}

/// Passes samples on: rows are put into columns where they are written.
#[derive(Debug)]
pub(crate) struct ParquetRows {
    /// Where images go that are not inside the files.
    pub(crate) images: Option<ImageFiles>,
}

impl Encode for ParquetRows {
    fn encode(&self, mut sample: Exported) -> io::Result<Piece> {
        let paths = match &self.images {
            None => vec![],
            Some(files) => mem::take(&mut sample.images)
                .iter()
                .map(|image| files.write(image))
                .collect::<io::Result<_>>()?,
        };
        Ok(Piece::Row(Box::new(ParquetRow { sample, paths })))
    }
}

/// Parquet files of a size.
pub(crate) struct ParquetFiles {
    root: PathBuf,
    names: Numbered,
    max_bytes: u64,
    columns: Columns,
    schema: SchemaRef,
    open: Option<Open>,
    done: Vec<OutputFile>,
}

struct Open {
    writer: ArrowWriter<HashedFile>,
    /// Samples and bytes of the file, those that wait included.
    samples: u64,
    bytes: u64,
    waiting: Vec<ParquetRow>,
    waiting_bytes: usize,
}

impl ParquetFiles {
    /// Files of one split behind those that are finished.
    pub(crate) fn new(
        root: &Path,
        names: Numbered,
        columns: Columns,
        max_bytes: u64,
        done: Vec<OutputFile>,
    ) -> ParquetFiles {
        let schema = columns.schema();
        ParquetFiles { root: root.to_owned(), names, max_bytes, columns, schema, open: None, done }
    }

    fn close(&mut self) -> io::Result<()> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        open.write_group(self.columns, &self.schema)?;
        let mut file = open.writer.into_inner().map_err(from_parquet)?;
        file.flush()?;
        self.done.push(file.close(open.samples)?);
        Ok(())
    }
}

impl Store for ParquetFiles {
    fn append(&mut self, piece: Piece) -> io::Result<bool> {
        let Piece::Row(row) = piece else {
            return Err(io::Error::other("a row of bytes cannot go to a columnar file"));
        };
        let size = row.size();
        if self.open.as_ref().is_some_and(|open| open.bytes + size as u64 > self.max_bytes) {
            self.close()?;
        }
        let starts_file = self.open.is_none();
        if self.open.is_none() {
            let file = HashedFile::create(&self.root, self.names.name(self.done.len()))?;
            let writer = ArrowWriter::try_new(file, self.schema.clone(), Some(properties()));
            let writer = writer.map_err(from_parquet)?;
            self.open = Some(Open { writer, samples: 0, bytes: 0, waiting: vec![], waiting_bytes: 0 });
        }
        if let Some(open) = &mut self.open {
            open.samples += 1;
            open.bytes += size as u64;
            open.waiting_bytes += size;
            open.waiting.push(*row);
            if open.waiting_bytes >= ROW_GROUP || open.waiting.len() >= ROWS {
                open.write_group(self.columns, &self.schema)?;
            }
        }
        Ok(starts_file)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.close()
    }

    fn files(&self) -> &[OutputFile] {
        &self.done
    }

    fn publish(&mut self, root: &Path) -> io::Result<()> {
        self.names.publish(root, &mut self.done)
    }
}

impl Open {
    fn write_group(&mut self, columns: Columns, schema: &SchemaRef) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let rows = mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let batch = columns.batch(&rows, schema).map_err(io::Error::other)?;
        // The columns hold copies of the images.
        drop(rows);
        self.writer.write(&batch).map_err(from_parquet)?;
        drop(batch);
        self.writer.flush().map_err(from_parquet)
    }
}

/// A full disk is found by the caller as what it is.
fn from_parquet(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(source) => io::Error::other(source),
        },
        error => io::Error::other(error),
    }
}

/// Images are compressed already; only texts are worth it.
fn properties() -> WriterProperties {
    let bytes = ColumnPath::from(["images", "list", "element", "bytes"].map(str::to_owned).to_vec());
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_column_compression(bytes.clone(), Compression::UNCOMPRESSED)
        .set_column_dictionary_enabled(bytes, false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_max_row_group_row_count(Some(ROWS))
        .set_created_by(concat!("pixtune ", env!("CARGO_PKG_VERSION")).to_owned())
        .build()
}
