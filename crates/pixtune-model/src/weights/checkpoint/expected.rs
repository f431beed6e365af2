//! The tensors that follow from a configuration.

use std::collections::BTreeMap;

use crate::weights::config::ModelConfig;
use crate::weights::names::{Module, Part, TensorName};

/// Every tensor of the model with its shape.
pub fn tensors(config: &ModelConfig) -> BTreeMap<TensorName, Vec<usize>> {
    let ModelConfig { text, vision, projector, .. } = config;
    let mut all = BTreeMap::new();
    let mut add = |module: Module, shape: &[usize]| {
        all.insert(module.weight(), shape.to_vec());
    };
    add(Module::Embedding, &[text.vocab_size, text.hidden_size]);
    add(Module::TextNorm, &[text.hidden_size]);
    if !config.tied {
        add(Module::Head, &[text.vocab_size, text.hidden_size]);
    }
    let sizes = |hidden, inner, q, kv| LayerSizes { hidden, inner, q, kv };
    let layer = sizes(
        text.hidden_size,
        text.intermediate_size,
        text.heads * text.head_dim,
        text.kv_heads * text.head_dim,
    );
    for index in 0..text.layers {
        for part in Part::ALL {
            add(Module::Text(index as u32, part), &layer.shape(part));
        }
    }
    let patch = vision.patch_size;
    add(Module::PatchConv, &[vision.hidden_size, vision.channels, patch, patch]);
    add(Module::VisionNorm, &[vision.hidden_size]);
    let width = vision.heads * vision.head_dim;
    let layer = sizes(vision.hidden_size, vision.intermediate_size, width, width);
    for index in 0..vision.layers {
        for part in Part::ALL {
            add(Module::Vision(index as u32, part), &layer.shape(part));
        }
    }
    if projector.norm {
        add(Module::ProjectorNorm, &[vision.hidden_size]);
        let merged = projector.spatial_merge * projector.spatial_merge;
        add(Module::PatchMerger, &[vision.hidden_size, vision.hidden_size * merged]);
    }
    add(Module::ProjectorIn, &[text.hidden_size, vision.hidden_size]);
    add(Module::ProjectorOut, &[text.hidden_size, text.hidden_size]);
    if projector.bias {
        for module in [Module::ProjectorIn, Module::ProjectorOut] {
            all.insert(module.bias(), vec![text.hidden_size]);
        }
    }
    all
}

struct LayerSizes {
    hidden: usize,
    inner: usize,
    q: usize,
    kv: usize,
}

impl LayerSizes {
    fn shape(&self, part: Part) -> Vec<usize> {
        let LayerSizes { hidden, inner, q, kv } = *self;
        match part {
            Part::AttentionNorm | Part::FfnNorm => vec![hidden],
            Part::Q => vec![q, hidden],
            Part::K | Part::V => vec![kv, hidden],
            Part::O => vec![hidden, q],
            Part::Gate | Part::Up => vec![inner, hidden],
            Part::Down => vec![hidden, inner],
        }
    }
}
