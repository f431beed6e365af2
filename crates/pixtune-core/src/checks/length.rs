//! Sample length and trained tokens.

use crate::diagnostic::Finding;
use crate::rules::{CONTEXT_OVERFLOW, NOTHING_TO_TRAIN};
use crate::sample::{Content, Message, Part, Sample};
use crate::spec::ModelSpec;
use crate::text::{counted, grouped};
use crate::tokens::Counts;
use crate::tokens::tokenizer::Tokenizer;

/// Reports a sample that is longer than the model's context.
pub fn context_overflow(model: &ModelSpec, counts: &Counts) -> Option<Finding> {
    let Counts { tokens, image_tokens, .. } = counts;
    if *tokens <= model.context {
        return None;
    }
    let text_tokens = tokens - image_tokens;
    let message = format!(
        "{} ({} of images, {} of text); the context of {} is {}",
        counted(*tokens as u64, "token"),
        grouped(*image_tokens as u64),
        grouped(text_tokens as u64),
        model.id,
        grouped(model.context as u64)
    );
    let finding = Finding::new(&CONTEXT_OVERFLOW, "", message);
    Some(finding.hint("split the conversation or downscale its images; pixtune never truncates a sample"))
}

/// Bytes of one text from which on its length is looked at before its tokens are counted: counting those of hundreds of
/// megabytes takes seconds.
const LONG_TEXT: usize = 4 << 20;

/// Reports a text that is longer than the context whatever its tokens are.
pub fn certain_overflow<I, T: AsRef<str>>(
    model: &ModelSpec,
    tokenizer: &Tokenizer,
    sample: &Sample<I, T>,
) -> Option<Finding> {
    let longest = sample.messages.iter().map(longest_text).max().unwrap_or(0);
    if longest < LONG_TEXT {
        return None;
    }
    let token = tokenizer.longest_token();
    let least = longest / token;
    let message = format!(
        "at least {} in a text of {} (the longest token has {token}); the context of {} is {}",
        counted(least as u64, "token"),
        counted(longest as u64, "byte"),
        model.id,
        grouped(model.context as u64)
    );
    let finding = Finding::new(&CONTEXT_OVERFLOW, "", message);
    (least > model.context).then(|| finding.hint("split the text; pixtune never truncates a sample"))
}

/// Bytes of the longest text of a message, without white space around it, which tokenizing may remove.
fn longest_text<T: AsRef<str>>(message: &Message<T>) -> usize {
    let length = |text: &T| text.as_ref().trim().len();
    let of = |content: &Content<T>| match content {
        Content::Text(text) => length(text),
        Content::Parts(parts) => {
            let texts = parts.iter().map(|part| match part {
                Part::Text(text) | Part::Thinking { text, .. } => length(text),
                Part::Image(_) => 0,
            });
            texts.max().unwrap_or(0)
        }
    };
    match message {
        Message::System(content) | Message::User(content) => of(content),
        Message::Assistant(turn) => turn.content.as_ref().map_or(0, of),
        Message::Tool(result) => of(&result.content),
    }
}

/// Reports a sample whose answers all have weight 0. (A trained answer has at least its end token.)
pub fn nothing_to_train<I, T>(sample: &Sample<I, T>) -> Option<Finding> {
    let is_trained =
        |message: &Message<T>| matches!(message, Message::Assistant(turn) if turn.weight != Some(false));
    if sample.messages.iter().any(is_trained) {
        return None;
    }
    let message = "no token of the sample is trained: every response has weight 0 or is empty";
    Some(Finding::new(&NOTHING_TO_TRAIN, "/messages", message))
}
