//! What ends a run, with the hint that helps.

use std::io;
use std::path::PathBuf;

use pixtune_core::columns::ColumnError;
use pixtune_io::fix::TooLarge;
use pixtune_io::prepare::PrepareError;
use pixtune_io::read::ReadError;
use pixtune_io::tokens::TokenizerError;

/// A run that could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `prepare` could not go through.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// An input could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The tokenizer file could not be used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A file could not be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is too large to be mended.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// Standard output took no more.
    #[error("cannot write to standard output")]
    Output {
        /// Why.
        source: io::Error,
    },
    /// The program itself is wrong.
    #[error("pixtune failed: {place}")]
    Defect {
        /// What it panicked with, and where.
        place: String,
    },
    /// An argument is wrong.
    #[error("{message}")]
    Argument {
        /// What is wrong.
        message: String,
    },
}

impl Error {
    /// A wrong argument.
    pub fn argument(message: impl ToString) -> Error {
        Error::Argument { message: message.to_string() }
    }

    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Error::Read(error) => return hint_for_reading(error),
            Error::Argument { .. } | Error::Tokenizer(_) | Error::Output { .. } | Error::Write { .. } => {
                return None;
            }
            Error::TooLarge(_) => "--unsafe leaves such lines out",
            Error::Defect { .. } => "this is a defect of pixtune: please report it",
            Error::Prepare(error) => match error {
                PrepareError::Read(error) => return hint_for_reading(error),
                PrepareError::Tokenizer(_) => return None,
                PrepareError::Exists { .. } => "--force replaces it; or choose another --out",
                PrepareError::Foreign { .. } => "choose another --out",
                PrepareError::Unfinished { .. } => "--resume goes on with it, --force starts over",
                PrepareError::OtherPlan { .. } => "run with the options of then, or start over with --force",
                PrepareError::Locked { .. } => "wait for it, or choose another --out",
                PrepareError::TooManyRejected { .. } => {
                    "nothing was written; run without --max-reject to see every row in rejected.jsonl"
                }
                PrepareError::NoLabel { what: "group", .. } => "name it: --columns group=COLUMN",
                PrepareError::NoLabel { .. } => "name it: --split stratify=COLUMN",
                PrepareError::Write { .. } => {
                    "rows that are finished are kept beside the output; once there is room, run again with --resume"
                }
            },
        };
        Some(hint.to_owned())
    }
}

fn hint_for_reading(error: &ReadError) -> Option<String> {
    let hint = match error {
        ReadError::Columns { source: ColumnError::Missing { .. } | ColumnError::NoGuess { .. }, .. } => {
            "say which is which: --columns image=COLUMN,prompt=COLUMN,completion=COLUMN"
        }
        ReadError::NoMetadata { .. } => {
            "an image folder needs a metadata.csv or metadata.jsonl with a `file_name` column"
        }
        ReadError::Encoding { encoding: "UTF-16", .. } => "convert it: iconv -f UTF-16 -t UTF-8",
        ReadError::Changed { .. } => "run again once nothing writes to it",
        ReadError::Empty { .. } => "a table needs a header and at least one row",
        _ => return None,
    };
    Some(hint.to_owned())
}
