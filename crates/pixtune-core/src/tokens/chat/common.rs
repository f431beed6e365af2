//! The layout of mistral-common.

use std::borrow::Cow;

use super::Layout;
use super::content::{Chunk, Joined, SEPARATOR, is_empty, join, joined_text};
use super::out::{Images, Out};
use super::tools::{Calls, tool_calls, tool_result, tools_json, unprintable};
use super::validate::{Turn, validate};
use crate::diagnostic::Finding;
use crate::rules::{EMPTY_ANSWER, TOOL_CALL};
use crate::sample::{Message, Sample, Tool, ToolCall};

/// A row of messages that become one turn, or the turn that is put in front where no user begins.
pub(super) struct Group<'s, T> {
    pub(super) turns: &'s [Turn<'s, T>],
    /// Among user turns: this one carries the tools and the system prompt.
    pub(super) last_user: bool,
}

pub(super) fn common<I, T: AsRef<str>>(
    sample: &Sample<I, T>,
    images: &Images<'_>,
    out: &mut Out<'_>,
) -> Result<(), Finding> {
    let turns = Turn::all(&sample.messages);
    validate(&turns, &sample.tools, Layout::MistralCommon)?;
    let system = system_prompt(&turns);
    let opening = Opening { system: &system, tools: &sample.tools };
    for group in groups(&turns) {
        match group.turns.first().map(|turn| turn.message) {
            None => {
                user(&Joined::Text(Cow::Borrowed("")), group.last_user.then_some(&opening), images, out)?;
            }
            Some(Message::User(_)) => {
                let contents = group.turns.iter().filter_map(|turn| match turn.message {
                    Message::User(content) => Some(content),
                    _ => None,
                });
                let content = image_first(join(contents));
                user(&content, group.last_user.then_some(&opening), images, out)?;
            }
            Some(Message::Assistant(_)) => answers(group.turns, out)?,
            Some(Message::Tool(_)) => {
                for turn in group.turns {
                    if let Message::Tool(result) = turn.message {
                        let content = joined_text(&result.content);
                        // An empty result is read as an empty object.
                        let content = if content.is_empty() { Cow::Borrowed("{}") } else { content };
                        tool_result(result, &content, turn, out)?;
                    }
                }
            }
            Some(Message::System(_)) => {}
        }
    }
    Ok(())
}

/// The system messages of the whole conversation, joined.
pub(super) fn system_prompt<T: AsRef<str>>(turns: &[Turn<'_, T>]) -> String {
    let prompts: Vec<_> = turns
        .iter()
        .filter_map(|turn| match turn.message {
            Message::System(content) if !is_empty(content) => Some(joined_text(content)),
            _ => None,
        })
        .collect();
    prompts.join(SEPARATOR)
}

/// Consecutive messages of one role (of assistants: and one weight), system messages left out but separating.
/// Where the first is no user's, an empty user turn stands before it.
pub(super) fn groups<'s, T>(turns: &'s [Turn<'s, T>]) -> Vec<Group<'s, T>> {
    let role = |turn: &Turn<'_, T>| match turn.message {
        Message::System(_) => (0, None),
        Message::User(_) => (1, None),
        Message::Assistant(assistant) => (2, assistant.weight),
        Message::Tool(_) => (3, None),
    };
    let is_user = |group: &Group<'_, T>| {
        matches!(group.turns.first(), None | Some(Turn { message: Message::User(_), .. }))
    };
    let mut groups: Vec<_> = turns
        .chunk_by(|one, next| role(one) == role(next))
        .filter(|turns| !matches!(turns[0].message, Message::System(_)))
        .map(|turns| Group { turns, last_user: false })
        .collect();
    if !groups.first().is_some_and(is_user) {
        groups.insert(0, Group { turns: &[], last_user: false });
    }
    if let Some(last) = groups.iter_mut().rev().find(|group| is_user(group)) {
        last.last_user = true;
    }
    groups
}

/// `[text, image]` becomes `[image, text]`; any other order stays.
pub(super) fn image_first(content: Joined<'_>) -> Joined<'_> {
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

/// What stands before the last user turn.
pub(super) struct Opening<'s> {
    pub(super) system: &'s str,
    pub(super) tools: &'s [Tool],
}

pub(super) fn user(
    content: &Joined<'_>,
    opening: Option<&Opening<'_>>,
    images: &Images<'_>,
    out: &mut Out<'_>,
) -> Result<(), Finding> {
    let marks = *out.tekken.marks();
    if let Some(opening) = opening.filter(|opening| !opening.tools.is_empty()) {
        let tools = tools_json(opening.tools).map_err(|why| unprintable(why, "/tools"))?;
        out.mark(marks.begin_tools, false);
        out.text(&tools, false);
        out.mark(marks.end_tools, false);
    }
    let system = opening.map(|opening| opening.system).filter(|system| !system.is_empty());
    out.mark(marks.begin_user, false);
    match content {
        Joined::Text(text) => match system {
            Some(system) => out.text(&[system, SEPARATOR, text].concat(), false),
            None => out.text(text, false),
        },
        Joined::Chunks(chunks) => {
            // Encoded by itself, so that its last token does not reach into the first text.
            if let Some(system) = system.filter(|_| !chunks.is_empty()) {
                out.text(&[system, SEPARATOR].concat(), false);
            }
            for chunk in chunks {
                match chunk {
                    Chunk::Text(text) => out.text(text, false),
                    Chunk::Image(image) => out.image(*image, images)?,
                }
            }
        }
    }
    out.mark(marks.end_user, false);
    Ok(())
}

/// Answers that follow each other with one weight, as one.
fn answers<T: AsRef<str>>(turns: &[Turn<'_, T>], out: &mut Out<'_>) -> Result<(), Finding> {
    let (text, calls, trained) = joined_answer(turns);
    let last = &turns[turns.len() - 1];
    match (text.is_empty(), calls.is_empty()) {
        (true, true) => Err(Finding::new(&EMPTY_ANSWER, last.pointer("content"), "the response has no text")),
        (false, false) => Err(Finding::new(&TOOL_CALL, last.pointer("content"), TEXT_AND_CALLS)),
        (false, true) => {
            answer(&text, trained, out);
            Ok(())
        }
        (true, false) => tool_calls(&calls, &Calls { ids: true, empty_is_object: true, trained }, last, out),
    }
}

/// Why text and calls of messages that become one are rejected.
pub(super) const TEXT_AND_CALLS: &str =
    "text and tool calls are in consecutive messages, which become one; it can have only one of them";

/// The text, the calls and the weight of assistant messages that become one.
pub(super) fn joined_answer<'s, T: AsRef<str>>(
    turns: &'s [Turn<'s, T>],
) -> (Cow<'s, str>, Vec<&'s ToolCall>, bool) {
    let assistants = || {
        turns.iter().filter_map(|turn| match turn.message {
            Message::Assistant(assistant) => Some(assistant),
            _ => None,
        })
    };
    let text = match join(assistants().filter_map(|assistant| assistant.content.as_ref())) {
        Joined::Text(text) => text,
        Joined::Chunks(_) => Cow::Borrowed(""),
    };
    let calls = assistants().flat_map(|assistant| &assistant.tool_calls).collect();
    let trained = assistants().next().and_then(|assistant| assistant.weight) != Some(false);
    (text, calls, trained)
}

pub(super) fn answer(text: &str, trained: bool, out: &mut Out<'_>) {
    out.text(text.trim_end_matches(' '), trained);
    out.mark(out.tekken.marks().end, trained);
}
