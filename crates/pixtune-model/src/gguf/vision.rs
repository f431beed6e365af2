//! The file of vision encoder and projector: its names and its keys.

use super::element::Element;
use super::metadata::{Metadata, Value};
use super::text::general;
use crate::weights::{Family, Kind, ModelConfig, Module, Part, TensorName};

/// The row of the embedding that ends a row of patches. llama.cpp takes it from this file.
pub(super) const BREAK: &str = "v.token_embd.img_break";

/// Mean and standard deviation of pixels, by color, that the model's processor normalizes with (CLIP's).
const MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const DEVIATION: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// The name of a tensor of vision encoder or projector; `None` for the others.
pub(super) fn name(tensor: TensorName) -> Option<String> {
    let module = match tensor.module {
        Module::PatchConv => "v.patch_embd".to_owned(),
        Module::VisionNorm => "v.pre_ln".to_owned(),
        Module::Vision(layer, part) => format!("v.blk.{layer}.{}", part_name(part)),
        Module::ProjectorNorm => "mm.input_norm".to_owned(),
        Module::PatchMerger => "mm.patch_merger".to_owned(),
        Module::ProjectorIn => "mm.1".to_owned(),
        Module::ProjectorOut => "mm.2".to_owned(),
        _ => return None,
    };
    let kind = match tensor.kind {
        Kind::Weight => ".weight",
        Kind::Bias => ".bias",
    };
    Some(module + kind)
}

fn part_name(part: Part) -> &'static str {
    match part {
        Part::AttentionNorm => "ln1",
        Part::Q => "attn_q",
        Part::K => "attn_k",
        Part::V => "attn_v",
        Part::O => "attn_out",
        Part::FfnNorm => "ln2",
        Part::Gate => "ffn_gate",
        Part::Up => "ffn_up",
        Part::Down => "ffn_down",
    }
}

/// The keys. Mean and deviation of pixels are those of the model's processor.
pub(super) fn metadata(config: &ModelConfig, name: &str, element: Element, parameters: u64) -> Metadata {
    let vision = &config.vision;
    let mut keys = Metadata::default();
    general(&mut keys, "clip", "mmproj", (name, parameters), element);
    keys.flag("clip.has_vision_encoder", true)
        .text("clip.projector_type", "pixtral")
        .flag("clip.use_silu", true)
        .number("clip.vision.projection_dim", config.text.hidden_size)
        .number("clip.vision.image_size", vision.image_size)
        .number("clip.vision.patch_size", vision.patch_size)
        .number("clip.vision.embedding_length", vision.hidden_size)
        .number("clip.vision.feed_forward_length", vision.intermediate_size)
        .number("clip.vision.block_count", vision.layers)
        .number("clip.vision.attention.head_count", vision.heads)
        .real("clip.vision.attention.layer_norm_epsilon", vision.norm_eps)
        .put("clip.vision.image_mean", Value::F32s(MEAN.to_vec()))
        .put("clip.vision.image_std", Value::F32s(DEVIATION.to_vec()));
    if config.family != Family::Pixtral {
        keys.number("clip.vision.spatial_merge_size", config.projector.spatial_merge);
    }
    keys
}
