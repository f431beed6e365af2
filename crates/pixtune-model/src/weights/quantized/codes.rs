//! The values of 4-bit codes.

/// The two types of 4-bit floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FourBitType {
    /// Quantiles of the normal distribution.
    Nf4,
    /// A sign, two bits of exponent and one of mantissa.
    Fp4,
}

/// The values of the codes (bitsandbytes 0.50.2 `functional.py` `get_4bit_type`).
const NF4: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

const FP4: [f32; 16] = {
    let twelfths = [0.0, 0.0625, 8.0, 12.0, 4.0, 6.0, 2.0, 3.0];
    let mut values = [0.0; 16];
    let mut code = 0;
    while code < 8 {
        values[code] = twelfths[code] / 12.0;
        // Code 8 is a zero without a sign, as in bitsandbytes' table.
        values[code + 8] = 0.0 - twelfths[code] / 12.0;
        code += 1;
    }
    values
};

impl FourBitType {
    /// The type of this name.
    pub fn parse(name: &str) -> Option<FourBitType> {
        match name {
            "nf4" => Some(FourBitType::Nf4),
            "fp4" => Some(FourBitType::Fp4),
            _ => None,
        }
    }

    /// The value of each code.
    pub fn values(self) -> &'static [f32; 16] {
        match self {
            FourBitType::Nf4 => &NF4,
            FourBitType::Fp4 => &FP4,
        }
    }
}
