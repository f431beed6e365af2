//! Weights that are not those of a model: in parts, or wrapped by peft.

use super::Checkpoint;
use crate::weights::error::{Sharded, Sharding, WeightsError};
use crate::weights::found::{Found, is_of_peft};
use crate::weights::names::{Kind, Module, Part, TensorName};
use crate::weights::safetensors::TensorInfo;

impl Checkpoint {
    /// Refuses the state of a model that peft has wrapped: its names are those of a base and an adapter.
    pub(super) fn check_full_state(&self) -> Result<(), WeightsError> {
        let mut tensors = self.files.iter().flat_map(|file| &file.header().tensors);
        match tensors.any(|tensor| is_of_peft(&tensor.name)) {
            true => {
                let found = Found::full_state();
                Err(WeightsError::NoCheckpoint { path: self.directory.clone(), found })
            }
            false => Ok(()),
        }
    }

    /// Refuses tensors that a distributed run saved without joining their parts.
    pub(super) fn check_complete(&self) -> Result<(), WeightsError> {
        let tensors: Vec<&TensorInfo> = self.files.iter().flat_map(|file| &file.header().tensors).collect();
        let is_norm = |name: TensorName| match name.module {
            Module::Text(_, part) | Module::Vision(_, part) => {
                matches!(part, Part::AttentionNorm | Part::FfnNorm)
            }
            module => matches!(module, Module::TextNorm | Module::VisionNorm | Module::ProjectorNorm),
        };
        let is_flat = |tensor: &TensorInfo| {
            let name = TensorName::parse(&tensor.name).map(|(name, _)| name);
            tensor.shape.len() == 1 && name.is_some_and(|name| name.kind == Kind::Weight && !is_norm(name))
        };
        let empty: Vec<&TensorInfo> = tensors.iter().copied().filter(|tensor| tensor.shape == [0]).collect();
        let flat: Vec<&TensorInfo> = tensors.iter().copied().filter(|tensor| is_flat(tensor)).collect();
        let (kind, parts) = if empty.is_empty() { (Sharding::Fsdp, flat) } else { (Sharding::Zero3, empty) };
        let Some(first) = parts.first() else { return Ok(()) };
        let (count, all) = (parts.len(), tensors.len());
        let sharded = Sharded { kind, count, all, name: first.name.clone(), shape: first.shape.clone() };
        Err(WeightsError::Sharded { path: self.directory.clone(), sharded })
    }
}

/// Whether a tensor's name is one of quantized weights.
pub fn is_quantized(name: &str) -> bool {
    [
        ".absmax",
        ".quant_state",
        ".quant_map",
        ".nested_absmax",
        ".weight_scale",
        ".qscale_weight",
        ".qweight",
        ".qzeros",
        ".weight_packed",
        ".SCB",
        ".weight_format",
    ]
    .iter()
    .any(|mark| name.contains(mark))
}
