//! Floating-point numbers as Python writes them.

use std::borrow::Cow;
use std::fmt::LowerExp;

use pixtune_core::json::Value;

/// The shortest digits that read back as `shortest`, which is `value` in the precision of its column, in the form of
/// Python's `repr`. Not a number is null: the libraries write it for a missing value.
pub(in crate::read) fn float(value: f64, shortest: impl LowerExp) -> Value<'static> {
    if value.is_nan() {
        return Value::Null;
    }
    let text = match value.is_finite() {
        true => repr(&format!("{shortest:e}")),
        false if value > 0.0 => "Infinity".to_owned(),
        false => "-Infinity".to_owned(),
    };
    Value::Number(Cow::Owned(text))
}

/// `1.5e3` as `1500.0`: exponents from -4 to 15 are written out.
fn repr(scientific: &str) -> String {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs());
    }
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits = mantissa.replace('.', "");
    if exponent < 0 {
        let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
        return format!("{sign}0.{zeros}{digits}");
    }
    let whole = exponent as usize + 1;
    let digits = format!("{digits:0<whole$}");
    let (whole, fraction) = digits.split_at(whole);
    format!("{sign}{whole}.{}", if fraction.is_empty() { "0" } else { fraction })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_python_writes_them() {
        for (number, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-12.5, "-12.5"),
            (1500.0, "1500.0"),
            (0.1, "0.1"),
            (0.0001, "0.0001"),
            (0.00001234, "1.234e-05"),
            (123_456_789_012_345.6, "123456789012345.6"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (f64::INFINITY, "Infinity"),
        ] {
            assert_eq!(float(number, number), Value::Number(text.into()));
        }
        assert_eq!(float(f64::from(0.1_f32), 0.1_f32), Value::Number("0.1".into()));
        assert_eq!(float(f64::NAN, f64::NAN), Value::Null);
    }
}
