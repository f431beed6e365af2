//! What a dialect cannot express, and what pixtune does not compute: each with the reason and what to do.

use std::collections::BTreeSet;

use super::config::saves;
use super::dialect::{Area, Dialect};
use super::error::AdapterError;
use super::fit;
use super::open::Adapter;
use crate::weights::{Module, Problems};

/// Refuses what neither a conversion nor a merge can do.
fn unknown_arithmetic(adapter: &Adapter, problems: &mut Problems) {
    let Some(config) = &adapter.config else { return };
    let computed =
        |key: &String| format!("`{key}` changes how the adapter is computed, which pixtune does not support");
    problems.0.extend(config.unsupported.iter().map(computed));
    let unknown =
        |key: &String| format!("`{key}` is unknown to peft 0.21.2 and has a value: its effect is not known");
    problems.0.extend(config.unknown.iter().map(unknown));
    if config.initialization_changes_base() {
        problems.0.push(format!(
            "`init_lora_weights` is `{}`: what was trained is relative to weights that peft computes from the base; save it \
             with peft's path_initial_model_for_weight_conversion",
            config.initialization
        ));
    }
    let bias_of_b = adapter.lora.iter().filter(|(_, lora)| lora.bias.is_some());
    problems
        .0
        .extend(bias_of_b.map(|(module, _)| format!("`{}` has a bias on lora_B", adapter.path(*module))));
}

/// Refuses an adapter beside which weights lie that nothing applies: the result would not be the trained model.
pub fn other_weights(adapter: &Adapter) -> Result<(), AdapterError> {
    match adapter.other_weights.is_empty() {
        true => Ok(()),
        false => Err(AdapterError::OtherWeights {
            adapter: adapter.directory.clone(),
            files: adapter.other_weights.iter().map(|name| format!("`{name}`")).collect(),
        }),
    }
}

/// Refuses an adapter that the dialect cannot express.
pub fn check_conversion(adapter: &Adapter, to: Dialect) -> Result<(), AdapterError> {
    let mut problems = Problems::default();
    unknown_arithmetic(adapter, &mut problems);
    let mut refuse = |what: String, why: &str| problems.0.push(format!("{what}: {why}; merge it instead"));
    let has_biases = adapter.config.as_ref().is_some_and(|config| config.bias != "none");
    if has_biases {
        refuse("trained biases".to_owned(), "peft's versions keep them under different names");
    }
    if !adapter.token_rows.is_empty() {
        refuse("`trainable_token_indices`".to_owned(), "its rows are stored by peft alone");
    }
    if to == Dialect::Mlx {
        let ranks: BTreeSet<usize> = adapter.lora.values().map(|lora| lora.rank).collect();
        if ranks.len() > 1 {
            refuse("modules of different ranks".to_owned(), "mlx-lm has a single rank");
        }
        let outside = adapter.lora.keys().find(|module| Area::of(**module) != Area::Text);
        if let Some(module) = outside {
            refuse(format!("`{}`", adapter.path(*module)), "mlx-lm applies LoRA to the text decoder alone");
        }
    }
    if matches!(to, Dialect::Mistral | Dialect::VllmConsolidated | Dialect::Mlx) {
        let server = match to {
            Dialect::Mistral => "mistral-inference",
            Dialect::Mlx => "this conversion to MLX",
            _ => "vLLM",
        };
        more_than_lora(adapter, server, &mut refuse);
        let unfit = [Module::Head, Module::Embedding, Module::PatchConv];
        for module in unfit.into_iter().filter(|module| adapter.lora.contains_key(module)) {
            refuse(format!("`{}`", adapter.path(module)), &format!("{server} applies no LoRA there"));
        }
    }
    refuse_if_any(adapter, "converted", problems)
}

/// Refuses an adapter that llama.cpp does not apply, or only in part: it knows LoRA of the text decoder's linear layers.
pub fn check_gguf(adapter: &Adapter) -> Result<(), AdapterError> {
    let mut problems = gguf_problems(adapter);
    let outside: Vec<&Module> = adapter.lora.keys().filter(|module| !has_gguf_lora(**module)).collect();
    if let Some(first) = outside.first() {
        let modules = pixtune_core::text::counted(outside.len() as u64, "module");
        let why = without_gguf_lora(**first);
        problems.0.push(format!("{modules} such as `{}`: {why}; merge it instead", adapter.path(**first)));
    }
    refuse_if_any(adapter, "converted", problems)
}

/// Whether llama.cpp has LoRA in a module.
pub fn has_gguf_lora(module: Module) -> bool {
    matches!(module, Module::Text(..) | Module::Head)
}

/// Why llama.cpp does not apply LoRA in another module.
pub fn without_gguf_lora(module: Module) -> &'static str {
    match Area::of(module) {
        Area::Embedding => {
            "the embedding of [IMG_BREAK] is in the file of the vision encoder, which no adapter of llama.cpp changes"
        }
        _ => "llama.cpp applies adapters to the linear layers of the text decoder alone",
    }
}

/// What a GGUF file cannot express of an adapter, whichever modules it has.
pub fn gguf_problems(adapter: &Adapter) -> Problems {
    let mut problems = Problems::default();
    unknown_arithmetic(adapter, &mut problems);
    let mut refuse = |what: String, why: &str| problems.0.push(format!("{what}: {why}; merge it instead"));
    if adapter.config.as_ref().is_some_and(|config| config.bias != "none") {
        refuse("trained biases".to_owned(), "llama.cpp applies no biases of an adapter");
    }
    if !adapter.token_rows.is_empty() {
        refuse("`trainable_token_indices`".to_owned(), "its rows are stored by peft alone");
    }
    more_than_lora(adapter, "llama.cpp", &mut refuse);
    problems
}

/// What stands beside plain LoRA.
fn more_than_lora(adapter: &Adapter, server: &str, refuse: &mut impl FnMut(String, &str)) {
    let has_biases = adapter.config.as_ref().is_some_and(|config| config.bias != "none");
    if adapter.config.as_ref().is_some_and(|config| config.dora)
        || adapter.lora.values().any(|lora| lora.magnitude.is_some())
    {
        refuse("DoRA".to_owned(), &format!("{server} has no lengths of rows"));
    }
    for (name, tensor) in &adapter.whole {
        if !has_biases || *name == name.module.weight() {
            refuse(format!("`{}`", tensor.name), &format!("{server} takes no whole tensors"));
        }
    }
}

/// Refuses an adapter that cannot be merged.
pub fn check_merge(adapter: &Adapter) -> Result<(), AdapterError> {
    let mut problems = Problems::default();
    unknown_arithmetic(adapter, &mut problems);
    refuse_if_any(adapter, "merged", problems)
}

impl Adapter {
    /// Refuses an adapter that `network` does not compute: it has one rank and one scaling, linears without biases, and whole
    /// tensors of the projector and the vision encoder alone.
    pub fn check_network(&self) -> Result<(), AdapterError> {
        let mut problems = Problems::default();
        unknown_arithmetic(self, &mut problems);
        let first = self.lora.values().next();
        for (module, lora) in &self.lora {
            let path = self.path(*module);
            problems.0.extend(fit::rank_mismatch(self, *module, lora));
            if lora.magnitude.is_some() {
                problems.0.push(format!("`{path}` is DoRA's"));
            }
            if first.is_some_and(|first| (first.rank, first.scaling) != (lora.rank, lora.scaling)) {
                problems.0.push(format!("`{path}` has a rank or a scaling of its own"));
            }
        }
        let is_trainable = |module| matches!(Area::of(module), Area::Vision | Area::Projector);
        let whole = self.whole.iter().filter(|(name, _)| !is_trainable(name.module));
        problems.0.extend(whole.map(|(_, tensor)| {
            format!("`{}` is trained as a whole; only projector and vision encoder can be", tensor.name)
        }));
        let rows =
            self.token_rows.values().map(|rows| format!("`{}` has rows of single tokens", rows.tensor.name));
        problems.0.extend(rows);
        let Some(config) = &self.config else { return refuse_if_any(self, "applied as it is", problems) };
        if config.dora {
            problems.0.push("`use_dora` is set".to_owned());
        }
        if config.bias != "none" {
            problems.0.push("it has trained biases".to_owned());
        }
        let stored = |entry: &str| self.whole.keys().any(|name| saves(entry, &self.path(name.module)));
        let missing = config.modules_to_save.iter().filter(|entry| !stored(entry));
        problems.0.extend(
            missing.map(|name| format!("`{name}` is trained as a whole, and no tensor is stored for it")),
        );
        refuse_if_any(self, "applied as it is", problems)
    }
}

fn refuse_if_any(adapter: &Adapter, what: &'static str, problems: Problems) -> Result<(), AdapterError> {
    match problems.0.is_empty() {
        true => Ok(()),
        false => Err(AdapterError::Refused { adapter: adapter.directory.clone(), what, problems }),
    }
}
