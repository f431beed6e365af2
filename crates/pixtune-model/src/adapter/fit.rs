//! Whether an adapter belongs to a base: every module there, every shape as the base's weights have it.

use super::dialect::{Dialect, is_linear};
use super::error::AdapterError;
use super::open::{Adapter, Lora};
use crate::weights::{Checkpoint, Module, Problems, Spelling};

/// What is wrong between a module's LoRA and the base, in a sentence; `None` where they fit.
pub fn mismatch(adapter: &Adapter, base: &Checkpoint, module: Module, lora: &Lora) -> Option<String> {
    let path = adapter.path(module);
    let is_tied_head = module == Module::Head && base.tensor(module.weight()).is_none();
    let stored = if is_tied_head { Module::Embedding } else { module };
    let Some(weight) = base.tensor(stored.weight()) else {
        return Some(format!("`{path}` is not part of the base"));
    };
    let takes_embedding = module == Module::Embedding;
    if lora.is_embedding != takes_embedding {
        return Some(format!(
            "`{path}` has tensors for {}",
            if takes_embedding { "a linear layer" } else { "an embedding" }
        ));
    }
    let shape = weight.shape();
    let (a, b) = match (module, shape) {
        (Module::Embedding, [tokens, width]) => (vec![lora.rank, *tokens], vec![*width, lora.rank]),
        (Module::PatchConv, [out, inner @ ..]) => {
            ([&[lora.rank], inner].concat(), vec![*out, lora.rank, 1, 1])
        }
        (_, [out, inputs]) => (vec![lora.rank, *inputs], vec![*out, lora.rank]),
        _ => return Some(format!("`{path}` is a norm: LoRA does not apply to it")),
    };
    let fits = lora.a.shape == a && lora.b.shape == b && (is_linear(module) || shape.len() != 1);
    (!fits).then(|| {
        format!(
            "`{path}` has lora_A of {:?} and lora_B of {:?}; the base's weight is {shape:?}",
            lora.a.shape, lora.b.shape
        )
    })
}

/// What adapter_config.json says otherwise than the tensors about a module's rank.
pub fn rank_mismatch(adapter: &Adapter, module: Module, lora: &Lora) -> Option<String> {
    let path = adapter.path(module);
    let said = adapter.config.as_ref()?.rank_of(&path);
    (said as usize != lora.rank)
        .then(|| format!("`{path}` has rank {}, and adapter_config.json gives {said}", lora.rank))
}

/// Refuses an adapter whose modules or shapes are not the base's.
pub fn check(adapter: &Adapter, base: &Checkpoint) -> Result<(), AdapterError> {
    let mut problems = Problems::default();
    for (module, lora) in &adapter.lora {
        problems.0.extend(mismatch(adapter, base, *module, lora));
        problems.0.extend(rank_mismatch(adapter, *module, lora));
    }
    for (name, tensor) in &adapter.whole {
        match base.tensor(*name) {
            None => problems.0.push(format!("`{}` is not part of the base", tensor.name)),
            Some(weight) if weight.shape() != tensor.shape => problems.0.push(format!(
                "`{}` has the shape {:?}; the base's `{}` has {:?}",
                tensor.name,
                tensor.shape,
                name.path(Spelling::Native),
                weight.shape()
            )),
            Some(_) => {}
        }
    }
    let (adapter, base) = (adapter.directory.clone(), base.directory().to_owned());
    match problems.0.is_empty() {
        true => Ok(()),
        false => Err(AdapterError::OtherBase { adapter, base, problems }),
    }
}

/// Modules of the base that LoRA can be put into.
pub fn candidates(base: &Checkpoint) -> impl Iterator<Item = Module> {
    let names = base.tensors().map(|tensor| tensor.name).filter(|name| *name == name.module.weight());
    let modules = names.map(|name| name.module);
    let tied_head = base.tensor(Module::Head.weight()).is_none().then_some(Module::Head);
    modules
        .chain(tied_head)
        .filter(|module| is_linear(*module) || matches!(module, Module::Embedding | Module::PatchConv))
}

/// Modules that peft would put LoRA into where they are named as in `dialect`, without anything stored for them.
pub fn empty_targets(adapter: &Adapter, base: &Checkpoint, dialect: Dialect) -> Vec<Module> {
    let Some(config) = &adapter.config else { return Vec::new() };
    candidates(base)
        .filter(|module| !adapter.lora.contains_key(module) && config.targets(&dialect.path(*module)))
        .collect()
}
