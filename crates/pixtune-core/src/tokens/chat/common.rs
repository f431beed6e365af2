//! The layout of mistral-common.

use std::borrow::Cow;
use std::collections::HashMap;

use super::Terms;
use super::content::{Chunk, Joined, is_empty, join, joined_text};
use super::format::{CallForm, ChatFormat, Opening as OpeningPlace, ResultForm, SEPARATOR, SystemForm};
use super::out::{Images, Out};
use super::tools::{Calls, arguments_json, tool_calls, tool_result, tools_json, unprintable};
use super::validate::{Turn, validate};
use crate::diagnostic::Finding;
use crate::rules::{EMPTY_ANSWER, TOOL_CALL};
use crate::sample::{Message, Sample, Tool, ToolCall, ToolResult};

/// A row of messages that become one turn, or the turn that is put in front where no user begins.
pub(super) struct Group<'s, T> {
    pub(super) turns: &'s [Turn<'s, T>],
    /// Among user turns: this one carries the tools, the settings and, where it is folded, the system prompt.
    pub(super) opens: bool,
}

pub(super) fn common<I, T: AsRef<str>>(
    sample: &Sample<I, T>,
    terms: Terms<'_>,
    images: &Images<'_>,
    out: &mut Out<'_>,
) -> Result<(), Finding> {
    let format = terms.format();
    let turns = Turn::all(&sample.messages);
    validate(&turns, sample, terms)?;
    let system = match format.system {
        SystemForm::LastUser => system_prompt(&turns, format),
        SystemForm::OwnPosition => String::new(),
    };
    let settings = terms.settings(&sample.settings)?;
    let opening = Opening { system: &system, tools: &sample.tools, settings: settings.as_deref() };
    let mut calls: Vec<&str> = Vec::new();
    for group in groups(&turns, format) {
        match group.turns.first().map(|turn| turn.message) {
            None => {
                user(&Joined::Text(Cow::Borrowed("")), group.opens.then_some(&opening), images, out)?;
            }
            Some(Message::User(_)) => {
                let content = user_content(group.turns, format);
                user(&content, group.opens.then_some(&opening), images, out)?;
            }
            Some(Message::Assistant(_)) => {
                let response = Response::of(group.turns, format);
                calls.extend(response.calls.iter().map(|call| call.id.as_str()));
                answers(&response, group.turns, format, out)?;
            }
            Some(Message::Tool(_)) => {
                for (turn, result) in results(group.turns, &calls, format) {
                    self::result(result, turn, format, images, out)?;
                }
                calls.clear();
            }
            Some(Message::System(_)) => {
                for turn in group.turns {
                    if let Message::System(content) = turn.message {
                        let (begin, end) = out.tokenizer.marks().newer.system;
                        out.mark(begin, false);
                        chunks(&join(std::iter::once(content), format), false, images, out)?;
                        out.mark(end, false);
                    }
                }
            }
        }
    }
    Ok(())
}

/// The system messages of the whole conversation, joined.
pub(super) fn system_prompt<T: AsRef<str>>(turns: &[Turn<'_, T>], format: &ChatFormat) -> String {
    let prompts: Vec<_> = turns
        .iter()
        .filter_map(|turn| match turn.message {
            Message::System(content) if !is_empty(content) => Some(joined_text(content, format)),
            _ => None,
        })
        .collect();
    prompts.join(SEPARATOR)
}

/// Consecutive messages of one role (of assistants: and one weight). System messages separate others; where they are folded
/// into a user message, they have no group, and where the first message is no user's, an empty user turn stands before it.
pub(super) fn groups<'s, T>(turns: &'s [Turn<'s, T>], format: &ChatFormat) -> Vec<Group<'s, T>> {
    let role = |turn: &Turn<'_, T>| match turn.message {
        Message::System(_) => (0, None),
        Message::User(_) => (1, None),
        Message::Assistant(assistant) => (2, assistant.weight),
        Message::Tool(_) => (3, None),
    };
    let is_user = |group: &Group<'_, T>| {
        matches!(group.turns.first(), None | Some(Turn { message: Message::User(_), .. }))
    };
    let is_folded = format.system == SystemForm::LastUser;
    let mut groups: Vec<_> = turns
        .chunk_by(|one, next| role(one) == role(next))
        .filter(|turns| !(is_folded && matches!(turns[0].message, Message::System(_))))
        .map(|turns| Group { turns, opens: false })
        .collect();
    if is_folded && !groups.first().is_some_and(is_user) {
        groups.insert(0, Group { turns: &[], opens: false });
    }
    let mut users = groups.iter_mut().filter(|group| is_user(group));
    let opening = match format.opening {
        OpeningPlace::FirstUser => users.next(),
        OpeningPlace::LastUser => users.next_back(),
    };
    if let Some(group) = opening {
        group.opens = true;
    }
    groups
}

/// The joined content of user messages.
pub(super) fn user_content<'s, T: AsRef<str>>(turns: &'s [Turn<'s, T>], format: &ChatFormat) -> Joined<'s> {
    let contents = turns.iter().filter_map(|turn| match turn.message {
        Message::User(content) => Some(content),
        _ => None,
    });
    image_first(join(contents, format))
}

/// `[text, image]` becomes `[image, text]`; any other order stays.
fn image_first(content: Joined<'_>) -> Joined<'_> {
    match content {
        Joined::Chunks(mut chunks) => {
            if matches!(chunks[..], [Chunk::Text(_), Chunk::Image(_)]) {
                chunks.swap(0, 1);
            }
            Joined::Chunks(chunks)
        }
        text @ Joined::Text(_) => text,
    }
}

/// The results of a run of tool messages, in the order of their calls where the format sorts them.
pub(super) fn results<'s, T>(
    turns: &'s [Turn<'s, T>],
    calls: &[&str],
    format: &ChatFormat,
) -> Vec<(&'s Turn<'s, T>, &'s ToolResult<T>)> {
    let results = turns.iter().filter_map(|turn| match turn.message {
        Message::Tool(result) => Some((turn, result)),
        _ => None,
    });
    let mut results: Vec<_> = results.collect();
    if format.sorted_results {
        let order: HashMap<&str, usize> =
            calls.iter().enumerate().map(|(index, call)| (*call, index)).collect();
        let place = |result: &ToolResult<T>| {
            result.tool_call_id.as_deref().and_then(|id| order.get(id)).copied().unwrap_or(usize::MAX)
        };
        results.sort_by_key(|(_, result)| place(result));
    }
    results
}

/// What stands before the user turn that opens the conversation, or ends it in older versions.
pub(super) struct Opening<'s> {
    pub(super) system: &'s str,
    pub(super) tools: &'s [Tool],
    pub(super) settings: Option<&'s str>,
}

pub(super) fn user(
    content: &Joined<'_>,
    opening: Option<&Opening<'_>>,
    images: &Images<'_>,
    out: &mut Out<'_>,
) -> Result<(), Finding> {
    let marks = *out.tokenizer.marks();
    if let Some(opening) = opening.filter(|opening| !opening.tools.is_empty()) {
        let tools = tools_json(opening.tools).map_err(|why| unprintable(why, "/tools"))?;
        out.mark(marks.begin_tools, false);
        out.text(&tools, false);
        out.mark(marks.end_tools, false);
    }
    if let Some(settings) = opening.and_then(|opening| opening.settings) {
        out.mark(marks.newer.settings.0, false);
        out.text(settings, false);
        out.mark(marks.newer.settings.1, false);
    }
    let system = opening.map(|opening| opening.system).filter(|system| !system.is_empty());
    out.mark(marks.begin_user, false);
    match (content, system) {
        (Joined::Text(text), Some(system)) => out.text(&[system, SEPARATOR, text].concat(), false),
        (Joined::Chunks(parts), Some(system)) if !parts.is_empty() => {
            // Encoded by itself, so that its last token does not reach into the first text.
            out.text(&[system, SEPARATOR].concat(), false);
            chunks(content, false, images, out)?;
        }
        _ => chunks(content, false, images, out)?,
    }
    out.mark(marks.end_user, false);
    Ok(())
}

/// A content, each part encoded by itself.
fn chunks(
    content: &Joined<'_>,
    trained: bool,
    images: &Images<'_>,
    out: &mut Out<'_>,
) -> Result<(), Finding> {
    let parts = match content {
        Joined::Text(text) => {
            out.text(text, trained);
            return Ok(());
        }
        Joined::Chunks(parts) => parts,
    };
    for part in parts {
        match part {
            Chunk::Text(text) => out.text(text, trained),
            Chunk::Image(image) => out.image(*image, images)?,
            Chunk::Thinking { text, closed } => {
                // Without the tokens, validation rejects thinking.
                let Some((begin, end)) = out.tokenizer.marks().newer.think else { continue };
                out.mark(begin, trained);
                out.text(text, trained);
                if *closed {
                    out.mark(end, trained);
                }
            }
        }
    }
    Ok(())
}

/// Assistant messages that become one.
pub(super) struct Response<'s> {
    pub(super) content: Joined<'s>,
    pub(super) calls: Vec<&'s ToolCall>,
    pub(super) trained: bool,
}

impl<'s> Response<'s> {
    pub(super) fn of<T: AsRef<str>>(turns: &'s [Turn<'s, T>], format: &ChatFormat) -> Response<'s> {
        let assistants = || {
            turns.iter().filter_map(|turn| match turn.message {
                Message::Assistant(assistant) => Some(assistant),
                _ => None,
            })
        };
        Response {
            content: join(assistants().filter_map(|assistant| assistant.content.as_ref()), format),
            calls: assistants().flat_map(|assistant| &assistant.tool_calls).collect(),
            trained: assistants().next().and_then(|assistant| assistant.weight) != Some(false),
        }
    }

    /// Rejects what the reference rejects when it encodes.
    pub(super) fn check<T>(&self, turns: &[Turn<'_, T>], format: &ChatFormat) -> Result<(), Finding> {
        let last = &turns[turns.len() - 1];
        match (self.content.is_empty(), self.calls.is_empty()) {
            (true, true) => {
                Err(Finding::new(&EMPTY_ANSWER, last.pointer("content"), "the response has no text"))
            }
            (false, false) if !format.text_with_calls => {
                Err(Finding::new(&TOOL_CALL, last.pointer("content"), TEXT_AND_CALLS))
            }
            _ => Ok(()),
        }
    }
}

/// Why text and calls of messages that become one are rejected.
const TEXT_AND_CALLS: &str =
    "text and tool calls are in consecutive messages, which become one; it can have only one of them";

/// Answers that follow each other with one weight, as one.
fn answers<T: AsRef<str>>(
    response: &Response<'_>,
    turns: &[Turn<'_, T>],
    format: &ChatFormat,
    out: &mut Out<'_>,
) -> Result<(), Finding> {
    response.check(turns, format)?;
    let Response { content, calls, trained } = response;
    let last = &turns[turns.len() - 1];
    match content {
        Joined::Text(text) => out.text(text.trim_end_matches(' '), *trained),
        // Spaces at the end of a text among other parts stay.
        Joined::Chunks(_) => chunks(content, *trained, &Images::NONE, out)?,
    }
    if !calls.is_empty() {
        let form = Calls { ids: true, empty_is_object: true, trained: *trained };
        match format.calls {
            CallForm::List => tool_calls(calls, &form, last, out)?,
            CallForm::NameIdArguments | CallForm::NameArguments => {
                for call in calls {
                    single_call(call, &form, last, format, out)?;
                }
            }
        }
    }
    out.mark(out.tokenizer.marks().end, *trained);
    Ok(())
}

/// A call by itself: its name, its id where the format has it, its arguments.
fn single_call<T>(
    call: &ToolCall,
    form: &Calls,
    turn: &Turn<'_, T>,
    format: &ChatFormat,
    out: &mut Out<'_>,
) -> Result<(), Finding> {
    let arguments = arguments_json(call, form).map_err(|why| unprintable(why, turn.pointer("tool_calls")))?;
    let marks = *out.tokenizer.marks();
    out.mark(marks.tool_calls, form.trained);
    out.text(&call.name, form.trained);
    if format.calls == CallForm::NameIdArguments && call.id != "null" {
        out.mark(marks.newer.call_id, form.trained);
        out.text(&call.id, form.trained);
    }
    out.mark(marks.newer.arguments, form.trained);
    out.text(&arguments, form.trained);
    Ok(())
}

fn result<T: AsRef<str>>(
    result: &ToolResult<T>,
    turn: &Turn<'_, T>,
    format: &ChatFormat,
    images: &Images<'_>,
    out: &mut Out<'_>,
) -> Result<(), Finding> {
    let marks = *out.tokenizer.marks();
    match format.results {
        ResultForm::Json => {
            let content = joined_text(&result.content, format);
            // An empty result is read as an empty object.
            let content = if content.is_empty() { Cow::Borrowed("{}") } else { content };
            return tool_result(result, &content, turn, out);
        }
        ResultForm::IdText => {
            out.mark(marks.begin_result, false);
            out.text(result.tool_call_id.as_deref().unwrap_or_default(), false);
            out.mark(marks.newer.tool_content, false);
        }
        ResultForm::Text => out.mark(marks.begin_result, false),
    }
    chunks(&join(std::iter::once(&result.content), format), false, images, out)?;
    out.mark(marks.end_result, false);
    Ok(())
}

pub(super) fn answer(text: &str, trained: bool, out: &mut Out<'_>) {
    out.text(text.trim_end_matches(' '), trained);
    out.mark(out.tokenizer.marks().end, trained);
}
