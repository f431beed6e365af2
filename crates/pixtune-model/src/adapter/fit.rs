//! Whether an adapter belongs to a base: every module there, every shape as the base's weights have it.

use pixtune_core::text::counted;

use super::dialect::{Dialect, is_linear};
use super::error::AdapterError;
use super::open::{Adapter, Lora, TokenRows};
use crate::weights::safetensors::TensorInfo;
use crate::weights::{Checkpoint, Module, Problems, Spelling, Tensor, TensorName};

/// The weight of a module; of a tied head, the embedding's.
fn weight_of(base: &Checkpoint, module: Module) -> Option<Tensor<'_>> {
    let is_tied_head = module == Module::Head && base.tensor(module.weight()).is_none();
    base.tensor(if is_tied_head { Module::Embedding.weight() } else { module.weight() })
}

/// Whether the base has a module.
pub fn is_part(base: &Checkpoint, module: Module) -> bool {
    weight_of(base, module).is_some()
}

/// What is wrong between a module's LoRA and the base, in a sentence; `None` where they fit.
pub fn mismatch(adapter: &Adapter, base: &Checkpoint, module: Module, lora: &Lora) -> Option<String> {
    let path = adapter.path(module);
    let Some(weight) = weight_of(base, module) else {
        return Some(format!("`{path}` is not part of the base"));
    };
    let shape = &grown_shape(module, weight.shape(), adapter.vocabulary())[..];
    let takes_embedding = module == Module::Embedding;
    if lora.is_embedding != takes_embedding {
        return Some(format!(
            "`{path}` has tensors for {}",
            if takes_embedding { "a linear layer" } else { "an embedding" }
        ));
    }
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

/// How adapter_config.json differs from the tensors in a module's rank.
pub fn rank_mismatch(adapter: &Adapter, module: Module, lora: &Lora) -> Option<String> {
    let path = adapter.path(module);
    let stated = adapter.config.as_ref()?.rank_of(&path);
    (stated as usize != lora.rank)
        .then(|| format!("`{path}` has rank {}, and adapter_config.json gives {stated}", lora.rank))
}

/// Refuses an adapter whose modules or shapes are not the base's.
pub fn check(adapter: &Adapter, base: &Checkpoint) -> Result<(), AdapterError> {
    let mut problems = Problems::default();
    for (module, lora) in &adapter.lora {
        problems.0.extend(mismatch(adapter, base, *module, lora));
        problems.0.extend(rank_mismatch(adapter, *module, lora));
    }
    problems.0.extend(
        adapter.whole.iter().filter_map(|(name, tensor)| whole_mismatch(adapter, base, *name, tensor)),
    );
    problems.0.extend(
        adapter.token_rows.iter().filter_map(|(module, rows)| rows_mismatch(adapter, base, *module, rows)),
    );
    problems.0.extend(vocabulary_mismatch(adapter, base));
    let (adapter, base) = (adapter.directory.clone(), base.directory().to_owned());
    match problems.0.is_empty() {
        true => Ok(()),
        false => Err(AdapterError::OtherBase { adapter, base, problems }),
    }
}

/// The base's tensor of a name; of a tied head the embedding.
fn stored(base: &Checkpoint, name: TensorName) -> Option<Tensor<'_>> {
    let tied_head = name == Module::Head.weight() && base.config().tied;
    base.tensor(if tied_head { Module::Embedding.weight() } else { name })
}

/// A weight's shape with the adapter's larger vocabulary.
fn grown_shape(module: Module, shape: &[usize], vocabulary: Option<usize>) -> Vec<usize> {
    match (module, shape, vocabulary) {
        (Module::Embedding | Module::Head, [tokens, width], Some(grown)) if grown > *tokens => {
            vec![grown, *width]
        }
        _ => shape.to_vec(),
    }
}

/// What is wrong between a whole tensor and the base's.
pub fn whole_mismatch(
    adapter: &Adapter,
    base: &Checkpoint,
    name: TensorName,
    tensor: &TensorInfo,
) -> Option<String> {
    let Some(weight) = stored(base, name) else {
        return Some(format!("`{}` is not part of the base", tensor.name));
    };
    (grown_shape(name.module, weight.shape(), adapter.vocabulary()) != tensor.shape).then(|| {
        format!(
            "`{}` has the shape {:?}; the base's `{}` has {:?}",
            tensor.name,
            tensor.shape,
            name.path(Spelling::Native),
            weight.shape()
        )
    })
}

/// What is wrong between rows of trained tokens and the base's embedding or head.
pub fn rows_mismatch(
    adapter: &Adapter,
    base: &Checkpoint,
    module: Module,
    rows: &TokenRows,
) -> Option<String> {
    let path = adapter.path(module);
    let shape = stored(base, module.weight())?.shape();
    let tokens = grown_shape(module, shape, adapter.vocabulary())[0];
    if let Some(beyond) = rows.tokens.iter().find(|token| **token >= tokens) {
        return Some(format!(
            "`trainable_token_indices` has token {beyond}; `{path}` has {}",
            counted(tokens as u64, "row")
        ));
    }
    (rows.tensor.shape != [rows.tokens.len(), shape[1]]).then(|| {
        format!(
            "`{}` has the shape {:?}; {} of {} follow from `trainable_token_indices`",
            rows.tensor.name,
            rows.tensor.shape,
            counted(rows.tokens.len() as u64, "row"),
            shape[1]
        )
    })
}

/// Tokens of the merged model, if the adapter's vocabulary is larger than the base's.
pub fn growth(adapter: &Adapter, base: &Checkpoint) -> Option<usize> {
    adapter.vocabulary().filter(|tokens| *tokens > base.config().text.vocab_size)
}

/// Why the adapter's larger vocabulary cannot be the merged model's: the rows of added tokens have to be stored for the
/// embedding and for the head, because those of the base lack them.
fn vocabulary_mismatch(adapter: &Adapter, base: &Checkpoint) -> Option<String> {
    let (grown, before) = (growth(adapter, base)?, base.config().text.vocab_size);
    let stores = |module: Module| {
        adapter.whole.get(&module.weight()).is_some_and(|tensor| tensor.shape.first() == Some(&grown))
    };
    let missing = [Module::Embedding, Module::Head].into_iter().find(|module| !stores(*module))?;
    Some(format!(
        "it has a vocabulary of {grown}, the base one of {before}, and the adapter does not store `{}`: the rows of the added \
         tokens cannot be known; train with `modules_to_save=[\"embed_tokens\", \"lm_head\"]`",
        adapter.path(missing)
    ))
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
