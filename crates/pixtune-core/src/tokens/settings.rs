//! Settings that v15 writes into conversations: which there are, and their JSON.

use super::python_json::{Unprintable, dumps};
use crate::diagnostic::Finding;
use crate::json::{Value, write_string};
use crate::rules::MODEL_SETTING;
use crate::sample::ModelSettings;

/// The values of `reasoning_effort` that a request may have, whatever the model.
pub(crate) const REASONING_EFFORTS: [&str; 7] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

/// Which settings a tokenizer writes; the rest of a request's settings have no effect.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SettingsBuilder {
    /// The reasoning efforts of the model.
    pub reasoning_effort: Option<ReasoningEfforts>,
    /// Whether the JSON Schema of the response is written.
    pub json_schema: bool,
}

/// The reasoning efforts of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReasoningEfforts {
    /// The value of a request without one.
    pub default: String,
    /// Every value.
    pub values: Vec<String>,
}

impl SettingsBuilder {
    /// The settings of Mistral Small 4, as the public tests of the crate `tekken` 0.2 assert them.
    pub(super) fn published() -> SettingsBuilder {
        let values = ["none", "high"].map(str::to_owned).to_vec();
        let efforts = ReasoningEfforts { default: "none".to_owned(), values };
        SettingsBuilder { reasoning_effort: Some(efforts), json_schema: false }
    }

    /// The value of a file's `model_settings_builder`; the error is what is wrong with it.
    pub(super) fn from_json(value: &Value<'_>) -> Result<SettingsBuilder, &'static str> {
        let members = value.as_object().ok_or("object")?;
        let known = |key: &str| ["reasoning_effort", "json_schema"].contains(&key);
        if members.iter().any(|(key, _)| !known(key)) {
            return Err("object of known settings");
        }
        let present = |key: &str| value.get(key).filter(|value| **value != Value::Null);
        let reasoning_effort = present("reasoning_effort").map(ReasoningEfforts::from_json).transpose()?;
        let json_schema = match present("json_schema") {
            None => false,
            Some(schema) if schema.text("type").is_none_or(|kind| kind == "json_schema") => true,
            Some(_) => return Err("known type of setting"),
        };
        Ok(SettingsBuilder { reasoning_effort, json_schema })
    }

    /// What a conversation has between `[MODEL_SETTINGS]` and `[/MODEL_SETTINGS]`, or nothing; the error is a setting that the
    /// model does not have.
    pub(super) fn json(&self, settings: &ModelSettings) -> Result<Option<String>, Finding> {
        let mut text = String::new();
        let key = |key: &str, text: &mut String| {
            text.push_str(if text.is_empty() { "{" } else { ", " });
            write_string(key, text);
            text.push_str(": ");
        };
        if let Some(schema) = settings.response_schema.as_ref().filter(|_| self.json_schema) {
            key("json_schema", &mut text);
            let pointer = "/response_format/json_schema/schema";
            dumps(schema, &mut text).map_err(|Unprintable(why)| {
                Finding::new(&MODEL_SETTING, pointer, format!("the reference cannot write the schema: {why}"))
            })?;
        }
        if let Some(efforts) = &self.reasoning_effort {
            key("reasoning_effort", &mut text);
            write_string(efforts.chosen(settings.reasoning_effort.as_deref())?, &mut text);
        }
        if text.is_empty() {
            return Ok(None);
        }
        text.push('}');
        Ok(Some(text))
    }
}

impl ReasoningEfforts {
    fn from_json(value: &Value<'_>) -> Result<ReasoningEfforts, &'static str> {
        let values = value.get("values").and_then(Value::as_array).unwrap_or_default();
        let values: Option<Vec<String>> =
            values.iter().map(|value| value.as_str().map(str::to_owned)).collect();
        let values = values.ok_or("list of reasoning efforts")?;
        let default = value.text("default").unwrap_or_default();
        let all_known = values.iter().all(|value| REASONING_EFFORTS.contains(&value.as_str()));
        if value.text("type").is_some_and(|kind| kind != "enum")
            || !all_known
            || !values.iter().any(|value| value == default)
        {
            return Err("list of reasoning efforts with a default");
        }
        Ok(ReasoningEfforts { default: default.to_owned(), values })
    }

    fn chosen<'s>(&'s self, requested: Option<&'s str>) -> Result<&'s str, Finding> {
        match requested {
            None => Ok(&self.default),
            Some(effort) if self.values.iter().any(|value| value == effort) => Ok(effort),
            Some(effort) => {
                let values: Vec<_> = self.values.iter().map(|value| format!("`{value}`")).collect();
                let message = format!(
                    "the model has no reasoning effort `{effort}`; its values are {}",
                    values.join(", ")
                );
                Err(Finding::new(&MODEL_SETTING, "/reasoning_effort", message))
            }
        }
    }
}
