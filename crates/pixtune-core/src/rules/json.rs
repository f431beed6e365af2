//! What a line's JSON hides from those who only see its values.

use std::collections::HashSet;

use super::{JSON_DUPLICATE_KEY, JSON_NAN, Row};
use crate::diagnostic::{Finding, pointer_push};
use crate::json::Value;

/// Above so many keys a set is quicker than comparing each with each.
const FEW: usize = 16;

pub(super) fn duplicate_keys(row: &Row<'_>, findings: &mut Vec<Finding>) {
    each(row.value, &mut Vec::new(), &mut |value, path| {
        let Some(members) = value.as_object() else { return };
        let repeated = |index: usize| members[..index].iter().any(|(key, _)| *key == members[index].0);
        let mut seen = HashSet::new();
        for (index, (key, _)) in members.iter().enumerate() {
            let twice = if members.len() <= FEW { repeated(index) } else { !seen.insert(key) };
            if twice {
                let message = format!("the key `{}` stands twice in one object", super::text::start(key));
                let pointer = pointer_push(&pointer(path), key);
                findings.push(Finding::new(&JSON_DUPLICATE_KEY, pointer, message));
            }
        }
    });
}

pub(super) fn numbers(row: &Row<'_>, findings: &mut Vec<Finding>) {
    each(row.value, &mut Vec::new(), &mut |value, path| {
        if let Value::Number(number) = value
            && number.ends_with(['N', 'y'])
        {
            let message = format!("`{number}` is not part of JSON");
            findings.push(Finding::new(&JSON_NAN, pointer(path), message));
        }
    });
}

/// A step from a value to one inside it.
enum Step<'v> {
    Key(&'v str),
    Index(usize),
}

fn pointer(path: &[Step<'_>]) -> String {
    path.iter().fold(String::new(), |pointer, step| match step {
        Step::Key(key) => pointer_push(&pointer, key),
        Step::Index(index) => pointer_push(&pointer, index),
    })
}

/// Visits a value and everything in it. The parser has bounded the depth.
fn each<'v>(
    value: &'v Value<'_>,
    path: &mut Vec<Step<'v>>,
    visit: &mut impl FnMut(&'v Value<'_>, &[Step<'v>]),
) {
    visit(value, path);
    match value {
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                path.push(Step::Index(index));
                each(value, path, visit);
                path.pop();
            }
        }
        Value::Object(members) => {
            for (key, value) in members {
                path.push(Step::Key(key));
                each(value, path, visit);
                path.pop();
            }
        }
        _ => {}
    }
}
