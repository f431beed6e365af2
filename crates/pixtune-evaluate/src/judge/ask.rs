//! One judgement: asked for until it can be read, a bounded number of times.

use std::sync::Arc;

use pixtune_core::json::{self, Object, object};
use pixtune_core::sample::{Assistant, Content, Message, Part, Sample};
use pixtune_infer::{Request, Sampling};

use super::Judge;
use crate::answers::{Answered, AskError, write_answer};
use crate::data::{SampleRow, message_text};

/// How often a judge is asked for one judgement.
const ATTEMPTS: usize = 3;
/// Tokens of a judgement.
const MAX_TOKENS: usize = 1024;

/// What is judged.
pub(crate) struct Case<'c> {
    pub(crate) sample: &'c SampleRow<'c>,
    pub(crate) images: Vec<Arc<[u8]>>,
    /// The line of the sample in its file.
    pub(crate) line: u64,
    /// The wording of the prompt.
    pub(crate) phrasing: String,
    /// Whose answer it is: `model`, `compared`, or `pair` for both.
    pub(crate) of: &'static str,
}

impl Case<'_> {
    /// Questions with their reference answers; the last one is the sample's.
    pub(super) fn turns(&self) -> Vec<(String, String)> {
        let mut turns: Vec<(String, String)> = Vec::new();
        for message in &self.sample.messages {
            match message {
                Message::User(_) => turns.push((message_text(message), String::new())),
                Message::Assistant(_) => {
                    if let Some((_, reference)) = turns.last_mut() {
                        *reference = message_text(message);
                    }
                }
                Message::System(_) | Message::Tool(_) => {}
            }
        }
        let reference = self.sample.references.first().cloned().unwrap_or_default();
        match turns.last_mut() {
            Some((_, last)) => *last = reference,
            None => turns.push((self.sample.prompt.clone(), reference)),
        }
        turns
    }
}

/// A kind of judgement.
pub(super) struct Task<T> {
    /// What the judge has to do.
    pub(super) instructions: &'static str,
    /// What a further attempt adds.
    pub(super) reminder: &'static str,
    /// Reads a judgement, or states what is wrong with it.
    pub(super) read: fn(&str) -> Result<T, String>,
    /// Adds what was read to its line of `judgements.jsonl`.
    pub(super) write: fn(&mut Object<'_>, &T),
    /// Whose answer is shown first, of two.
    pub(super) order: Option<&'static str>,
}

impl Judge<'_> {
    /// The judgement, or why there is none. Each request becomes a line of `lines`.
    pub(super) fn ask<T>(
        &self,
        case: &Case<'_>,
        task: &Task<T>,
        prompt: String,
        lines: &mut String,
    ) -> Result<Result<T, String>, AskError> {
        let parts = (0..case.images.len()).map(Part::Image);
        let user = Content::Parts(parts.chain([Part::Text(prompt)]).collect());
        let system = Content::Text(task.instructions.to_owned());
        let mut messages = vec![Message::System(system), Message::User(user)];
        let mut failure = String::new();
        for attempt in 1..=ATTEMPTS {
            let images = case.images.clone();
            let conversation = Sample { messages: messages.clone(), images, ..Sample::default() };
            let (answered, request) =
                self.asker.ask(&Request::new(conversation, Sampling::GREEDY, MAX_TOKENS))?;
            let read = match &answered {
                Answered::Text { text, .. } => (task.read)(text),
                Answered::Failed { message, .. } => Err(format!("the judge gave no answer: {message}")),
            };
            lines.push_str(&self.line(case, task, attempt, (request, &answered), &read));
            match (read, answered) {
                (Ok(read), _) => return Ok(Ok(read)),
                (Err(why), Answered::Failed { .. }) => return Ok(Err(why)),
                (Err(why), Answered::Text { text, .. }) => {
                    failure = why;
                    let content = Some(Content::Text(text));
                    messages.push(Message::Assistant(Assistant { content, ..Assistant::default() }));
                    messages.push(Message::User(Content::Text(task.reminder.to_owned())));
                }
            }
        }
        Ok(Err(format!("{failure} ({ATTEMPTS} attempts)")))
    }

    /// A line of `judgements.jsonl`.
    fn line<T>(
        &self,
        case: &Case<'_>,
        task: &Task<T>,
        attempt: usize,
        (request, answered): (u128, &Answered),
        read: &Result<T, String>,
    ) -> String {
        json::line(object(|out| {
            out.field("id", case.sample.id.as_deref()).field("line", case.line);
            out.field("phrasing", &case.phrasing).field("of", case.of).field("judge", self.name);
            out.optional("first", task.order).field("attempt", attempt as u64);
            match read {
                Ok(read) => (task.write)(out, read),
                Err(why) => {
                    out.field("why_none", why);
                }
            }
            write_answer(out, request, answered);
        }))
    }
}
