//! Errors of reading a checkpoint.

use std::io;
use std::path::PathBuf;

use pixtune_core::text::counted;

use super::config::ConfigError;
use super::found::Found;
use super::safetensors::SafetensorsError;

/// Why a directory cannot be used as a checkpoint.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message explains its variant and fields")]
pub enum WeightsError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Safetensors(#[from] SafetensorsError),
    #[error("cannot read `{}`", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("`{}` is not a directory: {}", path.display(), found.what)]
    NotADirectory { path: PathBuf, found: Found },
    #[error("`{}` contains no checkpoint: {}", path.display(), found.what)]
    NoCheckpoint { path: PathBuf, found: Found },
    #[error(
        "`{}` contains both formats: vLLM would load `consolidated*.safetensors`, transformers `model*.safetensors`",
        path.display()
    )]
    BothFormats { path: PathBuf },
    #[error(
        "`{}` contains both `{}` and `{}`, and one of them must go: transformers loads the first, and vLLM the files that an \
         index names, or all of them",
        path.display(), files[0], files[1]
    )]
    TwoSets { path: PathBuf, files: [String; 2] },
    #[error("`{}` lists the shard `{name}`, which is not a file name ending in .safetensors", index.display())]
    ShardName { index: PathBuf, name: String },
    #[error("`{}` has no `weight_map` of tensor names to file names", index.display())]
    Index { index: PathBuf },
    #[error("`{}` lists `{name}` twice", index.display())]
    IndexDuplicate { index: PathBuf, name: String },
    #[error("`{}` and the shards disagree:{problems}", index.display())]
    IndexDisagrees { index: PathBuf, problems: Problems },
    #[error("`{}` has shards of a numbered set, but {missing} is not among them", path.display())]
    ShardMissing { path: PathBuf, missing: String },
    #[error("`{}` has no complete checkpoint: {sharded}", path.display())]
    Sharded { path: PathBuf, sharded: Sharded },
    #[error("`{}` has quantized weights that cannot be read:{problems}", path.display())]
    Quantized { path: PathBuf, problems: Problems },
    #[error("`{}` does not match its configuration:{problems}", path.display())]
    Mismatch { path: PathBuf, problems: Problems },
}

/// How a run that distributes its parameters left them in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharding {
    /// DeepSpeed ZeRO-3: tensors without elements.
    Zero3,
    /// FSDP: tensors as flat pieces.
    Fsdp,
    /// Fully sharded: the first rows of each tensor.
    Rows,
}

/// Tensors that a distributed run saved without joining their parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sharded {
    /// In which way.
    pub kind: Sharding,
    /// How many tensors.
    pub count: usize,
    /// Tensors of the file.
    pub all: usize,
    /// One of them.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl std::fmt::Display for Sharded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Sharded { kind, count, all, name, shape } = self;
        let what = match kind {
            Sharding::Zero3 => "empty, as DeepSpeed ZeRO-3 saves parameters that were not gathered",
            Sharding::Fsdp => "flat pieces, as FSDP saves parameters that were not gathered",
            Sharding::Rows => "parts of the rows, as a sharded run saves parameters that were not gathered",
        };
        let all = counted(*all as u64, "tensor");
        write!(f, "{count} of {all} are {what} (`{name}` has the shape {shape:?})")
    }
}

/// A list of what is wrong, shown up to a dozen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<String>);

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 12;
        for problem in self.0.iter().take(SHOWN) {
            write!(f, "\n  {problem}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n  … and {more} more"),
        }
    }
}
