//! The lenient reader of `messages` rows: reads Mistral's and OpenAI's spellings into a [`Sample`].
//!
//! It accepts equivalent spellings and reports what it drops; what cannot be written faithfully is an error. The order of
//! messages is not checked here.

mod reference;
#[cfg(test)]
mod tests;

use crate::content;
use crate::diagnostic::{Finding, Rule, pointer_push};
use crate::json::Value;
use crate::rules::{
    IMAGE_ROLE, MISSING_FIELD, NO_MESSAGES, NULL_KEY, TOOL_CALL, UNKNOWN_KEY, UNKNOWN_ROLE, WRONG_TYPE,
};
use crate::sample::{
    Arguments, Assistant, Content, Image, ImageSource, Message, Part, Sample, Tool, ToolCall, ToolResult,
};
pub(crate) use reference::image_source_within;
pub use reference::{image_source, percent_decode};

/// Keys of the messages: the chat format's, and mistral-finetune's older name.
pub const MESSAGE_KEYS: [&str; 2] = ["messages", "interactions"];

/// Whether this row is a conversation rather than a flat row of columns.
pub fn is_conversation(row: &Value<'_>) -> bool {
    MESSAGE_KEYS.iter().any(|key| row.get(key).is_some())
}

/// Reads a conversation. Keys in `set_aside`, such as the row's id or a key that the user removed, are not reported, in the
/// row and in its messages. The sample may be used only if no finding is an error.
pub fn read(row: &Value<'_>, set_aside: &[&str]) -> (Sample<Image>, Vec<Finding>) {
    let sample = Sample::default();
    let mut reader = Reader { sample, findings: vec![], set_aside };
    reader.row(row);
    (reader.sample, reader.findings)
}

struct Reader<'s> {
    sample: Sample<Image>,
    findings: Vec<Finding>,
    set_aside: &'s [&'s str],
}

/// An object and its pointer.
struct Fields<'v, 'a> {
    value: &'v Value<'a>,
    pointer: String,
}

impl<'v, 'a> Fields<'v, 'a> {
    /// The value of a key; null counts as absent.
    fn get(&self, key: &str) -> Option<&'v Value<'a>> {
        self.value.get(key).filter(|value| **value != Value::Null)
    }

    fn place(&self, key: impl std::fmt::Display) -> String {
        pointer_push(&self.pointer, key)
    }
}

impl Reader<'_> {
    fn report(&mut self, rule: &'static Rule, pointer: String, message: String) {
        self.findings.push(Finding::new(rule, pointer, message));
    }

    /// Reads an object and reports unknown keys: an error where they hold content.
    fn fields<'v, 'a>(
        &mut self,
        value: &'v Value<'a>,
        pointer: String,
        known: &[&str],
    ) -> Option<Fields<'v, 'a>> {
        let Some(members) = value.as_object() else {
            self.report(&WRONG_TYPE, pointer, format!("{} where an object should be", value.kind()));
            return None;
        };
        for (key, value) in members {
            let place = pointer_push(&pointer, key);
            let is_known = known.contains(&&**key) || self.set_aside.contains(&&**key);
            if *value == Value::Null && key != "content" {
                self.report(&NULL_KEY, place, format!("`{key}` is null and is left out"));
            } else if !is_known && let Some(held) = content::held(key, value) {
                self.findings
                    .push(content::unused_content(place, key, held).hint(content::way_out(key, held)));
            } else if !is_known {
                self.report(
                    &UNKNOWN_KEY,
                    place,
                    format!("`{key}` is not part of the format and is left out"),
                );
            }
        }
        Some(Fields { value, pointer })
    }

    fn text(&mut self, fields: &Fields<'_, '_>, key: &str) -> Option<String> {
        match fields.get(key)? {
            Value::String(text) => Some(text.clone().into_owned()),
            other => {
                self.report(
                    &WRONG_TYPE,
                    fields.place(key),
                    format!("`{key}` is {}, not a string", other.kind()),
                );
                None
            }
        }
    }

    fn list<'v, 'a>(&mut self, fields: &Fields<'v, 'a>, key: &str) -> Option<&'v [Value<'a>]> {
        let value = fields.get(key)?;
        let list = value.as_array();
        if list.is_none() {
            self.report(&WRONG_TYPE, fields.place(key), format!("`{key}` is {}, not an array", value.kind()));
        }
        list
    }

    fn row(&mut self, row: &Value<'_>) {
        let mut known: Vec<&str> =
            [&MESSAGE_KEYS[..], &["tools", "available_tools", "reasoning_effort"]].concat();
        known.extend(content::LABELS.into_iter().filter(|key| row.get(key).is_some_and(content::is_flag)));
        self.findings.extend(content::undesirable(row, |key| self.set_aside.contains(&key)));
        let Some(fields) = self.fields(row, String::new(), &known) else { return };
        for key in ["tools", "available_tools"] {
            for (index, tool) in self.list(&fields, key).unwrap_or_default().iter().enumerate() {
                let place = pointer_push(&fields.place(key), index);
                if let Some(tool) = self.tool(tool, place) {
                    self.sample.tools.push(tool);
                }
            }
        }
        self.sample.settings.reasoning_effort = self.text(&fields, "reasoning_effort");
        let key = MESSAGE_KEYS.into_iter().find(|key| fields.get(key).is_some());
        let messages = key.and_then(|key| self.list(&fields, key)).unwrap_or_default();
        let place = key.map_or_else(String::new, |key| fields.place(key));
        if messages.is_empty() && self.findings.iter().all(|finding| finding.rule != &WRONG_TYPE) {
            self.report(&NO_MESSAGES, place.clone(), "the conversation has no messages".into());
        }
        for (index, message) in messages.iter().enumerate() {
            if let Some(message) = self.message(message, pointer_push(&place, index)) {
                self.sample.messages.push(message);
            }
        }
    }

    fn message(&mut self, value: &Value<'_>, pointer: String) -> Option<Message> {
        let role = value.get("role").and_then(Value::as_str).unwrap_or_default().to_owned();
        let known: &[&str] = match role.as_str() {
            "system" | "user" => &["role", "content"],
            "assistant" => &["role", "content", "tool_calls", "weight", "prefix"],
            "tool" => &["role", "content", "tool_call_id", "name"],
            _ => {
                let message = match value.get("role") {
                    Some(Value::String(role)) => format!("`{role}` is not a role"),
                    Some(other) => format!("`role` is {}, not a string", other.kind()),
                    None if value.as_object().is_some() => "the message has no `role`".into(),
                    None => format!("found {}, expected a message", value.kind()),
                };
                let finding = Finding::new(&UNKNOWN_ROLE, pointer, message);
                self.findings.push(finding.hint("roles are `system`, `user`, `assistant` and `tool`"));
                return None;
            }
        };
        let fields = self.fields(value, pointer, known)?;
        match role.as_str() {
            "system" => self.content(&fields, Images::Refused).map(Message::System),
            "user" => self.content(&fields, Images::Taken).map(Message::User),
            "assistant" => self.assistant(&fields).map(Message::Assistant),
            _ => Some(Message::Tool(ToolResult {
                // Whether the model reads images here is for its version to decide.
                content: self.content(&fields, Images::Taken)?,
                tool_call_id: self.text(&fields, "tool_call_id"),
                name: self.text(&fields, "name"),
            })),
        }
    }

    fn assistant(&mut self, fields: &Fields<'_, '_>) -> Option<Assistant> {
        let mut turn = Assistant::default();
        for (index, call) in self.list(fields, "tool_calls").unwrap_or_default().iter().enumerate() {
            let place = pointer_push(&fields.place("tool_calls"), index);
            turn.tool_calls.push(self.tool_call(call, place)?);
        }
        if fields.get("content").is_some() || turn.tool_calls.is_empty() {
            turn.content = Some(self.content(fields, Images::Refused)?);
        }
        turn.weight = match fields.get("weight") {
            None => None,
            Some(Value::Number(number)) if matches!(number.parse(), Ok(0.0)) => Some(false),
            Some(Value::Number(number)) if matches!(number.parse(), Ok(1.0)) => Some(true),
            Some(other) => {
                self.report(
                    &WRONG_TYPE,
                    fields.place("weight"),
                    format!("`weight` is `{other}`, not 0 or 1"),
                );
                None
            }
        };
        turn.prefix = match fields.get("prefix") {
            None | Some(Value::Bool(false)) => false,
            Some(Value::Bool(true)) => true,
            Some(other) => {
                self.report(
                    &WRONG_TYPE,
                    fields.place("prefix"),
                    format!("`prefix` is {}, not a boolean", other.kind()),
                );
                false
            }
        };
        Some(turn)
    }

    fn content(&mut self, fields: &Fields<'_, '_>, images: Images) -> Option<Content> {
        match fields.get("content") {
            Some(Value::String(text)) => Some(Content::Text(text.clone().into_owned())),
            Some(Value::Array(parts)) => {
                let place = fields.place("content");
                let parts = parts.iter().enumerate();
                let parts =
                    parts.filter_map(|(index, part)| self.part(part, pointer_push(&place, index), images));
                Some(Content::Parts(parts.collect()))
            }
            Some(other) => {
                let message = format!("`content` is {}, not a string or an array", other.kind());
                self.report(&WRONG_TYPE, fields.place("content"), message);
                None
            }
            None => {
                self.report(&MISSING_FIELD, fields.pointer.clone(), "the message has no `content`".into());
                None
            }
        }
    }

    fn part(&mut self, value: &Value<'_>, pointer: String, images: Images) -> Option<Part> {
        if let Some(text) = value.as_str() {
            return Some(Part::Text(text.to_owned()));
        }
        let kind = value.get("type").and_then(Value::as_str);
        let kind = kind.or_else(|| ["text", "image_url"].into_iter().find(|key| value.get(key).is_some()));
        match kind {
            Some("text") => {
                let fields = self.fields(value, pointer, &["type", "text"])?;
                let text = self.text(&fields, "text");
                if text.is_none() && fields.get("text").is_none() {
                    self.report(&MISSING_FIELD, fields.pointer.clone(), "the text part has no `text`".into());
                }
                text.map(Part::Text)
            }
            Some("image_url") => {
                let fields = self.fields(value, pointer, &["type", "image_url"])?;
                let source = self.image(&fields)?;
                if matches!(images, Images::Refused) {
                    self.report(
                        &IMAGE_ROLE,
                        fields.pointer.clone(),
                        "an image outside a user message".into(),
                    );
                    return None;
                }
                self.sample.images.push(Image { source, pointer: fields.place("image_url") });
                Some(Part::Image(self.sample.images.len() - 1))
            }
            Some("thinking") => self.thinking(value, pointer),
            _ => {
                let message = match (value, kind) {
                    (Value::Object(_), Some(kind)) => {
                        format!("content of the type `{kind}` is not supported")
                    }
                    (Value::Object(_), None) => "the content part has neither `text` nor `image_url`".into(),
                    _ => format!("found {}, expected a content part", value.kind()),
                };
                let finding = Finding::new(&WRONG_TYPE, pointer, message);
                self.findings.push(finding.hint("content parts have the type `text` or `image_url`"));
                None
            }
        }
    }

    fn thinking(&mut self, value: &Value<'_>, pointer: String) -> Option<Part> {
        let fields = self.fields(value, pointer, &["type", "thinking", "closed"])?;
        let closed = match fields.get("closed") {
            None | Some(Value::Bool(true)) => true,
            Some(Value::Bool(false)) => false,
            Some(other) => {
                let message = format!("`closed` is {}, not a boolean", other.kind());
                self.report(&WRONG_TYPE, fields.place("closed"), message);
                return None;
            }
        };
        let text = self.text(&fields, "thinking");
        if fields.get("thinking").is_none() {
            let message = "the thinking part has no `thinking`".into();
            self.report(&MISSING_FIELD, fields.pointer.clone(), message);
        }
        text.map(|text| Part::Thinking { text, closed })
    }

    fn image(&mut self, fields: &Fields<'_, '_>) -> Option<ImageSource> {
        let place = fields.place("image_url");
        let url = match fields.get("image_url") {
            Some(Value::String(url)) => url.clone().into_owned(),
            Some(object @ Value::Object(_)) => {
                let inner = self.fields(object, place.clone(), &["url", "detail"])?;
                if inner.get("detail").is_some() {
                    let message = "dropped `detail`, which Pixtral ignores".into();
                    self.report(&UNKNOWN_KEY, inner.place("detail"), message);
                }
                let Some(url) = self.text(&inner, "url") else {
                    self.report(&MISSING_FIELD, place, "the image has no `url`".into());
                    return None;
                };
                url
            }
            Some(other) => {
                let message = format!("`image_url` is {}, not a string or an object", other.kind());
                self.report(&WRONG_TYPE, place, message);
                return None;
            }
            None => {
                self.report(&MISSING_FIELD, fields.pointer.clone(), "the image has no `image_url`".into());
                return None;
            }
        };
        match image_source(&url) {
            Ok(source) => Some(source),
            Err(finding) => {
                self.findings.push(Finding { pointer: place, ..finding });
                None
            }
        }
    }

    fn tool_call(&mut self, value: &Value<'_>, pointer: String) -> Option<ToolCall> {
        let fields = self.fields(value, pointer, &["id", "type", "index", "function"])?;
        let Some(function) = fields.get("function") else {
            self.report(&TOOL_CALL, fields.pointer, "the tool call has no `function`".into());
            return None;
        };
        let function = self.fields(function, fields.place("function"), &["name", "arguments"])?;
        let name = self.text(&function, "name");
        let arguments = match function.get("arguments") {
            Some(Value::String(text)) => Some(Arguments::Text(text.clone().into_owned())),
            Some(object @ Value::Object(_)) => Some(Arguments::Json(object.clone().into_owned())),
            _ => None,
        };
        let (Some(name), Some(arguments)) = (name, arguments) else {
            let message = "the called function needs a `name` and `arguments`, a string of JSON".into();
            self.report(&TOOL_CALL, function.pointer, message);
            return None;
        };
        let id = self.text(&fields, "id").unwrap_or_else(|| "null".into());
        Some(ToolCall { id, name, arguments })
    }

    fn tool(&mut self, value: &Value<'_>, pointer: String) -> Option<Tool> {
        let fields = self.fields(value, pointer, &["type", "function"])?;
        let Some(function) = fields.get("function") else {
            self.report(&TOOL_CALL, fields.pointer, "the tool has no `function`".into());
            return None;
        };
        let function = self.fields(
            function,
            fields.place("function"),
            &["name", "description", "parameters", "strict"],
        )?;
        let name = self.text(&function, "name");
        let parameters = function.get("parameters").filter(|value| value.as_object().is_some());
        let (Some(name), Some(parameters)) = (name, parameters) else {
            let message = "a tool's function needs a `name` and `parameters`, an object".into();
            self.report(&TOOL_CALL, function.pointer, message);
            return None;
        };
        let strict = match function.get("strict") {
            Some(Value::Bool(strict)) => Some(*strict),
            _ => None,
        };
        let description = self.text(&function, "description");
        Some(Tool { name, description, parameters: parameters.clone().into_owned(), strict })
    }
}

#[derive(Clone, Copy)]
enum Images {
    Taken,
    Refused,
}
