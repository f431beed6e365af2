//! What ends an export.

use pixtune_core::tokens::TokenizerVersion;
use std::io;
use std::path::PathBuf;

use pixtune_files::LockError;
use pixtune_io::read::ReadError;

/// What ends an export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// An input could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A directory could not be read.
    #[error("cannot read `{}`", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The manifest beside the data cannot be used.
    #[error("`{}` cannot be used: {reason}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The dataset was prepared for a model that divides images in another way.
    #[error("the dataset was prepared for {prepared}, and the export is for {model}")]
    OtherModel {
        /// The model of the manifest.
        prepared: String,
        /// The model of the export.
        model: String,
    },
    /// A trainer would encode the conversations in another layout than the model's own.
    #[error(
        "the chat template of {name} has the layout of tokenizer v3, and {model} has that of {version}: an export for trl has a \
         template of its own"
    )]
    OtherLayout {
        /// The trainer.
        name: &'static str,
        /// The model of the export.
        model: String,
        /// The version of its tokenizer.
        version: TokenizerVersion,
    },
    /// A SentencePiece vocabulary encodes what stands between special tokens by itself, with a space in front.
    #[error(
        "{name} encodes a conversation as one text, which the SentencePiece vocabulary of {model} makes other tokens of"
    )]
    SentencePiece {
        /// The trainer.
        name: &'static str,
        /// The model of the export.
        model: String,
    },
    /// The configuration of a trainer needs sizes that are not known.
    #[error("the dimensions of {model} are not published, and the configuration of {name} depends on them")]
    NoSizes {
        /// The trainer.
        name: &'static str,
        /// The model of the export.
        model: String,
    },
    /// The trainer expects the image token at another id.
    #[error("{name} expects `[IMG]` at id {expected}; the tokenizer has {found}")]
    ImageToken {
        /// The trainer.
        name: &'static str,
        /// Where it is in the published tokenizers.
        expected: u32,
        /// Where it is in this tokenizer.
        found: String,
    },
    /// Every sample was rejected.
    #[error("none of {rows} can be exported")]
    NothingLeft {
        /// The number of rows, with its noun.
        rows: String,
    },
    /// A number of samples that a service does not take.
    #[error("{name} takes {range} for training; {samples} can be exported")]
    SampleCount {
        /// The service.
        name: &'static str,
        /// What it takes.
        range: String,
        /// Samples that can be exported.
        samples: String,
    },
    /// The output is there already.
    #[error("`{}` exists already", path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// The output is a directory that was not made by this program, so it is never replaced.
    #[error("`{}` holds something else than an export and is not replaced", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// An unfinished export is there.
    #[error("an unfinished export is in `{}`", path.display())]
    Unfinished {
        /// Its directory.
        path: PathBuf,
    },
    /// The unfinished export has other options or inputs.
    #[error("the unfinished export in `{}` has other options or inputs: {difference}", path.display())]
    OtherPlan {
        /// Its directory.
        path: PathBuf,
        /// What differs.
        difference: String,
    },
    /// Another process writes there.
    #[error("another run is writing `{}`", path.display())]
    Locked {
        /// Its directory.
        path: PathBuf,
    },
    /// The output could not be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl From<LockError> for ExportError {
    fn from(error: LockError) -> ExportError {
        match error {
            LockError::Held { path } => ExportError::Locked { path },
            LockError::Io { path, source } => ExportError::Write { path, source },
        }
    }
}
