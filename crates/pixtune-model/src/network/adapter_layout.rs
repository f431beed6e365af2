//! The trained parameters: the position of each tensor in the flat buffers, and its initial values.

use std::collections::BTreeMap;
use std::ops::Range;

use pixtune_core::random::SplitMix64;

use super::linear::Adapter;
use super::lora::{Linear, LoraConfig, Region};
use super::shape::{ModelShape, StackShape};
use crate::kernels::Lora;
use crate::weights::{Module, Part, Spelling};

/// One trained tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterTensor {
    /// Its name in PEFT: `base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight`.
    pub name: String,
    /// `[rank, inputs]` of A, `[outputs, rank]` of B, row by row.
    pub shape: [usize; 2],
    /// Its position in the flat buffers.
    pub range: Range<usize>,
}

/// All adapters of a network.
#[derive(Debug)]
pub(super) struct AdapterLayout {
    pub(super) tensors: Vec<AdapterTensor>,
    modules: BTreeMap<Module, Adapter>,
}

impl AdapterLayout {
    /// Lays out all adapters in the order of their modules, A before B.
    pub(super) fn new(shape: &ModelShape, config: &LoraConfig) -> AdapterLayout {
        let mut layout = AdapterLayout { tensors: Vec::new(), modules: BTreeMap::new() };
        for (region, linear) in config.targets.iter() {
            for (module, size) in modules(shape, region, linear) {
                layout.modules.insert(module, adapter(config, size));
            }
        }
        let mut end = 0;
        for (number, (module, Adapter { lora, index })) in layout.modules.iter_mut().enumerate() {
            *index = number;
            let path = module.path(Spelling::Live);
            for (name, range, shape) in [
                ("lora_A", &mut lora.a, [lora.rank, lora.inputs]),
                ("lora_B", &mut lora.b, [lora.outputs, lora.rank]),
            ] {
                *range = end..end + shape[0] * shape[1];
                end = range.end;
                let name = format!("base_model.model.{path}.{name}.weight");
                layout.tensors.push(AdapterTensor { name, shape, range: range.clone() });
            }
        }
        layout
    }

    pub(super) fn adapter(&self, module: Module) -> Option<Adapter> {
        self.modules.get(&module).cloned()
    }

    pub(super) fn parameters(&self) -> usize {
        self.tensors.last().map_or(0, |tensor| tensor.range.end)
    }

    /// The sum of the ranks of the adapters of one layer: the width of their `x A^T`.
    pub(super) fn ranks(&self, module: impl Fn(Part) -> Module) -> usize {
        Part::ALL
            .into_iter()
            .filter_map(|part| self.modules.get(&module(part)))
            .map(|adapter| adapter.lora.rank)
            .sum()
    }

    /// Initial parameters. A is uniform between plus and minus one over the square root of its inputs, which equals PEFT's
    /// Kaiming initialization with a = sqrt(5). B is zero, so that training starts at the base model.
    pub(super) fn initial(&self, seed: u64) -> Vec<f32> {
        let mut parameters = vec![0.0; self.parameters()];
        for Adapter { lora, index } in self.modules.values() {
            let bound = 1.0 / (lora.inputs as f64).sqrt();
            let mut random = SplitMix64::new(seed ^ (*index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            parameters[lora.a.clone()].fill_with(|| ((random.unit() * 2.0 - 1.0) * bound) as f32);
        }
        parameters
    }
}

fn adapter(config: &LoraConfig, [outputs, inputs]: [usize; 2]) -> Adapter {
    let lora = Lora { a: 0..0, b: 0..0, inputs, outputs, rank: config.rank, scaling: config.scaling() };
    Adapter { lora, index: 0 }
}

/// All linears of this name in a region of the model, with their outputs and inputs.
fn modules(shape: &ModelShape, region: Region, linear: Linear) -> Vec<(Module, [usize; 2])> {
    let layers = |stack: &StackShape, module: fn(u32, Part) -> Module| {
        let (part, size) = match linear {
            Linear::Query => (Part::Q, [stack.query_width(), stack.hidden]),
            Linear::Key => (Part::K, [stack.key_width(), stack.hidden]),
            Linear::Value => (Part::V, [stack.key_width(), stack.hidden]),
            Linear::Output => (Part::O, [stack.hidden, stack.query_width()]),
            Linear::Gate => (Part::Gate, [stack.feed_forward, stack.hidden]),
            Linear::Up => (Part::Up, [stack.feed_forward, stack.hidden]),
            Linear::Down => (Part::Down, [stack.hidden, stack.feed_forward]),
            Linear::First | Linear::Second => return Vec::new(),
        };
        (0..stack.layers as u32).map(|layer| (module(layer, part), size)).collect()
    };
    match (region, linear) {
        (Region::Projector, Linear::First) => {
            vec![(Module::ProjectorIn, [shape.text.hidden, shape.vision.hidden])]
        }
        (Region::Projector, Linear::Second) => {
            vec![(Module::ProjectorOut, [shape.text.hidden, shape.text.hidden])]
        }
        (Region::Projector, _) => Vec::new(),
        (Region::Text, _) => layers(&shape.text, Module::Text),
        (Region::Vision, _) => layers(&shape.vision, Module::Vision),
    }
}
