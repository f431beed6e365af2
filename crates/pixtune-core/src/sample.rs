//! A training sample: a conversation, its images and its tools.

use std::sync::Arc;

use crate::json::Value;

/// A conversation to check, count or write. Images are stored beside the messages, so that tokens can be counted from
/// image sizes alone. `T` is the type of its texts, which can be borrowed from the row.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample<I, T = String> {
    /// The messages, in order.
    pub messages: Vec<Message<T>>,
    /// The tools that the assistant may call.
    pub tools: Vec<Tool>,
    /// The images, in order of appearance; a [`Part::Image`] is an index into this list.
    pub images: Vec<I>,
    /// Settings that newer models read.
    pub settings: ModelSettings,
}

/// Settings of a conversation that a model reads, from tokenizer v15.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelSettings {
    /// How much the model thinks before it responds, if given.
    pub reasoning_effort: Option<String>,
    /// The JSON Schema that responses follow, if one is required.
    pub response_schema: Option<Value<'static>>,
}

/// A message.
#[derive(Debug, Clone, PartialEq)]
pub enum Message<T = String> {
    /// Instructions for the whole conversation.
    System(Content<T>),
    /// A prompt with its images.
    User(Content<T>),
    /// The model's answer.
    Assistant(Assistant<T>),
    /// A tool's result.
    Tool(ToolResult<T>),
}

// A derived implementation would require `T: Default`.
impl<I, T> Default for Sample<I, T> {
    fn default() -> Sample<I, T> {
        Sample {
            messages: Vec::new(),
            tools: Vec::new(),
            images: Vec::new(),
            settings: ModelSettings::default(),
        }
    }
}

impl<T> Default for Assistant<T> {
    fn default() -> Assistant<T> {
        Assistant { content: None, tool_calls: Vec::new(), weight: None, prefix: false }
    }
}

/// A string, or a list of texts and images. The two are distinct because the reference tokenizes a string and a list with
/// one text differently after a system prompt.
#[derive(Debug, Clone, PartialEq)]
pub enum Content<T = String> {
    /// One string.
    Text(T),
    /// A list of parts, possibly empty.
    Parts(Vec<Part<T>>),
}

/// A content part.
#[derive(Debug, Clone, PartialEq)]
pub enum Part<T = String> {
    /// A text.
    Text(T),
    /// The image at this index of [`Sample::images`].
    Image(usize),
    /// What the model thinks before it responds.
    Thinking {
        /// The text.
        text: T,
        /// Whether the thinking ends here; an open one is continued.
        closed: bool,
    },
}

/// An assistant message: an answer, or tool calls.
#[derive(Debug, Clone, PartialEq)]
pub struct Assistant<T = String> {
    /// The answer; `None` if the message only calls tools.
    pub content: Option<Content<T>>,
    /// Tool calls, in order.
    pub tool_calls: Vec<ToolCall>,
    /// Whether the message is trained; `None` means the same as `Some(true)` but is not written.
    pub weight: Option<bool>,
    /// The message is the start of an answer to be continued: valid when serving, rejected in training data.
    pub prefix: bool,
}

/// A tool call of the assistant.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// What the result refers to; `"null"` if there is none.
    pub id: String,
    /// The function's name.
    pub name: String,
    /// Its arguments.
    pub arguments: Arguments,
}

/// Arguments of a call: JSON in a string, as the formats require, or an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Arguments {
    /// JSON text.
    Text(String),
    /// A JSON value.
    Json(Value<'static>),
}

/// What a tool returned to the assistant.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolResult<T = String> {
    /// The result, usually JSON text.
    pub content: Content<T>,
    /// The id of its call.
    pub tool_call_id: Option<String>,
    /// The function's name, if given.
    pub name: Option<String>,
}

/// A function that the assistant may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// The function's name.
    pub name: String,
    /// The description; `None` if there is no such key.
    pub description: Option<String>,
    /// JSON Schema of its arguments.
    pub parameters: Value<'static>,
    /// OpenAI's `strict` flag, if given.
    pub strict: Option<bool>,
}

/// An image as a row names it; `B` is the type of its base64, which can be borrowed from the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image<B = String> {
    /// Where the image comes from.
    pub source: ImageSource<B>,
    /// JSON pointer to the reference.
    pub pointer: String,
}

/// Where an image comes from, as the row names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource<B = String> {
    /// A path, relative to the file that names it unless absolute.
    File(String),
    /// An `http` or `https` URL.
    Url(String),
    /// The file itself, from a row that holds bytes.
    Bytes(Arc<[u8]>),
    /// The base64 payload of a data URI and the media type it declares.
    Inline {
        /// The declared media type, perhaps empty or wrong.
        mime: String,
        /// The payload, not yet decoded.
        base64: B,
    },
}

impl<I> Sample<I, &str> {
    /// The same sample, independent of the row.
    pub fn into_owned(self) -> Sample<I> {
        let messages = self.messages.into_iter().map(Message::into_owned).collect();
        Sample { messages, tools: self.tools, images: self.images, settings: self.settings }
    }
}

impl Message<&str> {
    fn into_owned(self) -> Message {
        match self {
            Message::System(content) => Message::System(content.into_owned()),
            Message::User(content) => Message::User(content.into_owned()),
            Message::Assistant(Assistant { content, tool_calls, weight, prefix }) => {
                let content = content.map(Content::into_owned);
                Message::Assistant(Assistant { content, tool_calls, weight, prefix })
            }
            Message::Tool(ToolResult { content, tool_call_id, name }) => {
                Message::Tool(ToolResult { content: content.into_owned(), tool_call_id, name })
            }
        }
    }
}

impl Content<&str> {
    fn into_owned(self) -> Content {
        let part = |part| match part {
            Part::Text(text) => Part::Text(str::to_owned(text)),
            Part::Image(index) => Part::Image(index),
            Part::Thinking { text, closed } => Part::Thinking { text: str::to_owned(text), closed },
        };
        match self {
            Content::Text(text) => Content::Text(text.to_owned()),
            Content::Parts(parts) => Content::Parts(parts.into_iter().map(part).collect()),
        }
    }
}

impl ImageSource<&str> {
    /// The same source, independent of the row.
    pub fn into_owned(self) -> ImageSource {
        match self {
            ImageSource::File(path) => ImageSource::File(path),
            ImageSource::Url(url) => ImageSource::Url(url),
            ImageSource::Bytes(bytes) => ImageSource::Bytes(bytes),
            ImageSource::Inline { mime, base64 } => ImageSource::Inline { mime, base64: base64.to_owned() },
        }
    }
}
