//! The layout of mistral-finetune.

use std::borrow::Cow;

use super::Terms;
use super::common::{Opening, answer, user};
use super::content::unjoined;
use super::out::{Images, Out};
use super::tools::{Calls, tool_calls, tool_result};
use super::validate::{Turn, only_system_prompt, validate};
use crate::diagnostic::Finding;
use crate::sample::{Assistant, Content, Message, Part, Sample};

pub(super) fn finetune<I, T: AsRef<str>>(
    sample: &Sample<I, T>,
    terms: Terms<'_>,
    images: &Images<'_>,
    out: &mut Out<'_>,
) -> Result<(), Finding> {
    let turns = Turn::all(&sample.messages);
    let (system, rest): (Vec<_>, Vec<_>) =
        turns.into_iter().partition(|turn| matches!(turn.message, Message::System(_)));
    validate(&rest, sample, terms)?;
    let system = only_system_prompt(&system)?;
    let opening = Opening { system, tools: &sample.tools, settings: None };
    let last_user = rest.iter().rposition(|turn| matches!(turn.message, Message::User(_)));
    for (index, turn) in rest.iter().enumerate() {
        let is_last = index + 1 == rest.len();
        match turn.message {
            Message::User(content) => {
                let content = unjoined(content);
                user(&content, (last_user == Some(index)).then_some(&opening), images, out)?;
            }
            Message::Assistant(assistant) => {
                let trained = assistant.weight != Some(false) && (sample.tools.is_empty() || is_last);
                finetune_answer(assistant, trained, is_last, turn, out)?;
            }
            Message::Tool(result) => {
                let content = match &result.content {
                    Content::Text(text) => Cow::Borrowed(text.as_ref()),
                    Content::Parts(parts) => parts.iter().fold(Cow::Borrowed(""), |text, part| match part {
                        Part::Text(more) => text + more.as_ref(),
                        Part::Image(_) | Part::Thinking { .. } => text,
                    }),
                };
                tool_result(result, &content, turn, out)?;
            }
            Message::System(_) => {}
        }
    }
    Ok(())
}

fn finetune_answer<T: AsRef<str>>(
    assistant: &Assistant<T>,
    trained: bool,
    is_last: bool,
    turn: &Turn<'_, T>,
    out: &mut Out<'_>,
) -> Result<(), Finding> {
    match &assistant.content {
        Some(Content::Text(text)) if !text.as_ref().is_empty() => {
            answer(text.as_ref(), trained, out);
            Ok(())
        }
        _ => {
            // The ids of the last message are random, so they are not trained.
            let form = Calls { ids: !is_last, empty_is_object: false, trained };
            let calls: Vec<_> = assistant.tool_calls.iter().collect();
            tool_calls(&calls, &form, turn, out)?;
            out.mark(out.tokenizer.marks().end, trained);
            Ok(())
        }
    }
}
