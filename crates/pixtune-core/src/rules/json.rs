//! What a line's JSON hides from those who only see its values.

use std::collections::HashSet;

use super::{JSON_DUPLICATE_KEY, JSON_NAN, Row};
use crate::diagnostic::{Finding, Place};
use crate::json::Value;

/// Above so many keys a set is quicker than comparing each with each.
const FEW: usize = 16;

/// Keys that stand twice, and numbers that are none.
pub(super) fn hidden(row: &Row<'_>, findings: &mut Vec<Finding>) {
    // Almost every row is clean, which is seen without keeping places.
    if !is_clean(row.value) {
        duplicate_keys(row, findings);
        numbers(row, findings);
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

fn is_special(number: &str) -> bool {
    number.ends_with(['N', 'y'])
}

fn duplicate_keys(row: &Row<'_>, findings: &mut Vec<Finding>) {
    each(row.value, Place::Row, &mut |value, place| {
        let Some(members) = value.as_object() else { return };
        let repeated = |index: usize| members[..index].iter().any(|(key, _)| *key == members[index].0);
        let mut seen = HashSet::new();
        for (index, (key, _)) in members.iter().enumerate() {
            let twice = if members.len() <= FEW { repeated(index) } else { !seen.insert(key) };
            if twice {
                let message = format!("the key `{}` stands twice in one object", super::text::start(key));
                findings.push(Finding::new(&JSON_DUPLICATE_KEY, place.member(key), message));
            }
        }
    });
}

fn numbers(row: &Row<'_>, findings: &mut Vec<Finding>) {
    each(row.value, Place::Row, &mut |value, place| {
        if let Value::Number(number) = value
            && is_special(number)
        {
            let message = format!("`{number}` is not part of JSON");
            findings.push(Finding::new(&JSON_NAN, place, message));
        }
    });
}

/// Visits a value and everything in it. The parser has bounded the depth.
fn each(value: &Value<'_>, place: Place<'_>, visit: &mut impl FnMut(&Value<'_>, Place<'_>)) {
    visit(value, place);
    match value {
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                each(value, place.element(index), visit);
            }
        }
        Value::Object(members) => {
            for (key, value) in members {
                each(value, place.member(key), visit);
            }
        }
        _ => {}
    }
}
