//! `POST /chat/completions`: whole or as a stream.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use pixtune_core::json::Value;
use pixtune_infer::{FinishReason, TokenLogprob, Usage};
use tokio::sync::mpsc;

use crate::answer::{Ask, Piece, Weights, tool_calls};
use crate::api::{Api, Call, Reply};
use crate::catalog::BaseModel;
use crate::clock::now;
use crate::error::ApiError;
use crate::ids;
use crate::request::chat::{ChatRequest, ChatShape, MISTRAL_TEMPERATURE, model_of};
use crate::upstream::Asked;
use crate::vendor::Vendor;
use crate::wire::{self, Choice, ChunkDelta};

/// Answers a chat.
pub fn complete(call: Call<'_>) -> Result<Reply, ApiError> {
    let parsed = call.json()?;
    let (shape, pieces) = ask(call.api, call.project(), call.dialect.vendor, &parsed.value)?;
    let header = Header { id: ids::id("chatcmpl"), created: now(), model: shape.model.clone() };
    match shape.streams {
        true => stream(header, shape, pieces),
        false => Ok(Reply::Json(whole(&header, &shape, pieces)?)),
    }
}

/// Answers a chat as a whole: for requests that no client waits for.
pub fn answer(api: &Arc<Api>, project: &str, vendor: Vendor, body: &Value<'_>) -> Result<String, ApiError> {
    let (shape, pieces) = ask(api, project, vendor, body)?;
    let header = Header { id: ids::id("chatcmpl"), created: now(), model: shape.model.clone() };
    whole(&header, &shape, pieces)
}

/// Asks the model that a body names: on this machine, or on the upstream server.
fn ask(
    api: &Arc<Api>,
    project: &str,
    vendor: Vendor,
    body: &Value<'_>,
) -> Result<(ChatShape, mpsc::Receiver<Piece>), ApiError> {
    let target = target(api, project, model_of(body)?)?;
    if let Some(upstream) = api.upstream.as_ref().filter(|upstream| upstream.answers(target.base)) {
        let shape = ChatShape::parse(body)?;
        let temperature = (vendor == Vendor::Mistral).then_some(MISTRAL_TEMPERATURE);
        let asked = Asked { id: &target.id, base: target.base, adapter: target.adapter.as_deref() };
        let pieces = upstream.ask(asked, &shape, body, temperature)?;
        return Ok((shape, pieces));
    }
    let ChatRequest { request, shape } = ChatRequest::parse(vendor, body)?;
    let weights = Weights { base: target.base.path.clone(), adapter: target.adapter };
    let pieces = api.models.ask(&target.id, &weights, Ask { request, choices: shape.choices })?;
    Ok((shape, pieces))
}

/// What every chunk of an answer begins with.
struct Header {
    id: String,
    created: i64,
    model: String,
}

/// A model that a name stands for.
struct Target<'a> {
    id: String,
    base: &'a BaseModel,
    adapter: Option<PathBuf>,
}

fn target<'a>(api: &'a Api, project: &str, name: &str) -> Result<Target<'a>, ApiError> {
    if let Some(base) = api.catalog.find(name) {
        return Ok(Target { id: base.id.clone(), base, adapter: None });
    }
    let Some(model) = api.store.model(project, name)? else {
        let tuned = api.store.models(project)?;
        let tuned = tuned.into_iter().filter(|model| model.step.is_none()).map(|model| model.id);
        let available: Vec<String> = api.model_names().into_iter().chain(tuned).take(20).collect();
        return Err(ApiError::no_model(name, &available));
    };
    if model.is_archived {
        return Err(ApiError::conflict(format!("the model `{name}` is archived: unarchive it first")));
    }
    let base = api.catalog.find(&model.base);
    let base = base.ok_or_else(|| {
        ApiError::unavailable(format!("the base `{}` of the model is not on this server", model.base))
    })?;
    if !model.adapter.is_dir() {
        return Err(ApiError::not_found(
            "adapter any more (older checkpoints are removed) of the model",
            name,
        ));
    }
    Ok(Target { id: model.id, base, adapter: Some(model.adapter) })
}

/// Collects the choices of an answer from its pieces.
struct Collector {
    calls: Option<String>,
    logprobs: Option<Vec<TokenLogprob>>,
}

/// What a piece adds.
enum Added {
    /// Nothing that can be sent.
    Nothing,
    /// A text.
    Text(String),
    /// The end: a last text, the calls, the reason, and the usage.
    End(String, Vec<wire::ToolCallJson>, &'static str, Usage),
}

impl Collector {
    fn new(shape: &ChatShape) -> Collector {
        Collector { calls: None, logprobs: shape.has_logprobs.then(Vec::new) }
    }

    fn add(&mut self, piece: Piece) -> Result<Added, ApiError> {
        match piece {
            Piece::Token(token) => {
                if let Some(tokens) = self.logprobs.as_mut() {
                    tokens.push(token);
                }
                Ok(Added::Nothing)
            }
            Piece::Text(text) => match &mut self.calls {
                Some(calls) => {
                    calls.push_str(&text);
                    Ok(Added::Nothing)
                }
                None => Ok(Added::Text(text)),
            },
            Piece::ToolCalls => {
                self.calls = Some(String::new());
                Ok(Added::Nothing)
            }
            Piece::Finished(reason, usage) => Ok(self.end(reason, usage)),
            Piece::Failed(error) => Err(error),
        }
    }

    fn end(&mut self, reason: FinishReason, usage: Usage) -> Added {
        let mut text = String::new();
        let mut calls = Vec::new();
        if let Some(written) = self.calls.take() {
            match tool_calls(&written) {
                Some(found) => calls = found,
                // What is not a list of calls is shown as it is.
                None => text.push_str(&written),
            }
        }
        let reason = match reason {
            FinishReason::Length => "length",
            FinishReason::Stop if !calls.is_empty() => "tool_calls",
            FinishReason::Stop => "stop",
        };
        Added::End(text, calls, reason, usage)
    }
}

fn whole(header: &Header, chat: &ChatShape, mut pieces: mpsc::Receiver<Piece>) -> Result<String, ApiError> {
    let mut choices = Vec::new();
    let mut total = Usage::default();
    while (choices.len() as u64) < chat.choices {
        let mut collector = Collector::new(chat);
        let mut content = String::new();
        let choice = loop {
            let piece = pieces.blocking_recv().ok_or_else(|| ApiError::internal("the answer was cut off"))?;
            match collector.add(piece)? {
                Added::Nothing => {}
                Added::Text(text) => content.push_str(&text),
                Added::End(text, tool_calls, finish_reason, usage) => {
                    content.push_str(&text);
                    total.prompt_tokens = usage.prompt_tokens;
                    total.completion_tokens += usage.completion_tokens;
                    break Choice { content, tool_calls, finish_reason, logprobs: collector.logprobs.take() };
                }
            }
        };
        choices.push(choice);
    }
    Ok(wire::completion(&header.id, header.created, &header.model, &choices, total))
}

/// A line of server-sent events.
fn event(json: &str) -> Bytes {
    Bytes::from(format!("data: {json}\n\n"))
}

fn stream(header: Header, chat: ChatShape, mut pieces: mpsc::Receiver<Piece>) -> Result<Reply, ApiError> {
    // The first piece decides whether there is an answer at all, which a status can still tell.
    let first = pieces.blocking_recv().ok_or_else(|| ApiError::internal("the answer was cut off"))?;
    if let Piece::Failed(error) = first {
        return Err(error);
    }
    let (sender, receiver) = mpsc::channel(64);
    tokio::task::spawn_blocking(move || {
        let sent = send_all(&header, &chat, first, &mut pieces, &sender);
        if let Err(Some(error)) = sent {
            let _ = sender.blocking_send(event(&error.body()));
        }
    });
    Ok(Reply::Stream("text/event-stream", None, None, receiver))
}

/// Sends the chunks of an answer. The error is what the client is told; none if it has gone.
fn send_all(
    header: &Header,
    chat: &ChatShape,
    first: Piece,
    pieces: &mut mpsc::Receiver<Piece>,
    sender: &mpsc::Sender<Bytes>,
) -> Result<(), Option<ApiError>> {
    let send = |delta: Option<(usize, &ChunkDelta)>, usage: Option<Usage>| {
        let chunk = wire::chunk(&header.id, header.created, &header.model, delta, usage);
        sender.blocking_send(event(&chunk)).map_err(|_| None)
    };
    let mut next = Some(first);
    let mut total = Usage::default();
    for choice in 0..usize::try_from(chat.choices).unwrap_or(usize::MAX) {
        send(Some((choice, &ChunkDelta::Role)), None)?;
        let mut collector = Collector::new(chat);
        loop {
            let piece = next.take().or_else(|| pieces.blocking_recv());
            let piece = piece.ok_or_else(|| Some(ApiError::internal("the answer was cut off")))?;
            let added = collector.add(piece).map_err(Some)?;
            let logprobs = |collector: &mut Collector| collector.logprobs.as_mut().map(std::mem::take);
            match added {
                Added::Nothing => {}
                Added::Text(text) => {
                    let delta = ChunkDelta::Text(text, logprobs(&mut collector));
                    send(Some((choice, &delta)), None)?;
                }
                Added::End(text, calls, reason, usage) => {
                    if !text.is_empty() {
                        send(Some((choice, &ChunkDelta::Text(text, logprobs(&mut collector)))), None)?;
                    }
                    if !calls.is_empty() {
                        send(Some((choice, &ChunkDelta::ToolCalls(calls))), None)?;
                    }
                    total.prompt_tokens = usage.prompt_tokens;
                    total.completion_tokens += usage.completion_tokens;
                    let is_last = choice as u64 + 1 == chat.choices;
                    // Mistral's clients read the usage from the last chunk of a choice.
                    let usage = (is_last && !chat.includes_usage).then_some(total);
                    send(Some((choice, &ChunkDelta::Finish(reason))), usage)?;
                    break;
                }
            }
        }
    }
    if chat.includes_usage {
        send(None, Some(total))?;
    }
    sender.blocking_send(Bytes::from_static(b"data: [DONE]\n\n")).map_err(|_| None)
}
