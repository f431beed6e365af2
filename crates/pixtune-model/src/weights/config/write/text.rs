//! How numbers and whole files look: as Python's json module writes them.

use pixtune_core::json::{self, Value};

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
