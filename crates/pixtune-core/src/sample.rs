//! What one training sample is: a conversation, its images and its tools.

use crate::json::Value;

/// A conversation ready to be checked, counted or written. Images live beside the messages, so that a
/// sample can be judged by their sizes alone. `T` holds the texts of its messages, which can be borrowed from the row.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample<I, T = String> {
    /// The turns, in order.
    pub messages: Vec<Message<T>>,
    /// The tools the conversation may call; empty when it has none.
    pub tools: Vec<Tool>,
    /// The images, in order of appearance; a [`Part::Image`] is an index into this list.
    pub images: Vec<I>,
}

/// One turn.
#[derive(Debug, Clone, PartialEq)]
pub enum Message<T = String> {
    /// Instructions that stand above the conversation.
    System(Content<T>),
    /// What the person says and shows.
    User(Content<T>),
    /// What the model is to answer.
    Assistant(Assistant<T>),
    /// What a tool returned.
    Tool(ToolResult<T>),
}

// Derived, these would ask for a `T` that has a default.
impl<I, T> Default for Sample<I, T> {
    fn default() -> Sample<I, T> {
        Sample { messages: Vec::new(), tools: Vec::new(), images: Vec::new() }
    }
}

impl<T> Default for Assistant<T> {
    fn default() -> Assistant<T> {
        Assistant { content: None, tool_calls: Vec::new(), weight: None, prefix: false }
    }
}

/// Text, or an interleaving of texts and images. The two are kept apart because the reference tokenises
/// a string and a list with one text differently once a system prompt stands before it.
#[derive(Debug, Clone, PartialEq)]
pub enum Content<T = String> {
    /// One string.
    Text(T),
    /// A list of parts, possibly empty.
    Parts(Vec<Part<T>>),
}

/// A piece of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Part<T = String> {
    /// A run of text.
    Text(T),
    /// The image at this index of [`Sample::images`].
    Image(usize),
}

/// An assistant turn: an answer, or calls of tools.
#[derive(Debug, Clone, PartialEq)]
pub struct Assistant<T = String> {
    /// The answer; `None` when the turn only calls tools.
    pub content: Option<Content<T>>,
    /// Calls of tools, in order.
    pub tool_calls: Vec<ToolCall>,
    /// Whether the turn is trained; `None` is the same as `Some(true)` but is not written.
    pub weight: Option<bool>,
    /// The turn is the start of an answer to be continued: legal when serving, refused in training data.
    pub prefix: bool,
}

/// A call of a tool by the assistant.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// Nine letters or digits that the result refers to; `"null"` when there is none.
    pub id: String,
    /// The function's name.
    pub name: String,
    /// Its arguments.
    pub arguments: Arguments,
}

/// Arguments of a call: JSON inside a string, as the formats ask for, or an object written directly.
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
    /// The id of the call it answers.
    pub tool_call_id: Option<String>,
    /// The function's name, where the data gives it.
    pub name: Option<String>,
}

/// A function the assistant may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// The function's name.
    pub name: String,
    /// What it does; `None` where the data has no such key.
    pub description: Option<String>,
    /// JSON Schema of its arguments.
    pub parameters: Value<'static>,
    /// OpenAI's `strict` flag, where the data gives it.
    pub strict: Option<bool>,
}

/// An image as a row names it; `B` holds its base64, which can be borrowed from the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image<B = String> {
    /// Where it is to be found.
    pub source: ImageSource<B>,
    /// JSON pointer to the place that names it.
    pub pointer: String,
}

/// Where an image is to be found, as the data says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource<B = String> {
    /// A path, relative to the file that names it unless absolute.
    File(String),
    /// An address that is not fetched.
    Url(String),
    /// The base64 payload of a data URI and the media type it declares.
    Inline {
        /// The declared media type, perhaps empty or wrong.
        mime: String,
        /// The payload, not yet decoded.
        base64: B,
    },
}

impl ImageSource<&str> {
    /// The same, independent of the row.
    pub fn into_owned(self) -> ImageSource {
        match self {
            ImageSource::File(path) => ImageSource::File(path),
            ImageSource::Url(url) => ImageSource::Url(url),
            ImageSource::Inline { mime, base64 } => ImageSource::Inline { mime, base64: base64.to_owned() },
        }
    }
}
