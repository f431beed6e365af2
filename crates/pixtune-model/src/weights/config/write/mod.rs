//! Writes `config.json` and `params.json`: every key that matters, on top of what was there.

mod carry;
mod float;
mod hf;
mod native;

use std::borrow::Cow;

use pixtune_core::json::{self, Value};

use super::ModelConfig;
use super::quantization::KEYS;
use crate::weights::Format;
use crate::weights::dtype::Dtype;

use float::number;

/// A configuration file, and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct WrittenConfig {
    /// The text of the file.
    pub text: String,
    /// Keys that the source does not have, with their values and where those come from.
    pub synthesized: Vec<Synthesized>,
    /// Keys whose value was replaced: the key, before, after.
    pub corrected: Vec<[String; 3]>,
    /// Unknown keys that were carried over.
    pub carried: Vec<String>,
    /// Keys of the source that have no counterpart, with their values.
    pub left_out: Vec<[String; 2]>,
}

/// A value that the source does not state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synthesized {
    /// Which key.
    pub key: String,
    /// What was written.
    pub value: String,
    /// Why this value.
    pub why: &'static str,
}

const ARCHITECTURE: &str = "the same for every model of this architecture";

/// Writes the configuration in a format. `base` is a configuration of the same model in that format, whose other keys
/// are kept; without one, unknown keys of the source are carried over.
pub fn write(
    config: &ModelConfig,
    from: Format,
    to: Format,
    dtype: Dtype,
    base: Option<&Value<'static>>,
) -> WrittenConfig {
    let start = match base {
        Some(base) => Some(base),
        None if from == to => Some(&config.source),
        None => None,
    };
    let mut out = Out {
        root: start.cloned().unwrap_or(Value::Object(Vec::new())),
        has_start: start.is_some(),
        written: WrittenConfig {
            text: String::new(),
            synthesized: Vec::new(),
            corrected: Vec::new(),
            carried: Vec::new(),
            left_out: Vec::new(),
        },
    };
    match to {
        Format::Hf => hf::write(config, dtype, &mut out),
        Format::Mistral => native::write(config, &mut out),
    }
    out.remove_everywhere(&KEYS);
    if from != to {
        carry::carry(config, from, &mut out);
    }
    out.written.text = json::document(&out.root);
    out.written
}

/// A file in the making.
struct Out {
    root: Value<'static>,
    has_start: bool,
    written: WrittenConfig,
}

impl Out {
    /// A value that follows from the source.
    fn stated(&mut self, path: &[&'static str], value: Value<'static>) {
        self.set(path, value);
    }

    /// A value that the source does not state.
    fn assume(&mut self, path: &[&'static str], value: Value<'static>, why: &'static str) {
        let (key, text) = (path.join("."), value.to_string());
        if self.set(path, value) {
            self.written.synthesized.push(Synthesized { key, value: text, why });
        }
    }

    /// A value that is only written where there is none.
    fn default(&mut self, path: &[&'static str], value: Value<'static>, why: &'static str) {
        if member(&self.root, path).is_none() {
            self.assume(path, value, why);
        }
    }

    /// Takes a key out that must not be there.
    fn remove(&mut self, path: &[&'static str]) {
        let (last, area) = path.split_last().expect("a path has a step");
        if let Some(members) = members_at(&mut self.root, area) {
            let before = members.iter().position(|(key, _)| key == last);
            if let Some(index) = before {
                let (_, value) = members.remove(index);
                self.written.corrected.push([path.join("."), value.to_string(), "absent".to_owned()]);
            }
        }
    }

    /// Takes keys out of every object, however deep.
    fn remove_everywhere(&mut self, keys: &[&str]) {
        let removed = &mut self.written.corrected;
        remove_keys(&mut self.root, "", keys, removed);
    }

    /// Sets a value; whether something new was written.
    fn set(&mut self, path: &[&'static str], value: Value<'static>) -> bool {
        let (last, area) = path.split_last().expect("a path has a step");
        let Some(members) = members_at(&mut self.root, area) else { return false };
        // Of members with one key the last counts; the others go.
        let mut same: Vec<usize> = (0..members.len()).filter(|index| members[*index].0 == *last).collect();
        let index = same.pop();
        for extra in same.into_iter().rev() {
            members.remove(extra);
        }
        let index = index.and_then(|_| members.iter().position(|(key, _)| key == last));
        match index {
            Some(index) => {
                let before = &mut members[index].1;
                if same_value(before, &value) {
                    return false;
                }
                let change = [path.join("."), before.to_string(), value.to_string()];
                *before = value;
                self.written.corrected.push(change);
                false
            }
            None => {
                members.push((Cow::Borrowed(last), value));
                true
            }
        }
    }
}

/// Removes keys of an object and of the objects in it, and lists them.
fn remove_keys(value: &mut Value<'static>, path: &str, keys: &[&str], removed: &mut Vec<[String; 3]>) {
    let Value::Object(members) = value else { return };
    let full = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    members.retain(|(key, value)| {
        let goes = keys.contains(&key.as_ref());
        if goes {
            removed.push([full(key), value.to_string(), "absent".to_owned()]);
        }
        !goes
    });
    for (key, value) in members {
        remove_keys(value, &full(key), keys, removed);
    }
}

/// The members of a nested object, which is made where it is not there.
fn members_at<'v>(
    value: &'v mut Value<'static>,
    area: &[&'static str],
) -> Option<&'v mut Vec<(Cow<'static, str>, Value<'static>)>> {
    let Value::Object(members) = value else { return None };
    let Some((first, rest)) = area.split_first() else { return Some(members) };
    let index = match members.iter().rposition(|(key, _)| key == first) {
        Some(index) => index,
        None => {
            members.push((Cow::Borrowed(first), Value::Object(Vec::new())));
            members.len() - 1
        }
    };
    let inner = &mut members[index].1;
    if !matches!(inner, Value::Object(_)) {
        *inner = Value::Object(Vec::new());
    }
    members_at(inner, rest)
}

fn member<'v>(value: &'v Value<'static>, path: &[&str]) -> Option<&'v Value<'static>> {
    path.iter().try_fold(value, |value, step| value.get(step))
}

fn same_value(a: &Value<'_>, b: &Value<'_>) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.parse::<f64>() == b.parse::<f64>(),
        _ => a == b,
    }
}

fn string(text: &'static str) -> Value<'static> {
    Value::String(text.into())
}

fn whole(number: usize) -> Value<'static> {
    Value::Number(number.to_string().into())
}
