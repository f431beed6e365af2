//! The trained numbers: where each tensor stands in the flat buffers, its first values, PEFT's files.

use std::collections::BTreeMap;

use super::AdapterTensor;
use super::linear::Adapter;
use super::lora::{Linear, LoraConfig, Part as Region};
use super::shape::{ModelShape, StackShape};
use crate::kernels::Lora;
use crate::weights::{Module, Part, Spelling};

/// All adapters of a network.
#[derive(Debug)]
pub(super) struct AdapterLayout {
    pub(super) tensors: Vec<AdapterTensor>,
    modules: BTreeMap<Module, Adapter>,
}

impl AdapterLayout {
    /// One after the other in the order of the modules, A before B.
    pub(super) fn new(shape: &ModelShape, config: &LoraConfig) -> AdapterLayout {
        let mut layout = AdapterLayout { tensors: Vec::new(), modules: BTreeMap::new() };
        for (region, linear) in config.targets.iter() {
            for (module, size) in modules(shape, region, linear) {
                layout.modules.insert(module, adapter(config, size));
            }
        }
        let mut end = 0;
        for (number, (module, Adapter { lora, number: place })) in layout.modules.iter_mut().enumerate() {
            *place = number;
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

    /// How much an adapter's `x A^T` takes per row, over the adapters of one layer of a part.
    pub(super) fn ranks(&self, module: impl Fn(Part) -> Module) -> usize {
        Part::ALL
            .into_iter()
            .filter_map(|part| self.modules.get(&module(part)))
            .map(|adapter| adapter.lora.rank)
            .sum()
    }

    /// A uniform between plus and minus one over the root of its inputs, which is what PEFT's Kaiming initialization with
    /// a = sqrt(5) comes to; B zero, so that training starts at the base model.
    pub(super) fn fresh(&self, seed: u64) -> Vec<f32> {
        let mut parameters = vec![0.0; self.parameters()];
        for Adapter { lora, number } in self.modules.values() {
            let bound = 1.0 / (lora.inputs as f64).sqrt();
            let mut random = SplitMix::new(seed ^ (*number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            parameters[lora.a.clone()].fill_with(|| ((random.unit() * 2.0 - 1.0) * bound) as f32);
        }
        parameters
    }
}

fn adapter(config: &LoraConfig, [outputs, inputs]: [usize; 2]) -> Adapter {
    let lora = Lora { a: 0..0, b: 0..0, inputs, outputs, rank: config.rank, scaling: config.scaling() };
    Adapter { lora, number: 0 }
}

/// All linears of this kind in a part of the model, with their outputs and inputs.
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

/// Steele, Lea and Flood's SplitMix64: small, and good enough to draw initial weights and tokens.
#[derive(Debug, Clone)]
pub(crate) struct SplitMix(u64);

impl SplitMix {
    pub(crate) fn new(seed: u64) -> SplitMix {
        SplitMix(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// At least 0, below 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}
