//! Types of elements in a GGUF file, and how values are encoded in them.

use crate::weights::Dtype;
use crate::weights::dtype;

/// A type of elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an `f32`.
    BF16,
    /// Blocks of 32 values: a scale in half precision and 32 signed bytes.
    Q8_0,
}

/// Values of a block of [`Element::Q8_0`].
const BLOCK: usize = 32;

/// Bytes of a block: two of the scale and one for each value.
const BLOCK_BYTES: usize = 2 + BLOCK;

impl Element {
    /// Every type that is written.
    pub const ALL: [Element; 4] = [Element::F32, Element::F16, Element::BF16, Element::Q8_0];

    /// The name in llama.cpp.
    pub fn as_str(self) -> &'static str {
        match self {
            Element::F32 => "F32",
            Element::F16 => "F16",
            Element::BF16 => "BF16",
            Element::Q8_0 => "Q8_0",
        }
    }

    /// The number of the type in the list of a file's tensors (`ggml_type`).
    pub fn number(self) -> u32 {
        match self {
            Element::F32 => 0,
            Element::F16 => 1,
            Element::Q8_0 => 8,
            Element::BF16 => 30,
        }
    }

    /// The number in `general.file_type` of a file whose matrices have this type (`llama_ftype`).
    pub fn file_type(self) -> u32 {
        match self {
            Element::F32 => 0,
            Element::F16 => 1,
            Element::Q8_0 => 7,
            Element::BF16 => 32,
        }
    }

    /// The type that keeps values of a checkpoint's type.
    pub fn of(dtype: Dtype) -> Element {
        match dtype {
            Dtype::BF16 => Element::BF16,
            Dtype::F16 => Element::F16,
            _ => Element::F32,
        }
    }

    /// The type of a checkpoint with the same bytes.
    pub fn dtype(self) -> Option<Dtype> {
        match self {
            Element::F32 => Some(Dtype::F32),
            Element::F16 => Some(Dtype::F16),
            Element::BF16 => Some(Dtype::BF16),
            Element::Q8_0 => None,
        }
    }

    /// Whether rows of this length can be stored: blocks do not go over the end of a row.
    pub fn holds_rows_of(self, columns: usize) -> bool {
        self != Element::Q8_0 || columns.is_multiple_of(BLOCK)
    }

    /// Bytes of so many values; of whole blocks.
    pub fn bytes(self, values: u64) -> u64 {
        match self {
            Element::F32 => values.saturating_mul(4),
            Element::F16 | Element::BF16 => values.saturating_mul(2),
            Element::Q8_0 => (values / BLOCK as u64).saturating_mul(BLOCK_BYTES as u64),
        }
    }

    /// Encodes values, whole blocks, into as many bytes as they take.
    pub fn encode(self, values: &[f32], bytes: &mut Vec<u8>) {
        bytes.resize(self.bytes(values.len() as u64) as usize, 0);
        match self.dtype() {
            Some(dtype) => {
                dtype::write_f32(dtype, values, bytes).expect("these are types of weights");
            }
            None => {
                let blocks = bytes.chunks_exact_mut(BLOCK_BYTES).zip(values.chunks_exact(BLOCK));
                blocks.for_each(|(out, block)| encode_block(block, out));
            }
        }
    }
}

/// One block of Q8_0 as `quantize_row_q8_0_ref` of ggml computes it: the largest magnitude becomes 127, and values are rounded
/// half away from zero before the scale is rounded to half precision.
fn encode_block(block: &[f32], out: &mut [u8]) {
    let larger = |largest: f32, value: &f32| if value.abs() > largest { value.abs() } else { largest };
    let largest = block.iter().fold(0f32, larger);
    let scale = largest / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    out[..2].copy_from_slice(&dtype::f32_to_f16(scale).to_le_bytes());
    for (out, value) in out[2..].iter_mut().zip(block) {
        *out = (rounded(value * inverse) as i8).cast_unsigned();
    }
}

/// The nearest integer, halves away from zero, of a value within 2^22. `f32::round` is a call for each value where the processor's
/// instruction cannot be assumed, and this is vectorized.
fn rounded(value: f32) -> i32 {
    // The largest number below one half: with one half, what is just below it would become 1.
    const BELOW_HALF: f32 = 0.5 - f32::EPSILON / 4.0;
    (value + BELOW_HALF.copysign(value)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_its_scale_and_rounds_half_away_from_zero() {
        let mut values = [0f32; 32];
        (values[0], values[1], values[2], values[3]) = (127.0, 0.5, -0.5, -127.0);
        let mut bytes = Vec::new();
        Element::Q8_0.encode(&values, &mut bytes);
        assert_eq!(bytes.len(), 34);
        assert_eq!(bytes[..2], 0x3c00u16.to_le_bytes());
        assert_eq!(bytes[2..6].iter().map(|byte| byte.cast_signed()).collect::<Vec<_>>(), [127, 1, -1, -127]);
        Element::Q8_0.encode(&[0.0; 32], &mut bytes);
        assert_eq!(bytes, [0; 34]);
    }

    #[test]
    fn integers_are_nearest_and_halves_go_away_from_zero() {
        for steps in -127 * 8..=127 * 8 {
            let value = steps as f32 / 8.0;
            for near in [value, value.next_up(), value.next_down()] {
                assert_eq!(rounded(near), near.round() as i32, "{near}");
            }
        }
        assert_eq!(rounded(f32::NAN), 0);
    }

    #[test]
    fn types_of_weights_keep_their_bytes() {
        let values = [1.0f32, -2.5, 0.0, f32::MIN_POSITIVE];
        let mut bytes = Vec::new();
        Element::F32.encode(&values, &mut bytes);
        assert_eq!(bytes, values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
        Element::BF16.encode(&values, &mut bytes);
        assert_eq!(bytes.len() as u64, Element::BF16.bytes(4));
        assert_eq!(bytes[..2], 0x3f80u16.to_le_bytes());
    }
}
