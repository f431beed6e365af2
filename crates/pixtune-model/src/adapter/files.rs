//! The files of an adapter, and what lies beside them.

use std::fs;
use std::path::{Path, PathBuf};

use super::dialect::Dialect;
use super::error::AdapterError;
use crate::weights::found::{Found, Wanted};

/// The files of an adapter.
pub struct Files {
    pub directory: PathBuf,
    pub tensors: PathBuf,
    pub config: Option<PathBuf>,
    pub warnings: Vec<String>,
    /// Files with weights that are neither the adapter nor the state of its training.
    pub other_weights: Vec<String>,
}

impl Files {
    pub fn find(path: &Path, dialect: Option<Dialect>) -> Result<Files, AdapterError> {
        let about =
            fs::metadata(path).map_err(|source| AdapterError::Io { path: path.to_owned(), source })?;
        if about.is_file() {
            let is_safetensors = path.extension().is_some_and(|end| end == "safetensors");
            let found = Found::at_file(path, Wanted::Adapter);
            return match is_safetensors {
                true => Files::of_file(path).with_config(),
                false => Err(AdapterError::NoAdapter { path: path.to_owned(), found }),
            };
        }
        let has = |name: &str| path.join(name).symlink_metadata().is_ok();
        let peft = has("adapter_model.safetensors");
        let mistral = has("lora.safetensors");
        let is_peft = match (peft, mistral, dialect) {
            (true, true, None) => return Err(AdapterError::Mixed { path: path.to_owned() }),
            (true, true, Some(dialect)) => dialect.is_peft(),
            (true, false, _) => true,
            (false, true, _) => false,
            (false, false, _) => {
                let found = Found::at_directory(path, Wanted::Adapter);
                return Err(AdapterError::NoAdapter { path: path.to_owned(), found });
            }
        };
        let mut found = Files::of_file(&path.join(if is_peft {
            "adapter_model.safetensors"
        } else {
            "lora.safetensors"
        }));
        found = found.with_config()?;
        if peft && mistral {
            let other = if is_peft { "lora.safetensors" } else { "adapter_model.safetensors" };
            found.warnings.push(format!("`{other}` is in the same directory and is not read"));
        }
        Ok(found)
    }

    fn of_file(path: &Path) -> Files {
        let directory = match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
            Some(parent) => parent.to_owned(),
            None => PathBuf::from("."),
        };
        let is_mistral = path.file_name().is_some_and(|name| name == "lora.safetensors");
        let config = (!is_mistral).then(|| directory.join("adapter_config.json"));
        let mut found = Files {
            directory,
            tensors: path.to_owned(),
            config,
            warnings: Vec::new(),
            other_weights: Vec::new(),
        };
        found.look_beside();
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
    fn look_beside(&mut self) {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let files = entries.filter(|entry| entry.path().is_file());
        let mut names: Vec<String> =
            files.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        let own = self.tensors.file_name().map(|name| name.to_string_lossy().into_owned());
        names.retain(|name| Some(name) != own.as_ref());
        let of = |kind: Beside| names.iter().filter(move |name| Beside::of(name) == kind);
        self.warnings.extend(of(Beside::Pickled).map(|name| format!("`{name}` is not read: it is pickled")));
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
