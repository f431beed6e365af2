//! Errors that end a run, with hints.

mod deploying;
mod missing;
mod model_hints;
mod reading_hints;
mod run_hints;

use std::io;
use std::path::PathBuf;

use pixtune_api::{ClientError, ServeError};
use pixtune_cuda::OpenError;
use pixtune_evaluate::EvaluateError;
use pixtune_export::ExportError;
use pixtune_export::external::ExternalError;
use pixtune_infer::{AnswerError, ModelError};
use pixtune_io::check::CheckError;
use pixtune_io::config::ConfigError;
use pixtune_io::fix::FixError;
use pixtune_io::prepare::PrepareError;
use pixtune_io::read::ReadError;
use pixtune_io::survey::SurveyError;
use pixtune_io::tokens::{TokenizerError, TokensError};
use pixtune_model::adapter::AdapterError;
use pixtune_model::deploy::DeployError;
use pixtune_model::gguf::GgufError;
use pixtune_model::network::NetworkError;
use pixtune_model::weights::WeightsError;
use pixtune_model::weights::convert::ConvertError;
use pixtune_train::TrainError;
use pixtune_train::data::DataError;

use deploying::{hint_for_deploying, hint_for_gguf};
use model_hints::{
    hint_for_adapters, hint_for_converting, hint_for_device, hint_for_model, hint_for_network,
    hint_for_tokenizer, hint_for_weights,
};
use reading_hints::hint_for_reading;
use run_hints::{
    hint_for_another_trainer, hint_for_client, hint_for_evaluating, hint_for_exporting, hint_for_serving,
    hint_for_training,
};

/// An error that ends the run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `prepare` failed.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// An input could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Flags or `pixtune.toml` ask for something that does not exist.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A dataset could not be surveyed.
    #[error(transparent)]
    Survey(#[from] SurveyError),
    /// The tokenizer file could not be used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A model directory cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A model cannot answer.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// The device cannot be used.
    #[error(transparent)]
    Device(#[from] OpenError),
    /// Training failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// An evaluation failed.
    #[error(transparent)]
    Evaluate(EvaluateError),
    /// A dataset could not be exported.
    #[error(transparent)]
    Export(ExportError),
    /// A run by another trainer failed.
    #[error(transparent)]
    External(ExternalError),
    /// The server cannot start.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A server could not be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Signal handlers could not be installed.
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
    /// A file could not be fixed.
    #[error(transparent)]
    Fix(FixError),
    /// Something else than texts was given to be encoded.
    #[error(transparent)]
    Tokens(TokensError),
    /// A checkpoint could not be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A checkpoint could not be written.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// A GGUF file could not be written or read.
    #[error(transparent)]
    Gguf(GgufError),
    /// A model could not be made ready for a server.
    #[error(transparent)]
    Deploy(DeployError),
    /// The network could not be built or run.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// An adapter could not be read, converted or merged.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// Standard output could not be written.
    #[error("cannot write to standard output")]
    Output {
        /// Why.
        source: io::Error,
    },
    /// Whoever called a command as a function ended it.
    #[error("interrupted")]
    Interrupted,
    /// A stage of a project failed, and has printed why.
    #[error("the stage {name} of `{}` ended with exit code {code}", project.display())]
    Stage {
        /// The file of the project.
        project: PathBuf,
        /// The stage.
        name: String,
        /// The exit code of its command.
        code: u8,
    },
    /// A stage of a project is not what it was when its output was written.
    #[error("[{name}] or what it reads has changed since `{}` was written", output.display())]
    StageChanged {
        /// The file of the project.
        project: PathBuf,
        /// The stage.
        name: String,
        /// What it wrote.
        output: PathBuf,
    },
    /// The Python for a run on a cluster cannot be started.
    #[error("cannot start `{}`", python.display())]
    NoPython {
        /// The program.
        python: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The Python has no pixtune package.
    #[error("`{}` cannot import the package pixtune: {why}", python.display())]
    NoPackage {
        /// The program.
        python: PathBuf,
        /// The last line that it printed.
        why: String,
    },
    /// The Python has the package of another version.
    #[error("`{}` has pixtune {version}, and this is pixtune {}", python.display(), env!("CARGO_PKG_VERSION"))]
    OtherPackage {
        /// The program.
        python: PathBuf,
        /// Its version.
        version: String,
    },
    /// The process that ran the plan was killed.
    #[error("`{}` did not end by itself: {how}", python.display())]
    PythonDied {
        /// The program.
        python: PathBuf,
        /// Its status.
        how: String,
    },
    /// pixtune panicked.
    #[error("pixtune failed: {place}")]
    Defect {
        /// The panic message and its location.
        place: String,
    },
    /// An argument is invalid.
    #[error("{message}")]
    Argument {
        /// The problem.
        message: String,
    },
}

impl Error {
    /// An error about an argument.
    pub fn argument(message: impl ToString) -> Error {
        Error::Argument { message: message.to_string() }
    }

    /// A hint for the user.
    pub fn hint(&self) -> Option<String> {
        if let Some(hint) = missing::hint(self) {
            return Some(hint);
        }
        let hint = match self {
            Error::Stage { project, name, .. } => {
                let (project, name) = (project.display(), name);
                return Some(format!(
                    "the same command continues with it; `pixtune run {project} --from {name}` starts it over"
                ));
            }
            Error::StageChanged { project, name, .. } => {
                return Some(format!(
                    "`pixtune run {} --from {name}` replaces it and what follows from it",
                    project.display()
                ));
            }
            Error::Read(error) => return hint_for_reading(error),
            Error::Survey(SurveyError::Nothing { .. }) => {
                "give a directory that `pixtune prepare` wrote, JSON Lines files, or a directory of images"
            }
            Error::Survey(SurveyError::StandardInput) => "write the data to a file first",
            Error::Survey(SurveyError::Read(error)) => return hint_for_reading(error),
            Error::Survey(_) => return None,
            Error::Train(error) => return hint_for_training(error),
            Error::Tokenizer(error) => return hint_for_tokenizer(error),
            Error::Model(error) => return hint_for_model(error),
            Error::Device(error) => return hint_for_device(error).map(str::to_owned),
            Error::Evaluate(error) => return hint_for_evaluating(error).map(str::to_owned),
            Error::Client(error) => return hint_for_client(error).map(str::to_owned),
            Error::Serve(error) => return hint_for_serving(error).map(str::to_owned),
            Error::External(error) => return hint_for_another_trainer(error).map(str::to_owned),
            Error::Export(error) => return hint_for_exporting(error).map(str::to_owned),
            Error::Answer(AnswerError::Network(error)) => return hint_for_network(error).map(str::to_owned),
            Error::Answer(_) => return None,
            Error::Interrupted
            | Error::Signal { .. }
            | Error::Argument { .. }
            | Error::Output { .. }
            | Error::Write { .. } => {
                return None;
            }
            Error::Fix(FixError::TooLarge(_)) => {
                "raise the limit with `--max-line-bytes`, or drop such lines with `--unsafe`"
            }
            Error::Fix(FixError::InPlace { .. }) => "choose another `--out`",
            Error::Fix(FixError::Exists { .. }) => "replace it with `--force`, or choose another `--out`",
            Error::Fix(_) | Error::Tokens(_) | Error::Config(_) => return None,
            Error::Weights(error) => return hint_for_weights(error),
            Error::Convert(error) => return hint_for_converting(error),
            Error::Network(error) => return hint_for_network(error).map(str::to_owned),
            Error::Gguf(error) => return hint_for_gguf(error).map(str::to_owned),
            Error::Deploy(error) => return hint_for_deploying(error),
            Error::Adapter(error) => return hint_for_adapters(error),
            Error::NoPython { .. } => "name a Python with `--python` or PIXTUNE_PYTHON",
            Error::NoPackage { .. } => {
                "install it there with `pip install 'pixtune[ray]'`, or name another Python with `--python` or PIXTUNE_PYTHON"
            }
            Error::OtherPackage { .. } => {
                return Some(format!(
                    "install the same version on all nodes: `pip install 'pixtune[ray]=={}'`",
                    env!("CARGO_PKG_VERSION")
                ));
            }
            Error::PythonDied { .. } => "finished rows are kept; run the same command with `--resume`",
            Error::Defect { .. } => "this is a bug in pixtune; please report it",
            Error::Prepare(error) => match error {
                PrepareError::Unmeasured { because, .. } => return Some(format!("remove {because}")),
                PrepareError::Read(error) => return hint_for_reading(error),
                PrepareError::Tokenizer(error) => return hint_for_tokenizer(error),
                PrepareError::Exists { .. } => "replace it with `--force`, or choose another `--out`",
                PrepareError::Foreign { .. } => "choose another `--out`",
                PrepareError::Unfinished { .. } => {
                    "continue it with `--resume`, or start over with `--force`"
                }
                PrepareError::OtherPlan { .. } => "use the original options, or start over with `--force`",
                PrepareError::Locked { .. } => "wait until it ends, or choose another `--out`",
                PrepareError::TooManyRejected { .. } => {
                    "nothing was written; run without `--max-reject` to list the rejected rows in rejected.jsonl"
                }
                PrepareError::OtherInputs { .. } => {
                    "inputs, pixtune.toml and model directories must be the same on all nodes"
                }
                PrepareError::NotShared { .. } => {
                    "choose an `--out` on a file system that all nodes share at the same path"
                }
                PrepareError::Crashes { .. } => {
                    "a row may need more memory than a node has, or crash a decoder: find it with a smaller `--fragment-rows`"
                }
                PrepareError::Task { hint, .. } => return hint.clone(),
                PrepareError::Interrupted => "continue with `--resume`, or start over with `--force`",
                PrepareError::NoLabel { what: "group", .. } => "set it with `--columns group=COLUMN`",
                PrepareError::NoLabel { .. } => "set it with `--split stratify=COLUMN`",
                PrepareError::Write { source, .. } => {
                    let full = "completed rows are saved beside the output; free disk space and run again with `--resume`";
                    return hint_for_writing(source, full).map(str::to_owned);
                }
            },
        };
        Some(hint.to_owned())
    }
}

impl From<CheckError> for Error {
    fn from(error: CheckError) -> Error {
        match error {
            CheckError::Read(error) => Error::Read(error),
            CheckError::Interrupted => Error::Interrupted,
            CheckError::Report { source } => Error::Output { source },
            CheckError::Temporary { path, source } => Error::Write { path, source },
        }
    }
}

impl From<EvaluateError> for Error {
    fn from(error: EvaluateError) -> Error {
        match error {
            EvaluateError::Read(error) => Error::Read(error),
            EvaluateError::Data(error) => Error::Survey(error),
            EvaluateError::Model(error) => Error::Model(error),
            EvaluateError::Adapter(error) => Error::Adapter(error),
            EvaluateError::Answer(error) => Error::Answer(error),
            EvaluateError::Write { path, source } => Error::Write { path, source },
            error => Error::Evaluate(error),
        }
    }
}

impl From<ExportError> for Error {
    fn from(error: ExportError) -> Error {
        match error {
            ExportError::Read(error) => Error::Read(error),
            error => Error::Export(error),
        }
    }
}

impl From<ExternalError> for Error {
    fn from(error: ExternalError) -> Error {
        match error {
            ExternalError::Export(error) => error.into(),
            error => Error::External(error),
        }
    }
}

impl From<DataError> for Error {
    fn from(error: DataError) -> Error {
        Error::Train(error.into())
    }
}

impl From<FixError> for Error {
    fn from(error: FixError) -> Error {
        match error {
            FixError::Read(error) => Error::Read(error),
            FixError::Write { path, source } => Error::Write { path, source },
            FixError::Interrupted => Error::Interrupted,
            FixError::Report { source } => Error::Output { source },
            error => Error::Fix(error),
        }
    }
}

impl From<TokensError> for Error {
    fn from(error: TokensError) -> Error {
        match error {
            TokensError::Read(error) => Error::Read(error),
            TokensError::Output { source } => Error::Output { source },
            error => Error::Tokens(error),
        }
    }
}

/// What helps when a file cannot be written: `full` where the disk is.
pub(crate) fn hint_for_writing(error: &io::Error, full: &'static str) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::StorageFull
        | io::ErrorKind::QuotaExceeded
        | io::ErrorKind::FileTooLarge
        | io::ErrorKind::WriteZero => Some(full),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Some("choose a directory in which you may create files")
        }
        _ => None,
    }
}
