//! The files of an adapter, and what lies beside them.

use std::fs;
use std::path::{Path, PathBuf};

use super::dialect::Dialect;
use super::error::AdapterError;
use crate::weights::found::{Found, Wanted};

/// The files of an adapter.
pub struct Files {
    pub directory: PathBuf,
    /// The file with the tensors, or the shards of a state.
    pub tensors: Vec<PathBuf>,
    pub config: Option<PathBuf>,
    pub kind: Kind,
    pub warnings: Vec<String>,
    /// Files with weights that are neither the adapter nor the state of its training.
    pub other_weights: Vec<String>,
}

/// In which kind of file an adapter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// adapter_model.safetensors, lora.safetensors, or a file that was named.
    Own,
    /// adapter_model.bin.
    Pickled,
    /// The state of the whole model, as a distributed run saved it.
    State,
    /// adapters.safetensors of MLX.
    Mlx,
}

/// Larger sets of shards are no state of a model.
const MAX_SHARDS: usize = 1000;

impl Files {
    pub fn find(path: &Path, dialect: Option<Dialect>) -> Result<Files, AdapterError> {
        let about =
            fs::metadata(path).map_err(|source| AdapterError::Io { path: path.to_owned(), source })?;
        if about.is_file() {
            let has_tensors = path
                .extension()
                .is_some_and(|end| ["safetensors", "bin", "pt", "pth"].iter().any(|own| end == *own));
            let found = Found::at_file(path, Wanted::Adapter);
            return match has_tensors {
                true => Files::new(vec![path.to_owned()], kind_of_file(path)).with_config(),
                false => Err(AdapterError::NoAdapter { path: path.to_owned(), found }),
            };
        }
        let has = |name: &str| path.join(name).symlink_metadata().is_ok();
        let (peft, mistral) = (has("adapter_model.safetensors"), has("lora.safetensors"));
        let is_peft = match (peft, mistral, dialect) {
            (true, true, None) => return Err(AdapterError::Mixed { path: path.to_owned() }),
            (true, true, Some(dialect)) => dialect.is_peft(),
            (false, false, _) => return Files::find_other(path),
            (peft, _, _) => peft,
        };
        let name = if is_peft { "adapter_model.safetensors" } else { "lora.safetensors" };
        let mut found = Files::new(vec![path.join(name)], Kind::Own).with_config()?;
        if peft && mistral {
            let other = if is_peft { "lora.safetensors" } else { "adapter_model.safetensors" };
            found.warnings.push(format!("`{other}` is in the same directory and is not read"));
        }
        Ok(found)
    }

    /// The files of a directory without the usual ones.
    fn find_other(path: &Path) -> Result<Files, AdapterError> {
        let has = |name: &str| path.join(name).is_file();
        for (name, kind) in [("adapter_model.bin", Kind::Pickled), ("adapters.safetensors", Kind::Mlx)] {
            if has(name) {
                return Files::new(vec![path.join(name)], kind).with_config();
            }
        }
        if has("adapter_config.json")
            && let Some(shards) = state(path)?
        {
            return Files::new(shards, Kind::State).with_config();
        }
        let found = Found::at_directory(path, Wanted::Adapter);
        Err(AdapterError::NoAdapter { path: path.to_owned(), found })
    }

    fn new(tensors: Vec<PathBuf>, kind: Kind) -> Files {
        let first = tensors.first().map(PathBuf::as_path).unwrap_or(Path::new(""));
        let directory = match first.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let is_mistral = first.file_name().is_some_and(|name| name == "lora.safetensors");
        let config = (!is_mistral).then(|| directory.join("adapter_config.json"));
        let mut found =
            Files { directory, tensors, config, kind, warnings: Vec::new(), other_weights: Vec::new() };
        found.inspect_directory();
        found
    }

    /// Refuses a peft adapter without its configuration.
    fn with_config(self) -> Result<Files, AdapterError> {
        match &self.config {
            Some(config) if !config.is_file() => Err(AdapterError::NoConfig { path: self.directory }),
            _ => Ok(self),
        }
    }

    /// Names the files with weights in the adapter's directory.
    fn inspect_directory(&mut self) {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let files = entries.filter(|entry| entry.path().is_file());
        let mut names: Vec<String> =
            files.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        let own: Vec<String> = self
            .tensors
            .iter()
            .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .collect();
        names.retain(|name| !own.contains(name));
        let of = |kind: Beside| names.iter().filter(move |name| Beside::of(name) == kind);
        let pickled = of(Beside::Pickled).map(|name| {
            format!("`{name}` is not read: `{}` beside it is", own.first().map_or("", String::as_str))
        });
        self.warnings.extend(pickled);
        if let Some(name) = of(Beside::Model).next() {
            self.warnings.push(format!(
                "the adapter's directory also contains model weights (`{name}`): a server given this directory may load them without the \
                 adapter; vLLM and mistral-inference read the weights, and transformers the base that adapter_config.json names, \
                 with the adapter"
            ));
        }
        self.other_weights = of(Beside::Weights).cloned().collect();
    }
}

/// What a file is that was named itself.
fn kind_of_file(path: &Path) -> Kind {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match name.as_ref() {
        "adapters.safetensors" => Kind::Mlx,
        name if name.starts_with("pytorch_model") || name.starts_with("model") => Kind::State,
        name if !name.ends_with(".safetensors") => Kind::Pickled,
        _ => Kind::Own,
    }
}

/// The files with the state of a whole model: one file, or all shards of a numbered set.
fn state(directory: &Path) -> Result<Option<Vec<PathBuf>>, AdapterError> {
    for single in ["pytorch_model.bin", "model.safetensors"] {
        if directory.join(single).is_file() {
            return Ok(Some(vec![directory.join(single)]));
        }
    }
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    for (stem, extension) in [("pytorch_model", "bin"), ("model", "safetensors")] {
        let total = names.iter().find_map(|name| {
            let middle = name.strip_prefix(stem)?.strip_suffix(extension)?.strip_suffix('.')?;
            middle.strip_prefix('-')?.split_once("-of-")?.1.parse::<usize>().ok()
        });
        let Some(total) = total.filter(|total| (1..=MAX_SHARDS).contains(total)) else { continue };
        let shards = (1..=total).map(|number| format!("{stem}-{number:05}-of-{total:05}.{extension}"));
        let shards: Vec<String> = shards.collect();
        if let Some(missing) = shards.iter().find(|name| !names.contains(name)) {
            return Err(AdapterError::StateShard { path: directory.to_owned(), missing: missing.clone() });
        }
        return Ok(Some(shards.iter().map(|name| directory.join(name)).collect()));
    }
    Ok(None)
}

/// What a file in an adapter's directory is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// The adapter in another file.
    Pickled,
    /// Weights of a whole model.
    Model,
    /// Weights of something else: a projector, embeddings, what a trainer trained beside LoRA.
    Weights,
    /// No weights, or the state of a training run.
    Other,
}

/// What names of files with the state of a training run begin with.
const TRAINING_STATE: [&str; 12] = [
    "optimizer",
    "scheduler",
    "lr_scheduler",
    "rng_state",
    "random_states",
    "scaler",
    "training_args",
    "trainer_state",
    "sampler",
    "dataloader",
    "custom_checkpoint",
    "global_step",
];

impl Beside {
    fn of(name: &str) -> Beside {
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        let is_weights =
            matches!(extension, "bin" | "pt" | "pth" | "ckpt" | "safetensors" | "npz" | "h5" | "msgpack");
        if !is_weights || TRAINING_STATE.iter().any(|start| stem.starts_with(start)) {
            return Beside::Other;
        }
        let is_model = ["model", "consolidated", "pytorch_model"].iter().any(|start| {
            stem.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.', '_']))
        });
        match stem {
            "adapter_model" if extension != "safetensors" => Beside::Pickled,
            // The other adapter of the directory, which is reported or refused.
            "adapter_model" | "lora" if extension == "safetensors" => Beside::Other,
            _ if is_model => Beside::Model,
            _ => Beside::Weights,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_weights_that_nothing_applies() {
        for name in [
            "non_lora_state_dict.bin",
            "non_lora_trainables.bin",
            "mm_projector.bin",
            "new_embeddings.safetensors",
        ] {
            assert_eq!(Beside::of(name), Beside::Weights, "{name}");
        }
        for name in [
            "model.safetensors",
            "model-00001-of-00002.safetensors",
            "consolidated.00.pth",
            "pytorch_model.bin",
        ] {
            assert_eq!(Beside::of(name), Beside::Model, "{name}");
        }
        for name in [
            "optimizer.pt",
            "optimizer.safetensors",
            "rng_state_0.pth",
            "training_args.bin",
            "README.md",
            "tokenizer.model",
        ] {
            assert_eq!(Beside::of(name), Beside::Other, "{name}");
        }
        assert_eq!(Beside::of("adapter_model.bin"), Beside::Pickled);
    }
}
