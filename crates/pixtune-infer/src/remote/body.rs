//! A request of chat completions as JSON.

use pixtune_core::json::{Object, ToJson, list, object, text};
use pixtune_core::sample::{Arguments, Assistant, Content, Message, Part, Tool, ToolCall};
use pixtune_io::base64::data_uri;
use pixtune_io::image::{Limits, Loaded};

use crate::answerer::Request;
use crate::error::AnswerError;

/// The body of a request: the model, the messages with their images as data URIs of the files' own bytes, and how to sample.
/// The same request gives the same bytes.
pub fn request_json(model: &str, request: &Request) -> Result<String, AnswerError> {
    let conversation = &request.conversation;
    let uri = |(index, bytes): (usize, &std::sync::Arc<[u8]>)| {
        let loaded = Loaded::new(bytes.to_vec(), &Limits::default());
        let loaded = loaded.map_err(|source| AnswerError::Image { index, source })?;
        Ok(data_uri(loaded.header.format.mime(), bytes))
    };
    let images: Vec<String> =
        conversation.images.iter().enumerate().map(uri).collect::<Result<_, AnswerError>>()?;
    Ok(text(object(|out| {
        out.field("model", model);
        out.field("messages", list(conversation.messages.iter().map(|written| message(written, &images))));
        if !conversation.tools.is_empty() {
            out.field("tools", list(conversation.tools.iter().map(tool)));
        }
        out.optional("reasoning_effort", conversation.settings.reasoning_effort.as_deref());
        out.field("temperature", request.sampling.temperature());
        if request.sampling.temperature() > 0.0 {
            out.field("seed", request.sampling.seed());
        }
        out.field("max_tokens", request.max_tokens as u64);
        if !request.stop.is_empty() {
            out.field("stop", list(request.stop.iter()));
        }
    })))
}

fn message(message: &Message, images: &[String]) -> impl ToJson {
    object(move |out| match message {
        Message::System(written) => content(out.field("role", "system"), written, images),
        Message::User(written) => content(out.field("role", "user"), written, images),
        Message::Assistant(assistant) => answer(out.field("role", "assistant"), assistant, images),
        Message::Tool(result) => {
            out.field("role", "tool").optional("tool_call_id", result.tool_call_id.as_deref());
            content(out.optional("name", result.name.as_deref()), &result.content, images);
        }
    })
}

fn content(out: &mut Object<'_>, content: &Content, images: &[String]) {
    match content {
        Content::Text(text) => out.field("content", text),
        Content::Parts(parts) => {
            out.field("content", list(parts.iter().map(|written| part(written, images))))
        }
    };
}

fn part(part: &Part, images: &[String]) -> impl ToJson {
    object(move |out| match part {
        Part::Text(text) => {
            out.field("type", "text").field("text", text);
        }
        Part::Thinking { text, closed } => {
            out.field("type", "thinking").field("thinking", text);
            out.optional("closed", (!closed).then_some(false));
        }
        Part::Image(index) => {
            let uri = images.get(*index).map_or("", String::as_str);
            out.field("type", "image_url").field(
                "image_url",
                object(|image| {
                    image.field("url", uri);
                }),
            );
        }
    })
}

fn answer(out: &mut Object<'_>, assistant: &Assistant, images: &[String]) {
    match &assistant.content {
        Some(written) => content(out, written, images),
        None => {
            out.field("content", None::<&str>);
        }
    }
    if !assistant.tool_calls.is_empty() {
        out.field("tool_calls", list(assistant.tool_calls.iter().map(call)));
    }
}

fn call(call: &ToolCall) -> impl ToJson {
    object(move |out| {
        out.field("id", &call.id).field("type", "function");
        out.field(
            "function",
            object(|function| {
                let arguments = match &call.arguments {
                    Arguments::Text(text) => text.clone(),
                    Arguments::Json(value) => value.to_string(),
                };
                function.field("name", &call.name).field("arguments", &arguments);
            }),
        );
    })
}

fn tool(tool: &Tool) -> impl ToJson {
    object(move |out| {
        out.field("type", "function").field(
            "function",
            object(|function| {
                function.field("name", &tool.name).optional("description", tool.description.as_deref());
                function.optional("strict", tool.strict).field("parameters", &tool.parameters);
            }),
        );
    })
}
