//! The chat formats of Mistral and OpenAI: JSON Lines with `messages` and `tools`, keys in a fixed order.

use pixtune_core::sample::{Arguments, Assistant, Content, Image, Message, Part, Sample, Tool, ToolCall};
use pixtune_core::target::ImageUrlForm;

use super::{SampleWriter, Template};

/// Mistral's fine-tuning format: `image_url` is a string.
#[derive(Debug, Clone, Copy)]
pub struct MistralWriter;

/// OpenAI's fine-tuning format: `image_url` is an object, and functions keep their `strict` flag.
#[derive(Debug, Clone, Copy)]
pub struct OpenAiWriter;

/// The chat format of transformers: an image is `{"type":"image"}`, and stands for the next image of the sample, which is
/// stored beside the line.
#[derive(Debug, Clone, Copy)]
pub struct MarkWriter;

/// How an image is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ImageForm {
    Url(ImageUrlForm),
    Mark,
}

impl SampleWriter for MistralWriter {
    fn template(&self, sample: &Sample<Image>) -> Template {
        ChatTemplate::of(sample, ImageForm::Url(ImageUrlForm::String))
    }
}

impl SampleWriter for OpenAiWriter {
    fn template(&self, sample: &Sample<Image>) -> Template {
        ChatTemplate::of(sample, ImageForm::Url(ImageUrlForm::Object))
    }
}

impl SampleWriter for MarkWriter {
    fn template(&self, sample: &Sample<Image>) -> Template {
        ChatTemplate::of(sample, ImageForm::Mark)
    }
}

/// A chat on its way into a template.
struct ChatTemplate {
    template: Template,
    form: ImageForm,
}

impl ChatTemplate {
    fn of(sample: &Sample<Image>, form: ImageForm) -> Template {
        let mut chat = ChatTemplate { template: Template::default(), form };
        chat.push("{\"messages\":");
        chat.list(&sample.messages, ChatTemplate::message);
        if !sample.tools.is_empty() {
            chat.push(",\"tools\":");
            chat.list(&sample.tools, ChatTemplate::tool);
        }
        if let Some(effort) = &sample.settings.reasoning_effort {
            chat.push(",");
            chat.member("reasoning_effort", effort);
        }
        chat.push("}\n");
        chat.template
    }

    fn push(&mut self, json: &str) {
        self.template.push(json);
    }

    fn member(&mut self, key: &str, value: &str) {
        self.push("\"");
        self.push(key);
        self.push("\":");
        self.template.string(value);
    }

    fn list<T>(&mut self, values: &[T], write: impl Fn(&mut ChatTemplate, &T)) {
        self.push("[");
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                self.push(",");
            }
            write(self, value);
        }
        self.push("]");
    }

    fn message(&mut self, message: &Message) {
        let role = match message {
            Message::System(_) => "system",
            Message::User(_) => "user",
            Message::Assistant(_) => "assistant",
            Message::Tool(_) => "tool",
        };
        self.push("{");
        self.member("role", role);
        match message {
            Message::System(content) => self.text_content(content),
            Message::User(content) => self.content(content),
            Message::Assistant(answer) => self.assistant(answer),
            Message::Tool(result) => {
                self.text_content(&result.content);
                for (key, value) in [("tool_call_id", &result.tool_call_id), ("name", &result.name)] {
                    if let Some(value) = value {
                        self.push(",");
                        self.member(key, value);
                    }
                }
            }
        }
        self.push("}");
    }

    fn assistant(&mut self, answer: &Assistant) {
        if let Some(content) = &answer.content {
            self.text_content(content);
        }
        if !answer.tool_calls.is_empty() {
            self.push(",\"tool_calls\":");
            self.list(&answer.tool_calls, ChatTemplate::tool_call);
        }
        match answer.weight {
            Some(true) => self.push(",\"weight\":1"),
            Some(false) => self.push(",\"weight\":0"),
            None => {}
        }
        if answer.prefix {
            self.push(",\"prefix\":true");
        }
    }

    fn tool_call(&mut self, call: &ToolCall) {
        self.push("{");
        self.member("id", &call.id);
        self.push(",\"type\":\"function\",\"function\":{");
        self.member("name", &call.name);
        self.push(",");
        match &call.arguments {
            Arguments::Text(text) => self.member("arguments", text),
            Arguments::Json(value) => self.member("arguments", &value.to_string()),
        }
        self.push("}}");
    }

    fn tool(&mut self, tool: &Tool) {
        self.push("{\"type\":\"function\",\"function\":{");
        self.member("name", &tool.name);
        if let Some(description) = &tool.description {
            self.push(",");
            self.member("description", description);
        }
        self.push(",\"parameters\":");
        self.template.value(&tool.parameters);
        if let (Some(strict), ImageForm::Url(ImageUrlForm::Object) | ImageForm::Mark) =
            (tool.strict, self.form)
        {
            self.push(if strict { ",\"strict\":true" } else { ",\"strict\":false" });
        }
        self.push("}}");
    }

    /// Text content as one string; several texts are joined as the reference joins them, by an empty line. A content with
    /// thinking or images stays a list.
    fn text_content(&mut self, content: &Content) {
        let Content::Parts(parts) = content else {
            return self.content(content);
        };
        let texts: Option<Vec<&str>> = parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => Some(text.as_str()),
                Part::Image(_) | Part::Thinking { .. } => None,
            })
            .collect();
        match texts {
            Some(texts) => {
                self.push(",");
                self.member("content", &texts.join("\n\n"));
            }
            None => self.content(content),
        }
    }

    fn content(&mut self, content: &Content) {
        match content {
            Content::Text(text) => {
                self.push(",");
                self.member("content", text);
            }
            Content::Parts(parts) => {
                self.push(",\"content\":");
                self.list(parts, ChatTemplate::part);
            }
        }
    }

    fn part(&mut self, part: &Part) {
        match part {
            Part::Text(text) => {
                self.push("{\"type\":\"text\",");
                self.member("text", text);
                self.push("}");
            }
            Part::Thinking { text, closed } => {
                self.push("{\"type\":\"thinking\",");
                self.member("thinking", text);
                self.push(if *closed { "}" } else { ",\"closed\":false}" });
            }
            Part::Image(index) => {
                let (before, after) = match self.form {
                    ImageForm::Mark => return self.push("{\"type\":\"image\"}"),
                    ImageForm::Url(ImageUrlForm::String) => ("", "}"),
                    ImageForm::Url(ImageUrlForm::Object) => ("{\"url\":", "}}"),
                };
                self.push("{\"type\":\"image_url\",\"image_url\":");
                self.push(before);
                self.template.gap(*index);
                self.push(after);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pixtune_core::{conversation, json};

    use crate::write::WrittenImage;

    fn line(row: &str, writer: &dyn SampleWriter) -> String {
        let parsed = json::parse(row).unwrap();
        let (sample, findings) = conversation::read(&parsed.value, &[]);
        assert_eq!(findings, []);
        let images = [
            WrittenImage::Inline { mime: "image/png", bytes: vec![0, 1, 2, 3] },
            WrittenImage::Reference("https://x/y?a=\"b\"".into()),
        ];
        let mut out = Vec::new();
        writer.write(&sample, &images, &mut out);
        String::from_utf8(out).unwrap()
    }

    const CHAT: &str = r#"{"messages":[{"role":"system","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},{"role":"user","content":[{"type":"image_url","image_url":"p"},{"type":"text","text":"é\n"},{"type":"image_url","image_url":{"url":"q"}}]},{"role":"assistant","content":"x","weight":1}]}"#;

    #[test]
    fn writes_the_mistral_format() {
        assert_eq!(
            line(CHAT, &MistralWriter),
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
            line(CHAT, &OpenAiWriter)
                .contains(r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,AAECAw=="}}"#)
        );
    }

    #[test]
    fn writes_marks_for_images_beside_the_line() {
        let marked = line(CHAT, &MarkWriter);
        assert!(
            marked.contains(r#"[{"type":"image"},{"type":"text","text":"é\n"},{"type":"image"}]"#),
            "{marked}"
        );
    }

    #[test]
    fn stored_tools_keep_their_strict_flag() {
        let row = r#"{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"}],"tools":[{"type":"function","function":{"name":"f","parameters":{},"strict":true}}]}"#;
        assert_eq!(line(row, &MarkWriter).trim_end(), row);
        assert!(!line(row, &MistralWriter).contains("strict"));
    }

    #[test]
    fn keeps_tools() {
        let row = r#"{"messages":[{"role":"user","content":"x"},{"role":"assistant","tool_calls":[{"id":"abcdefghi","type":"function","function":{"name":"f","arguments":"{\"a\": 1}"}}]},{"role":"tool","content":"{}","tool_call_id":"abcdefghi","name":"f"},{"role":"assistant","content":"y"}],"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"b":1.50,"a":[]}}}]}"#;
        assert_eq!(line(row, &MistralWriter).trim_end(), row);
    }
}
