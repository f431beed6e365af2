//! Names of an adapter's tensors: what wrappers of a model add is removed, and the dialect follows from the rest.

use std::collections::BTreeSet;
use std::path::Path;

use super::dialect::{Dialect, PEFT_PREFIX};
use super::error::AdapterError;
use crate::weights::{Module, TensorName};

/// What an adapter's tensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    A,
    B,
    EmbeddingA,
    EmbeddingB,
    Magnitude,
    BiasOfB,
    TokenRows,
    Whole,
}

/// Endings of keys after the module's path.
const ENDINGS: [(&str, Role); 8] = [
    (".lora_A.weight", Role::A),
    (".lora_B.weight", Role::B),
    (".lora_embedding_A", Role::EmbeddingA),
    (".lora_embedding_B", Role::EmbeddingB),
    (".lora_magnitude_vector", Role::Magnitude),
    (".lora_magnitude_vector.weight", Role::Magnitude),
    (".lora_B.bias", Role::BiasOfB),
    (".token_adapter.trainable_tokens_delta", Role::TokenRows),
];

/// Steps of a path after which peft keeps the adapter's name while the model is in memory.
const NAMED: [&str; 7] = [
    "lora_A",
    "lora_B",
    "lora_embedding_A",
    "lora_embedding_B",
    "lora_magnitude_vector",
    "modules_to_save",
    "trainable_tokens_delta",
];

/// Steps that `torch.compile`, FSDP, activation checkpointing, DistributedDataParallel and DeepSpeed add to paths.
const WRAPPERS: [&str; 5] =
    ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "module", "_forward_module"];

/// How the tensor names of an adapter differ from those that its dialect has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deviations {
    /// Steps that wrappers of the model left in paths, such as `_orig_mod`.
    pub wrappers: BTreeSet<&'static str>,
    /// Names do not begin with `base_model.model.`.
    pub without_prefix: bool,
    /// The names contain the adapter's name: `lora_A.default.weight`.
    pub adapter_name: Option<String>,
}

impl Deviations {
    /// The deviations as warnings.
    pub fn warnings(&self) -> Vec<String> {
        let mut found = Vec::new();
        if !self.wrappers.is_empty() {
            let steps: Vec<String> = self.wrappers.iter().map(|step| format!("`{step}.`")).collect();
            found.push(format!("contain {}, which a wrapper of the model added", steps.join(" and ")));
        }
        if let Some(name) = &self.adapter_name {
            found.push(format!("contain the adapter's name, as `lora_A.{name}.weight`"));
        }
        if self.without_prefix {
            found.push(format!("do not begin with `{PEFT_PREFIX}`"));
        }
        let fix =
            "pixtune reads them without it, and `pixtune adapter convert` writes the names that servers read";
        found.into_iter().map(|what| format!("tensor names {what}: {fix}")).collect()
    }
}

/// The names of a file: the dialect they agree on, what each tensor is, and how they deviate.
#[derive(Debug)]
pub struct Names {
    pub dialect: Dialect,
    /// In the order of the tensors; `None` for a name without a module.
    pub tensors: Vec<Option<(TensorName, Role)>>,
    pub deviations: Deviations,
}

/// Reads the names of a file. With a dialect, only its names are read; without one, all have to be of the same.
pub fn read(path: &Path, names: &[&str], dialect: Option<Dialect>) -> Result<Names, AdapterError> {
    let cleaned: Vec<Cleaned> = names.iter().map(|name| Cleaned::of(name)).collect();
    let adapters: BTreeSet<&str> = cleaned.iter().filter_map(|name| name.adapter.as_deref()).collect();
    if adapters.len() > 1 {
        let names = adapters.into_iter().map(str::to_owned).collect();
        return Err(AdapterError::SeveralNames { path: path.to_owned(), names });
    }
    let deviations = Deviations {
        wrappers: cleaned.iter().flat_map(|name| name.wrappers.iter().copied()).collect(),
        without_prefix: false,
        adapter_name: adapters.into_iter().next().map(str::to_owned),
    };
    let plain: Vec<&str> = cleaned.iter().map(|name| name.key.as_str()).collect();
    let prefixed: Vec<String> = plain.iter().map(|name| format!("{PEFT_PREFIX}{name}")).collect();
    let prefixed: Vec<&str> = prefixed.iter().map(String::as_str).collect();
    let all = [Dialect::Peft, Dialect::PeftLegacy, Dialect::Mistral, Dialect::TextOnly];
    let candidates = dialect.map_or(all.to_vec(), |dialect| vec![dialect]);
    let parse = |dialect: Dialect, keys: &[&str]| -> Vec<Option<(TensorName, Role)>> {
        keys.iter().map(|key| parse_key(dialect, key)).collect()
    };
    for (without_prefix, keys) in [(false, &plain), (true, &prefixed)] {
        for dialect in candidates.iter().copied().filter(|dialect| !without_prefix || dialect.is_peft()) {
            let tensors = parse(dialect, keys);
            if tensors.iter().all(Option::is_some) {
                return Ok(Names {
                    dialect,
                    tensors,
                    deviations: Deviations { without_prefix, ..deviations },
                });
            }
        }
    }
    match dialect {
        Some(dialect) => Ok(Names { dialect, tensors: parse(dialect, &plain), deviations }),
        None => Err(no_dialect(path, names, &plain, &all)),
    }
}

/// No dialect has all names: those that some have, and one that none has.
fn no_dialect(path: &Path, names: &[&str], plain: &[&str], all: &[Dialect]) -> AdapterError {
    let has = |dialect: Dialect, key: &str| parse_key(dialect, key).is_some();
    let seen = all.iter().copied().filter(|dialect| plain.iter().any(|key| has(*dialect, key))).collect();
    let stranger = plain.iter().position(|key| all.iter().all(|dialect| !has(*dialect, key)));
    let stranger = stranger.map(|index| names[index].to_owned());
    AdapterError::NoDialect { path: path.to_owned(), seen, stranger }
}

/// Names of a file with the state of the whole model that are the adapter's; `None` if the file has an adapter alone. peft itself
/// stores the base's weight under a LoRA of the embedding and of the head, whose vocabulary may have grown.
pub fn of_full_state<'n>(names: &[&'n str]) -> Option<BTreeSet<&'n str>> {
    let cleaned: Vec<String> = names.iter().map(|name| Cleaned::of(name).key).collect();
    let lora: BTreeSet<&str> = cleaned.iter().filter_map(|key| Some(key.split_once(".lora_")?.0)).collect();
    let under_lora = |key: &str| {
        let path = key.strip_suffix(".base_layer.weight")?;
        let leaf = path.rsplit('.').next().unwrap_or(path);
        (!matches!(leaf, "embed_tokens" | "lm_head") && lora.contains(path)).then_some(())
    };
    let is_state = names.iter().zip(&cleaned).any(|(name, key)| {
        name.contains(".original_module.")
            || name.contains(".trainable_tokens_original")
            || under_lora(key).is_some()
    });
    let is_adapter = |name: &str| {
        name.contains(".lora_")
            || name.contains(".modules_to_save.")
            || name.contains(".trainable_tokens_delta")
    };
    is_state.then(|| names.iter().copied().filter(|name| is_adapter(name)).collect())
}

/// A name without what wrappers and peft add to it in memory.
struct Cleaned {
    key: String,
    wrappers: Vec<&'static str>,
    adapter: Option<String>,
}

impl Cleaned {
    fn of(name: &str) -> Cleaned {
        let mut wrappers = Vec::new();
        let mut adapter = None;
        let mut steps: Vec<&str> = Vec::new();
        let all: Vec<&str> = name.split('.').collect();
        for (index, step) in all.iter().enumerate() {
            if let Some(wrapper) = WRAPPERS.iter().find(|wrapper| *wrapper == step) {
                wrappers.push(*wrapper);
            } else if index > 0 && NAMED.contains(&all[index - 1]) && !matches!(*step, "weight" | "bias") {
                adapter = Some((*step).to_owned());
            } else {
                steps.push(step);
            }
        }
        Cleaned { key: steps.join("."), wrappers, adapter }
    }
}

/// What a tensor's name means in a dialect.
fn parse_key(dialect: Dialect, key: &str) -> Option<(TensorName, Role)> {
    let rest = if dialect.is_peft() { key.strip_prefix(PEFT_PREFIX)? } else { key };
    for (ending, role) in ENDINGS {
        if let Some(path) = rest.strip_suffix(ending) {
            return dialect.module(path).map(|module| (module.weight(), role));
        }
    }
    if !dialect.is_peft() {
        return None;
    }
    let (path, name): (&str, fn(Module) -> TensorName) = match rest.strip_suffix(".weight") {
        Some(path) => (path, Module::weight),
        None => (rest.strip_suffix(".bias")?, Module::bias),
    };
    let path = path.strip_suffix(".base_layer").unwrap_or(path);
    let path = path.strip_suffix(".modules_to_save").unwrap_or(path);
    dialect.module(path).map(|module| (name(module), Role::Whole))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const Q: &str = "model.language_model.layers.3.self_attn.q_proj";

    fn of(names: &[&str]) -> Result<Names, AdapterError> {
        read(Path::new("adapter_model.safetensors"), names, None)
    }

    #[test]
    fn wrappers_prefix_and_adapter_name_are_removed_together() {
        let names = [
            format!("module._orig_mod.{Q}.lora_A.tuned.weight"),
            "model._fsdp_wrapped_module.language_model.layers.3._checkpoint_wrapped_module.self_attn.q_proj.lora_B.tuned.weight"
                .to_owned(),
        ];
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = of(&names).unwrap();
        assert_eq!(found.dialect, Dialect::Peft);
        let q = Module::parse(Q).unwrap().0.weight();
        assert_eq!(found.tensors, [Some((q, Role::A)), Some((q, Role::B))]);
        assert_eq!(found.deviations.adapter_name.as_deref(), Some("tuned"));
        assert!(found.deviations.without_prefix);
        assert_eq!(found.deviations.wrappers.len(), 4);
        assert_eq!(found.deviations.warnings().len(), 3);
    }

    #[test]
    fn plain_names_do_not_deviate() {
        let name = format!("base_model.model.{Q}.lora_A.weight");
        assert_eq!(of(&[&name]).unwrap().deviations, Deviations::default());
        let native = "layers.0.attention.wq.lora_A.weight";
        assert_eq!(of(&[native]).unwrap().dialect, Dialect::Mistral);
    }

    #[test]
    fn what_does_not_parse_completely_is_refused() {
        let (a, other) = (format!("{Q}.lora_A.weight"), format!("{Q}x.lora_A.weight"));
        assert!(matches!(of(&[&a, &other]), Err(AdapterError::NoDialect { stranger: Some(_), .. })));
        let [one, two] = ["one", "two"].map(|name| format!("base_model.model.{Q}.lora_A.{name}.weight"));
        assert!(matches!(of(&[&one, &two]), Err(AdapterError::SeveralNames { .. })));
    }

    #[test]
    fn states_of_whole_models_are_recognized() {
        let base = format!("_orig_mod.base_model.model.{Q}.base_layer.weight");
        let lora = format!("_orig_mod.base_model.model.{Q}.lora_A.default.weight");
        let norm = "base_model.model.model.language_model.norm.weight";
        assert_eq!(of_full_state(&[&base, &lora, norm]), Some(BTreeSet::from([lora.as_str()])));
        let head = ["base_model.model.lm_head.base_layer.weight", "base_model.model.lm_head.lora_A.weight"];
        assert_eq!(of_full_state(&head), None, "peft stores it beside a LoRA of the head");
        assert!(of(&head).is_ok());
    }
}
