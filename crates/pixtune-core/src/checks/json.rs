//! Problems in a row's JSON text that its parsed values do not show.

use std::collections::HashSet;

use super::Row;
use crate::diagnostic::{Finding, Pointer};
use crate::json::Value;
use crate::rules::{JSON_DUPLICATE_KEY, JSON_NAN};

/// Objects with more keys are searched with a hash set instead of pairwise comparison.
const FEW: usize = 16;

/// Reports duplicate keys, and numbers that JSON does not have.
pub(super) fn syntax(row: &Row<'_>, findings: &mut Vec<Finding>) {
    // Almost every row is clean, and finding that out needs no pointers.
    if !is_clean(row.value) {
        duplicate_keys(row, findings);
        special_numbers(row, findings);
    }
}

fn is_clean(value: &Value<'_>) -> bool {
    match value {
        Value::Number(number) => !is_special(number),
        Value::Array(values) => values.iter().all(is_clean),
        Value::Object(members) => {
            let is_first = |index: usize| members[..index].iter().all(|(key, _)| *key != members[index].0);
            members.len() <= FEW
                && (1..members.len()).all(is_first)
                && members.iter().all(|(_, value)| is_clean(value))
        }
        _ => true,
    }
}

/// Whether a number is `NaN`, `Infinity` or `-Infinity`.
fn is_special(number: &str) -> bool {
    number.ends_with(['N', 'y'])
}

fn duplicate_keys(row: &Row<'_>, findings: &mut Vec<Finding>) {
    visit(row.value, Pointer::Row, &mut |value, pointer| {
        let Some(members) = value.as_object() else { return };
        let repeats = |index: usize| members[..index].iter().any(|(key, _)| *key == members[index].0);
        let mut seen = HashSet::new();
        for (index, (key, _)) in members.iter().enumerate() {
            let is_duplicate = if members.len() <= FEW { repeats(index) } else { !seen.insert(key) };
            if is_duplicate {
                let message =
                    format!("the key `{}` appears more than once in one object", super::text::start(key));
                findings.push(Finding::new(&JSON_DUPLICATE_KEY, pointer.member(key), message));
            }
        }
    });
}

fn special_numbers(row: &Row<'_>, findings: &mut Vec<Finding>) {
    visit(row.value, Pointer::Row, &mut |value, pointer| {
        if let Value::Number(number) = value
            && is_special(number)
        {
            let message = format!("`{number}` is not valid JSON");
            findings.push(Finding::new(&JSON_NAN, pointer, message));
        }
    });
}

/// Visits a value and everything in it. The parser has bounded the depth.
fn visit(value: &Value<'_>, pointer: Pointer<'_>, look: &mut impl FnMut(&Value<'_>, Pointer<'_>)) {
    look(value, pointer);
    match value {
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                visit(value, pointer.element(index), look);
            }
        }
        Value::Object(members) => {
            for (key, value) in members {
                visit(value, pointer.member(key), look);
            }
        }
        _ => {}
    }
}
