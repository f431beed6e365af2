//! What ends a run by another trainer.

use std::io;
use std::path::PathBuf;

use crate::ExportError;

/// What ends a run by another trainer.
#[derive(Debug, thiserror::Error)]
pub enum ExternalError {
    /// The data cannot be exported.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A file of the run cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the run cannot be read.
    #[error("cannot read `{}`: {reason}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The command cannot be started.
    #[error("cannot start `{command}`")]
    Start {
        /// The command.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// The end of the trainer cannot be waited for.
    #[error("cannot wait for the trainer")]
    Wait(#[source] io::Error),
    /// The run was stopped by its user; a later one continues it.
    #[error("the run was interrupted; continue with `--resume`")]
    Stopped,
    /// Something killed the trainer.
    #[error("`{command}` was killed by signal {signal}; continue with `--resume`")]
    Killed {
        /// The command.
        command: String,
        /// The signal.
        signal: i32,
    },
    /// The trainer failed.
    #[error("`{command}` failed with exit code {code}: {reason}")]
    Failed {
        /// The command.
        command: String,
        /// Its exit code.
        code: i32,
        /// Its error, from the end of what it printed.
        reason: String,
    },
    /// The trainer left no adapter.
    #[error(
        "the trainer ended without an adapter: `{}` has no adapter_config.json with adapter_model.safetensors", path.display()
    )]
    NoAdapter {
        /// Where it should be.
        path: PathBuf,
    },
}
