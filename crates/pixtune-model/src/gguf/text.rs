//! The file of the text decoder: its names and its keys.

use super::element::Element;
use super::metadata::Metadata;
use crate::weights::config::{Magnitude, QueryScaling, TextConfig};
use crate::weights::{Family, ModelConfig, Module, Part, TensorName};

/// The longest text that Pixtral was trained with (mistral.ai/news/pixtral-12b). Some configurations have eight times as many
/// positions, which llama.cpp would allot memory for by default.
const CONTEXT: usize = 131_072;

/// The architecture as llama.cpp names it.
pub(super) fn architecture(config: &ModelConfig) -> &'static str {
    match config.family {
        Family::Pixtral | Family::Mistral3 => "llama",
        Family::Ministral3 => "mistral3",
    }
}

/// What llama.cpp b11434 computes otherwise than the model (`src/models/mistral3.cpp`, `ggml_rope_yarn_corr_dims`): it rounds the
/// bounds of YaRN to whole frequencies, has one number of original positions for rotation and queries, and of the scales of
/// rotated vectors only equal ones, which cancel out.
pub(super) fn unsupported(text: &TextConfig) -> Option<&'static str> {
    let Some(yarn) = text.yarn else {
        return text.query_scaling.map(|_| "its queries grow with their position, without YaRN");
    };
    let other = |scaling: QueryScaling| scaling.original_positions != yarn.original_positions;
    if text.query_scaling.is_some_and(other) {
        return Some("its queries grow from another position than YaRN's");
    }
    if !yarn.truncate {
        return Some("its bounds of YaRN are not rounded");
    }
    match yarn.magnitude {
        Magnitude::Scales(scale, all) if scale == all => None,
        Magnitude::Stated(1.0) => None,
        _ => Some("YaRN scales its rotated vectors"),
    }
}

/// The name of a tensor of the text decoder; `None` for the others.
pub(super) fn name(tensor: TensorName) -> Option<String> {
    let module = match tensor.module {
        Module::Embedding => "token_embd".to_owned(),
        Module::TextNorm => "output_norm".to_owned(),
        Module::Head => "output".to_owned(),
        Module::Text(layer, part) => format!("blk.{layer}.{}", part_name(part)),
        _ => return None,
    };
    (tensor == tensor.module.weight()).then(|| module + ".weight")
}

fn part_name(part: Part) -> &'static str {
    match part {
        Part::AttentionNorm => "attn_norm",
        Part::Q => "attn_q",
        Part::K => "attn_k",
        Part::V => "attn_v",
        Part::O => "attn_output",
        Part::FfnNorm => "ffn_norm",
        Part::Gate => "ffn_gate",
        Part::Up => "ffn_up",
        Part::Down => "ffn_down",
    }
}

/// The keys, without those of the vocabulary.
pub(super) fn metadata(config: &ModelConfig, name: &str, element: Element, parameters: u64) -> Metadata {
    let text = &config.text;
    let mut keys = Metadata::default();
    let architecture = architecture(config);
    general(&mut keys, architecture, "model", (name, parameters), element);
    let key = |name: &str| format!("{architecture}.{name}");
    keys.number(key("block_count"), text.layers)
        .number(key("context_length"), text.max_positions.unwrap_or(CONTEXT).min(CONTEXT))
        .number(key("embedding_length"), text.hidden_size)
        .number(key("feed_forward_length"), text.intermediate_size)
        .number(key("attention.head_count"), text.heads)
        .number(key("attention.head_count_kv"), text.kv_heads)
        .number(key("attention.key_length"), text.head_dim)
        .number(key("attention.value_length"), text.head_dim)
        .number(key("rope.dimension_count"), text.head_dim)
        .number(key("vocab_size"), text.vocab_size)
        .real(key("rope.freq_base"), text.rope_theta)
        .real(key("attention.layer_norm_rms_epsilon"), text.norm_eps);
    if let Some(yarn) = text.yarn {
        keys.text(key("rope.scaling.type"), "yarn")
            .real(key("rope.scaling.factor"), yarn.factor)
            .number(key("rope.scaling.original_context_length"), yarn.original_positions)
            .real(key("rope.scaling.yarn_beta_fast"), yarn.beta_fast)
            .real(key("rope.scaling.yarn_beta_slow"), yarn.beta_slow)
            // What the scales of `unsupported` come to: rotated vectors keep their length.
            .real(key("rope.scaling.yarn_log_multiplier"), 1.0);
    }
    if let Some(scaling) = text.query_scaling {
        keys.real(key("attention.temperature_scale"), scaling.beta);
    }
    keys
}

/// The keys that every file has.
pub(super) fn general(
    keys: &mut Metadata,
    architecture: &str,
    kind: &str,
    (name, parameters): (&str, u64),
    element: Element,
) {
    keys.text("general.architecture", architecture)
        .text("general.type", kind)
        .text("general.name", name)
        .text("general.size_label", size_label(parameters))
        .number("general.file_type", element.file_type() as usize)
        .number("general.quantization_version", 2);
}

/// `12B`, `405M`, `61K`
fn size_label(parameters: u64) -> String {
    let (unit, name) = match parameters {
        1_000_000_000.. => (1e9, "B"),
        1_000_000.. => (1e6, "M"),
        _ => (1e3, "K"),
    };
    format!("{:.0}{name}", parameters as f64 / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_rounded() {
        assert_eq!(size_label(12_247_782_400), "12B");
        assert_eq!(size_label(405_000_000), "405M");
        assert_eq!(size_label(60_800), "61K");
    }

    #[test]
    fn names_are_of_the_text_decoder_alone() {
        assert_eq!(name(Module::Text(3, Part::Gate).weight()).as_deref(), Some("blk.3.ffn_gate.weight"));
        assert_eq!(name(Module::Head.weight()).as_deref(), Some("output.weight"));
        assert_eq!(name(Module::Vision(3, Part::Gate).weight()), None);
        assert_eq!(name(Module::ProjectorIn.weight()), None);
    }
}
