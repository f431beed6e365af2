//! What a line's JSON hides from those who only see its values.

use std::collections::HashSet;

use super::{JSON_DUPLICATE_KEY, JSON_NAN, Row};
use crate::diagnostic::{Finding, Place};
use crate::json::Value;

/// Above so many keys a set is quicker than comparing each with each.
const FEW: usize = 16;

pub(super) fn duplicate_keys(row: &Row<'_>, findings: &mut Vec<Finding>) {
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

pub(super) fn numbers(row: &Row<'_>, findings: &mut Vec<Finding>) {
    each(row.value, Place::Row, &mut |value, place| {
        if let Value::Number(number) = value
            && number.ends_with(['N', 'y'])
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
