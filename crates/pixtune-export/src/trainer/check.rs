//! What a trainer cannot take of a sample.

use pixtune_core::diagnostic::{Finding, Severity};
use pixtune_core::rules;
use pixtune_core::sample::{Assistant, Content, Message, Part as SamplePart};
use pixtune_core::strict::BorrowedSample;
use pixtune_core::text::counted;
use pixtune_core::tokens::Tokenizer;

use super::{Feature, Layout, Trainer};
use crate::image::StoredImage;
use crate::layout::{Part, Turn};

/// Rejects a sample that the trainer would train as something else.
pub(crate) fn sample(trainer: &Trainer, sample: &BorrowedSample<'_>) -> Result<(), Finding> {
    let uses_tools = |message: &Message<&str>| match message {
        Message::Tool(_) => true,
        Message::Assistant(assistant) => !assistant.tool_calls.is_empty(),
        _ => false,
    };
    let tools = !sample.tools.is_empty() || sample.messages.iter().any(uses_tools);
    let is_untrained = |message: &Message<&str>| {
        matches!(message, Message::Assistant(Assistant { weight: Some(false), .. }))
    };
    let weights = sample.messages.iter().any(is_untrained);
    // These hold the messages as they are, or with the special tokens of the layout.
    if !matches!(trainer.layout, Layout::WebDataset | Layout::Mds)
        && !trainer.own_template
        && let Some(what) = newer_content(sample)
    {
        let message = format!("the sample has {what}, which an export for {} cannot hold", trainer.name);
        let hint = "`--to trl`, `--to webdataset` and `--to mds` keep it";
        return Err(Finding::new(&rules::TRAINER_UNSUPPORTED, "", message).hint(hint));
    }
    let is_trained =
        |message: &Message<&str>| matches!(message, Message::Assistant(_)) && !is_untrained(message);
    // Of consecutive responses, which are one, the last decides.
    let responses = sample.messages.iter().zip(sample.messages.iter().skip(1));
    let earlier =
        responses.filter(|(_, next)| !matches!(next, Message::Assistant(_))).any(|(one, _)| is_trained(one));
    let support = &trainer.support;
    for (present, feature, what) in [
        (tools, support.tools, "the sample uses tools"),
        (weights, support.weights, "a response has `weight` 0"),
        (earlier, support.earlier_responses, "a response before the last one is trained"),
        (sample.images.is_empty(), support.text_only, "the sample has no image"),
        (sample.images.len() > 1, support.several_images, "the sample has several images"),
    ] {
        if let (true, Feature::Rejected(why)) = (present, feature) {
            return Err(Finding::new(&rules::TRAINER_UNSUPPORTED, "", format!("{what}: {why}")));
        }
    }
    if !sample
        .messages
        .iter()
        .any(|message| matches!(message, Message::Assistant(_)) && !is_untrained(message))
    {
        let message = "no response is trained: each has `weight` 0";
        return Err(Finding::new(&rules::NOTHING_TO_TRAIN, "", message));
    }
    if let (Feature::Converted(_), Some(last)) = (support.weights, sample.messages.last())
        && is_untrained(last)
    {
        let message = format!(
            "the last response has `weight` 0; {} trains the last response of every sample",
            trainer.name
        );
        return Err(Finding::new(&rules::TRAINER_UNSUPPORTED, "", message));
    }
    Ok(())
}

/// What only newer models read.
fn newer_content(sample: &BorrowedSample<'_>) -> Option<&'static str> {
    let thinks = |content: &Content<&str>| match content {
        Content::Text(_) => false,
        Content::Parts(parts) => parts.iter().any(|part| matches!(part, SamplePart::Thinking { .. })),
    };
    let message_thinks = |message: &Message<&str>| match message {
        Message::System(content) | Message::User(content) => thinks(content),
        Message::Assistant(turn) => turn.content.as_ref().is_some_and(thinks),
        Message::Tool(result) => thinks(&result.content),
    };
    if sample.messages.iter().any(message_thinks) {
        return Some("thinking");
    }
    sample.settings.reasoning_effort.as_ref().map(|_| "a `reasoning_effort`")
}

/// Rejects a text that the trainer would read as a token or a placeholder.
pub(crate) fn texts(trainer: &Trainer, turns: &[Turn], literals: &Literals<'_>) -> Result<(), Finding> {
    let texts = turns.iter().flat_map(|turn| turn.parts.iter().map(move |part| (turn.role, part)));
    for (role, part) in texts {
        let (Part::Text(text) | Part::Tools(text) | Part::Calls(text)) = part else { continue };
        if let Some(name) = literals.find(text) {
            let message = format!(
                "a text with the role `{role}` contains `{name}`, which {} does not read as text",
                trainer.name
            );
            let hint = "`pixtune fix --unsafe` breaks up control tokens in texts";
            let finding = Finding::new(&rules::CONTROL_TOKEN, "", message).hint(hint);
            return Err(Finding { severity: Severity::Error, ..finding });
        }
    }
    Ok(())
}

/// Rejects images beyond the limits of a service.
pub(crate) fn images(
    trainer: &Trainer,
    sample: &BorrowedSample<'_>,
    images: &[StoredImage],
) -> Result<(), Finding> {
    let limits = &trainer.limits;
    if images.len() > limits.max_images {
        let (found, most) = (counted(images.len() as u64, "image"), limits.max_images);
        let message = format!("the sample has {found}; {} takes {most}", trainer.name);
        return Err(Finding::new(&rules::TRAINER_UNSUPPORTED, "", message));
    }
    for (image, stored) in sample.images.iter().zip(images) {
        let bytes = stored.bytes.len() as u64;
        let refuse = |message| Finding::new(&rules::TRAINER_UNSUPPORTED, image.pointer.clone(), message);
        if bytes > limits.max_image_bytes {
            let (found, most) = (counted(bytes, "byte"), counted(limits.max_image_bytes, "byte"));
            return Err(refuse(format!("the image has {found}; {} takes {most}", trainer.name)));
        }
        if !limits.formats.is_empty() && !limits.formats.contains(&stored.format) {
            let message = format!("{} does not take images of type {}", trainer.name, stored.format.mime());
            return Err(
                refuse(message).hint("`pixtune prepare --target openai` converts images to JPEG and PNG")
            );
        }
    }
    Ok(())
}

/// The names that a trainer replaces in a text.
#[derive(Debug, Clone)]
pub(crate) struct Literals<'t> {
    names: Vec<&'t str>,
    /// The first bytes of the names.
    starts: [bool; 256],
}

impl<'t> Literals<'t> {
    /// The special tokens, if the trainer finds them in texts, and its placeholders.
    pub(crate) fn new(trainer: &Trainer, tokenizer: &'t Tokenizer) -> Literals<'t> {
        let tokens = if trainer.renders_text { tokenizer.special_tokens() } else { &[] };
        let names: Vec<&str> =
            trainer.placeholders.iter().copied().chain(tokens.iter().map(String::as_str)).collect();
        let mut starts = [false; 256];
        names
            .iter()
            .filter_map(|name| name.bytes().next())
            .for_each(|first| starts[usize::from(first)] = true);
        Literals { names, starts }
    }

    /// The first of the names that a text contains.
    fn find(&self, text: &str) -> Option<&'t str> {
        let bytes = text.as_bytes();
        let starts = bytes.iter().enumerate().filter(|(_, byte)| self.starts[usize::from(**byte)]);
        starts
            .map(|(at, _)| &bytes[at..])
            .find_map(|rest| self.names.iter().copied().find(|name| rest.starts_with(name.as_bytes())))
    }
}
