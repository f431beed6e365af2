//! Whether the parameters of a tool are a JSON Schema (draft 7), as the reference asks of them.
//!
//! The reference validates against the draft's meta-schema with Python's `jsonschema` 4.26, which also compiles
//! regular expressions. The meta-schema is small and fixed, so it is written out here.

use super::python_json::without_duplicates;
use super::python_regex;
use crate::diagnostic::{Finding, pointer_push};
use crate::json::Value;
use crate::rules::TOOL_SCHEMA;

/// Whether the value is a JSON Schema as the reference understands it.
pub(crate) fn check_schema(value: &Value<'_>, pointer: &str) -> Result<(), Finding> {
    check(value, pointer).map_err(|fault| Finding::new(&TOOL_SCHEMA, fault.pointer, fault.message))
}

/// What is wrong and where in the schema, as a JSON pointer.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    pointer: String,
    message: String,
}

type Check = Result<(), Fault>;

/// Whether `value` is a draft 7 schema.
fn check(value: &Value<'_>, pointer: &str) -> Check {
    let members = match value {
        Value::Bool(_) => return Ok(()),
        Value::Object(members) => without_duplicates(members),
        other => return fault(pointer, other, "an object or a boolean"),
    };
    members.into_iter().try_for_each(|(key, value)| keyword(key, value, &pointer_push(pointer, key)))
}

fn keyword(key: &str, value: &Value<'_>, pointer: &str) -> Check {
    match key {
        "additionalItems"
        | "contains"
        | "additionalProperties"
        | "propertyNames"
        | "if"
        | "then"
        | "else"
        | "not" => check(value, pointer),
        "allOf" | "anyOf" | "oneOf" => schemas(value, pointer),
        "items" => match value {
            Value::Array(_) => schemas(value, pointer),
            _ => check(value, pointer),
        },
        "definitions" | "properties" => each(value, pointer, |_, value, pointer| check(value, pointer)),
        "patternProperties" => each(value, pointer, |key, value, pointer| {
            regex(key, pointer)?;
            check(value, pointer)
        }),
        "dependencies" => each(value, pointer, |_, value, pointer| match value {
            Value::Array(_) => distinct_strings(value, pointer),
            _ => check(value, pointer),
        }),
        "required" => distinct_strings(value, pointer),
        "type" => types(value, pointer),
        "enum" | "examples" => match value {
            Value::Array(_) => Ok(()),
            other => fault(pointer, other, "an array"),
        },
        // As the reference compares, NaN is above 0.
        "multipleOf" => number(value, pointer, |number| number > 0.0 || number.is_nan(), "a number above 0"),
        "maximum" | "exclusiveMaximum" | "minimum" | "exclusiveMinimum" => {
            number(value, pointer, |_| true, "a number")
        }
        "maxLength" | "minLength" | "maxItems" | "minItems" | "maxProperties" | "minProperties" => {
            number(value, pointer, |number| number >= 0.0 && number.fract() == 0.0, "a whole number from 0")
        }
        "readOnly" | "uniqueItems" => match value {
            Value::Bool(_) => Ok(()),
            other => fault(pointer, other, "a boolean"),
        },
        "pattern" => regex(string(value, pointer)?, pointer),
        "$id" | "$schema" | "$ref" | "$comment" | "title" | "description" | "format" | "contentMediaType"
        | "contentEncoding" => string(value, pointer).map(|_| ()),
        _ => Ok(()),
    }
}

fn fault(pointer: &str, value: &Value<'_>, expected: &str) -> Check {
    let mut found = value.to_string();
    if let Some((end, _)) = found.char_indices().nth(60) {
        found.truncate(end);
        found.push('…');
    }
    Err(Fault { pointer: pointer.to_owned(), message: format!("`{found}` is not {expected}") })
}

fn schemas(value: &Value<'_>, pointer: &str) -> Check {
    match value {
        Value::Array(values) if !values.is_empty() => values
            .iter()
            .enumerate()
            .try_for_each(|(index, value)| check(value, &pointer_push(pointer, index))),
        other => fault(pointer, other, "an array of at least one schema"),
    }
}

fn each(value: &Value<'_>, pointer: &str, check: impl Fn(&str, &Value<'_>, &str) -> Check) -> Check {
    let Value::Object(members) = value else {
        return fault(pointer, value, "an object");
    };
    without_duplicates(members)
        .into_iter()
        .try_for_each(|(key, value)| check(key, value, &pointer_push(pointer, key)))
}

fn distinct_strings(value: &Value<'_>, pointer: &str) -> Check {
    let strings: Option<Vec<&str>> =
        value.as_array().and_then(|values| values.iter().map(Value::as_str).collect());
    match strings {
        Some(strings) if all_differ(&strings) => Ok(()),
        _ => fault(pointer, value, "an array of different strings"),
    }
}

fn all_differ(strings: &[&str]) -> bool {
    let mut seen = std::collections::HashSet::new();
    strings.iter().all(|string| seen.insert(string))
}

fn types(value: &Value<'_>, pointer: &str) -> Check {
    const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];
    let known = |value: &Value<'_>| value.as_str().is_some_and(|name| TYPES.contains(&name));
    match value {
        Value::Array(values) if !values.is_empty() && values.iter().all(known) => {
            distinct_strings(value, pointer)
        }
        other if known(other) => Ok(()),
        other => fault(pointer, other, "a JSON type or an array of different ones"),
    }
}

fn number(value: &Value<'_>, pointer: &str, allowed: impl Fn(f64) -> bool, expected: &str) -> Check {
    match value {
        Value::Number(number) if number.parse().is_ok_and(allowed) => Ok(()),
        other => fault(pointer, other, expected),
    }
}

fn string<'v>(value: &'v Value<'_>, pointer: &str) -> Result<&'v str, Fault> {
    match value {
        Value::String(text) => Ok(text),
        other => fault(pointer, other, "a string").map(|()| ""),
    }
}

fn regex(pattern: &str, pointer: &str) -> Check {
    match python_regex::check(pattern) {
        Ok(()) => Ok(()),
        Err(why) => {
            let message = format!("`{pattern}` is not a regular expression: {why}");
            Err(Fault { pointer: pointer.to_owned(), message })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    #[track_caller]
    fn verdict(schema: &str, expected: Result<(), &str>) {
        let found = check(&parse(schema).unwrap().value, "");
        assert_eq!(found.as_ref().map_err(|fault| fault.pointer.as_str()).copied(), expected, "{schema}");
    }

    #[test]
    fn schemas_are_told_from_others() {
        verdict("{}", Ok(()));
        verdict("true", Ok(()));
        verdict(
            r##"{"type":["object","null"],"properties":{"a":{"$ref":"#/x"}},"required":["b"],"x-any":5}"##,
            Ok(()),
        );
        verdict(r#"{"minLength":2.0,"multipleOf":0.5,"dependencies":{"a":["b"],"c":{}}}"#, Ok(()));
        verdict(r#"{"properties":[]}"#, Err("/properties"));
        verdict(r#"{"properties":{"a/b":{"type":"str"}}}"#, Err("/properties/a~1b/type"));
        verdict(r#"{"type":[]}"#, Err("/type"));
        verdict(r#"{"type":["string","string"]}"#, Err("/type"));
        verdict(r#"{"required":["a","a"]}"#, Err("/required"));
        verdict(r#"{"required":true}"#, Err("/required"));
        verdict(r#"{"minItems":-1}"#, Err("/minItems"));
        verdict(r#"{"minItems":1.5}"#, Err("/minItems"));
        verdict(r#"{"multipleOf":0}"#, Err("/multipleOf"));
        verdict(r#"{"anyOf":[]}"#, Err("/anyOf"));
        verdict(r#"{"items":[]}"#, Err("/items"));
        verdict(r#"{"additionalProperties":5}"#, Err("/additionalProperties"));
        verdict(r#"{"pattern":"["}"#, Err("/pattern"));
        verdict(r#"{"patternProperties":{"(":{}}}"#, Err("/patternProperties/("));
        verdict(r#"{"enum":5}"#, Err("/enum"));
        verdict(r#"{"type":5,"type":"string"}"#, Ok(()));
    }
}
