//! Sketches of texts, and groups of similar samples.

use super::content_hash;
use super::minhash::{SIMILAR, Sketch};
use crate::sample::{Arguments, Content, Message, Part, Sample};

/// Minima of an answer.
pub const ANSWER: usize = 16;

/// The sketch that the texts of two samples are compared by: 92 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TextSketch {
    /// Of the whole text.
    pub all: Sketch,
    /// Of the last answer.
    pub answer: Sketch<ANSWER>,
    /// Hash of the last answer, in halves to avoid padding.
    pub answer_hash: [u32; 2],
}

/// The texts of one sample, without roles and images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Texts {
    /// Hash of everything before the last answer; 0 for none.
    pub prompt: u128,
    /// The kind of the last answer.
    pub answer_kind: u8,
    /// The sketch.
    pub sketch: TextSketch,
}

impl Texts {
    /// Reads all messages: the last is the answer, the others are the prompt.
    pub fn of<I, T: AsRef<str>>(sample: &Sample<I, T>) -> Texts {
        let Some((last, before)) = sample.messages.split_last() else { return Texts::default() };
        let mut prompt = Vec::new();
        before.iter().for_each(|message| texts(message, &mut prompt));
        let mut answer = Vec::new();
        texts(last, &mut answer);
        let answer_hash = hash(&answer) as u64;
        Texts {
            prompt: hash(&prompt).max(1),
            answer_kind: super::answer_kind(&answer.concat()),
            sketch: TextSketch {
                all: Sketch::of(prompt.iter().chain(&answer).map(String::as_str)),
                answer: Sketch::of(answer.iter().map(String::as_str)),
                answer_hash: [answer_hash as u32, (answer_hash >> 32) as u32],
            },
        }
    }

    /// A hash of the whole text.
    pub fn hash(&self) -> u64 {
        let [low, high] = self.sketch.answer_hash;
        let parts = [self.prompt.to_le_bytes().as_slice(), &low.to_le_bytes(), &high.to_le_bytes()].concat();
        content_hash(&parts) as u64
    }
}

impl TextSketch {
    /// The share of the text that is the same, in percent.
    pub fn similarity(&self, other: &TextSketch) -> u8 {
        (self.all.similarity(&other.all) * 100.0).round() as u8
    }

    /// Whether the last answers are the same or similar. Whole texts can be similar because of a long prompt while the answers
    /// differ.
    pub fn same_answer(&self, other: &TextSketch) -> bool {
        self.answer_hash == other.answer_hash || self.answer.similarity(&other.answer) >= SIMILAR
    }
}

fn hash(texts: &[String]) -> u128 {
    let mut bytes = Vec::new();
    for text in texts {
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    content_hash(&bytes)
}

/// The texts of a message, with its calls.
fn texts<T: AsRef<str>>(message: &Message<T>, out: &mut Vec<String>) {
    let content = |content: &Content<T>, out: &mut Vec<String>| match content {
        Content::Text(text) => out.push(text.as_ref().to_owned()),
        Content::Parts(parts) => out.extend(parts.iter().filter_map(|part| match part {
            Part::Text(text) | Part::Thinking { text, .. } => Some(text.as_ref().to_owned()),
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
