//! Writes `config.json` and `params.json`: every key that matters, on top of what was there.

use std::borrow::Cow;

use pixtune_core::json::{self, Value};

use super::{Family, ModelConfig};
use crate::weights::Format;
use crate::weights::dtype::Dtype;

/// A configuration file, and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct WrittenConfig {
    /// The text of the file.
    pub text: String,
    /// Keys that the source does not have, with their values and where those come from.
    pub synthesised: Vec<Synthesised>,
    /// Keys whose value was replaced: the key, before, after.
    pub corrected: Vec<[String; 3]>,
    /// Unknown keys that were taken over.
    pub carried: Vec<String>,
    /// Keys of the source that have no counterpart, with their values.
    pub left_out: Vec<[String; 2]>,
}

/// A value that the source does not state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synthesised {
    /// Which key.
    pub key: String,
    /// What was written.
    pub value: String,
    /// Why this value.
    pub why: &'static str,
}

const ARCHITECTURE: &str = "the same for every model of this architecture";

/// Writes the configuration in a format. `base` is a configuration of the same model in that format, whose other keys
/// are kept; without one, unknown keys of the source are carried over.
pub fn write(
    config: &ModelConfig,
    from: Format,
    to: Format,
    dtype: Dtype,
    base: Option<&Value<'static>>,
) -> WrittenConfig {
    let start = match base {
        Some(base) => Some(base),
        None if from == to => Some(&config.source),
        None => None,
    };
    let mut out = Out {
        root: start.cloned().unwrap_or(Value::Object(Vec::new())),
        has_start: start.is_some(),
        written: WrittenConfig {
            text: String::new(),
            synthesised: Vec::new(),
            corrected: Vec::new(),
            carried: Vec::new(),
            left_out: Vec::new(),
        },
    };
    match to {
        Format::Hf => hf(config, dtype, &mut out),
        Format::Mistral => native(config, &mut out),
    }
    if from != to {
        carry(config, from, &mut out);
    }
    out.written.text = pretty(&out.root);
    out.written
}

/// A file in the making.
struct Out {
    root: Value<'static>,
    has_start: bool,
    written: WrittenConfig,
}

impl Out {
    /// A value that follows from the source.
    fn said(&mut self, path: &[&'static str], value: Value<'static>) {
        self.set(path, value);
    }

    /// A value that the source does not state.
    fn assume(&mut self, path: &[&'static str], value: Value<'static>, why: &'static str) {
        let (key, text) = (path.join("."), value.to_string());
        if self.set(path, value) {
            self.written.synthesised.push(Synthesised { key, value: text, why });
        }
    }

    /// A value that is only written where there is none.
    fn default(&mut self, path: &[&'static str], value: Value<'static>, why: &'static str) {
        if member(&self.root, path).is_none() {
            self.assume(path, value, why);
        }
    }

    /// Takes a key out that must not be there.
    fn remove(&mut self, path: &[&'static str]) {
        let (last, area) = path.split_last().expect("a path has a step");
        if let Some(members) = members_at(&mut self.root, area) {
            let before = members.iter().position(|(key, _)| key == last);
            if let Some(index) = before {
                let (_, value) = members.remove(index);
                self.written.corrected.push([path.join("."), value.to_string(), "absent".to_owned()]);
            }
        }
    }

    /// Sets a value; whether something new was written.
    fn set(&mut self, path: &[&'static str], value: Value<'static>) -> bool {
        let (last, area) = path.split_last().expect("a path has a step");
        let Some(members) = members_at(&mut self.root, area) else { return false };
        // Of members with one key the last counts; the others go.
        let mut same: Vec<usize> = (0..members.len()).filter(|index| members[*index].0 == *last).collect();
        let index = same.pop();
        for extra in same.into_iter().rev() {
            members.remove(extra);
        }
        let index = index.and_then(|_| members.iter().position(|(key, _)| key == last));
        match index {
            Some(index) => {
                let before = &mut members[index].1;
                if same_value(before, &value) {
                    return false;
                }
                let change = [path.join("."), before.to_string(), value.to_string()];
                *before = value;
                self.written.corrected.push(change);
                false
            }
            None => {
                members.push((Cow::Borrowed(last), value));
                true
            }
        }
    }
}

/// The members of a nested object, which is made where it is not there.
fn members_at<'v>(
    value: &'v mut Value<'static>,
    area: &[&'static str],
) -> Option<&'v mut Vec<(Cow<'static, str>, Value<'static>)>> {
    let Value::Object(members) = value else { return None };
    let Some((first, rest)) = area.split_first() else { return Some(members) };
    let index = match members.iter().rposition(|(key, _)| key == first) {
        Some(index) => index,
        None => {
            members.push((Cow::Borrowed(first), Value::Object(Vec::new())));
            members.len() - 1
        }
    };
    let inner = &mut members[index].1;
    if !matches!(inner, Value::Object(_)) {
        *inner = Value::Object(Vec::new());
    }
    members_at(inner, rest)
}

fn member<'v>(value: &'v Value<'static>, path: &[&str]) -> Option<&'v Value<'static>> {
    path.iter().try_fold(value, |value, step| value.get(step))
}

fn same_value(a: &Value<'_>, b: &Value<'_>) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.parse::<f64>() == b.parse::<f64>(),
        _ => a == b,
    }
}

fn hf(config: &ModelConfig, dtype: Dtype, out: &mut Out) {
    let ModelConfig { vision, projector, family, .. } = config;
    let class = match family {
        Family::Pixtral => "LlavaForConditionalGeneration",
        Family::Mistral3 => "Mistral3ForConditionalGeneration",
    };
    out.assume(&["architectures"], Value::Array(vec![string(class)]), ARCHITECTURE);
    // transformers 4 reads `torch_dtype`, 5 reads `dtype`.
    out.said(&["dtype"], string(dtype.torch_name()));
    out.said(&["torch_dtype"], string(dtype.torch_name()));
    out.said(&["image_token_index"], whole(config.image_token as usize));
    let kind = if *family == Family::Pixtral { "llava" } else { "mistral3" };
    out.assume(&["model_type"], string(kind), ARCHITECTURE);
    out.said(&["multimodal_projector_bias"], Value::Bool(projector.bias));
    out.assume(&["projector_hidden_act"], string("gelu"), ARCHITECTURE);
    hf_text(config, out);
    out.said(&["tie_word_embeddings"], Value::Bool(config.tied));
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
        out.said(&["vision_config", key], whole(size));
    }
    out.assume(&["vision_config", "hidden_act"], string("silu"), ARCHITECTURE);
    out.assume(&["vision_config", "model_type"], string("pixtral"), ARCHITECTURE);
    rope("vision_config", "axial", vision.rope_theta, out);
    out.default(&["vision_config", "attention_dropout"], number(0.0), ARCHITECTURE);
    out.default(&["vision_config", "initializer_range"], number(0.02), ARCHITECTURE);
    out.assume(&["vision_feature_layer"], Value::Number("-1".into()), ARCHITECTURE);
    match family {
        Family::Pixtral => {
            out.assume(&["image_seq_length"], whole(1), ARCHITECTURE);
            out.assume(&["vision_feature_select_strategy"], string("full"), ARCHITECTURE);
        }
        Family::Mistral3 => out.said(&["spatial_merge_size"], whole(projector.spatial_merge)),
    }
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
        out.said(&["text_config", key], whole(size));
    }
    out.said(&["text_config", "rms_norm_eps"], number(text.norm_eps));
    out.assume(&["text_config", "model_type"], string("mistral"), ARCHITECTURE);
    out.assume(&["text_config", "hidden_act"], string("silu"), ARCHITECTURE);
    rope("text_config", "default", text.rope_theta, out);
    out.assume(&["text_config", "sliding_window"], Value::Null, ARCHITECTURE);
    out.said(&["text_config", "tie_word_embeddings"], Value::Bool(config.tied));
    match text.max_positions {
        Some(positions) => out.said(&["text_config", "max_position_embeddings"], whole(positions)),
        None if text.rope_theta == 1e9 => out.default(
            &["text_config", "max_position_embeddings"],
            whole(1_024_000),
            "what transformers' converter writes for Pixtral; params.json does not say it",
        ),
        None => out.default(
            &["text_config", "max_position_embeddings"],
            whole(131_072),
            "the context Mistral documents; params.json does not say it",
        ),
    }
    out.default(&["text_config", "attention_dropout"], number(0.0), ARCHITECTURE);
    out.default(&["text_config", "bos_token_id"], whole(1), "`<s>` in every tokenizer of Mistral");
    out.default(&["text_config", "eos_token_id"], whole(2), "`</s>` in every tokenizer of Mistral");
    out.default(&["text_config", "initializer_range"], number(0.02), ARCHITECTURE);
    out.default(&["text_config", "use_cache"], Value::Bool(true), ARCHITECTURE);
}

/// Both spellings: transformers 4 reads `rope_theta`, 5 reads `rope_parameters`, and each takes 10000 where it finds none.
fn rope(area: &'static str, kind: &'static str, theta: f64, out: &mut Out) {
    out.said(&[area, "rope_theta"], number(theta));
    out.said(&[area, "rope_parameters", "rope_theta"], number(theta));
    out.default(&[area, "rope_parameters", "rope_type"], string(kind), ARCHITECTURE);
}

fn native(config: &ModelConfig, out: &mut Out) {
    let ModelConfig { text, vision, projector, .. } = config;
    for (key, size) in [
        ("dim", text.hidden_size),
        ("n_layers", text.layers),
        ("head_dim", text.head_dim),
        ("hidden_dim", text.intermediate_size),
        ("n_heads", text.heads),
        ("n_kv_heads", text.kv_heads),
    ] {
        out.said(&[key], whole(size));
    }
    out.said(&["rope_theta"], number(text.rope_theta));
    out.said(&["norm_eps"], number(text.norm_eps));
    out.said(&["vocab_size"], whole(text.vocab_size));
    if let Some(positions) = text.max_positions
        && !out.has_start
    {
        out.said(&["max_position_embeddings"], whole(positions));
    }
    if config.tied || member(&out.root, &["tied_embeddings"]).is_some() {
        out.said(&["tied_embeddings"], Value::Bool(config.tied));
    }
    out.remove(&["lora"]);
    for (key, size) in [
        ("hidden_size", vision.hidden_size),
        ("num_channels", vision.channels),
        ("image_size", vision.image_size),
        ("patch_size", vision.patch_size),
    ] {
        out.said(&["vision_encoder", key], whole(size));
    }
    out.said(&["vision_encoder", "rope_theta"], number(vision.rope_theta));
    for (key, size) in [
        ("intermediate_size", vision.intermediate_size),
        ("num_hidden_layers", vision.layers),
        ("num_attention_heads", vision.heads),
    ] {
        out.said(&["vision_encoder", key], whole(size));
    }
    out.said(&["vision_encoder", "adapter_bias"], Value::Bool(projector.bias));
    out.said(&["vision_encoder", "image_token_id"], whole(config.image_token as usize));
    let by_vllm = "vLLM and llama.cpp refuse the model without it";
    out.default(&["vision_encoder", "image_break_token_id"], whole(12), by_vllm);
    out.default(&["vision_encoder", "image_end_token_id"], whole(13), by_vllm);
    out.default(&["vision_encoder", "max_image_size"], whole(vision.image_size), "the same as image_size");
    let merges = projector.spatial_merge > 1 || projector.norm;
    let id = if merges { "patch_merge" } else { "" };
    out.default(&["vision_encoder", "mm_projector_id"], string(id), "llama.cpp refuses the model without it");
    if merges {
        out.said(&["vision_encoder", "spatial_merge_size"], whole(projector.spatial_merge));
        out.said(&["vision_encoder", "add_pre_mm_projector_layer_norm"], Value::Bool(projector.norm));
    }
}

/// Keys of `config.json` that are translated, fixed, or about the run that wrote it.
const HF_KNOWN: [&str; 23] = [
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
const HF_INNER_KNOWN: [&str; 36] = [
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

/// Keys of `params.json` that are translated.
const NATIVE_KNOWN: [&str; 13] = [
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
];

/// Keys of `vision_encoder` that are translated.
const NATIVE_VISION_KNOWN: [&str; 16] = [
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

/// Takes unknown keys of the source along, to the place that corresponds to theirs. What is known but has no counterpart
/// is listed.
fn carry(config: &ModelConfig, from: Format, out: &mut Out) {
    type Area = (&'static str, &'static [&'static str], &'static [&'static str]);
    let areas: &[Area] = match from {
        Format::Hf => &[
            ("", &HF_KNOWN, &[]),
            ("text_config", &HF_INNER_KNOWN, &[]),
            ("vision_config", &HF_INNER_KNOWN, &["vision_encoder"]),
        ],
        Format::Mistral => {
            &[("", &NATIVE_KNOWN, &[]), ("vision_encoder", &NATIVE_VISION_KNOWN, &["vision_config"])]
        }
    };
    for (area, known, target) in areas {
        let object = if area.is_empty() { Some(&config.source) } else { config.source.get(area) };
        for (key, value) in object.and_then(Value::as_object).unwrap_or_default() {
            let full = if area.is_empty() { key.to_string() } else { format!("{area}.{key}") };
            if known.contains(&key.as_ref()) {
                continue;
            }
            let members = members_at(&mut out.root, target);
            match members {
                Some(members) if members.iter().all(|(other, _)| other != key) => {
                    members.push((key.clone(), value.clone()));
                    out.written.carried.push(full);
                }
                _ => out.written.left_out.push([full, value.to_string()]),
            }
        }
    }
}

fn string(text: &'static str) -> Value<'static> {
    Value::String(text.into())
}

fn whole(number: usize) -> Value<'static> {
    Value::Number(number.to_string().into())
}

/// A float as Python writes it: `1000000000.0`, `1e-05`.
fn number(value: f64) -> Value<'static> {
    let text = if value != 0.0 && !(1e-4..1e16).contains(&value) {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        match exponent.strip_prefix('-') {
            Some(digits) => format!("{mantissa}e-{digits:0>2}"),
            None => format!("{mantissa}e+{exponent:0>2}"),
        }
    } else {
        format!("{value:?}")
    };
    Value::Number(text.into())
}

/// JSON over several lines, indented by two, with a line end.
pub(crate) fn pretty(value: &Value<'_>) -> String {
    let mut out = String::new();
    write_pretty(value, 0, &mut out);
    out.push('\n');
    out
}

fn write_pretty(value: &Value<'_>, depth: usize, out: &mut String) {
    let line = |depth: usize, out: &mut String| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    match value {
        Value::Array(values) if !values.is_empty() => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                line(depth + 1, out);
                write_pretty(value, depth + 1, out);
            }
            line(depth, out);
            out.push(']');
        }
        Value::Object(members) if !members.is_empty() => {
            out.push('{');
            for (index, (key, value)) in members.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                line(depth + 1, out);
                json::write_string(key, out);
                out.push_str(": ");
                write_pretty(value, depth + 1, out);
            }
            line(depth, out);
            out.push('}');
        }
        scalar => scalar.write(out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_python_does() {
        let text = |value: f64| number(value).to_string();
        assert_eq!(
            [1e9, 1e-5, 0.5, 1e16, 0.0, 1.5e-7].map(text),
            ["1000000000.0", "1e-05", "0.5", "1e+16", "0.0", "1.5e-07"]
        );
    }
}
