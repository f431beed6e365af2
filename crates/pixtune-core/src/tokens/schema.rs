//! Whether the parameters of a tool are a JSON Schema (draft 7), as the reference requires.
//!
//! The reference validates against the draft's meta-schema with Python's `jsonschema` 4.26, which also compiles
//! regular expressions. The meta-schema is small and fixed, so it is written out here.

use super::python_json::without_duplicates;
use super::python_regex::{self, Verdict};
use crate::diagnostic::{Finding, pointer_push};
use crate::json::Value;
use crate::rules::{TOOL_PATTERN, TOOL_SCHEMA};

/// Whether the value is a JSON Schema as the reference understands it.
pub(crate) fn check_schema(value: &Value<'_>, pointer: &str) -> Result<(), Finding> {
    Checker::default().schema(value, pointer)
}

/// Reports the regular expressions in a schema that Python may reject.
pub(crate) fn doubtful_patterns(value: &Value<'_>, pointer: &str) -> Vec<Finding> {
    let mut checker = Checker::default();
    // A schema that is rejected is reported by `check_schema`.
    let _ = checker.schema(value, pointer);
    checker.doubts
}

type Check = Result<(), Finding>;

#[derive(Default)]
struct Checker {
    doubts: Vec<Finding>,
}

impl Checker {
    fn schema(&mut self, value: &Value<'_>, pointer: &str) -> Check {
        let members = match value {
            Value::Bool(_) => return Ok(()),
            Value::Object(members) => without_duplicates(members),
            other => return fault(pointer, other, "an object or a boolean"),
        };
        members.into_iter().try_for_each(|(key, value)| self.keyword(key, value, &pointer_push(pointer, key)))
    }

    fn keyword(&mut self, key: &str, value: &Value<'_>, pointer: &str) -> Check {
        match key {
            "additionalItems"
            | "contains"
            | "additionalProperties"
            | "propertyNames"
            | "if"
            | "then"
            | "else"
            | "not" => self.schema(value, pointer),
            "allOf" | "anyOf" | "oneOf" => self.schemas(value, pointer),
            "items" => match value {
                Value::Array(_) => self.schemas(value, pointer),
                _ => self.schema(value, pointer),
            },
            "definitions" | "properties" => {
                self.each(value, pointer, |checker, _, value, pointer| checker.schema(value, pointer))
            }
            "patternProperties" => self.each(value, pointer, |checker, key, value, pointer| {
                checker.regex(key, pointer)?;
                checker.schema(value, pointer)
            }),
            "dependencies" => self.each(value, pointer, |checker, _, value, pointer| match value {
                Value::Array(_) => distinct_strings(value, pointer),
                _ => checker.schema(value, pointer),
            }),
            "required" => distinct_strings(value, pointer),
            "type" => types(value, pointer),
            "enum" | "examples" => match value {
                Value::Array(_) => Ok(()),
                other => fault(pointer, other, "an array"),
            },
            // As the reference compares, NaN is above 0.
            "multipleOf" => {
                number(value, pointer, |number| number > 0.0 || number.is_nan(), "a number above 0")
            }
            "maximum" | "exclusiveMaximum" | "minimum" | "exclusiveMinimum" => {
                number(value, pointer, |_| true, "a number")
            }
            "maxLength" | "minLength" | "maxItems" | "minItems" | "maxProperties" | "minProperties" => {
                number(
                    value,
                    pointer,
                    |number| number >= 0.0 && number.fract() == 0.0,
                    "a non-negative whole number",
                )
            }
            "readOnly" | "uniqueItems" => match value {
                Value::Bool(_) => Ok(()),
                other => fault(pointer, other, "a boolean"),
            },
            "pattern" => self.regex(string(value, pointer)?, pointer),
            "$id" | "$schema" | "$ref" | "$comment" | "title" | "description" | "format"
            | "contentMediaType" | "contentEncoding" => string(value, pointer).map(|_| ()),
            _ => Ok(()),
        }
    }

    fn schemas(&mut self, value: &Value<'_>, pointer: &str) -> Check {
        match value {
            Value::Array(values) if !values.is_empty() => values
                .iter()
                .enumerate()
                .try_for_each(|(index, value)| self.schema(value, &pointer_push(pointer, index))),
            other => fault(pointer, other, "an array of at least one schema"),
        }
    }

    fn each(
        &mut self,
        value: &Value<'_>,
        pointer: &str,
        check: impl Fn(&mut Checker, &str, &Value<'_>, &str) -> Check,
    ) -> Check {
        let Value::Object(members) = value else {
            return fault(pointer, value, "an object");
        };
        without_duplicates(members)
            .into_iter()
            .try_for_each(|(key, value)| check(self, key, value, &pointer_push(pointer, key)))
    }

    fn regex(&mut self, pattern: &str, pointer: &str) -> Check {
        match python_regex::judge(pattern) {
            Verdict::Accepted => Ok(()),
            Verdict::Doubtful(reason) => {
                let message =
                    format!("Python may reject the regular expression `{}`: {reason}", shortened(pattern));
                self.doubts.push(
                    Finding::new(&TOOL_PATTERN, pointer, message)
                        .hint("compile it with Python's `re`, or write it in simpler syntax"),
                );
                Ok(())
            }
            Verdict::Rejected(reason) => {
                let message = format!("`{}` is not a regular expression: {reason}", shortened(pattern));
                Err(Finding::new(&TOOL_SCHEMA, pointer, message))
            }
        }
    }
}

fn fault(pointer: &str, value: &Value<'_>, expected: &str) -> Check {
    let message = format!("`{}` is not {expected}", shortened(&value.to_string()));
    Err(Finding::new(&TOOL_SCHEMA, pointer, message))
}

/// The first characters of a text, short enough for a message.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
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

fn string<'v>(value: &'v Value<'_>, pointer: &str) -> Result<&'v str, Finding> {
    match value {
        Value::String(text) => Ok(text),
        other => fault(pointer, other, "a string").map(|()| ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    #[track_caller]
    fn verdict(schema: &str, expected: Result<(), &str>) {
        let found = check_schema(&parse(schema).unwrap().value, "");
        assert_eq!(found.as_ref().map_err(|fault| fault.pointer.as_str()).copied(), expected, "{schema}");
    }

    #[test]
    fn accepts_schemas_of_draft_7() {
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

    #[test]
    fn reports_patterns_that_python_may_reject() {
        let schema = r#"{"properties":{"a":{"pattern":"\\N{DASH}"},"b":{"pattern":"^a$"}}}"#;
        let parsed = parse(schema).unwrap();
        assert_eq!(check_schema(&parsed.value, ""), Ok(()));
        let doubts = doubtful_patterns(&parsed.value, "");
        assert_eq!(doubts.len(), 1);
        assert_eq!(
            (doubts[0].rule.id, doubts[0].pointer.as_str()),
            ("tool-pattern", "/properties/a/pattern")
        );
    }
}
