//! What lies at a path where a model or an adapter was expected, and the next step.

mod run;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::safetensors::SafetensorsFile;
use super::substitute::Substitute;

pub use run::adapter_of_run;

/// Maximum number of entries of a directory that are inspected.
const MAX_ENTRIES: usize = 10_000;

/// Subdirectories that are searched for what was wanted.
const MAX_SEARCHED: usize = 200;

/// What a command opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A checkpoint.
    Model,
    /// A LoRA adapter.
    Adapter,
}

/// What is there instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// A clause: `it is an adapter`.
    pub what: String,
    /// What to do.
    pub next: String,
}

impl Found {
    fn new(what: impl Into<String>, next: impl Into<String>) -> Found {
        Found { what: what.into(), next: next.into() }
    }

    /// A file that was named instead of a directory.
    pub fn at_file(path: &Path, wanted: Wanted) -> Found {
        if let Some(found) =
            Substitute::of_file(path).filter(|found| !matches!(found, Substitute::Text { .. }))
        {
            return Found::new(format!("it is {found}"), found.remedy());
        }
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        if Listing::of(parent).has(wanted) {
            return Found::new("it is a file", format!("give its directory, `{}`", parent.display()));
        }
        match wanted {
            Wanted::Model => {
                Found::new("it is a file", "give a directory with config.json or params.json and the weights")
            }
            Wanted::Adapter => {
                Found::new("it is a file", "give a directory that peft's `save_pretrained` wrote")
            }
        }
    }

    /// A directory that has no weights, or no adapter, under the names that are read.
    pub fn at_directory(path: &Path, wanted: Wanted) -> Found {
        let listing = Listing::of(path);
        let rules: [&dyn Fn() -> Option<Found>; 9] = [
            &|| listing.hugging_face_cache(wanted),
            &|| listing.run(wanted),
            &|| listing.full_state(),
            &|| listing.other_kind(wanted),
            &|| listing.trainer_run(wanted),
            &|| listing.distributed(),
            &|| listing.other_formats(wanted),
            &|| listing.below(wanted),
            &|| listing.incomplete(wanted),
        ];
        rules.iter().find_map(|rule| rule()).unwrap_or_else(|| listing.nothing(wanted))
    }
}

/// The names in a directory.
struct Listing {
    path: PathBuf,
    names: BTreeSet<String>,
}

impl Listing {
    fn of(path: &Path) -> Listing {
        let entries = fs::read_dir(path).into_iter().flatten().flatten().take(MAX_ENTRIES);
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        Listing { path: path.to_owned(), names }
    }

    fn any(&self, test: impl Fn(&str) -> bool) -> bool {
        self.names.iter().any(|name| test(name))
    }

    fn holds(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    fn at(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    /// Whether the wanted is here, by the names of its files.
    fn has(&self, wanted: Wanted) -> bool {
        match wanted {
            Wanted::Adapter => {
                self.holds("lora.safetensors")
                    || self.holds("adapter_model.safetensors")
                    || self.holds("adapter_config.json")
                        && self
                            .any(|name| name.starts_with("adapter_model") || name == "adapters.safetensors")
            }
            Wanted::Model => {
                let configured = self.holds("config.json") || self.holds("params.json");
                configured && self.any(|name| is_weights(name, "model") || is_weights(name, "consolidated"))
            }
        }
    }

    /// A repository in Hugging Face's cache, or the cache itself.
    fn hugging_face_cache(&self, wanted: Wanted) -> Option<Found> {
        if self.holds("snapshots") && (self.holds("refs") || self.holds("blobs")) {
            let what = "it is a repository in Hugging Face's cache";
            return Some(match snapshot(&self.path) {
                Some(snapshot) => Found::new(what, format!("give its snapshot, `{}`", snapshot.display())),
                None => Found::new(what, "it has no snapshot: download it again with `hf download ORG/NAME`"),
            });
        }
        if self.holds("hub") && !self.any(|name| name.starts_with("models--")) {
            return Listing::of(&self.path.join("hub")).hugging_face_cache(wanted);
        }
        let repositories = self.names.iter().filter(|name| name.starts_with("models--")).take(MAX_SEARCHED);
        let snapshots: Vec<PathBuf> =
            repositories.filter_map(|name| snapshot(&self.path.join(name))).collect();
        let fitting = snapshots.iter().find(|path| Listing::of(path).has(wanted)).or(snapshots.first())?;
        Some(Found::new(
            "it is Hugging Face's cache",
            format!("give the snapshot of a repository, such as `{}`", fitting.display()),
        ))
    }

    /// The output of `pixtune train` or `pixtune prepare`.
    fn run(&self, wanted: Wanted) -> Option<Found> {
        let parts = ["adapter", "checkpoints", "metrics.jsonl"];
        if self.holds("plan.json") && parts.iter().any(|part| self.holds(part)) {
            let what = "it is the output of `pixtune train`";
            let own = self.holds("adapter").then(|| "adapter".to_owned());
            let adapter = own.or_else(|| self.newest("checkpoints", "step-"));
            return Some(match (adapter, wanted) {
                (Some(adapter), Wanted::Adapter) => {
                    Found::new(what, format!("give its adapter, `{}`", self.at(&adapter)))
                }
                (Some(adapter), Wanted::Model) => Found::new(
                    what,
                    format!("merge its adapter with `pixtune adapter merge BASE {} DST`", self.at(&adapter)),
                ),
                (None, _) => Found::new(
                    what,
                    "the run has saved no adapter: continue it with `pixtune train --resume`",
                ),
            });
        }
        let is_data = self.holds("manifest.json") && self.holds("train.jsonl");
        is_data.then(|| Found::new("it is a dataset that `pixtune prepare` wrote", "give it with `--data`"))
    }

    /// The weights of a peft model as a whole, with those of the base.
    fn full_state(&self) -> Option<Found> {
        let names = self.names.iter().filter(|name| is_weights(name, "model"));
        let is_state = names.take(4).any(|name| {
            let file = SafetensorsFile::open(&self.path.join(name));
            file.is_ok_and(|file| file.header().tensors.iter().any(|tensor| is_of_peft(&tensor.name)))
        });
        is_state.then(Found::full_state)
    }

    /// An adapter in place of a model, or the reverse.
    fn other_kind(&self, wanted: Wanted) -> Option<Found> {
        let has_adapter = self.has(Wanted::Adapter) || self.holds("adapter_config.json");
        let has_model = self.has(Wanted::Model);
        match wanted {
            Wanted::Model if has_adapter => Some(Found::new(
                "it is an adapter; `pixtune adapter` handles those",
                format!(
                    "give its base model here, and the adapter with `--adapter`; `pixtune adapter merge BASE {} DST` makes a \
                     model of both",
                    self.path.display()
                ),
            )),
            Wanted::Adapter if has_model && !has_adapter && self.below(wanted).is_none() => Some(Found::new(
                "it is a model: neither adapter_model.safetensors nor lora.safetensors",
                "give the directory of the adapter here, and this model as its base",
            )),
            _ => None,
        }
    }

    /// The output of transformers' Trainer and of what builds on it.
    fn trainer_run(&self, wanted: Wanted) -> Option<Found> {
        let newest = self.newest(".", "checkpoint-")?;
        let holds = Listing::of(&self.path.join(&newest)).has(wanted);
        let what = "it is the output of a training run";
        holds.then(|| Found::new(what, format!("give its newest checkpoint, `{}`", self.at(&newest))))
    }

    /// Parts that a distributed run saved.
    fn distributed(&self) -> Option<Found> {
        let (path, is_dcp) = (self.path.display(), |name: &str| name.ends_with(".distcp"));
        let is_zero = |name: &str| {
            name.starts_with("global_step")
                || name.starts_with("zero_pp_rank_")
                || name.starts_with("mp_rank_")
        };
        if self.any(is_zero) {
            return Some(Found::new(
                "it is a checkpoint of DeepSpeed, in parts",
                format!("join them with `python zero_to_fp32.py {path} OUT --safe_serialization`"),
            ));
        }
        let nested =
            self.names.iter().find(|name| name.starts_with("pytorch_model_fsdp") || name.starts_with("dist"));
        let nested = nested.filter(|name| Listing::of(&self.path.join(name)).any(is_dcp));
        let parts = if self.any(is_dcp) { path.to_string() } else { self.at(nested?) };
        Some(Found::new(
            "it is a distributed checkpoint of PyTorch (.distcp), in parts",
            format!("join them with `accelerate merge-weights {parts} OUT`"),
        ))
    }

    /// Weights in formats that are not read.
    fn other_formats(&self, wanted: Wanted) -> Option<Found> {
        if self.any(|name| name.ends_with(".gguf")) {
            return Some(Found::new("it has a GGUF file", Substitute::Gguf.remedy()));
        }
        let pickled = |name: &str| {
            [".bin", ".pt", ".pth", ".ckpt"].iter().any(|end| name.ends_with(end))
                && !name.starts_with("training_args")
        };
        let file =
            self.names.iter().find(|name| name.ends_with(".safetensors") && !is_weights(name, "model"));
        if let (Some(file), true) = (file, self.below(wanted).is_none()) {
            return Some(match wanted {
                Wanted::Model => Found::new(
                    "its .safetensors files are named neither model* nor consolidated*",
                    "rename them as the model's repository names them",
                ),
                Wanted::Adapter => Found::new(
                    "neither adapter_model.safetensors nor lora.safetensors",
                    format!("if `{}` is the adapter, give the file itself", self.at(file)),
                ),
            });
        }
        (wanted == Wanted::Model && self.any(pickled)).then(|| {
            Found::new(
                "its weights are pickled (.pth, .bin), which can run code when read; pixtune reads safetensors",
                Substitute::Pickle.remedy(),
            )
        })
    }

    /// A directory above the wanted, by up to three levels.
    fn below(&self, wanted: Wanted) -> Option<Found> {
        let mut inside: Vec<PathBuf> = Vec::new();
        let mut level = vec![self.path.clone()];
        let mut left = MAX_SEARCHED;
        for _ in 0..3 {
            let mut next = Vec::new();
            for directory in &level {
                for name in &Listing::of(directory).names {
                    let path = directory.join(name);
                    if left > 0 && path.is_dir() {
                        left -= 1;
                        next.push(path);
                    }
                }
            }
            inside.extend(next.iter().filter(|path| Listing::of(path).has(wanted)).cloned());
            level = next;
        }
        let (kind, a_kind) = match wanted {
            Wanted::Model => ("model", "a model"),
            Wanted::Adapter => ("adapter", "an adapter"),
        };
        let shown: Vec<String> =
            inside.iter().rev().take(3).map(|path| format!("`{}`", path.display())).collect();
        match inside.len() {
            0 => None,
            1 => {
                Some(Found::new(format!("the {kind} is in a directory below"), format!("give {}", shown[0])))
            }
            count => Some(Found::new(
                format!("it has {count} directories with {a_kind}"),
                format!("give one of them, such as {}", shown.join(", ")),
            )),
        }
    }

    /// A configuration without weights.
    fn incomplete(&self, wanted: Wanted) -> Option<Found> {
        let file = match wanted {
            Wanted::Model => ["config.json", "params.json"].into_iter().find(|name| self.holds(name))?,
            Wanted::Adapter => Some("adapter_config.json").filter(|name| self.holds(name))?,
        };
        let missing = if wanted == Wanted::Model {
            "no model*.safetensors and no consolidated*.safetensors"
        } else {
            "neither adapter_model.safetensors nor lora.safetensors"
        };
        Some(Found::new(
            format!("it has {file}, but {missing}"),
            "the download is incomplete: run `hf download ORG/NAME --local-dir DIR` again",
        ))
    }

    fn nothing(&self, wanted: Wanted) -> Found {
        let empty = if self.names.is_empty() { "it is empty" } else { "" };
        match wanted {
            Wanted::Model => Found::new(
                if empty.is_empty() {
                    "no model*.safetensors and no consolidated*.safetensors"
                } else {
                    empty
                },
                "give a directory with config.json or params.json and the weights",
            ),
            Wanted::Adapter => Found::new(
                "neither adapter_model.safetensors nor lora.safetensors",
                "give a directory that `pixtune train` or peft's `save_pretrained` wrote",
            ),
        }
    }

    /// The subdirectory of a name and the largest number after it.
    fn newest(&self, directory: &str, start: &str) -> Option<String> {
        let inside = if directory == "." { self.path.clone() } else { self.path.join(directory) };
        let listing = Listing::of(&inside);
        let number = |name: &String| name.strip_prefix(start)?.parse::<u64>().ok();
        let newest = listing.names.iter().filter_map(|name| Some((number(name)?, name))).max()?.1;
        Some(if directory == "." { newest.clone() } else { format!("{directory}/{newest}") })
    }
}

impl Found {
    /// The state of a whole peft model.
    pub fn full_state() -> Found {
        Found::new(
            "it is the state of a whole peft model, with LoRA beside the weights of the base",
            "put adapter_config.json beside it and convert the adapter in it with `pixtune adapter convert`, or load it with peft and \
             save the model with `merge_and_unload()`",
        )
    }
}

/// Whether a tensor is of a model that peft has wrapped.
pub fn is_of_peft(name: &str) -> bool {
    name.starts_with("base_model.model.") || name.contains(".lora_A.") || name.contains(".base_layer.")
}

/// A file of weights: `model.safetensors`, a shard, or the index of shards.
fn is_weights(name: &str, stem: &str) -> bool {
    let rest = name.strip_prefix(stem).unwrap_or_default();
    rest == ".safetensors"
        || rest == ".safetensors.index.json"
        || rest.starts_with('-') && rest.ends_with(".safetensors")
}

/// The snapshot of a repository that its `main` names, or the only one.
pub fn snapshot(repository: &Path) -> Option<PathBuf> {
    let snapshots = repository.join("snapshots");
    let main = fs::read_to_string(repository.join("refs/main")).ok();
    let main = main
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty() && !name.contains(['/', '\\']));
    let main = main.map(|name| snapshots.join(name)).filter(|path| path.is_dir());
    let first = || Listing::of(&snapshots).names.into_iter().next().map(|name| snapshots.join(name));
    main.or_else(first)
}
