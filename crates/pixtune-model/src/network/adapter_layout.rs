//! The trained parameters: the position of each tensor in the flat buffers, and its initial values.

use std::collections::BTreeMap;
use std::ops::Range;

use pixtune_core::random::SplitMix64;

use super::lora::{Linear, LoraConfig};
use super::region::Region;
use super::shape::{ModelShape, StackShape};
use super::whole::linear_size;
use crate::kernels::Lora;
use crate::weights::{Module, Part, Spelling, TensorName};

/// One trained tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterTensor {
    /// Its name in PEFT: `base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight`.
    pub name: String,
    /// `[rank, inputs]` of A, `[outputs, rank]` of B; of a whole tensor the shape that it has in the model. Row by row.
    pub shape: Vec<usize>,
    /// Its position in the flat buffers.
    pub range: Range<usize>,
}

/// An adapter, and its index among all adapters.
#[derive(Debug, Clone)]
pub(super) struct Adapter {
    pub(super) lora: Lora,
    pub(super) index: usize,
}

/// All adapters of a network.
#[derive(Debug)]
pub(super) struct AdapterLayout {
    pub(super) tensors: Vec<AdapterTensor>,
    modules: BTreeMap<Module, Adapter>,
    /// Tensors that are trained as a whole.
    whole: BTreeMap<TensorName, Range<usize>>,
    /// How many parameters have weight decay: those of all matrices, which come first.
    pub(super) decayed: usize,
}

impl AdapterLayout {
    /// Lays out all adapters in the order of their modules, A before B; behind them whole tensors, matrices first.
    pub(super) fn new(shape: &ModelShape, config: &LoraConfig) -> AdapterLayout {
        let mut layout = AdapterLayout {
            tensors: Vec::new(),
            modules: BTreeMap::new(),
            whole: BTreeMap::new(),
            decayed: 0,
        };
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
                ("lora_A", &mut lora.a, vec![lora.rank, lora.inputs]),
                ("lora_B", &mut lora.b, vec![lora.outputs, lora.rank]),
            ] {
                *range = end..end + shape[0] * shape[1];
                end = range.end;
                let name = format!("base_model.model.{path}.{name}.weight");
                layout.tensors.push(AdapterTensor { name, shape, range: range.clone() });
            }
        }
        let (matrices, vectors): (Vec<_>, Vec<_>) =
            config.whole.tensors(shape).into_iter().partition(|(_, shape)| shape.len() > 1);
        matrices.into_iter().for_each(|(name, shape)| layout.push_whole(name, shape));
        layout.decayed = layout.parameters();
        vectors.into_iter().for_each(|(name, shape)| layout.push_whole(name, shape));
        layout
    }

    fn push_whole(&mut self, name: TensorName, shape: Vec<usize>) {
        let start = self.parameters();
        let range = start..start + shape.iter().product::<usize>();
        self.whole.insert(name, range.clone());
        let name = format!("base_model.model.{}", name.path(Spelling::Live));
        self.tensors.push(AdapterTensor { name, shape, range });
    }

    /// The position of a tensor that is trained as a whole.
    pub(super) fn whole(&self, name: TensorName) -> Option<Range<usize>> {
        self.whole.get(&name).cloned()
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

    /// Initial parameters of LoRA; whole tensors start with the values of the model. A is uniform between plus and minus one over the square root of its inputs, which equals PEFT's
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
        let part = match linear {
            Linear::Query => Part::Q,
            Linear::Key => Part::K,
            Linear::Value => Part::V,
            Linear::Output => Part::O,
            Linear::Gate => Part::Gate,
            Linear::Up => Part::Up,
            Linear::Down => Part::Down,
            Linear::First | Linear::Second | Linear::Merger => return Vec::new(),
        };
        let Some(size) = linear_size(stack, part) else { return Vec::new() };
        (0..stack.layers as u32).map(|layer| (module(layer, part), size)).collect()
    };
    match (region, linear) {
        (Region::Projector, Linear::First) => {
            vec![(Module::ProjectorIn, [shape.text.hidden, shape.vision.hidden])]
        }
        (Region::Projector, Linear::Second) => {
            vec![(Module::ProjectorOut, [shape.text.hidden, shape.text.hidden])]
        }
        (Region::Projector, Linear::Merger) if shape.merge > 1 => {
            let width = shape.vision.hidden;
            vec![(Module::PatchMerger, [width, width * shape.merge.pow(2)])]
        }
        (Region::Projector, _) => Vec::new(),
        (Region::Text, _) => layers(&shape.text, Module::Text),
        (Region::Vision, _) => layers(&shape.vision, Module::Vision),
    }
}
