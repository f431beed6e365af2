//! Sample length and trained tokens.

use crate::diagnostic::Finding;
use crate::rules::{CONTEXT_OVERFLOW, NOTHING_TO_TRAIN};
use crate::sample::{Message, Sample};
use crate::spec::ModelSpec;
use crate::text::{counted, grouped};
use crate::tokens::Counts;

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
