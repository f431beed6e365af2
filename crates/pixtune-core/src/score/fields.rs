//! Answers that are JSON objects: which fields are right.

use super::is_near;
use crate::diagnostic::pointer_push;
use crate::json::{self, Value};

/// What became of each field of the reference.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FieldScore {
    /// The answer holds a JSON object.
    pub is_object: bool,
    /// Pointers of fields that are right.
    pub right: Vec<String>,
    /// Pointers of fields with another value.
    pub wrong: Vec<String>,
    /// Pointers of fields that the answer lacks.
    pub missing: Vec<String>,
    /// Pointers of fields that only the answer has.
    pub extra: Vec<String>,
}

impl FieldScore {
    /// The share of the reference's fields that are right, in [0, 1]; 1 for a reference without fields.
    pub fn recall(&self) -> f64 {
        share(self.right.len(), self.right.len() + self.wrong.len() + self.missing.len())
    }

    /// Harmonic mean of recall and the share of the answer's fields that are right.
    pub fn f1(&self) -> f64 {
        let all = 2 * self.right.len() + 2 * self.wrong.len() + self.missing.len() + self.extra.len();
        share(2 * self.right.len(), all)
    }

    /// All fields are right and there are no others.
    pub fn is_exact(&self) -> bool {
        self.is_object && self.wrong.is_empty() && self.missing.is_empty() && self.extra.is_empty()
    }
}

fn share(part: usize, all: usize) -> f64 {
    if all == 0 { 1.0 } else { part as f64 / all as f64 }
}

/// Compares the first JSON object in an answer with the reference, leaf by leaf. Numbers, also written as strings, may be off by
/// `tolerance` of their size; strings are equal without spaces at the ends. `None` where the reference is not a JSON object.
pub fn score_fields(answer: &str, reference: &str, tolerance: f64) -> Option<FieldScore> {
    let reference = json::parse(reference).ok()?.value;
    reference.as_object()?;
    let mut score = FieldScore::default();
    let answer = first_object(answer);
    score.is_object = answer.is_some();
    let answer = answer.unwrap_or(Value::Object(Vec::new()));
    compare("", Some(&reference), Some(&answer), tolerance, &mut score);
    Some(score)
}

/// Whether a text is a JSON object and nothing else.
pub fn is_whole_object(text: &str) -> bool {
    json::parse(text).is_ok_and(|parsed| parsed.value.as_object().is_some())
}

/// The first object in a text: the text itself, what a code fence holds, or from the first brace that begins one.
fn first_object(text: &str) -> Option<Value<'_>> {
    // Each attempt reads to the first mistake; a text of braces alone must not make that quadratic.
    const ATTEMPTS: usize = 32;
    let starts = text.match_indices('{').take(ATTEMPTS);
    starts.map(|(at, _)| &text[at..]).find_map(|rest| {
        let end = object_end(rest)?;
        json::parse(&rest[..end]).ok().map(|parsed| parsed.value)
    })
}

/// Where the object that a text begins with ends: its brace, those inside strings aside.
fn object_end(text: &str) -> Option<usize> {
    let (mut depth, mut in_string, mut is_escaped) = (0usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

fn compare(
    pointer: &str,
    reference: Option<&Value<'_>>,
    answer: Option<&Value<'_>>,
    tolerance: f64,
    score: &mut FieldScore,
) {
    match (reference, answer) {
        (Some(Value::Object(_)), Some(Value::Object(_))) | (Some(Value::Array(_)), Some(Value::Array(_))) => {
            for (step, reference, answer) in steps(reference, answer) {
                compare(&pointer_push(pointer, &step), reference, answer, tolerance, score);
            }
        }
        (Some(reference), Some(answer)) if is_same(reference, answer, tolerance) => {
            score.right.push(pointer.to_owned());
        }
        (Some(_), Some(_)) => score.wrong.push(pointer.to_owned()),
        (Some(reference), None) => leaves(pointer, reference, &mut score.missing),
        (None, Some(answer)) => leaves(pointer, answer, &mut score.extra),
        (None, None) => {}
    }
}

/// The members or elements of two values, side by side: the reference's in its order, then those that only the answer has.
fn steps<'v>(
    reference: Option<&'v Value<'v>>,
    answer: Option<&'v Value<'v>>,
) -> Vec<(String, Option<&'v Value<'v>>, Option<&'v Value<'v>>)> {
    match (reference, answer) {
        (Some(Value::Object(members)), Some(object @ Value::Object(others))) => {
            let is_last = |at: usize, key: &str| members[at + 1..].iter().all(|(name, _)| name != key);
            let known = members.iter().enumerate().filter(|(at, (key, _))| is_last(*at, key));
            let known = known.map(|(_, (key, value))| (key.to_string(), Some(value), object.get(key)));
            let is_extra = |key: &str| members.iter().all(|(name, _)| name != key);
            let extra = others.iter().filter(|(key, _)| is_extra(key));
            known.chain(extra.map(|(key, value)| (key.to_string(), None, Some(value)))).collect()
        }
        (Some(Value::Array(values)), Some(Value::Array(others))) => {
            let count = values.len().max(others.len());
            (0..count).map(|index| (index.to_string(), values.get(index), others.get(index))).collect()
        }
        _ => Vec::new(),
    }
}

/// The pointers of all leaves below a value.
fn leaves(pointer: &str, value: &Value<'_>, out: &mut Vec<String>) {
    let children: Vec<(String, &Value<'_>)> = match value {
        Value::Object(members) if !members.is_empty() => {
            members.iter().map(|(key, value)| (key.to_string(), value)).collect()
        }
        Value::Array(values) if !values.is_empty() => {
            values.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect()
        }
        _ => return out.push(pointer.to_owned()),
    };
    for (step, child) in children {
        leaves(&pointer_push(pointer, &step), child, out);
    }
}

fn is_same(reference: &Value<'_>, answer: &Value<'_>, tolerance: f64) -> bool {
    let text = |value: &Value<'_>| match value {
        Value::Number(text) | Value::String(text) => Some(text.trim().to_owned()),
        _ => None,
    };
    match (text(reference), text(answer)) {
        (Some(reference), Some(answer)) => {
            reference == answer || is_near(&answer, &reference, tolerance) == Some(true)
        }
        _ => reference == answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(answer: &str, reference: &str) -> FieldScore {
        score_fields(answer, reference, 0.01).unwrap()
    }

    #[test]
    fn fields_are_compared_leaf_by_leaf() {
        let found = score(
            r#"Here: ```json
{"total": "12.00", "shop": {"name": "A} "}, "items": ["x"], "note": 1}```"#,
            r#"{"total": 12, "shop": {"name": "A}", "city": "B"}, "items": ["x", "y"], "paid": null}"#,
        );
        assert_eq!(found.right, ["/total", "/shop/name", "/items/0"]);
        assert_eq!(found.missing, ["/shop/city", "/items/1", "/paid"]);
        assert_eq!((found.wrong.len(), found.extra), (0, vec!["/note".to_owned()]));
        assert!((score(r#"{"a":1}"#, r#"{"a":1,"b":2}"#).recall() - 0.5).abs() < 1e-12);
    }

    #[test]
    fn an_answer_without_an_object_has_no_field() {
        let found = score("no {idea}", r#"{"a": 1}"#);
        assert_eq!((found.is_object, found.recall(), found.f1()), (false, 0.0, 0.0));
        assert_eq!(score_fields("{}", "[1]", 0.0), None);
        assert!(score(r#"{"a": 1.0}"#, r#"{"a": 1}"#).is_exact());
    }

    #[test]
    fn duplicate_keys_count_once_by_their_last_value() {
        let found = score(r#"{"a": 1, "a": 2}"#, r#"{"a": 1, "a": 2}"#);
        assert_eq!((found.right.len(), found.wrong.len()), (1, 0));
    }

    #[test]
    fn braces_without_end_are_read_once_each() {
        assert!(!score(&"{".repeat(100_000), r#"{"a": 1}"#).is_object);
    }
}
