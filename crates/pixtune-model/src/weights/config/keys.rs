//! Typed access to the members of a configuration, with errors that name file and key.

use std::path::Path;

use pixtune_core::json::Value;

use super::ConfigError;

/// No size of a model is larger; products of a few of them stay within 64 bits.
const MAX_SIZE: usize = 1 << 24;

/// An object of a configuration file.
#[derive(Clone, Copy)]
pub struct Keys<'v> {
    path: &'v Path,
    /// What leads to the object: empty, or `text_config.`.
    prefix: &'static str,
    value: &'v Value<'static>,
}

impl<'v> Keys<'v> {
    pub fn new(path: &'v Path, prefix: &'static str, value: &'v Value<'static>) -> Keys<'v> {
        Keys { path, prefix, value }
    }

    /// The value of a key; `null` counts as absent.
    pub fn get(&self, key: &str) -> Option<&'v Value<'static>> {
        self.value.get(key).filter(|value| **value != Value::Null)
    }

    /// Whether the key is there, be it `null`.
    pub fn has(&self, key: &str) -> bool {
        self.value.get(key).is_some()
    }

    /// A member that is an object.
    pub fn object(&self, key: &'static str, prefix: &'static str) -> Result<Option<Keys<'v>>, ConfigError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) if value.as_object().is_some() => Ok(Some(Keys::new(self.path, prefix, value))),
            Some(value) => Err(self.wrong(key, value.kind(), "an object")),
        }
    }

    /// A positive whole number.
    pub fn size(&self, key: &str) -> Result<Option<usize>, ConfigError> {
        self.whole(key, MAX_SIZE)
    }

    /// A positive whole number up to a limit.
    pub fn whole(&self, key: &str, limit: usize) -> Result<Option<usize>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = match value {
            Value::Number(text) => text.parse().ok().filter(|number| (1..=limit).contains(number)),
            _ => None,
        };
        let wants = || format!("a whole number from 1 to {limit}");
        number.map(Some).ok_or_else(|| self.wrong(key, value, wants()))
    }

    /// A size without which there is no model.
    pub fn needed(&self, key: &str) -> Result<usize, ConfigError> {
        self.size(key)?.ok_or_else(|| self.missing(key))
    }

    /// A finite positive number.
    pub fn number(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = match value {
            Value::Number(text) => {
                text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0)
            }
            _ => None,
        };
        number.map(Some).ok_or_else(|| self.wrong(key, value, "a positive number"))
    }

    /// A finite number that may be zero.
    pub fn not_negative(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = match value {
            Value::Number(text) => {
                text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
            }
            _ => None,
        };
        number.map(Some).ok_or_else(|| self.wrong(key, value, "zero or a positive number"))
    }

    /// `true` or `false`.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(value) => Err(self.wrong(key, value, "`true` or `false`")),
        }
    }

    /// A text.
    pub fn text(&self, key: &str) -> Result<Option<&'v str>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.wrong(key, value, "a text"))
    }

    /// The key as the user would look for it.
    pub fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    pub fn missing(&self, key: &str) -> ConfigError {
        ConfigError::Missing { path: self.path.to_owned(), key: self.full(key) }
    }

    pub fn wrong(&self, key: &str, found: impl ToString, wants: impl ToString) -> ConfigError {
        let mut found = found.to_string();
        if found.len() > 60 {
            found = found.chars().take(57).collect::<String>() + "…";
        }
        let found = format!("`{found}`");
        ConfigError::Value {
            path: self.path.to_owned(),
            key: self.full(key),
            found,
            wants: wants.to_string(),
        }
    }

    pub fn unsupported(&self, what: impl ToString) -> ConfigError {
        ConfigError::Unsupported { path: self.path.to_owned(), what: what.to_string() }
    }
}
