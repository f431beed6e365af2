//! What a sample is for a version of the tokenizer.

use pixtune_core::diagnostic::Finding;
use pixtune_core::rules;
use pixtune_core::sample::{Content, Image, Message, Part, Sample};
use pixtune_core::tokens::TokenizerVersion;

/// Drops settings that the version does not read, which is reported, and joins texts that the writer would join by an empty
/// line where the version joins them otherwise.
pub(super) fn fit_version(
    sample: &mut Sample<Image>,
    version: TokenizerVersion,
    findings: &mut Vec<Finding>,
) {
    let format = version.chat_format();
    if !format.has_settings() && sample.settings.reasoning_effort.take().is_some() {
        let message =
            format!("models with tokenizer {version} do not read `reasoning_effort`; the setting is dropped");
        findings.push(Finding::new(&rules::UNKNOWN_KEY, "/reasoning_effort", message));
    }
    for message in &mut sample.messages {
        match message {
            Message::System(content) => join(content, format.text_separator()),
            Message::Tool(result) => join(&mut result.content, format.text_separator()),
            Message::Assistant(turn) => {
                if let Some(content) = &mut turn.content {
                    join(content, format.text_separator());
                }
            }
            Message::User(_) => {}
        }
    }
}

fn join(content: &mut Content, separator: &str) {
    let Content::Parts(parts) = &*content else { return };
    let texts: Option<Vec<&str>> = parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Image(_) | Part::Thinking { .. } => None,
        })
        .collect();
    if let Some(texts) = texts {
        let texts: Vec<&str> = texts.into_iter().filter(|text| !text.is_empty()).collect();
        *content = Content::Text(texts.join(separator));
    }
}
