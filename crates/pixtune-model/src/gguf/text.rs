//! The file of the text decoder: its names and its keys.

use super::element::Element;
use super::metadata::Metadata;
use crate::weights::{ModelConfig, Module, Part, TensorName};

/// The longest text that Pixtral was trained with (mistral.ai/news/pixtral-12b). Some configurations have eight times as many
/// positions, which llama.cpp would allot memory for by default.
const CONTEXT: usize = 131_072;

/// The architecture as llama.cpp names it.
pub(super) const ARCHITECTURE: &str = "llama";

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
    general(&mut keys, ARCHITECTURE, "model", (name, parameters), element);
    let key = |name: &str| format!("{ARCHITECTURE}.{name}");
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
