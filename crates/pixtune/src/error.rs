//! What ends a run, with the hint that helps.

use std::io;
use std::path::PathBuf;

use pixtune_core::columns::ColumnError;
use pixtune_io::fix::TooLarge;
use pixtune_io::prepare::PrepareError;
use pixtune_io::read::ReadError;
use pixtune_io::survey::SurveyError;
use pixtune_io::tokens::TokenizerError;
use pixtune_model::adapter::AdapterError;
use pixtune_model::network::NetworkError;
use pixtune_model::weights::WeightsError;
use pixtune_model::weights::convert::ConvertError;
use pixtune_train::TrainError;
use pixtune_train::data::DataError;

use crate::missing;

/// A run that could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `prepare` could not go through.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// An input could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What was to be surveyed could not be read.
    #[error(transparent)]
    Survey(#[from] SurveyError),
    /// The tokenizer file could not be used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// Training could not start or not go on.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Signals cannot be heard.
    #[error("cannot listen for signals")]
    Signal {
        /// Why.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is too large to be repaired.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// A checkpoint could not be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A checkpoint could not be written.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// The network could not be made, or could not read what it was given.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// An adapter could not be read, converted or merged.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
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
        if let Some(hint) = missing::hint(self) {
            return Some(hint);
        }
        let hint = match self {
            Error::Read(error) => return hint_for_reading(error),
            Error::Survey(SurveyError::Nothing { .. }) => {
                "give a directory that `pixtune prepare` made, JSON Lines files, or a directory of images"
            }
            Error::Survey(SurveyError::StandardInput) => "write what comes through the pipe to a file first",
            Error::Survey(SurveyError::Read(error)) => return hint_for_reading(error),
            Error::Survey(_) => return None,
            Error::Train(error) => return hint_for_training(error),
            Error::Signal { .. }
            | Error::Argument { .. }
            | Error::Tokenizer(_)
            | Error::Output { .. }
            | Error::Write { .. } => {
                return None;
            }
            Error::TooLarge(_) => "--max-line-bytes sets another limit; --unsafe leaves such lines out",
            Error::Weights(error) => return hint_for_weights(error).map(str::to_owned),
            Error::Convert(error) => return hint_for_converting(error).map(str::to_owned),
            Error::Network(_) => return None,
            Error::Adapter(error) => return hint_for_adapters(error).map(str::to_owned),
            Error::Defect { .. } => "this is a defect of pixtune: please report it",
            Error::Prepare(error) => match error {
                PrepareError::Unmeasured { because, .. } => return Some(format!("leave out {because}")),
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

fn hint_for_training(error: &TrainError) -> Option<String> {
    let hint = match error {
        TrainError::Data(DataError::Form(error)) => return hint_for_reading(error),
        TrainError::Exists { .. } => "--resume goes on with it, --force replaces it; or choose another --out",
        TrainError::Foreign { .. } => "choose another --out",
        TrainError::Locked { .. } => "wait for it, or choose another --out",
        TrainError::OtherPlan { .. } => "run with the options and data of then, or start over with --force",
        TrainError::Damaged { .. } => {
            "remove the checkpoint it is in, and the one before it will do; or start over with --force"
        }
        TrainError::OtherModel { .. } => "prepare the data again with --model for this model",
        TrainError::Tokenizer { .. } => {
            "put the model's tekken.json beside its weights, or name one: --tokenizer FILE; `--tokenizer pixtral-12b` is \
             the built-in one"
        }
        TrainError::Unusable { .. } => "--invalid-samples skip trains on the others",
        TrainError::UnusableOnTheWay { .. } => {
            "a checkpoint was written; --resume --invalid-samples skip goes on without the sample"
        }
        TrainError::NoSamples { .. } => "`pixtune check` explains what is wrong with each line",
        TrainError::Write { .. } => {
            "once there is room, run again with --resume: the last checkpoint is whole"
        }
        TrainError::NotFinite { .. } => {
            "a lower --learning-rate or a longer --warmup helps; the last checkpoint was not touched"
        }
        TrainError::Stopped { .. } => "everything was saved; --resume goes on from here",
        _ => return None,
    };
    Some(hint.to_owned())
}

fn hint_for_converting(error: &ConvertError) -> Option<&'static str> {
    let hint = match error {
        ConvertError::Exists { .. } => "--force replaces what pixtune wrote; or choose another DST",
        ConvertError::Foreign { .. } | ConvertError::SamePlace { .. } | ConvertError::Contains { .. } => {
            "choose another DST"
        }
        ConvertError::Locked { .. } => "wait for it, or choose another DST",
        ConvertError::Write { .. } => {
            "nothing was left behind; make room or choose another DST, and run again"
        }
        ConvertError::Vocabulary { .. } => "give the tokenizer of this very model: --base DIR",
        ConvertError::Verify { .. } => "nothing was left behind; the disk or the memory may be failing",
        ConvertError::Weights(error) => return hint_for_weights(error),
        _ => return None,
    };
    Some(hint)
}

fn hint_for_adapters(error: &AdapterError) -> Option<&'static str> {
    let hint = match error {
        AdapterError::Convert(error) => return hint_for_converting(error),
        AdapterError::Weights(error) => return hint_for_weights(error),
        AdapterError::Mixed { .. } => "say which one: --from peft or --from mistral",
        AdapterError::NoAdapter { pickled: true, .. } => {
            "load it with peft and save it again: save_pretrained(safe_serialization=True)"
        }
        AdapterError::NoConfig { .. } => {
            "peft's save_pretrained writes it; copy it from where the adapter was trained"
        }
        AdapterError::OtherBase { .. } => "give the model that the adapter was trained on",
        AdapterError::NotFinite { .. } => "the training diverged; take an earlier checkpoint",
        AdapterError::DialectOfFile { .. } => "without --from the names tell the dialect",
        _ => return None,
    };
    Some(hint)
}

fn hint_for_weights(error: &WeightsError) -> Option<&'static str> {
    let hint = match error {
        WeightsError::BothFormats { .. } => "move one of the formats to a directory of its own",
        WeightsError::TwoSets { .. } => "move one of them away; an old set is often left beside a new one",
        WeightsError::ShardMissing { .. } => "download the checkpoint again",
        WeightsError::Mismatch { .. } => {
            "the configuration is of another model, or the checkpoint was not saved whole"
        }
        _ => return None,
    };
    Some(hint)
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
        ReadError::Encoding { encoding: "gzip-compressed", .. } => {
            "unpack it first: gunzip -k, or `gunzip -c FILE | pixtune ... -`"
        }
        ReadError::Encoding {
            encoding: "zstd-compressed" | "bzip2-compressed" | "xz-compressed", ..
        } => "unpack it first: unzstd -k, bunzip2 -k, unxz -k",
        ReadError::Array { .. } => "`pixtune fix FILE --out FILE.jsonl` writes its elements one to a line",
        ReadError::Table { .. } => "`pixtune prepare FILE --out DIR` makes conversations of a table",
        ReadError::NoConversations { .. } => {
            "give the directory that `pixtune prepare` wrote, or files; `pixtune prepare` makes conversations of tables"
        }
        ReadError::Io { source, .. } if source.kind() == io::ErrorKind::IsADirectory => {
            "give the files in it by name"
        }
        ReadError::Changed { .. } => "run again once nothing writes to it",
        ReadError::Empty { .. } => "a table needs a header and at least one row",
        _ => return None,
    };
    Some(hint.to_owned())
}
