//! The tensor `quant_state.bitsandbytes__nf4`: a JSON object in bytes, with what a 4-bit weight is beside its numbers.

use pixtune_core::json::{self, Value};

use crate::weights::dtype::Dtype;

/// No state is longer: it has about ten keys.
pub const MAX_STATE: u64 = 64 << 10;

/// Block sizes of bitsandbytes (0.50.2 `functional.py`).
const BLOCKS: [usize; 8] = [32, 64, 128, 256, 512, 1024, 2048, 4096];

/// What a quantized weight is beside its numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantState {
    /// `nf4` or `fp4`.
    pub quant_type: String,
    /// Elements that share a scale.
    pub block: usize,
    /// The data type of the weight before it was quantized.
    pub dtype: Dtype,
    /// The shape of the weight.
    pub shape: Vec<usize>,
    /// How the scales are quantized, if they are.
    pub nested: Option<NestedState>,
}

/// How scales are quantized.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NestedState {
    /// Scales that share a scale.
    pub block: usize,
    /// What is added to each scale.
    pub offset: f32,
}

/// What is wrong with a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message explains its variant")]
pub enum StateError {
    #[error("it is not JSON in UTF-8")]
    NotJson,
    #[error("it has no `{key}`")]
    Missing { key: &'static str },
    #[error("`{key}` is {found}; {wants}")]
    Value { key: &'static str, found: String, wants: &'static str },
}

impl QuantState {
    /// Reads the bytes of the tensor.
    pub fn parse(bytes: &[u8]) -> Result<QuantState, StateError> {
        let text = std::str::from_utf8(bytes).map_err(|_| StateError::NotJson)?;
        let state = json::parse(text).map_err(|_| StateError::NotJson)?.value;
        let get = |key| state.get(key).filter(|value| **value != Value::Null);
        let need = |key| get(key).ok_or(StateError::Missing { key });
        let quant_type = need("quant_type")?;
        let quant_type = quant_type.as_str().filter(|name| ["nf4", "fp4"].contains(name));
        let wants = "the types are nf4 and fp4";
        let quant_type = quant_type.ok_or_else(|| wrong("quant_type", get("quant_type"), wants))?.to_owned();
        let dtype = need("dtype")?;
        let name = dtype.as_str().unwrap_or_default();
        let dtype = Dtype::ALL.into_iter().find(|dtype| dtype.is_weight() && dtype.torch_name() == name);
        let wants = "the types are bfloat16, float16 and float32";
        let dtype = dtype.ok_or_else(|| wrong("dtype", get("dtype"), wants))?;
        let sides = need("shape")?.as_array().map(|sides| sides.iter().map(whole).collect());
        let wants = "a shape is a list of sizes";
        let Some(Some(shape)) = sides else { return Err(wrong("shape", get("shape"), wants)) };
        let nested = match get("nested_blocksize") {
            None => None,
            Some(_) => Some(NestedState {
                block: block(&state, "nested_blocksize")?,
                offset: number(need("nested_offset")?)
                    .ok_or_else(|| wrong("nested_offset", get("nested_offset"), "it is a finite number"))?,
            }),
        };
        Ok(QuantState { quant_type, block: block(&state, "blocksize")?, dtype, shape, nested })
    }
}

fn wrong(key: &'static str, found: Option<&Value<'_>>, wants: &'static str) -> StateError {
    let mut found = found.map_or("absent".to_owned(), ToString::to_string);
    if found.chars().count() > 60 {
        found = found.chars().take(57).collect::<String>() + "…";
    }
    StateError::Value { key, found, wants }
}

fn block(state: &Value<'_>, key: &'static str) -> Result<usize, StateError> {
    let value = state.get(key).ok_or(StateError::Missing { key })?;
    let wants = "block sizes are 32, 64, 128, 256, 512, 1024, 2048 and 4096";
    whole(value).filter(|block| BLOCKS.contains(block)).ok_or_else(|| wrong(key, Some(value), wants))
}

fn whole(value: &Value<'_>) -> Option<usize> {
    match value {
        Value::Number(text) => text.parse().ok(),
        _ => None,
    }
}

/// Rounded to f64 first, as Python's JSON reader does, then to f32.
fn number(value: &Value<'_>) -> Option<f32> {
    match value {
        Value::Number(text) => text.parse().ok().map(|number: f64| number as f32).filter(|n| n.is_finite()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_bitsandbytes_writes() {
        let text = br#"{"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [64, 96], "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.05417}"#;
        let state = QuantState::parse(text).unwrap();
        assert_eq!((state.block, state.dtype, &state.shape[..]), (64, Dtype::BF16, &[64, 96][..]));
        assert_eq!(state.nested, Some(NestedState { block: 256, offset: 0.05417 }));
    }

    #[test]
    fn names_what_is_wrong() {
        let whole = r#"{"quant_type": "nf4", "blocksize": 64, "dtype": "float16", "shape": [4], "nested_blocksize": 256, "nested_offset": 1}"#;
        for (from, to, error) in [
            ("\"nested_offset\"", "\"offset\"", "it has no `nested_offset`"),
            ("\"nf4\"", "\"int4\"", "`quant_type` is \"int4\"; the types are nf4 and fp4"),
            (": 64", ": 48", "`blocksize` is 48; block sizes are 32, 64, 128, 256, 512, 1024, 2048 and 4096"),
            ("float16", "int8", "`dtype` is \"int8\"; the types are bfloat16, float16 and float32"),
            ("[4]", "[-4]", "`shape` is [-4]; a shape is a list of sizes"),
            ("\"shape\"", "\"form\"", "it has no `shape`"),
        ] {
            assert_eq!(QuantState::parse(whole.replace(from, to).as_bytes()).unwrap_err().to_string(), error);
        }
        assert_eq!(QuantState::parse(b"\xff"), Err(StateError::NotJson));
    }
}
