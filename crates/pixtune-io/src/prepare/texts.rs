//! What is remembered of a sample's texts: hashes and sketches of the prompt and of the last answer.

use pixtune_core::curate::{Record, Sketch, answer_kind, content_hash};
use pixtune_core::sample::{Arguments, Content, Message, Part, Picture, Sample};

/// Fills in what a record says of the texts.
pub(super) fn describe(sample: &Sample<Picture>, record: &mut Record) {
    let Some((last, before)) = sample.messages.split_last() else { return };
    let mut prompt = Vec::new();
    before.iter().for_each(|message| texts(message, &mut prompt));
    let mut answer = Vec::new();
    texts(last, &mut answer);
    record.prompt = hash(&prompt).max(1);
    record.answer_hash = hash(&answer) as u64;
    record.answer_kind = answer_kind(&answer.concat());
    record.answer = Sketch::of(answer.iter().map(String::as_str));
    record.sketch = Sketch::of(prompt.iter().chain(&answer).map(String::as_str));
}

fn hash(texts: &[String]) -> u128 {
    let mut bytes = Vec::new();
    for text in texts {
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    content_hash(&bytes)
}

/// The texts of a message, its role and its calls among them.
fn texts(message: &Message, out: &mut Vec<String>) {
    let content = |content: &Content, out: &mut Vec<String>| match content {
        Content::Text(text) => out.push(text.clone()),
        Content::Parts(parts) => out.extend(parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.clone()),
            Part::Image(_) => None,
        })),
    };
    match message {
        Message::System(text) | Message::User(text) => content(text, out),
        Message::Tool(result) => content(&result.content, out),
        Message::Assistant(turn) => {
            if let Some(text) = &turn.content {
                content(text, out);
            }
            for call in &turn.tool_calls {
                out.push(call.name.clone());
                out.push(match &call.arguments {
                    Arguments::Text(text) => text.clone(),
                    Arguments::Json(value) => value.to_string(),
                });
            }
        }
    }
}
