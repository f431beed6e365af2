//! Errors of reading, converting or merging an adapter.

use std::io;
use std::path::PathBuf;

use super::config::ConfigError;
use super::dialect::Dialect;
use crate::weights::convert::ConvertError;
use crate::weights::found::Found;
use crate::weights::pickled::PickledError;
use crate::weights::safetensors::SafetensorsError;
use crate::weights::{Dtype, Problems, Sharded, Substitute, WeightsError};

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message explains its variant and fields")]
pub enum AdapterError {
    #[error("cannot read `{}`", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Safetensors(#[from] SafetensorsError),
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error("`{}` contains no adapter: {}", path.display(), found.what)]
    NoAdapter { path: PathBuf, found: Found },
    #[error("`{}` is {found}, not JSON", path.display())]
    Other { path: PathBuf, found: Substitute },
    #[error("`{}` contains two adapters, adapter_model.safetensors (peft) and lora.safetensors (Mistral)", path.display())]
    Mixed { path: PathBuf },
    #[error("`{}` has no adapter_config.json, which has the rank and alpha", path.display())]
    NoConfig { path: PathBuf },
    #[error("`{}` cannot be used: {source}", path.display())]
    Config { path: PathBuf, source: Box<ConfigError> },
    #[error("`{}` cannot be used: {reason}", path.display())]
    Params { path: PathBuf, reason: String },
    #[error("`{}` sets `{key}` to {found:?}, which this version does not support", path.display())]
    NotedDialect { path: PathBuf, key: &'static str, found: String },
    #[error("`{}` is not of the dialect {dialect}", path.display())]
    DialectOfFile { path: PathBuf, dialect: Dialect },
    #[error("`{}` is not in a dialect of Pixtral adapters: {}", path.display(), no_dialect(seen, stranger.as_deref()))]
    NoDialect { path: PathBuf, seen: Vec<Dialect>, stranger: Option<String> },
    #[error("`{}` cannot be read", path.display())]
    Pickled { path: PathBuf, source: Box<PickledError> },
    #[error("`{}` is an adapter of MLX that cannot be read: {reason}", path.display())]
    Mlx { path: PathBuf, reason: String },
    #[error("the state in `{}` is incomplete: `{missing}` is missing", path.display())]
    StateShard { path: PathBuf, missing: String },
    #[error("`{}` contains several adapters: {}", path.display(), names.join(", "))]
    SeveralNames { path: PathBuf, names: Vec<String> },
    #[error("`{}` has no complete adapter: {sharded}", path.display())]
    Sharded { path: PathBuf, sharded: Sharded },
    #[error("beside `{}`, weights that it was trained with are not applied: {}", adapter.display(), files.join(", "))]
    OtherWeights { adapter: PathBuf, files: Vec<String> },
    #[error("`{}` is damaged:{problems}", path.display())]
    Damaged { path: PathBuf, problems: Problems },
    #[error("`{tensor}` in `{}` is {dtype}; adapters are BF16, F16 or F32", path.display())]
    Dtype { path: PathBuf, tensor: String, dtype: Dtype },
    #[error("`{}` does not belong to `{}`:{problems}", adapter.display(), base.display())]
    OtherBase { adapter: PathBuf, base: PathBuf, problems: Problems },
    #[error("`{}` is quantized too ({method}): it is not the original of the base", path.display())]
    QuantizedOriginal { path: PathBuf, method: String },
    #[error("`{}` is not the original of the base:{problems}", path.display())]
    OtherOriginal { path: PathBuf, problems: Problems },
    #[error("`{}` cannot be {what}:{problems}", adapter.display())]
    Refused { adapter: PathBuf, what: &'static str, problems: Problems },
    #[error("`{}` contains values that are not finite:{problems}", adapter.display())]
    NotFinite { adapter: PathBuf, problems: Problems },
    #[error(transparent)]
    Convert(#[from] ConvertError),
}

fn no_dialect(seen: &[Dialect], stranger: Option<&str>) -> String {
    match (seen, stranger) {
        (_, Some(name)) => format!("`{name}` is not the name of one of its tensors"),
        ([], None) => "it contains no tensors".to_owned(),
        (seen, None) => {
            let seen: Vec<&str> = seen.iter().map(|dialect| dialect.describe()).collect();
            format!("its names are mixed, {}", seen.join(" and "))
        }
    }
}
