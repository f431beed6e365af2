//! Element types of tensors, and the conversions between the floating ones.

use crate::simd::vectorized;

/// The type of a tensor's elements, under the name safetensors files use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dtype {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned, 8 bits.
    U8,
    /// Signed, 8 bits.
    I8,
    /// 8-bit float, 4 bits of exponent.
    F8E4M3,
    /// 8-bit float, 5 bits of exponent.
    F8E5M2,
    /// Unsigned, 16 bits.
    U16,
    /// Signed, 16 bits.
    I16,
    /// IEEE half precision.
    F16,
    /// The upper half of an `f32`.
    BF16,
    /// Unsigned, 32 bits.
    U32,
    /// Signed, 32 bits.
    I32,
    /// IEEE single precision.
    F32,
    /// Unsigned, 64 bits.
    U64,
    /// Signed, 64 bits.
    I64,
    /// IEEE double precision.
    F64,
}

impl Dtype {
    /// Every type, smallest first.
    pub const ALL: [Dtype; 15] = [
        Dtype::Bool,
        Dtype::U8,
        Dtype::I8,
        Dtype::F8E4M3,
        Dtype::F8E5M2,
        Dtype::U16,
        Dtype::I16,
        Dtype::F16,
        Dtype::BF16,
        Dtype::U32,
        Dtype::I32,
        Dtype::F32,
        Dtype::U64,
        Dtype::I64,
        Dtype::F64,
    ];

    /// The name in a safetensors header.
    pub fn as_str(self) -> &'static str {
        match self {
            Dtype::Bool => "BOOL",
            Dtype::U8 => "U8",
            Dtype::I8 => "I8",
            Dtype::F8E4M3 => "F8_E4M3",
            Dtype::F8E5M2 => "F8_E5M2",
            Dtype::U16 => "U16",
            Dtype::I16 => "I16",
            Dtype::F16 => "F16",
            Dtype::BF16 => "BF16",
            Dtype::U32 => "U32",
            Dtype::I32 => "I32",
            Dtype::F32 => "F32",
            Dtype::U64 => "U64",
            Dtype::I64 => "I64",
            Dtype::F64 => "F64",
        }
    }

    /// The type of this name in a safetensors header.
    pub fn parse(name: &str) -> Option<Dtype> {
        Dtype::ALL.into_iter().find(|dtype| dtype.as_str() == name)
    }

    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            Dtype::Bool | Dtype::U8 | Dtype::I8 | Dtype::F8E4M3 | Dtype::F8E5M2 => 1,
            Dtype::U16 | Dtype::I16 | Dtype::F16 | Dtype::BF16 => 2,
            Dtype::U32 | Dtype::I32 | Dtype::F32 => 4,
            Dtype::U64 | Dtype::I64 | Dtype::F64 => 8,
        }
    }

    /// Whether this is a type that weights are computed with: bf16, f16 or f32.
    pub fn is_weight(self) -> bool {
        matches!(self, Dtype::BF16 | Dtype::F16 | Dtype::F32)
    }

    /// The name PyTorch and configuration files use: `bfloat16`, `float32`, ….
    pub fn torch_name(self) -> &'static str {
        match self {
            Dtype::Bool => "bool",
            Dtype::U8 => "uint8",
            Dtype::I8 => "int8",
            Dtype::F8E4M3 => "float8_e4m3fn",
            Dtype::F8E5M2 => "float8_e5m2",
            Dtype::U16 => "uint16",
            Dtype::I16 => "int16",
            Dtype::F16 => "float16",
            Dtype::BF16 => "bfloat16",
            Dtype::U32 => "uint32",
            Dtype::I32 => "int32",
            Dtype::F32 => "float32",
            Dtype::U64 => "uint64",
            Dtype::I64 => "int64",
            Dtype::F64 => "float64",
        }
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An `f32` of the same value: bf16 is its upper half.
#[inline(always)]
pub fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The nearest bf16, ties to even; a NaN stays a NaN. PyTorch rounds the same way.
#[inline(always)]
pub fn f32_to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        // Cutting the payload could leave an infinity; PyTorch writes this one NaN for all.
        return 0x7fc0;
    }
    let round = 0x7fff + (bits >> 16 & 1);
    ((bits + round) >> 16) as u16
}

/// An `f32` of the same value; subnormals included.
pub fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let exponent = u32::from(bits >> 10 & 0x1f);
    let mantissa = u32::from(bits & 0x3ff);
    match (exponent, mantissa) {
        (0, mantissa) => {
            let magnitude = mantissa as f32 * f32::from_bits(0x3380_0000); // 2^-24
            f32::from_bits(magnitude.to_bits() | sign)
        }
        (0x1f, mantissa) => f32::from_bits(sign | 0x7f80_0000 | mantissa << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | mantissa << 13),
    }
}

/// The nearest f16, ties to even; what is too large becomes an infinity.
pub fn f32_to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    if magnitude > 0x7f80_0000 {
        return sign | 0x7e00;
    }
    // 65520 and more round to infinity.
    if magnitude >= 0x477f_f000 {
        return sign | 0x7c00;
    }
    if magnitude < 0x3880_0000 {
        // Subnormal: adding 0.5 moves the bits that stay to the end of the mantissa, and the addition rounds.
        let shifted = f32::from_bits(magnitude) + 0.5;
        return sign | (shifted.to_bits() - 0x3f00_0000) as u16;
    }
    let round = 0xfff + (magnitude >> 13 & 1);
    sign | ((magnitude + round - 0x3800_0000) >> 13) as u16
}

/// The elements of `bytes` as `f32`; `None` where the type is none of bf16, f16 and f32.
pub fn to_f32(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let mut values = vec![0.0; bytes.len() / dtype.size()];
    read_f32(dtype, bytes, &mut values)?;
    Some(values)
}

/// Converts the elements of `bytes` to as many `values`; `None` where the type is none of bf16, f16 and f32.
pub fn read_f32(dtype: Dtype, bytes: &[u8], values: &mut [f32]) -> Option<()> {
    match dtype {
        Dtype::BF16 => read_bf16(bytes.as_chunks().0, values),
        Dtype::F16 => {
            let halves = bytes.as_chunks().0.iter().map(|two| f16_to_f32(u16::from_le_bytes(*two)));
            values.iter_mut().zip(halves).for_each(|(value, half)| *value = half);
        }
        Dtype::F32 => {
            let stored = bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four));
            values.iter_mut().zip(stored).for_each(|(value, stored)| *value = stored);
        }
        _ => return None,
    }
    Some(())
}

/// Converts `values` to as many elements of a weight type, each rounded once; `None` where the type is none of bf16, f16
/// and f32.
pub fn write_f32(dtype: Dtype, values: &[f32], bytes: &mut [u8]) -> Option<()> {
    match dtype {
        Dtype::BF16 => write_bf16(values, bytes.as_chunks_mut().0),
        Dtype::F16 => {
            let halves = values.iter().map(|value| f32_to_f16(*value).to_le_bytes());
            bytes.as_chunks_mut().0.iter_mut().zip(halves).for_each(|(out, half)| *out = half);
        }
        Dtype::F32 => {
            let stored = values.iter().map(|value| value.to_le_bytes());
            bytes.as_chunks_mut().0.iter_mut().zip(stored).for_each(|(out, stored)| *out = stored);
        }
        _ => return None,
    }
    Some(())
}

vectorized! {
    fn read_bf16(bytes: &[[u8; 2]], values: &mut [f32]) {
        for (value, two) in values.iter_mut().zip(bytes) {
            *value = bf16_to_f32(u16::from_le_bytes(*two));
        }
    }
}

vectorized! {
    fn write_bf16(values: &[f32], bytes: &mut [[u8; 2]]) {
        for (two, value) in bytes.iter_mut().zip(values) {
            *two = f32_to_bf16(*value).to_le_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for dtype in Dtype::ALL {
            assert_eq!(Dtype::parse(dtype.as_str()), Some(dtype));
        }
        assert_eq!(Dtype::parse("F4"), None);
    }

    #[test]
    fn every_half_survives_f32() {
        for bits in 0..=u16::MAX {
            let (bf16, f16) = (bf16_to_f32(bits), f16_to_f32(bits));
            if !bf16.is_nan() {
                assert_eq!(f32_to_bf16(bf16), bits);
            }
            if !f16.is_nan() {
                assert_eq!(f32_to_f16(f16), bits, "{f16}");
            }
            assert_eq!(f16.is_nan(), bits & 0x7fff > 0x7c00);
        }
    }

    #[test]
    fn halves_round_to_nearest_even() {
        assert_eq!(f32_to_bf16(f32::from_bits(0x3f80_8000)), 0x3f80);
        assert_eq!(f32_to_bf16(f32::from_bits(0x3f81_8000)), 0x3f82);
        assert_eq!(f32_to_bf16(f32::from_bits(0x3f80_8001)), 0x3f81);
        assert_eq!(f32_to_bf16(f32::MAX), 0x7f80);
        assert_eq!(f32_to_bf16(f32::from_bits(0x7f80_0001)), 0x7fc0);
        // Between any two neighbors the middle goes to the even one, and what lies beside it to its own side.
        for low in 0..0x7c00u16 - 1 {
            let middle = (f16_to_f32(low) + f16_to_f32(low + 1)) / 2.0;
            assert_eq!(f32_to_f16(middle), low + (low & 1));
            assert_eq!(f32_to_f16(middle.next_down()), low);
            assert_eq!(f32_to_f16(-middle.next_up()), 0x8000 | (low + 1));
        }
        assert_eq!(f32_to_f16(65519.99), 0x7bff);
        assert_eq!(f32_to_f16(65520.0), 0x7c00);
        assert_eq!(f32_to_f16(f32::MIN_POSITIVE), 0);
    }
}
