//! Tools and their calls.

use super::{Fields, Reader};
use crate::diagnostic::Pointer;
use crate::json::Value;
use crate::rules::WRONG_TYPE;
use crate::sample::{Arguments, Tool, ToolCall};

impl<'v> Reader<'v> {
    pub(super) fn function_type(&mut self, fields: &Fields<'v, '_, '_>) {
        if let Some(kind) = fields.get("type").filter(|kind| kind.as_str() != Some("function")) {
            self.report(&WRONG_TYPE, fields.pointer("type"), format!("`type` is `{kind}`, not `function`"));
        }
    }

    pub(super) fn tool_call(&mut self, value: &'v Value<'_>, pointer: Pointer<'_>) -> Option<ToolCall> {
        let fields = self.object(value, pointer, &["id", "type", "function"])?;
        self.function_type(&fields);
        let id = match fields.get("id") {
            None => Some("null".to_owned()),
            Some(id) => self.string(id, fields.pointer("id")),
        };
        let Some(function) = fields.get("function") else {
            self.missing(&fields, "function");
            return None;
        };
        let function = self.object(function, fields.pointer("function"), &["name", "arguments"])?;
        let name = self.text(&function, "name");
        let arguments = match function.get("arguments") {
            None => {
                self.missing(&function, "arguments");
                None
            }
            Some(Value::String(text)) => Some(Arguments::Text(text.clone().into_owned())),
            Some(value @ (Value::Object(_) | Value::Null)) => {
                Some(Arguments::Json(value.clone().into_owned()))
            }
            Some(other) => {
                self.wrong(function.pointer("arguments"), other, "a string of JSON or an object");
                None
            }
        };
        Some(ToolCall { id: id?, name: name?, arguments: arguments? })
    }

    pub(super) fn tool(&mut self, value: &'v Value<'_>, pointer: Pointer<'_>) -> Option<Tool> {
        let fields = self.object(value, pointer, &["type", "function"])?;
        self.function_type(&fields);
        let Some(function) = fields.get("function") else {
            self.missing(&fields, "function");
            return None;
        };
        let known = ["name", "description", "parameters", "strict"];
        let function = self.object(function, fields.pointer("function"), &known)?;
        let name = self.text(&function, "name");
        let description = match function.get("description") {
            None => None,
            Some(description) => Some(self.string(description, function.pointer("description"))?),
        };
        let strict = function.get("strict").is_some().then(|| self.boolean(&function, "strict"));
        let parameters = match function.get("parameters") {
            None => {
                self.missing(&function, "parameters");
                None
            }
            Some(object @ Value::Object(_)) => Some(object.clone().into_owned()),
            Some(other) => {
                self.wrong(function.pointer("parameters"), other, "an object");
                None
            }
        };
        Some(Tool { name: name?, description, parameters: parameters?, strict })
    }
}
