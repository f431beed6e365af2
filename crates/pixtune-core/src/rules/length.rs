//! How long a sample is, and whether anything of it is trained.

use super::{CONTEXT_OVERFLOW, NOTHING_TO_TRAIN};
use crate::diagnostic::Finding;
use crate::sample::{Message, Sample};
use crate::spec::ModelSpec;
use crate::tokens::Counts;

/// A sample that is longer than the model's context.
pub fn context_overflow(model: &ModelSpec, counts: &Counts) -> Option<Finding> {
    let Counts { tokens, image_tokens, .. } = counts;
    if *tokens <= model.context {
        return None;
    }
    let made_of = format!("{image_tokens} of images, {} of text", tokens - image_tokens);
    let message = format!("{tokens} tokens ({made_of}); {} reads {}", model.id, model.context);
    let finding = Finding::new(&CONTEXT_OVERFLOW, "", message);
    Some(finding.hint("split the conversation or shrink its images; nothing is ever cut"))
}

/// A sample whose answers all have weight 0. (An answer that is trained has at least its end token.)
pub fn nothing_to_train<I, T>(sample: &Sample<I, T>) -> Option<Finding> {
    let trained =
        |message: &Message<T>| matches!(message, Message::Assistant(turn) if turn.weight != Some(false));
    if sample.messages.iter().any(trained) {
        return None;
    }
    let message = "no token of the sample is trained: every answer has weight 0 or is empty";
    Some(Finding::new(&NOTHING_TO_TRAIN, "/messages", message))
}
