//! The keys of `config.json`.

use pixtune_core::json::Value;

use super::{ARCHITECTURE, Out, member, number, string, whole};
use crate::weights::config::{Family, Magnitude, ModelConfig, TextConfig, Yarn};
use crate::weights::dtype::Dtype;

/// Without a version, transformers from 4.57.3 on warns of a wrong tokenizer pattern, which these files do not have.
const TRANSFORMERS: &str = "5.23.0";

/// Sets every key that matters.
pub(super) fn write(config: &ModelConfig, dtype: Dtype, out: &mut Out) {
    let ModelConfig { vision, projector, family, .. } = config;
    let class = match family {
        Family::Pixtral => "LlavaForConditionalGeneration",
        Family::Mistral3 | Family::Ministral3 => "Mistral3ForConditionalGeneration",
    };
    out.assume(&["architectures"], Value::Array(vec![string(class)]), ARCHITECTURE);
    // transformers 4 reads `torch_dtype`, 5 reads `dtype`.
    out.stated(&["dtype"], string(dtype.torch_name()));
    out.stated(&["torch_dtype"], string(dtype.torch_name()));
    out.stated(&["image_token_index"], whole(config.image_token as usize));
    let kind = if family.merges_patches() { "mistral3" } else { "llava" };
    out.assume(&["model_type"], string(kind), ARCHITECTURE);
    out.stated(&["multimodal_projector_bias"], Value::Bool(projector.bias));
    out.assume(&["projector_hidden_act"], string("gelu"), ARCHITECTURE);
    hf_text(config, out);
    out.stated(&["tie_word_embeddings"], Value::Bool(config.tied));
    for (key, size) in [
        ("hidden_size", vision.hidden_size),
        ("intermediate_size", vision.intermediate_size),
        ("num_hidden_layers", vision.layers),
        ("num_attention_heads", vision.heads),
        ("num_channels", vision.channels),
        ("image_size", vision.image_size),
        ("patch_size", vision.patch_size),
        ("head_dim", vision.head_dim),
    ] {
        out.stated(&["vision_config", key], whole(size));
    }
    out.assume(&["vision_config", "hidden_act"], string("silu"), ARCHITECTURE);
    out.assume(&["vision_config", "model_type"], string("pixtral"), ARCHITECTURE);
    // The type of the frequencies is `default` to transformers before 5.17 and `axial` from then on; each refuses the other
    // name, and each has its own where there is none.
    out.stated(&["vision_config", "rope_theta"], number(vision.rope_theta));
    out.default(&["vision_config", "attention_dropout"], number(0.0), ARCHITECTURE);
    out.default(&["vision_config", "initializer_range"], number(0.02), ARCHITECTURE);
    out.assume(&["vision_feature_layer"], Value::Number("-1".into()), ARCHITECTURE);
    match family {
        Family::Pixtral => {
            out.assume(&["image_seq_length"], whole(1), ARCHITECTURE);
            out.assume(&["vision_feature_select_strategy"], string("full"), ARCHITECTURE);
        }
        Family::Mistral3 | Family::Ministral3 => {
            out.stated(&["spatial_merge_size"], whole(projector.spatial_merge));
        }
    }
    out.default(&["transformers_version"], string(TRANSFORMERS), "the version that this file is written for");
    out.default(&["ignore_index"], Value::Number("-100".into()), ARCHITECTURE);
}

fn hf_text(config: &ModelConfig, out: &mut Out) {
    let text = &config.text;
    for (key, size) in [
        ("hidden_size", text.hidden_size),
        ("intermediate_size", text.intermediate_size),
        ("num_hidden_layers", text.layers),
        ("num_attention_heads", text.heads),
        ("num_key_value_heads", text.kv_heads),
        ("head_dim", text.head_dim),
        ("vocab_size", text.vocab_size),
    ] {
        out.stated(&["text_config", key], whole(size));
    }
    out.stated(&["text_config", "rms_norm_eps"], number(text.norm_eps));
    let kind = if text.yarn.is_some() { "ministral3" } else { "mistral" };
    out.assume(&["text_config", "model_type"], string(kind), ARCHITECTURE);
    out.assume(&["text_config", "hidden_act"], string("silu"), ARCHITECTURE);
    match &text.yarn {
        Some(yarn) => hf_yarn(text, yarn, out),
        None => {
            // transformers 4 reads `rope_theta`, 5 reads `rope_parameters`, and each takes 10000 where it finds none.
            out.stated(&["text_config", "rope_theta"], number(text.rope_theta));
            out.stated(&["text_config", "rope_parameters", "rope_theta"], number(text.rope_theta));
            out.default(&["text_config", "rope_parameters", "rope_type"], string("default"), ARCHITECTURE);
        }
    }
    out.assume(&["text_config", "sliding_window"], Value::Null, ARCHITECTURE);
    out.stated(&["text_config", "tie_word_embeddings"], Value::Bool(config.tied));
    match text.max_positions {
        Some(positions) => out.stated(&["text_config", "max_position_embeddings"], whole(positions)),
        None if text.rope_theta == 1e9 => out.default(
            &["text_config", "max_position_embeddings"],
            whole(1_024_000),
            "what transformers' converter writes for Pixtral; params.json does not have it",
        ),
        None => out.default(
            &["text_config", "max_position_embeddings"],
            whole(131_072),
            "the context Mistral documents; params.json does not have it",
        ),
    }
    out.default(&["text_config", "attention_dropout"], number(0.0), ARCHITECTURE);
    out.default(&["text_config", "bos_token_id"], whole(1), "`<s>` in every tokenizer of Mistral");
    out.default(&["text_config", "eos_token_id"], whole(2), "`</s>` in every tokenizer of Mistral");
    out.default(&["text_config", "initializer_range"], number(0.02), ARCHITECTURE);
    out.default(&["text_config", "use_cache"], Value::Bool(true), ARCHITECTURE);
}

/// The positions of Ministral 3, which transformers 5 alone reads.
fn hf_yarn(text: &TextConfig, yarn: &Yarn, out: &mut Out) {
    const AREA: [&str; 2] = ["text_config", "rope_parameters"];
    let key = |key: &'static str| [AREA[0], AREA[1], key];
    out.assume(&key("rope_type"), string("yarn"), ARCHITECTURE);
    out.assume(&key("type"), string("yarn"), ARCHITECTURE);
    for area in [&AREA[..1], &AREA] {
        let theta = [area, &["rope_theta"]].concat();
        if area.len() == AREA.len() || member(&out.root, &theta).is_some() {
            out.stated(&theta, number(text.rope_theta));
        }
    }
    out.stated(&key("factor"), number(yarn.factor));
    out.stated(&key("original_max_position_embeddings"), whole(yarn.original_positions));
    out.stated(&key("beta_fast"), number(yarn.beta_fast));
    out.stated(&key("beta_slow"), number(yarn.beta_slow));
    match yarn.magnitude {
        Magnitude::Stated(factor) => out.stated(&key("attention_factor"), number(factor)),
        Magnitude::Scales(scale, all) => {
            out.remove(&key("attention_factor"));
            out.stated(&key("mscale"), number(scale));
            out.stated(&key("mscale_all_dim"), number(all));
        }
    }
    if !yarn.truncate || member(&out.root, &key("truncate")).is_some() {
        out.stated(&key("truncate"), Value::Bool(yarn.truncate));
    }
    // transformers 5.23.0 needs the key: without it, its `modeling_ministral3.py` fails.
    let beta = text.query_scaling.map_or(0.0, |scaling| scaling.beta);
    out.stated(&key("llama_4_scaling_beta"), number(beta));
}

/// Keys of `config.json` that are translated, fixed, or about the run that wrote it.
pub(super) const KNOWN: [&str; 23] = [
    "_attn_implementation_autoset",
    "_name_or_path",
    "architectures",
    "dtype",
    "ignore_index",
    "image_seq_length",
    "image_token_id",
    "image_token_index",
    "initializer_range",
    "model_type",
    "multimodal_projector_bias",
    "projector_hidden_act",
    "rope_scaling",
    "spatial_merge_size",
    "text_config",
    "tie_word_embeddings",
    "torch_dtype",
    "transformers_version",
    "use_cache",
    "vision_config",
    "vision_feature_layer",
    "vision_feature_select_strategy",
    "pad_token_id",
];

/// Keys of `text_config` and `vision_config` of the same kind.
pub(super) const INNER_KNOWN: [&str; 36] = [
    "_attn_implementation_autoset",
    "_name_or_path",
    "architectures",
    "attention_dropout",
    "bos_token_id",
    "dtype",
    "eos_token_id",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "image_size",
    "initializer_range",
    "intermediate_size",
    "is_composition",
    "layer_types",
    "max_position_embeddings",
    "model_type",
    "num_attention_heads",
    "num_channels",
    "num_hidden_layers",
    "num_key_value_heads",
    "pad_token_id",
    "patch_size",
    "rms_norm_eps",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "sliding_window",
    "tie_word_embeddings",
    "torch_dtype",
    "transformers_version",
    "use_cache",
    "vocab_size",
    "return_dict",
    "output_attentions",
    "output_hidden_states",
];
