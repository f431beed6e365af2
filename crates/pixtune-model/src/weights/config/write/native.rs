//! The keys of `params.json`.

use pixtune_core::json::Value;

use super::{Out, member, number, string, whole};
use crate::weights::config::{ModelConfig, QueryScaling, Yarn};

/// Sets every key that matters.
pub(super) fn write(config: &ModelConfig, out: &mut Out) {
    let ModelConfig { text, vision, projector, .. } = config;
    for (key, size) in [
        ("dim", text.hidden_size),
        ("n_layers", text.layers),
        ("head_dim", text.head_dim),
        ("hidden_dim", text.intermediate_size),
        ("n_heads", text.heads),
        ("n_kv_heads", text.kv_heads),
    ] {
        out.stated(&[key], whole(size));
    }
    out.stated(&["rope_theta"], number(text.rope_theta));
    out.stated(&["norm_eps"], number(text.norm_eps));
    out.stated(&["vocab_size"], whole(text.vocab_size));
    if let Some(positions) = text.max_positions
        && !out.has_start
    {
        out.stated(&["max_position_embeddings"], whole(positions));
    }
    if config.tied || member(&out.root, &["tied_embeddings"]).is_some() {
        out.stated(&["tied_embeddings"], Value::Bool(config.tied));
    }
    if let Some(yarn) = &text.yarn {
        native_yarn(yarn, text.query_scaling, out);
    }
    out.remove(&["lora"]);
    for (key, size) in [
        ("hidden_size", vision.hidden_size),
        ("num_channels", vision.channels),
        ("image_size", vision.image_size),
        ("patch_size", vision.patch_size),
    ] {
        out.stated(&["vision_encoder", key], whole(size));
    }
    out.stated(&["vision_encoder", "rope_theta"], number(vision.rope_theta));
    for (key, size) in [
        ("intermediate_size", vision.intermediate_size),
        ("num_hidden_layers", vision.layers),
        ("num_attention_heads", vision.heads),
    ] {
        out.stated(&["vision_encoder", key], whole(size));
    }
    out.stated(&["vision_encoder", "adapter_bias"], Value::Bool(projector.bias));
    out.stated(&["vision_encoder", "image_token_id"], whole(config.image_token as usize));
    let by_vllm = "vLLM and llama.cpp refuse the model without it";
    out.default(&["vision_encoder", "image_break_token_id"], whole(12), by_vllm);
    out.default(&["vision_encoder", "image_end_token_id"], whole(13), by_vllm);
    out.default(&["vision_encoder", "max_image_size"], whole(vision.image_size), "the same as image_size");
    let merges = projector.spatial_merge > 1 || projector.norm;
    let id = if merges { "patch_merge" } else { "" };
    out.default(&["vision_encoder", "mm_projector_id"], string(id), "llama.cpp refuses the model without it");
    if merges {
        out.stated(&["vision_encoder", "spatial_merge_size"], whole(projector.spatial_merge));
        out.stated(&["vision_encoder", "add_pre_mm_projector_layer_norm"], Value::Bool(projector.norm));
    }
}

/// The positions of Ministral 3.
fn native_yarn(yarn: &Yarn, scaling: Option<QueryScaling>, out: &mut Out) {
    match scaling {
        Some(scaling) => {
            let positions = whole(scaling.original_positions);
            out.stated(&["llama_4_scaling", "original_max_position_embeddings"], positions);
            out.stated(&["llama_4_scaling", "beta"], number(scaling.beta));
        }
        None => out.remove(&["llama_4_scaling"]),
    }
    out.stated(&["yarn", "original_max_position_embeddings"], whole(yarn.original_positions));
    out.stated(&["yarn", "factor"], number(yarn.factor));
    // `check_expressible` refuses a factor that has no value.
    out.stated(&["yarn", "apply_scale"], Value::Bool(yarn.apply_scale().unwrap_or(true)));
    out.stated(&["yarn", "beta"], number(yarn.beta_fast));
    out.stated(&["yarn", "alpha"], number(yarn.beta_slow));
}

/// Keys of `params.json` that are translated.
pub(super) const KNOWN: [&str; 15] = [
    "dim",
    "n_layers",
    "head_dim",
    "hidden_dim",
    "n_heads",
    "n_kv_heads",
    "rope_theta",
    "norm_eps",
    "vocab_size",
    "max_position_embeddings",
    "tied_embeddings",
    "vision_encoder",
    "lora",
    "yarn",
    "llama_4_scaling",
];

/// Keys of `vision_encoder` that are translated.
pub(super) const VISION_KNOWN: [&str; 16] = [
    "hidden_size",
    "num_channels",
    "image_size",
    "patch_size",
    "rope_theta",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "adapter_bias",
    "image_token_id",
    "image_break_token_id",
    "image_end_token_id",
    "max_image_size",
    "mm_projector_id",
    "spatial_merge_size",
    "add_pre_mm_projector_layer_norm",
];
