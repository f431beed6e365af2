//! Members of a body, read with the names that errors need.

use pixtune_core::json::{self, Value};

use crate::error::ApiError;

/// More training files than anyone lists in one request.
const MOST_FILES: usize = 10_000;

/// The members of an object, and where it is in the body.
pub struct Fields<'v, 'a> {
    /// The object.
    pub value: &'v Value<'a>,
    /// Where it is: members joined with points.
    pub path: &'v str,
}

impl<'v, 'a> Fields<'v, 'a> {
    /// The value of a member; null counts as absent.
    pub fn get(&self, key: &str) -> Option<&'v Value<'a>> {
        self.value.get(key).filter(|value| **value != Value::Null)
    }

    fn param(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn wrong(&self, key: &str, expected: &str, found: &Value<'_>) -> ApiError {
        let param = self.param(key);
        let message = format!("`{param}` has to be {expected}, not {}", json::text(found));
        ApiError::invalid(param, message)
    }

    /// A text.
    pub fn text(&self, key: &str) -> Result<Option<&'v str>, ApiError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.wrong(key, "a string", value))
    }

    /// True or false.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, ApiError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(value) => Err(self.wrong(key, "true or false", value)),
        }
    }

    /// A number within limits; `"auto"` counts as absent.
    pub fn number(&self, key: &str, limits: std::ops::RangeInclusive<f64>) -> Result<Option<f64>, ApiError> {
        let Some(value) = self.get(key).filter(|value| value.as_str() != Some("auto")) else {
            return Ok(None);
        };
        let number = match value {
            Value::Number(text) => text.parse::<f64>().ok().filter(|number| limits.contains(number)),
            _ => None,
        };
        let expected = format!("a number from {} to {}", limits.start(), limits.end());
        number.map(Some).ok_or_else(|| self.wrong(key, &expected, value))
    }

    /// A whole number.
    pub fn count(&self, key: &str, least: u64) -> Result<Option<u64>, ApiError> {
        const MOST: f64 = 1e9;
        let Some(number) = self.number(key, least as f64..=MOST)? else { return Ok(None) };
        match number.fract() == 0.0 {
            true => Ok(Some(number as u64)),
            false => Err(ApiError::invalid(
                self.param(key),
                format!("`{}` has to be a whole number", self.param(key)),
            )),
        }
    }

    /// A list of a sensible length.
    pub fn list(&self, key: &str) -> Result<&'v [Value<'a>], ApiError> {
        let Some(value) = self.get(key) else { return Ok(&[]) };
        let list = value.as_array().ok_or_else(|| self.wrong(key, "a list", value))?;
        match list.len() > MOST_FILES {
            true => Err(ApiError::invalid(
                self.param(key),
                format!("`{}` has more than {MOST_FILES} entries", self.param(key)),
            )),
            false => Ok(list),
        }
    }

    /// An object within.
    pub fn object(&self, key: &str, path: &'v str) -> Result<Option<Fields<'v, 'a>>, ApiError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_object() {
            Some(_) => Ok(Some(Fields { value, path })),
            None => Err(self.wrong(key, "an object", value)),
        }
    }

    /// Notes about keys that are not supported.
    pub fn unknown(&self, known: &[&str]) -> Vec<String> {
        let members = self.value.as_object().unwrap_or_default();
        let unknown = members.iter().filter(|(key, value)| !known.contains(&&**key) && *value != Value::Null);
        unknown.map(|(key, _)| format!("`{}` is not supported and has no effect", self.param(key))).collect()
    }

    /// The suffix of a model.
    pub fn suffix(&self, most: usize) -> Result<Option<String>, ApiError> {
        let Some(suffix) = self.text("suffix")? else { return Ok(None) };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        match suffix.len() <= most && !suffix.is_empty() && suffix.chars().all(is_plain) {
            true => Ok(Some(suffix.to_owned())),
            false => {
                let message = format!("`suffix` has to be 1 to {most} letters, digits, `-`, `_` or `.`");
                Err(ApiError::invalid("suffix", message))
            }
        }
    }

    /// The labels of a job.
    pub fn metadata(&self) -> Result<Vec<(String, String)>, ApiError> {
        let Some(metadata) = self.object("metadata", "metadata")? else { return Ok(Vec::new()) };
        let members = metadata.value.as_object().unwrap_or_default();
        let text = |value: &Value<'_>| value.as_str().map(str::to_owned);
        let pairs = members.iter().map(|(key, value)| {
            text(value)
                .map(|text| (key.to_string(), text))
                .ok_or_else(|| metadata.wrong(key, "a string", value))
        });
        pairs.collect()
    }
}
