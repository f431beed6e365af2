//! Chat completions, whole and as chunks of a stream.

use pixtune_core::json::{self, Object, list, object, text};
use pixtune_infer::{TokenLogprob, Usage};

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCallJson {
    /// Nine letters or digits.
    pub id: String,
    /// The function.
    pub name: String,
    /// Its arguments, JSON.
    pub arguments: String,
}

/// One answer of a completion.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Choice {
    /// The text.
    pub content: String,
    /// Calls of tools.
    pub tool_calls: Vec<ToolCallJson>,
    /// `stop`, `length` or `tool_calls`.
    pub finish_reason: &'static str,
    /// Log-probabilities, where they are asked for.
    pub logprobs: Option<Vec<TokenLogprob>>,
}

/// A whole completion.
pub fn completion(id: &str, created: i64, model: &str, choices: &[Choice], usage: Usage) -> String {
    text(object(|out| {
        out.field("id", id)
            .field("object", "chat.completion")
            .field("created", created)
            .field("model", model);
        out.field(
            "choices",
            list(choices.iter().enumerate().map(|(index, choice)| choice_json(index, choice))),
        );
        out.field("usage", object(|out| usage_json(out, usage)));
        out.field("system_fingerprint", None::<&str>);
    }))
}

fn choice_json(index: usize, choice: &Choice) -> impl json::ToJson {
    object(move |out| {
        out.field("index", index as u64);
        out.field(
            "message",
            object(|message| {
                // Mistral's client before 1.0 needs a text beside calls.
                message.field("role", "assistant").field("content", &choice.content);
                if !choice.tool_calls.is_empty() {
                    message.field(
                        "tool_calls",
                        list(
                            choice.tool_calls.iter().enumerate().map(|(index, call)| call_json(index, call)),
                        ),
                    );
                }
                message.field("refusal", None::<&str>);
            }),
        );
        out.field("finish_reason", choice.finish_reason);
        logprobs_json(out, choice.logprobs.as_deref());
    })
}

fn usage_json(out: &mut Object<'_>, usage: Usage) {
    out.field("prompt_tokens", usage.prompt_tokens as u64)
        .field("completion_tokens", usage.completion_tokens as u64);
    out.field("total_tokens", (usage.prompt_tokens + usage.completion_tokens) as u64);
}

fn call_json(index: usize, call: &ToolCallJson) -> impl json::ToJson {
    object(move |out| {
        out.field("index", index as u64).field("id", &call.id).field("type", "function");
        out.field(
            "function",
            object(|out| {
                out.field("name", &call.name).field("arguments", &call.arguments);
            }),
        );
    })
}

fn logprobs_json(out: &mut Object<'_>, logprobs: Option<&[TokenLogprob]>) {
    match logprobs {
        None => out.field("logprobs", None::<&str>),
        Some(tokens) => out.field(
            "logprobs",
            object(|out| {
                out.field(
                    "content",
                    list(tokens.iter().map(|token| {
                        object(move |out| {
                            token_json(out, &token.bytes, token.logprob);
                            out.field(
                                "top_logprobs",
                                list(token.top.iter().map(|(bytes, logprob)| {
                                    object(move |out| {
                                        token_json(out, bytes, *logprob);
                                    })
                                })),
                            );
                        })
                    })),
                );
                out.field("refusal", None::<&str>);
            }),
        ),
    };
}

fn token_json(out: &mut Object<'_>, bytes: &[u8], logprob: f64) {
    let bytes_list: Vec<u32> = bytes.iter().map(|byte| u32::from(*byte)).collect();
    out.field("token", &String::from_utf8_lossy(bytes).into_owned()).field("logprob", logprob);
    out.field("bytes", list(bytes_list.iter().copied()));
}

/// What a chunk adds to a choice.
#[derive(Debug, Clone, PartialEq)]
pub enum ChunkDelta {
    /// The beginning of the message.
    Role,
    /// The next text, with the log-probabilities of its tokens.
    Text(String, Option<Vec<TokenLogprob>>),
    /// Every call, complete: clients of one vendor do not join calls from pieces.
    ToolCalls(Vec<ToolCallJson>),
    /// The end.
    Finish(&'static str),
}

/// A chunk of a stream; one without a choice has the usage.
pub fn chunk(
    id: &str,
    created: i64,
    model: &str,
    delta: Option<(usize, &ChunkDelta)>,
    usage: Option<Usage>,
) -> String {
    text(object(|out| {
        out.field("id", id)
            .field("object", "chat.completion.chunk")
            .field("created", created)
            .field("model", model);
        out.field(
            "choices",
            list(delta.iter().map(|(index, delta)| object(move |out| delta_json(out, *index, delta)))),
        );
        match usage {
            Some(usage) => out.field("usage", object(|out| usage_json(out, usage))),
            None => out.field("usage", None::<&str>),
        };
    }))
}

fn delta_json(out: &mut Object<'_>, index: usize, delta: &ChunkDelta) {
    out.field("index", index as u64);
    out.field(
        "delta",
        object(|out| match delta {
            ChunkDelta::Role => {
                out.field("role", "assistant").field("content", "");
            }
            ChunkDelta::Text(text, _) => {
                out.field("content", text);
            }
            ChunkDelta::ToolCalls(calls) => {
                out.field("content", "").field(
                    "tool_calls",
                    list(calls.iter().enumerate().map(|(index, call)| call_json(index, call))),
                );
            }
            ChunkDelta::Finish(_) => {
                out.field("content", "");
            }
        }),
    );
    let reason = match delta {
        ChunkDelta::Finish(reason) => Some(*reason),
        _ => None,
    };
    out.field("finish_reason", reason);
    let logprobs = match delta {
        ChunkDelta::Text(_, logprobs) => logprobs.as_deref(),
        _ => None,
    };
    logprobs_json(out, logprobs);
}
