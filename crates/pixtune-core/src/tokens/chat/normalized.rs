//! A conversation as the reference normalizes it for tokenizer v3 before it encodes, for programs that encode messages as they
//! stand.

use std::borrow::Cow;

use super::common::{Group, Response, groups, system_prompt, user_content};
use super::content::{Chunk, Joined, joined_text};
use super::format::SEPARATOR;
use super::tools::{Calls, calls_json, result_json, tools_json, unprintable};
use super::validate::{Turn, validate};
use super::{ChatEncoder, ChatFormat, Layout, Terms};
use crate::diagnostic::Finding;
use crate::sample::{Assistant, Content, Message, Part, Sample, ToolResult};
use crate::tokens::{Tokenizer, TokenizerVersion};

/// Where a system prompt stands in a normalized conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SystemPrompt {
    /// At the start of the last user message, where the reference encodes it. There is no system message.
    #[default]
    Fold,
    /// In one system message at the start.
    Keep,
}

/// A conversation in which user and assistant alternate: what the reference joins is joined, what it moves is moved.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalized<I> {
    /// The conversation. Between two texts of a message is an image, a response has a text or calls, and `weight` is
    /// `Some(false)` or `None`.
    pub sample: Sample<I>,
    /// The bytes of the last user message before which the reference encodes separately, if there are any: the system prompt
    /// and the empty line after it, in front of a text that belongs to a list of parts.
    joint: Option<(usize, usize)>,
}

/// The layout that trainers render: newer ones are not rendered.
fn format() -> &'static ChatFormat {
    TokenizerVersion::V3.chat_format()
}

/// Normalizes a conversation, or says why the reference rejects it.
pub fn normalized<I: Clone, T: AsRef<str>>(
    sample: &Sample<I, T>,
    system: SystemPrompt,
) -> Result<Normalized<I>, Finding> {
    let turns = Turn::all(&sample.messages);
    let terms = Terms { layout: Layout::MistralCommon, tokenizer: Tokenizer::embedded() };
    validate(&turns, sample, terms)?;
    let prompt = system_prompt(&turns, format());
    let mut normalizer = Normalizer { prompt, system, messages: Vec::new(), joint: None };
    if system == SystemPrompt::Keep && !normalizer.prompt.is_empty() {
        normalizer.messages.push(Message::System(Content::Text(normalizer.prompt.clone())));
    }
    for group in groups(&turns, format()) {
        normalizer.group(&group)?;
    }
    let Normalizer { messages, joint, .. } = normalizer;
    let sample = Sample {
        messages,
        tools: sample.tools.clone(),
        images: sample.images.clone(),
        settings: sample.settings.clone(),
    };
    Ok(Normalized { sample, joint })
}

struct Normalizer {
    prompt: String,
    system: SystemPrompt,
    messages: Vec<Message>,
    joint: Option<(usize, usize)>,
}

impl Normalizer {
    fn group<T: AsRef<str>>(&mut self, group: &Group<'_, T>) -> Result<(), Finding> {
        match group.turns.first().map(|turn| turn.message) {
            None | Some(Message::User(_)) => {
                let content = user_content(group.turns, format());
                self.user(content, group.opens);
            }
            Some(Message::Assistant(_)) => self.responses(group.turns)?,
            Some(Message::Tool(_)) => {
                let results = group.turns.iter().filter_map(|turn| match turn.message {
                    Message::Tool(result) => Some(result),
                    _ => None,
                });
                self.messages.extend(results.map(|result| {
                    let text = joined_text(&result.content, format());
                    let content = if text.is_empty() { "{}".to_owned() } else { text.into_owned() };
                    Message::Tool(ToolResult {
                        content: Content::Text(content),
                        tool_call_id: result.tool_call_id.clone(),
                        name: result.name.clone(),
                    })
                }));
            }
            Some(Message::System(_)) => {}
        }
        Ok(())
    }

    fn user(&mut self, content: Joined<'_>, is_last: bool) {
        let folded = self.system == SystemPrompt::Fold && is_last && !self.prompt.is_empty();
        let prompt = if folded { [&self.prompt, SEPARATOR].concat() } else { String::new() };
        let content = match content {
            Joined::Text(text) => Content::Text(prompt + &text),
            Joined::Chunks(chunks) => {
                let mut parts = Vec::with_capacity(chunks.len() + 1);
                let mut chunks = chunks.into_iter().peekable();
                if !prompt.is_empty() {
                    match chunks.next_if(|chunk| matches!(chunk, Chunk::Text(_))) {
                        Some(Chunk::Text(text)) => {
                            self.joint = Some((self.messages.len(), prompt.len()));
                            parts.push(Part::Text(prompt + &text));
                        }
                        _ => parts.push(Part::Text(prompt)),
                    }
                }
                parts.extend(chunks.map(|chunk| match chunk {
                    Chunk::Text(text) => Part::Text(text.into_owned()),
                    Chunk::Image(image) => Part::Image(image),
                    Chunk::Thinking { text, closed } => Part::Thinking { text: text.to_owned(), closed },
                }));
                Content::Parts(parts)
            }
        };
        self.messages.push(Message::User(content));
    }

    /// Responses that follow each other with one weight, as one.
    fn responses<T: AsRef<str>>(&mut self, turns: &[Turn<'_, T>]) -> Result<(), Finding> {
        let response = Response::of(turns, format());
        response.check(turns, format())?;
        let Response { content, calls, trained } = response;
        let content = match content {
            // The reference removes spaces, and only spaces, from the end.
            Joined::Text(text) if !text.is_empty() => {
                Some(Content::Text(text.trim_end_matches(' ').to_owned()))
            }
            _ => None,
        };
        self.messages.push(Message::Assistant(Assistant {
            content,
            tool_calls: calls.into_iter().cloned().collect(),
            weight: (!trained).then_some(false),
            prefix: false,
        }));
        Ok(())
    }
}

/// A message as it is written between control tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedTurn<'n> {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: &'static str,
    /// Whether a response is trained; `None` for other messages.
    pub trained: Option<bool>,
    /// Its content, in order.
    pub spans: Vec<Span<'n>>,
}

/// A part of a rendered message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span<'n> {
    /// A text; of a tool's result, its JSON.
    Text(Cow<'n, str>),
    /// The image with this index.
    Image(usize),
    /// The JSON between `[AVAILABLE_TOOLS]` and `[/AVAILABLE_TOOLS]`, which stands before the `[INST]` of its message.
    Tools(String),
    /// The JSON behind `[TOOL_CALLS]`.
    Calls(String),
}

impl<I> Normalized<I> {
    /// The messages as the reference writes them. JSON that it cannot write is a finding.
    pub fn rendered(&self) -> Result<Vec<RenderedTurn<'_>>, Finding> {
        let Sample { messages, tools, .. } = &self.sample;
        let last_user = messages.iter().rposition(|message| matches!(message, Message::User(_)));
        let turn = |(index, message)| {
            let turn = Turn { index, message };
            let rendered = |role, spans| RenderedTurn { role, trained: None, spans };
            Ok(match message {
                Message::System(content) => rendered("system", spans(content)),
                Message::User(content) => {
                    let mut spans = spans(content);
                    if !tools.is_empty() && last_user == Some(index) {
                        let json = tools_json(tools).map_err(|why| unprintable(why, "/tools"))?;
                        spans.insert(0, Span::Tools(json));
                    }
                    rendered("user", spans)
                }
                Message::Assistant(Assistant { content, tool_calls, weight, .. }) => {
                    let spans = match content {
                        Some(content) => spans(content),
                        None => {
                            let calls: Vec<_> = tool_calls.iter().collect();
                            let json = calls_json(&calls, &CALLS);
                            vec![Span::Calls(
                                json.map_err(|why| unprintable(why, turn.pointer("tool_calls")))?,
                            )]
                        }
                    };
                    RenderedTurn { role: "assistant", trained: Some(*weight != Some(false)), spans }
                }
                Message::Tool(result) => {
                    let json = result_json(result, &joined_text(&result.content, format()));
                    let json = json.map_err(|why| unprintable(why, turn.pointer("content")))?;
                    rendered("tool", vec![Span::Text(Cow::Owned(json))])
                }
            })
        };
        messages.iter().enumerate().map(turn).collect()
    }

    /// Whether a program that encodes each text as a whole gets the ids of the reference, which encodes a system prompt by
    /// itself where the message has images.
    pub fn encodes_alike(&self, encoder: &ChatEncoder<'_>) -> bool {
        let Some((message, at)) = self.joint else { return true };
        let Some(Message::User(Content::Parts(parts))) = self.sample.messages.get(message) else {
            return true;
        };
        let Some(Part::Text(text)) = parts.first() else { return true };
        let mut separate = encoder.tokenizer.encode(&text[..at]);
        separate.extend(encoder.tokenizer.encode(&text[at..]));
        separate == encoder.tokenizer.encode(text)
    }
}

/// Whether a call is trained does not change its JSON.
const CALLS: Calls = Calls { ids: true, empty_is_object: true, trained: true };

fn spans(content: &Content) -> Vec<Span<'_>> {
    match content {
        Content::Text(text) => vec![Span::Text(Cow::Borrowed(text))],
        Content::Parts(parts) => {
            fn span(part: &Part) -> Span<'_> {
                match part {
                    Part::Image(index) => Span::Image(*index),
                    // Validation rejects thinking.
                    Part::Text(text) | Part::Thinking { text, .. } => Span::Text(Cow::Borrowed(text)),
                }
            }
            parts.iter().map(span).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;
    use crate::strict;

    /// Roles and texts of a conversation after normalization; images are shown as their index.
    fn shown(row: &str, system: SystemPrompt) -> Vec<String> {
        let parsed = parse(row).unwrap();
        let sample = strict::read(&parsed.value).unwrap();
        let content = |content: &Content| match content {
            Content::Text(text) => text.clone(),
            Content::Parts(parts) => {
                let shown = parts.iter().map(|part| match part {
                    Part::Text(text) => text.clone(),
                    Part::Image(index) => format!("{{{index}}}"),
                    Part::Thinking { .. } => panic!("thinking in v3"),
                });
                shown.collect::<Vec<_>>().join("|")
            }
        };
        let messages = normalized(&sample, system).unwrap().sample.messages;
        let shown = messages.iter().map(|message| match message {
            Message::System(text) => format!("system: {}", content(text)),
            Message::User(text) => format!("user: {}", content(text)),
            Message::Assistant(Assistant { content: text, weight, tool_calls, .. }) => {
                let weight = if *weight == Some(false) { " (not trained)" } else { "" };
                format!(
                    "assistant{weight}: {}{}",
                    text.as_ref().map_or(String::new(), content),
                    tool_calls.len()
                )
            }
            Message::Tool(result) => format!("tool: {}", content(&result.content)),
        });
        shown.collect()
    }

    const CHAT: &str = r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"a"},{"role":"user","content":[{"type":"text","text":"b"}]},
        {"role":"assistant","content":"x  "},{"role":"user","content":[{"type":"text","text":"c"},{"type":"image_url","image_url":"https://x/p"}]},
        {"role":"assistant","content":"y","weight":0}]}"#;

    #[test]
    fn joins_moves_and_folds() {
        assert_eq!(
            shown(CHAT, SystemPrompt::Fold),
            ["user: a\n\nb", "assistant: x0", "user: s\n\n|{0}|c", "assistant (not trained): y0"]
        );
        assert_eq!(
            shown(CHAT, SystemPrompt::Keep),
            ["system: s", "user: a\n\nb", "assistant: x0", "user: {0}|c", "assistant (not trained): y0"]
        );
    }

    #[test]
    fn notices_where_the_prompt_would_be_encoded_with_the_text() {
        let alike = |text: &str| {
            let row = format!(
                r#"{{"messages":[{{"role":"system","content":"Be brief."}},{{"role":"user","content":[{{"type":"text","text":"{text}"}},
                {{"type":"image_url","image_url":"https://x/p"}},{{"type":"text","text":"b"}}]}},{{"role":"assistant","content":"x"}}]}}"#
            );
            let parsed = parse(&row).unwrap();
            let sample = strict::read(&parsed.value).unwrap();
            let spec = &crate::spec::PIXTRAL_12B;
            normalized(&sample, SystemPrompt::Fold)
                .unwrap()
                .encodes_alike(&ChatEncoder::new(spec, Layout::MistralCommon))
        };
        assert!(alike("What is it?"));
        assert!(!alike("/etc/passwd"));
    }
}
