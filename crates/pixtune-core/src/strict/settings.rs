//! Request settings: nearly all have no effect on training, but the reference rejects invalid ones.

use super::{Fields, Reader};
use crate::diagnostic::Pointer;
use crate::json::Value;
use crate::rules::WRONG_TYPE;
use crate::tokens::{REASONING_EFFORTS, check_schema};

/// Request settings and their types.
pub(super) const SETTINGS: [(&str, Setting); 9] = [
    ("model", Setting::TextOrNull),
    ("temperature", Setting::Share),
    ("top_p", Setting::Share),
    ("max_tokens", Setting::CountOrNull),
    ("random_seed", Setting::CountOrNull),
    ("parallel_tool_calls", Setting::Bool),
    ("truncate_for_context_length", Setting::OnlyFalse),
    ("continue_final_message", Setting::OnlyFalse),
    ("tool_choice", Setting::ToolChoice),
];

pub(super) const REQUEST_KEYS: [&str; 4 + SETTINGS.len()] = {
    let mut keys = [""; 4 + SETTINGS.len()];
    (keys[0], keys[1], keys[2]) = ("messages", "tools", "response_format");
    keys[3] = "reasoning_effort";
    let mut at = 0;
    while at < SETTINGS.len() {
        keys[4 + at] = SETTINGS[at].0;
        at += 1;
    }
    keys
};

#[derive(Clone, Copy)]
pub(super) enum Setting {
    TextOrNull,
    /// 0 to 1.
    Share,
    CountOrNull,
    Bool,
    /// The reference rejects training samples with `true`.
    OnlyFalse,
    ToolChoice,
}

impl<'v> Reader<'v> {
    pub(super) fn setting(&mut self, value: &'v Value<'_>, pointer: Pointer<'_>, setting: Setting) {
        let (fits, expected) = match setting {
            Setting::TextOrNull => (matches!(value, Value::Null | Value::String(_)), "a string or null"),
            Setting::Share => (
                lax_number(value).is_some_and(|number| (0.0..=1.0).contains(&number)),
                "a number from 0 to 1",
            ),
            Setting::CountOrNull => {
                let count = |number: f64| number >= 0.0 && number.fract() == 0.0;
                (
                    *value == Value::Null || lax_number(value).is_some_and(count),
                    "a non-negative whole number or null",
                )
            }
            Setting::Bool => (lax_bool(value).is_some(), "a boolean"),
            Setting::OnlyFalse => (lax_bool(value) == Some(false), "false"),
            Setting::ToolChoice => return self.tool_choice(value, pointer),
        };
        if !fits {
            self.wrong(pointer, value, expected);
        }
    }

    pub(super) fn tool_choice(&mut self, value: &'v Value<'_>, pointer: Pointer<'_>) {
        if matches!(value.as_str(), Some("auto" | "none" | "any" | "required")) {
            return;
        }
        if value.as_object().is_none() {
            return self.wrong(pointer, value, "`auto`, `none`, `any`, `required` or a named function");
        }
        let Some(fields) = self.object(value, pointer, &["type", "function"]) else { return };
        self.function_type(&fields);
        match fields.get("function") {
            None => self.missing(&fields, "function"),
            Some(function) => {
                if let Some(function) = self.object(function, fields.pointer("function"), &["name"]) {
                    self.text(&function, "name");
                }
            }
        }
    }

    /// How much the model is to think.
    pub(super) fn reasoning_effort(&mut self, fields: &Fields<'v, '_, '_>) -> Option<String> {
        let value = fields.not_null("reasoning_effort")?;
        let known = value.as_str().filter(|effort| REASONING_EFFORTS.contains(effort));
        if known.is_none() {
            let expected = REASONING_EFFORTS.map(|effort| format!("`{effort}`")).join(", ");
            let message = format!("`reasoning_effort` is `{value}`, not one of {expected}");
            self.report(&WRONG_TYPE, fields.pointer("reasoning_effort"), message);
        }
        known.map(str::to_owned)
    }

    /// The JSON Schema that responses follow.
    pub(super) fn response_format(
        &mut self,
        value: &'v Value<'_>,
        pointer: Pointer<'_>,
    ) -> Option<Value<'static>> {
        let fields = self.object(value, pointer, &["type", "json_schema"])?;
        let kind = match fields.get("type") {
            None => Some("text"),
            Some(kind) => kind.as_str(),
        };
        match kind {
            Some("text" | "json_object") => {}
            Some("json_schema") if fields.not_null("json_schema").is_some() => {}
            Some("json_schema") => self.missing(&fields, "json_schema"),
            _ => self.report(
                &WRONG_TYPE,
                fields.pointer("type"),
                "`type` is not `text`, `json_object` or `json_schema`",
            ),
        }
        let schema = fields
            .not_null("json_schema")
            .and_then(|schema| self.json_schema(schema, fields.pointer("json_schema")));
        match kind {
            Some("json_schema") => schema.map(|schema| schema.clone().into_owned()),
            Some("json_object") => Some(object_or_array()),
            _ => None,
        }
    }

    fn json_schema<'a>(&mut self, value: &'v Value<'a>, pointer: Pointer<'_>) -> Option<&'v Value<'a>> {
        let known = ["name", "description", "schema", "custom_schema", "strict"];
        let schema = self.object(value, pointer, &known)?;
        self.text(&schema, "name");
        self.optional_text(&schema, "description");
        self.boolean(&schema, "strict");
        match schema.get("schema").or_else(|| schema.get("custom_schema")) {
            None => {
                self.missing(&schema, "schema");
                None
            }
            Some(object) if object.as_object().is_none() => {
                self.wrong(schema.pointer("schema"), object, "an object");
                None
            }
            Some(object) => {
                let pointer = String::from(schema.pointer("schema"));
                self.findings.extend(check_schema(object, &pointer).err());
                Some(object)
            }
        }
    }
}

/// The schema that stands for any JSON object or array.
fn object_or_array() -> Value<'static> {
    let of_type = |kind: &'static str| Value::Object(vec![("type".into(), Value::String(kind.into()))]);
    Value::Object(vec![("anyOf".into(), Value::Array(vec![of_type("object"), of_type("array")]))])
}

/// The values that pydantic converts to a boolean.
pub(crate) fn lax_bool(value: &Value<'_>) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Number(number) => match number.parse() {
            Ok(0.0) => Some(false),
            Ok(1.0) => Some(true),
            _ => None,
        },
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "0" | "off" | "f" | "false" | "n" | "no" => Some(false),
            "1" | "on" | "t" | "true" | "y" | "yes" => Some(true),
            _ => None,
        },
        _ => None,
    }
}

/// The values that pydantic converts to a number.
pub(super) fn lax_number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        Value::Number(number) => number.parse().ok(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}
