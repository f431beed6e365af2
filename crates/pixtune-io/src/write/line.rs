//! One line of output: a sample in the chat format of its target.

use std::fmt::Write as _;

use pixtune_core::json::{append, quoted, write_string};
use pixtune_core::sample::{Arguments, Assistant, Content, Message, Part, Sample, ToolCall};
use pixtune_core::target::{ImageUrlForm, Target};

use crate::base64;

/// What stands in the place of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WrittenImage {
    /// An address.
    Url(String),
    /// The bytes of a file of this media type.
    Inline {
        /// The media type.
        mime: &'static str,
        /// The file.
        bytes: Vec<u8>,
    },
}

/// The line without its images: JSON text with gaps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Skeleton {
    text: String,
    /// Where in `text` which image goes.
    gaps: Vec<(usize, usize)>,
}

impl Skeleton {
    /// The line of a sample. Keys stand in a fixed order: `messages`, then `tools`; in a message `role`, `content`.
    pub fn new<I>(sample: &Sample<I>, target: &Target) -> Skeleton {
        let mut skeleton = Skeleton::default();
        skeleton.text.push_str("{\"messages\":");
        skeleton.list(&sample.messages, |skeleton, message| skeleton.message(message, target.image_url));
        if !sample.tools.is_empty() {
            skeleton.text.push_str(",\"tools\":");
            skeleton.list(&sample.tools, |skeleton, tool| {
                skeleton.text.push_str("{\"type\":\"function\",\"function\":{");
                skeleton.member("name", &tool.name);
                if let Some(description) = &tool.description {
                    skeleton.text.push(',');
                    skeleton.member("description", description);
                }
                skeleton.text.push_str(",\"parameters\":");
                append(&mut skeleton.text, &tool.parameters);
                if let (Some(strict), ImageUrlForm::Object) = (tool.strict, target.image_url) {
                    write!(skeleton.text, ",\"strict\":{strict}").expect("a String takes any text");
                }
                skeleton.text.push_str("}}");
            });
        }
        skeleton.text.push_str("}\n");
        skeleton
    }

    /// Everything but the images, in one text: equal for samples that differ in their images alone.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Appends the line, its line end included, with each image in its gap.
    pub fn write(&self, images: &[WrittenImage], out: &mut Vec<u8>) {
        let length = |image: &WrittenImage| match image {
            WrittenImage::Url(url) => url.len() + 16,
            WrittenImage::Inline { mime, bytes } => mime.len() + 16 + base64::encoded_length(bytes.len()),
        };
        out.reserve(self.text.len() + images.iter().map(length).sum::<usize>());
        let mut from = 0;
        for (at, index) in &self.gaps {
            out.extend_from_slice(&self.text.as_bytes()[from..*at]);
            from = *at;
            match &images[*index] {
                WrittenImage::Url(url) => {
                    out.extend_from_slice(quoted(url).as_bytes());
                }
                WrittenImage::Inline { mime, bytes } => {
                    out.extend_from_slice(b"\"data:");
                    out.extend_from_slice(mime.as_bytes());
                    out.extend_from_slice(b";base64,");
                    base64::encode(bytes, out);
                    out.push(b'"');
                }
            }
        }
        out.extend_from_slice(&self.text.as_bytes()[from..]);
    }

    fn list<T>(&mut self, values: &[T], write: impl Fn(&mut Skeleton, &T)) {
        self.text.push('[');
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            write(self, value);
        }
        self.text.push(']');
    }

    fn member(&mut self, key: &str, value: &str) {
        write!(self.text, "\"{key}\":").expect("a String takes any text");
        write_string(value, &mut self.text);
    }

    fn message(&mut self, message: &Message, form: ImageUrlForm) {
        let role = match message {
            Message::System(_) => "system",
            Message::User(_) => "user",
            Message::Assistant(_) => "assistant",
            Message::Tool(_) => "tool",
        };
        write!(self.text, "{{\"role\":\"{role}\"").expect("a String takes any text");
        match message {
            Message::System(content) => self.text_content(content),
            Message::User(content) => self.content(content, form),
            Message::Assistant(turn) => self.assistant(turn),
            Message::Tool(result) => {
                self.text_content(&result.content);
                for (key, value) in [("tool_call_id", &result.tool_call_id), ("name", &result.name)] {
                    if let Some(value) = value {
                        self.text.push(',');
                        self.member(key, value);
                    }
                }
            }
        }
        self.text.push('}');
    }

    fn assistant(&mut self, turn: &Assistant) {
        if let Some(content) = &turn.content {
            self.text_content(content);
        }
        if !turn.tool_calls.is_empty() {
            self.text.push_str(",\"tool_calls\":");
            self.list(&turn.tool_calls, Skeleton::tool_call);
        }
        if let Some(weight) = turn.weight {
            write!(self.text, ",\"weight\":{}", u8::from(weight)).expect("a String takes any text");
        }
        if turn.prefix {
            self.text.push_str(",\"prefix\":true");
        }
    }

    fn tool_call(&mut self, call: &ToolCall) {
        self.text.push('{');
        self.member("id", &call.id);
        self.text.push_str(",\"type\":\"function\",\"function\":{");
        self.member("name", &call.name);
        self.text.push(',');
        match &call.arguments {
            Arguments::Text(text) => self.member("arguments", text),
            Arguments::Json(value) => self.member("arguments", &value.to_string()),
        }
        self.text.push_str("}}");
    }

    /// Text content as one string; several texts are joined as the reference joins them, by an empty line.
    fn text_content(&mut self, content: &Content) {
        self.text.push(',');
        match content {
            Content::Text(text) => self.member("content", text),
            Content::Parts(parts) => {
                let text = |part: &Part| match part {
                    Part::Text(text) => Some(text.clone()),
                    Part::Image(_) => None,
                };
                let joined = parts.iter().filter_map(text).collect::<Vec<_>>().join("\n\n");
                self.member("content", &joined);
            }
        }
    }

    fn content(&mut self, content: &Content, form: ImageUrlForm) {
        let Content::Parts(parts) = content else {
            return self.text_content(content);
        };
        self.text.push_str(",\"content\":");
        self.list(parts, |skeleton, part| match part {
            Part::Text(text) => {
                skeleton.text.push_str("{\"type\":\"text\",");
                skeleton.member("text", text);
                skeleton.text.push('}');
            }
            Part::Image(index) => {
                let (before, after) = match form {
                    ImageUrlForm::String => ("", "}"),
                    ImageUrlForm::Object => ("{\"url\":", "}}"),
                };
                write!(skeleton.text, "{{\"type\":\"image_url\",\"image_url\":{before}")
                    .expect("a String takes any text");
                skeleton.gaps.push((skeleton.text.len(), *index));
                skeleton.text.push_str(after);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pixtune_core::target::{MISTRAL, OPENAI};
    use pixtune_core::{conversation, json};

    fn line(row: &str, target: &Target) -> String {
        let parsed = json::parse(row).unwrap();
        let (sample, findings) = conversation::read(&parsed.value, &[]);
        assert_eq!(findings, []);
        let images = [
            WrittenImage::Inline { mime: "image/png", bytes: vec![0, 1, 2, 3] },
            WrittenImage::Url("https://x/y?a=\"b\"".into()),
        ];
        let mut out = Vec::new();
        Skeleton::new(&sample, target).write(&images, &mut out);
        String::from_utf8(out).unwrap()
    }

    const CHAT: &str = r#"{"messages":[{"role":"system","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},{"role":"user","content":[{"type":"image_url","image_url":"p"},{"type":"text","text":"é\n"},{"type":"image_url","image_url":{"url":"q"}}]},{"role":"assistant","content":"x","weight":1}]}"#;

    #[test]
    fn writes_the_mistral_format() {
        assert_eq!(
            line(CHAT, &MISTRAL),
            concat!(
                r#"{"messages":[{"role":"system","content":"a\n\nb"},{"role":"user","content":[{"type":"image_url","image_url":"data:image/png;base64,AAECAw=="},"#,
                r#"{"type":"text","text":"é\n"},{"type":"image_url","image_url":"https://x/y?a=\"b\""}]},{"role":"assistant","content":"x","weight":1}]}"#,
                "\n"
            )
        );
    }

    #[test]
    fn writes_the_openai_format() {
        assert!(
            line(CHAT, &OPENAI)
                .contains(r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,AAECAw=="}}"#)
        );
    }

    #[test]
    fn keeps_tools() {
        let row = r#"{"messages":[{"role":"user","content":"x"},{"role":"assistant","tool_calls":[{"id":"abcdefghi","type":"function","function":{"name":"f","arguments":"{\"a\": 1}"}}]},{"role":"tool","content":"{}","tool_call_id":"abcdefghi","name":"f"},{"role":"assistant","content":"y"}],"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"b":1.50,"a":[]}}}]}"#;
        assert_eq!(line(row, &MISTRAL).trim_end(), row);
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let first = line(CHAT, &MISTRAL);
        let parsed = json::parse(first.trim_end()).unwrap();
        let (sample, _) = conversation::read(&parsed.value, &[]);
        assert_eq!(sample.images.len(), 2);
        assert_eq!(Skeleton::new(&sample, &MISTRAL).gaps.len(), 2);
    }
}
