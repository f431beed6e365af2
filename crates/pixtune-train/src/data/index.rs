//! An index of every sample: where its line is and what it costs, built in one pass without decoding an image.
//! Lines stay on disk, so memory grows by [`Entry`] alone.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use pixtune_core::checks;
use pixtune_core::diagnostic::{Diagnostic, Finding};
use pixtune_core::rules;
use pixtune_core::tokens::{ChatEncoder, Tokenizer};
use pixtune_infer::sequence;
use pixtune_io::encode::{EncodedLine, encode_line};
use pixtune_io::image::Limits;
use pixtune_io::read::{FileReader, Format, LineFile, MAX_LINE, ReadError, Row, RowReader as _, RowRef};
use pixtune_io::tokens::{Counted, Ids, count_line};
use pixtune_model::network::Sequence;

/// What the index keeps of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Entry {
    pub(crate) offset: u64,
    pub(crate) length: u32,
    pub(crate) line: u32,
    /// Its tokens.
    pub tokens: u32,
    /// Those of images.
    pub image_tokens: u32,
    /// Those that count in the loss.
    pub trained: u32,
}

/// A file of samples.
#[derive(Debug)]
pub struct DataFile {
    /// As the user named it.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// BLAKE3 of them.
    pub blake3: String,
    path: PathBuf,
    directory: PathBuf,
    reader: FileReader,
    /// The first of its samples in the index.
    first: u32,
}

/// The samples that can be trained on.
#[derive(Debug)]
pub struct Dataset<'t> {
    encoder: ChatEncoder<'t>,
    files: Vec<DataFile>,
    entries: Vec<Entry>,
    unusable: BTreeMap<&'static str, u64>,
}

/// A sample as it is trained on.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Ids, loss mask and images.
    pub sequence: Sequence,
    /// Bytes it takes in memory, nearly.
    pub bytes: usize,
}

/// What ends the reading of data.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file could not be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that is not of lines.
    #[error(transparent)]
    Form(#[from] ReadError),
    /// The manifest beside the data cannot be used.
    #[error("`{}` is not a manifest of `pixtune prepare`: {reason}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is nothing called that.
    #[error("`{}` has no {what}", path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
        /// What should be there.
        what: &'static str,
    },
    /// More samples than an index can name.
    #[error("`{}` has a line after the first 4,294,967,295 samples", path.display())]
    TooMany {
        /// The file.
        path: PathBuf,
    },
    /// A file changed while the run was under way.
    #[error("`{name}` changed while it was read: line {line} is another now")]
    Changed {
        /// The file.
        name: String,
        /// The line.
        line: u64,
    },
}

/// What hears of the indexing.
pub trait Indexing {
    /// A sample that cannot be used, or a warning about one that can.
    fn finding(&mut self, diagnostic: &Diagnostic);
    /// So many bytes of all are read.
    fn read(&mut self, bytes: u64, of: u64);
}

impl<'t> Dataset<'t> {
    /// Reads every line of the files once and keeps the place of each sample that can be trained on; a sample of more than
    /// `max_tokens` cannot. What cannot be trained on is a finding.
    pub fn index(
        paths: &[PathBuf],
        encoder: ChatEncoder<'t>,
        max_tokens: usize,
        threads: usize,
        hear: &mut (dyn Indexing + Send),
    ) -> Result<Dataset<'t>, DataError> {
        let mut dataset =
            Dataset { encoder, files: Vec::new(), entries: Vec::new(), unusable: BTreeMap::new() };
        let of = paths.iter().filter_map(|path| path.metadata().ok()).map(|about| about.len()).sum();
        let mut read = 0;
        for path in paths {
            let mut file = DataFile::open(path, dataset.entries.len())?;
            let lines = LineFile::open_rereadable(path, MAX_LINE)?.with_fingerprint();
            let directory = file.directory.clone();
            let work =
                |row: Row| (!row.is_blank()).then(|| count_trainable(&row, &encoder, &directory, max_tokens));
            let sink = |at: RowRef, counted: Option<Result<Counted, Finding>>| {
                read += at.length;
                hear.read(read, of);
                counted.map_or(Ok(()), |counted| dataset.keep(at, counted, &file, hear))
            };
            let form = lines.each_row(threads, work, sink)?;
            let fingerprint = form.fingerprint.unwrap_or_default();
            (file.bytes, file.blake3) = (fingerprint.bytes, fingerprint.blake3);
            dataset.files.push(file);
        }
        Ok(dataset)
    }

    fn keep(
        &mut self,
        at: RowRef,
        counted: Result<Counted, Finding>,
        file: &DataFile,
        hear: &mut (dyn Indexing + Send),
    ) -> Result<(), DataError> {
        let too_many = || DataError::TooMany { path: file.path.clone() };
        match counted {
            Ok(Counted { counts, warnings, .. }) => {
                for warning in warnings {
                    hear.finding(&warning.at(&file.name, at.number));
                }
                if self.entries.len() >= u32::MAX as usize {
                    return Err(too_many());
                }
                self.entries.push(Entry {
                    offset: at.offset,
                    length: u32::try_from(at.length).expect("a sample is at most MAX_LINE long"),
                    line: u32::try_from(at.number).map_err(|_| too_many())?,
                    tokens: u32::try_from(counts.tokens).expect("a sample is at most a batch long"),
                    image_tokens: u32::try_from(counts.image_tokens).expect("there are fewer than tokens"),
                    trained: u32::try_from(counts.trained_tokens).expect("there are fewer than tokens"),
                });
            }
            Err(finding) => {
                *self.unusable.entry(finding.rule.id).or_default() += 1;
                hear.finding(&finding.at(&file.name, at.number));
            }
        }
        Ok(())
    }

    /// The samples, in the order of the files.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The files.
    pub fn files(&self) -> &[DataFile] {
        &self.files
    }

    /// Bytes of the pixels that one image token stands for.
    pub fn patch_bytes(&self) -> u64 {
        let side = u64::from(self.encoder.spec.patch * self.encoder.spec.merge);
        side * side * 3 * size_of::<f32>() as u64
    }

    /// Bytes that all samples would take in memory, nearly.
    pub fn loaded_bytes(&self) -> u64 {
        let patch = self.patch_bytes();
        let bytes = |entry: &Entry| 5 * u64::from(entry.tokens) + patch * u64::from(entry.image_tokens);
        self.entries.iter().map(bytes).sum()
    }

    /// Number of samples that cannot be trained on, per rule.
    pub fn unusable(&self) -> &BTreeMap<&'static str, u64> {
        &self.unusable
    }

    /// All tokens, and those that are trained.
    pub fn tokens(&self) -> (u64, u64) {
        self.entries.iter().fold((0, 0), |(tokens, trained), entry| {
            (tokens + u64::from(entry.tokens), trained + u64::from(entry.trained))
        })
    }

    /// The vocabulary of the samples.
    pub fn vocabulary(&self) -> &'t Tokenizer {
        self.encoder.tokenizer
    }

    /// The file and the line of a sample.
    pub fn place(&self, index: u32) -> (&str, u64) {
        let after = self.files.partition_point(|file| file.first <= index);
        (&self.files[after - 1].name, u64::from(self.entries[index as usize].line))
    }

    /// The row of a sample, as it is in its file.
    pub fn row(&self, index: u32) -> Result<Row, DataError> {
        let after = self.files.partition_point(|file| file.first <= index);
        Ok(self.files[after - 1].reader.reread(self.entries[index as usize].place())?)
    }

    /// Encodes a sample and decodes its images. The inner error is an image that turned out to be unreadable.
    pub fn load(&self, index: u32) -> Result<Result<Sample, Diagnostic>, DataError> {
        let entry = self.entries[index as usize];
        let after = self.files.partition_point(|file| file.first <= index);
        let file = &self.files[after - 1];
        let line = u64::from(entry.line);
        let row = file.reader.reread(entry.place())?;
        match encode_line(&self.encoder, &file.directory, &row, &Limits::default()) {
            Ok(encoded) if encoded.ids.len() == entry.tokens as usize => Ok(Ok(Sample::from(encoded))),
            Ok(_) => Err(DataError::Changed { name: file.name.clone(), line }),
            Err(finding) => Ok(Err(finding.at(&file.name, line))),
        }
    }
}

impl Entry {
    fn place(self) -> RowRef {
        let (number, length) = (u64::from(self.line), u64::from(self.length));
        RowRef { file: 0, number, offset: self.offset, length }
    }
}

/// Counts a line that training can use.
fn count_trainable(
    row: &Row,
    encoder: &ChatEncoder<'_>,
    directory: &Path,
    max_tokens: usize,
) -> Result<Counted, Finding> {
    trainable(count_line(encoder, directory, row, &Limits::default(), Ids::No)?, encoder, max_tokens)
}

/// Refuses what the reference takes but no training can use.
fn trainable(counted: Counted, encoder: &ChatEncoder<'_>, max_tokens: usize) -> Result<Counted, Finding> {
    let counts = &counted.counts;
    if let Some(finding) = checks::context_overflow(encoder.spec, counts) {
        return Err(finding);
    }
    if counts.tokens > max_tokens {
        let made_of = format!("{} of images, {} of text", counts.image_tokens, counts.text_tokens());
        let message = format!("{} tokens ({made_of}) do not fit into a batch of {max_tokens}", counts.tokens);
        let hint = format!("--batch-tokens {} or more holds it; nothing is ever cut", counts.tokens);
        return Err(Finding::new(&rules::TOO_MANY_TOKENS, "", message).hint(hint));
    }
    if counts.trained_tokens == 0 {
        let message = "no token of the sample is trained: every answer has weight 0 or is empty";
        return Err(Finding::new(&rules::NOTHING_TO_TRAIN, "/messages", message));
    }
    Ok(counted)
}

impl DataFile {
    fn open(path: &Path, first: usize) -> Result<DataFile, DataError> {
        let broken = |source| DataError::Read { path: path.to_owned(), source };
        if !path.metadata().map_err(broken)?.is_file() {
            return Err(broken(io::Error::other(
                "it is not a regular file, and samples are read in another order",
            )));
        }
        Ok(DataFile {
            name: path.display().to_string(),
            bytes: 0,
            blake3: String::new(),
            path: path.to_owned(),
            directory: path.parent().map(Path::to_owned).unwrap_or_default(),
            reader: FileReader::open(path, Format::JsonLines, 0, MAX_LINE)?,
            first: u32::try_from(first).map_err(|_| DataError::TooMany { path: path.to_owned() })?,
        })
    }
}

impl From<EncodedLine> for Sample {
    fn from(line: EncodedLine) -> Sample {
        Sample { bytes: line.bytes(), sequence: sequence(line) }
    }
}
