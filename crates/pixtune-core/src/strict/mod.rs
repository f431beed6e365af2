//! The strict reader of conversations: as strict as mistral-common 1.13.1 in fine-tuning mode, whose pydantic models
//! reject every unknown key and convert only a few values.
//!
//! `conversation` reads rows to prepare them, this module reads rows to check them: its findings list everything that the
//! reference would reject, each with its pointer. The order of messages is checked when they are encoded (`tokens::chat`).

mod content;
mod settings;
mod tools;

use crate::diagnostic::{Finding, Pointer, Rule};
use crate::foreign;
use crate::json::Value;
use crate::rules::{
    ANSWER_WEIGHT, JSON_NOT_OBJECT, MISSING_FIELD, NULL_KEY, UNKNOWN_KEY, UNKNOWN_ROLE, WRONG_TYPE,
};
use crate::sample::{Assistant, Image, Message, ModelSettings, Sample, ToolResult};

pub(crate) use settings::lax_bool;
use settings::{REQUEST_KEYS, SETTINGS, lax_number};

/// A conversation that borrows texts and images from the row.
pub type BorrowedSample<'v> = Sample<Image<&'v str>, &'v str>;

/// Reads one request: `messages`, `tools` and request settings. Of these, only the reasoning effort and the schema of the
/// response have an effect on training, from tokenizer v15 on.
pub fn read<'v>(request: &'v Value<'_>) -> Result<BorrowedSample<'v>, Vec<Finding>> {
    let read = read_all(request);
    if read.findings.is_empty() { Ok(read.sample) } else { Err(read.findings) }
}

/// The readable part of a request, and the findings about the rest.
#[derive(Debug, Clone, PartialEq)]
pub struct Read<'v> {
    /// The readable part of the conversation.
    pub sample: BorrowedSample<'v>,
    /// Every message is in the sample at its index, though parts of it may be missing.
    pub all_messages: bool,
    /// Everything that the reference would reject.
    pub findings: Vec<Finding>,
}

/// Reads as much of a request as possible.
pub fn read_all<'v>(request: &'v Value<'_>) -> Read<'v> {
    let mut reader = Reader::default();
    let sample = reader.request(request);
    let written = request.get("messages").and_then(Value::as_array).map(<[_]>::len);
    let sample = Sample { images: reader.images, ..sample.unwrap_or_default() };
    let all_messages = written == Some(sample.messages.len());
    Read { sample, all_messages, findings: reader.findings }
}

#[derive(Default)]
struct Reader<'v> {
    images: Vec<Image<&'v str>>,
    findings: Vec<Finding>,
}

/// An object and its location.
struct Fields<'v, 'a, 'p> {
    value: &'v Value<'a>,
    pointer: Pointer<'p>,
}

impl<'v, 'a> Fields<'v, 'a, '_> {
    fn pointer<'s>(&'s self, key: &'s str) -> Pointer<'s> {
        self.pointer.member(key)
    }

    fn get(&self, key: &str) -> Option<&'v Value<'a>> {
        self.value.get(key)
    }

    /// Like `get`, with null treated as absent: for fields that the model declares as `| None`.
    fn not_null(&self, key: &str) -> Option<&'v Value<'a>> {
        self.get(key).filter(|value| **value != Value::Null)
    }
}

impl<'v> Reader<'v> {
    fn report(&mut self, rule: &'static Rule, pointer: impl Into<String>, message: impl Into<String>) {
        self.findings.push(Finding::new(rule, pointer, message));
    }

    fn wrong(&mut self, pointer: impl Into<String>, value: &Value<'_>, expected: &str) {
        self.report(&WRONG_TYPE, pointer, format!("found {}, expected {expected}", value.kind()));
    }

    fn object<'a, 'p>(
        &mut self,
        value: &'v Value<'a>,
        pointer: Pointer<'p>,
        known: &[&str],
    ) -> Option<Fields<'v, 'a, 'p>> {
        let Some(members) = value.as_object() else {
            self.wrong(pointer, value, "an object");
            return None;
        };
        for (key, value) in members {
            if !known.contains(&&**key) {
                self.report(
                    if *value == Value::Null { &NULL_KEY } else { &UNKNOWN_KEY },
                    pointer.member(key),
                    format!("`{key}` is not part of the format"),
                );
            }
        }
        Some(Fields { value, pointer })
    }

    fn missing(&mut self, fields: &Fields<'v, '_, '_>, key: &str) {
        self.report(&MISSING_FIELD, fields.pointer, format!("`{key}` is missing"));
    }

    /// A required string.
    fn text(&mut self, fields: &Fields<'v, '_, '_>, key: &str) -> Option<String> {
        match fields.get(key) {
            None => {
                self.missing(fields, key);
                None
            }
            Some(value) => self.string(value, fields.pointer(key)),
        }
    }

    fn string(&mut self, value: &'v Value<'_>, pointer: Pointer<'_>) -> Option<String> {
        let text = value.as_str().map(str::to_owned);
        if text.is_none() {
            self.wrong(pointer, value, "a string");
        }
        text
    }

    fn optional_text(&mut self, fields: &Fields<'v, '_, '_>, key: &str) -> Option<String> {
        let value = fields.not_null(key)?;
        self.string(value, fields.pointer(key))
    }

    fn boolean(&mut self, fields: &Fields<'v, '_, '_>, key: &str) -> bool {
        let Some(value) = fields.get(key) else { return false };
        lax_bool(value).unwrap_or_else(|| {
            self.wrong(fields.pointer(key), value, "a boolean");
            false
        })
    }

    fn list<'a>(&mut self, value: &'v Value<'a>, pointer: Pointer<'_>) -> Option<&'v [Value<'a>]> {
        let list = value.as_array();
        if list.is_none() {
            self.wrong(pointer, value, "an array");
        }
        list
    }

    fn request(&mut self, request: &'v Value<'_>) -> Option<BorrowedSample<'v>> {
        if request.as_object().is_none() {
            let message = format!("the line is {}, not an object with `messages`", request.kind());
            self.report(&JSON_NOT_OBJECT, "", message);
            return None;
        }
        let fields = self.object(request, Pointer::Row, &REQUEST_KEYS)?;
        for (key, setting) in SETTINGS {
            if let Some(value) = fields.get(key) {
                self.setting(value, fields.pointer(key), setting);
            }
        }
        let mut settings = ModelSettings::default();
        if let Some(format) = fields.get("response_format") {
            settings.response_schema = self.response_format(format, fields.pointer("response_format"));
        }
        settings.reasoning_effort = self.reasoning_effort(&fields);
        let mut tools = Vec::new();
        if let Some(list) = fields.not_null("tools") {
            let pointer = fields.pointer("tools");
            for (index, tool) in self.list(list, pointer).unwrap_or_default().iter().enumerate() {
                tools.extend(self.tool(tool, pointer.element(index)));
            }
        }
        let Some(list) = fields.get("messages") else {
            self.missing(&fields, "messages");
            if foreign::is_record(request)
                && let Some(finding) = self.findings.last_mut()
            {
                let hint = "this is a sample of another tool: `pixtune prepare` reads it, `pixtune fix` converts it to messages";
                finding.hint = Some(hint.to_owned());
            }
            return None;
        };
        let pointer = fields.pointer("messages");
        let mut messages = Vec::new();
        for (index, message) in self.list(list, pointer)?.iter().enumerate() {
            messages.extend(self.message(message, pointer.element(index)));
        }
        Some(Sample { messages, tools, images: Vec::new(), settings })
    }

    fn message(&mut self, value: &'v Value<'_>, pointer: Pointer<'_>) -> Option<Message<&'v str>> {
        let role = value.get("role").and_then(Value::as_str);
        let known: &[&str] = match role {
            Some("system" | "user") => &["role", "content"],
            Some("assistant") => &["role", "content", "tool_calls", "prefix", "weight"],
            Some("tool") => &["role", "content", "tool_call_id", "name"],
            _ => {
                let message = match (value, value.get("role")) {
                    (_, Some(Value::String(role))) => format!("`{role}` is not a role"),
                    (_, Some(other)) => format!("`role` is {}, not a string", other.kind()),
                    (Value::Object(_), None) => "the message has no `role`".into(),
                    (other, None) => format!("found {}, expected a message", other.kind()),
                };
                self.report(&UNKNOWN_ROLE, pointer, message);
                return None;
            }
        };
        let fields = self.object(value, pointer, known)?;
        match role {
            Some("system") => Some(Message::System(self.required_content(&fields))),
            Some("user") => Some(Message::User(self.required_content(&fields))),
            Some("tool") => {
                let content = self.required_content(&fields);
                let tool_call_id = self.optional_text(&fields, "tool_call_id");
                let name = self.optional_text(&fields, "name");
                Some(Message::Tool(ToolResult { content, tool_call_id, name }))
            }
            _ => Some(Message::Assistant(self.assistant(&fields))),
        }
    }

    fn assistant(&mut self, fields: &Fields<'v, '_, '_>) -> Assistant<&'v str> {
        let mut tool_calls = Vec::new();
        if let Some(list) = fields.not_null("tool_calls") {
            let pointer = fields.pointer("tool_calls");
            for (index, call) in self.list(list, pointer).unwrap_or_default().iter().enumerate() {
                tool_calls.extend(self.tool_call(call, pointer.element(index)));
            }
        }
        let content = fields.not_null("content").and_then(|content| self.content(content, fields));
        let weight = fields.not_null("weight").and_then(|weight| match lax_number(weight) {
            Some(0.0) => Some(false),
            Some(1.0) => Some(true),
            _ => {
                self.report(
                    &ANSWER_WEIGHT,
                    fields.pointer("weight"),
                    format!("`weight` is `{weight}`, not 0 or 1"),
                );
                None
            }
        });
        Assistant { content, tool_calls, weight, prefix: self.boolean(fields, "prefix") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    #[test]
    fn reports_every_problem_with_its_pointer() {
        let request = r#"{"messages":[
            {"role":"user","content":"hi","name":"bob"},
            {"role":"assistant","content":[{"text":"x"}],"weight":2,"tool_calls":[{"index":0,"function":{"name":5}}]},
            {"role":"human"}],"tools":[{"function":{"name":"f","description":null,"parameters":[]}}],"foo":1}"#;
        let findings = read(&parse(request).unwrap().value).unwrap_err();
        let pointers: Vec<_> =
            findings.iter().map(|finding| (finding.rule.id, finding.pointer.as_str())).collect();
        assert_eq!(
            pointers,
            [
                ("unknown-key", "/foo"),
                ("wrong-type", "/tools/0/function/description"),
                ("unknown-key", "/messages/0/name"),
                ("unknown-key", "/messages/1/tool_calls/0/index"),
                ("wrong-type", "/messages/1/tool_calls/0/function/name"),
                ("missing-field", "/messages/1/tool_calls/0/function"),
                ("part-without-type", "/messages/1/content/0"),
                ("answer-weight", "/messages/1/weight"),
                ("unknown-role", "/messages/2"),
            ]
        );
    }

    #[test]
    fn converts_what_pydantic_converts() {
        let request = r#"{"messages":[{"role":"user","content":"hi"},
            {"role":"assistant","content":"ok","weight":"1","prefix":"no"}],"tools":null}"#;
        let parsed = parse(request).unwrap();
        let sample = read(&parsed.value).unwrap();
        let Message::Assistant(answer) = &sample.messages[1] else { panic!("an assistant") };
        assert_eq!((answer.weight, answer.prefix), (Some(true), false));
    }
}
