//! How floats are written: as Python's json module does it.

use pixtune_core::json::Value;

/// A float as Python writes it: `1000000000.0`, `1e-05`.
pub(super) fn number(value: f64) -> Value<'static> {
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
