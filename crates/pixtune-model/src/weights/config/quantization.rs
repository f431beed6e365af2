//! Keys that declare a model quantized. A merge of a quantized training run often leaves them beside plain weights.

use pixtune_core::json::Value;

/// Keys of config.json, at any depth, and of params.json.
pub const KEYS: [&str; 3] = ["quantization_config", "compression_config", "quantization"];

/// Objects inside objects beyond this depth are not a model's configuration.
const DEPTH: usize = 8;

/// A key that declares the model quantized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantization {
    /// The key with what leads to it: `text_config.quantization_config`.
    pub key: String,
    /// The method that it names, such as `bitsandbytes`.
    pub method: Option<String>,
    /// Rows and columns of the blocks of FP8 weights (`weight_block_size`).
    pub block: Option<[usize; 2]>,
}

impl Quantization {
    /// Every such key of a configuration.
    pub fn find(source: &Value<'_>) -> Vec<Quantization> {
        let mut found = Vec::new();
        search(source, "", DEPTH, &mut found);
        found
    }

    /// What the key means beside weights that are not quantized.
    pub fn leftover(&self) -> String {
        let method = self.method.as_ref().map_or(String::new(), |method| format!(" ({method})"));
        format!(
            "`{}`{method} is left over from a quantized model: the tensors are not quantized, and transformers and vLLM would \
             load them as if they were; pixtune ignores it and does not write it",
            self.key
        )
    }
}

fn search(value: &Value<'_>, path: &str, depth: usize, found: &mut Vec<Quantization>) {
    for (key, value) in value.as_object().unwrap_or_default() {
        if *value == Value::Null {
            continue;
        }
        let full = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
        if KEYS.contains(&key.as_ref()) {
            let method = value.get("quant_method").and_then(Value::as_str).map(str::to_owned);
            let sides = value.get("weight_block_size").and_then(Value::as_array).unwrap_or_default();
            let side = |side: &Value<'_>| side.to_string().parse().ok();
            let block = match sides {
                [down, across] => side(down).zip(side(across)).map(|(down, across)| [down, across]),
                _ => None,
            };
            found.push(Quantization { key: full, method, block });
        } else if depth > 0 {
            search(value, &full, depth - 1, found);
        }
    }
}
