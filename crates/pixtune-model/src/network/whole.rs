//! Parts of the model that are trained as whole tensors beside LoRA: peft's `modules_to_save`.

use std::collections::BTreeSet;
use std::fmt;

use super::error::NetworkError;
use super::region::Region;
use super::shape::{ModelShape, StackShape};
use crate::weights::{Module, Part, TensorName};

/// The regions of which every tensor is trained, without LoRA.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WholeRegions(BTreeSet<Region>);

impl WholeRegions {
    /// Parses `projector`, `vision`, or both, joined by `+` or `,`. The text decoder is trained by LoRA alone.
    pub fn parse(text: &str) -> Result<WholeRegions, NetworkError> {
        let region = |word: &str| match word {
            "projector" => Ok(Region::Projector),
            "vision" => Ok(Region::Vision),
            _ => Err(NetworkError::Lora {
                reason: format!("`{word}` cannot be trained as a whole; use projector, vision, or both"),
            }),
        };
        text.split([',', '+']).map(str::trim).map(region).collect::<Result<_, _>>().map(WholeRegions)
    }

    /// Whether all tensors of this region are trained.
    pub fn contains(&self, region: Region) -> bool {
        self.0.contains(&region)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The regions, in order.
    pub fn iter(&self) -> impl Iterator<Item = Region> {
        self.0.iter().copied()
    }

    /// The modules in PEFT's `modules_to_save`.
    pub(super) fn modules(&self) -> Vec<&'static str> {
        let name = |region| match region {
            Region::Vision => "vision_tower",
            Region::Projector => "multi_modal_projector",
            Region::Text => "language_model",
        };
        self.iter().map(name).collect()
    }

    /// Every tensor of these regions, with its shape, in the order of their names.
    pub(super) fn tensors(&self, shape: &ModelShape) -> Vec<(TensorName, Vec<usize>)> {
        let mut tensors: Vec<(TensorName, Vec<usize>)> = self
            .iter()
            .flat_map(|region| match region {
                Region::Vision => vision(shape),
                Region::Projector => projector(shape),
                Region::Text => Vec::new(),
            })
            .collect();
        tensors.sort();
        tensors
    }
}

impl FromIterator<Region> for WholeRegions {
    fn from_iter<I: IntoIterator<Item = Region>>(regions: I) -> WholeRegions {
        WholeRegions(regions.into_iter().collect())
    }
}

impl fmt::Display for WholeRegions {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let name = |region| match region {
            Region::Vision => "vision",
            Region::Projector => "projector",
            Region::Text => "text",
        };
        f.write_str(&self.iter().map(name).collect::<Vec<_>>().join("+"))
    }
}

/// The region of a module, if the module can be trained as a whole.
pub(super) fn region(module: Module) -> Option<Region> {
    match module {
        Module::PatchConv | Module::VisionNorm | Module::Vision(..) => Some(Region::Vision),
        Module::ProjectorIn | Module::ProjectorOut | Module::ProjectorNorm | Module::PatchMerger => {
            Some(Region::Projector)
        }
        _ => None,
    }
}

/// `[outputs, inputs]` of a linear of a layer; `None` for a norm.
pub(super) fn linear_size(stack: &StackShape, part: Part) -> Option<[usize; 2]> {
    Some(match part {
        Part::Q => [stack.query_width(), stack.hidden],
        Part::K | Part::V => [stack.key_width(), stack.hidden],
        Part::O => [stack.hidden, stack.query_width()],
        Part::Gate | Part::Up => [stack.feed_forward, stack.hidden],
        Part::Down => [stack.hidden, stack.feed_forward],
        Part::AttentionNorm | Part::FfnNorm => return None,
    })
}

fn vision(shape: &ModelShape) -> Vec<(TensorName, Vec<usize>)> {
    let stack = &shape.vision;
    let size = |part| linear_size(stack, part).map_or(vec![stack.hidden], |size| size.to_vec());
    let layers = (0..stack.layers as u32)
        .flat_map(|layer| Part::ALL.map(|part| (Module::Vision(layer, part).weight(), size(part))));
    let filter = vec![stack.hidden, shape.channels, shape.patch, shape.patch];
    let inputs = [(Module::PatchConv.weight(), filter), (Module::VisionNorm.weight(), vec![stack.hidden])];
    inputs.into_iter().chain(layers).collect()
}

fn projector(shape: &ModelShape) -> Vec<(TensorName, Vec<usize>)> {
    let (text, vision) = (shape.text.hidden, shape.vision.hidden);
    let linears = [(Module::ProjectorIn, [text, vision]), (Module::ProjectorOut, [text, text])];
    let tensors = linears.into_iter().flat_map(|(module, size)| {
        let bias = shape.projector_bias.then(|| (module.bias(), vec![text]));
        [(module.weight(), size.to_vec())].into_iter().chain(bias)
    });
    let merger = (shape.merge > 1).then(|| {
        let squares = vec![vision, vision * shape.merge.pow(2)];
        [(Module::ProjectorNorm.weight(), vec![vision]), (Module::PatchMerger.weight(), squares)]
    });
    merger.into_iter().flatten().chain(tensors).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_parse_what_they_print() {
        for text in ["projector", "vision", "vision+projector"] {
            assert_eq!(WholeRegions::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(WholeRegions::parse("projector, vision").unwrap().to_string(), "vision+projector");
        for wrong in ["", "text", "linear_1", "projector,lm_head"] {
            assert!(WholeRegions::parse(wrong).is_err(), "{wrong}");
        }
    }
}
