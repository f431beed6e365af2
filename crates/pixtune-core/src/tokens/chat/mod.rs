//! Encoding of conversations to ids and loss mask, in one pass and never truncated.
//!
//! The reference for [`Layout::MistralCommon`] is mistral-common 1.13.1, `encode_chat_completion` in fine-tuning mode
//! with tokenizer v3 (`validator.py`, `normalize.py`, `instruct.py`); for [`Layout::MistralFinetune`] it is
//! mistral-finetune's `tokenize.py`. Conversations that the reference rejects are rejected here, with the reason.

mod common;
mod content;
mod finetune;
mod normalized;
mod out;
mod tools;
mod validate;

use super::grid::{Grid, grid};
use super::tekken::{ImageConfig, Tekken};
use crate::diagnostic::Finding;
use crate::sample::{Assistant, Content, Message, Part, Sample};
use crate::spec::{Exactness, ModelSpec, TokenizerKind};
use common::common;
use content::SEPARATOR;
use finetune::finetune;
pub use normalized::{Normalized, RenderedTurn, Span, SystemPrompt, normalized};
use out::{Images, Measure, Out};
use validate::Turn;
pub(crate) use validate::is_call_id;

/// The chat layout: how a conversation becomes tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// The layout of mistral-common and everything built on it: consecutive messages of one role are joined, and an image
    /// after a single text moves to the front.
    #[default]
    MistralCommon,
    /// The layout of mistral-finetune: nothing is joined or moved, and with tools only the last message is trained.
    MistralFinetune,
}

impl Layout {
    /// Every layout.
    pub const ALL: [Layout; 2] = [Layout::MistralCommon, Layout::MistralFinetune];

    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Layout::MistralCommon => "mistral-common",
            Layout::MistralFinetune => "mistral-finetune",
        }
    }

    /// Finds a layout by its name.
    pub fn find(name: &str) -> Option<Layout> {
        Layout::ALL.into_iter().find(|layout| layout.as_str() == name)
    }
}

/// Consecutive tokens that are all trained or all not trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Whether they count in the loss.
    pub trained: bool,
    /// How many tokens.
    pub tokens: usize,
}

/// The token counts of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// All tokens.
    pub tokens: usize,
    /// Tokens of images, breaks and ends included.
    pub image_tokens: usize,
    /// Tokens that count in the loss.
    pub trained_tokens: usize,
    /// The loss mask, as alternating runs.
    pub runs: Vec<Run>,
    /// The images in the order the model sees them.
    pub images: Vec<Grid>,
}

impl Counts {
    /// Tokens of text and control tokens.
    pub fn text_tokens(&self) -> usize {
        self.tokens - self.image_tokens
    }
}

/// An encoded conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The ids.
    pub ids: Vec<u32>,
    /// The counts and the loss mask.
    pub counts: Counts,
}

/// Encodes conversations for one model.
#[derive(Debug, Clone, Copy)]
pub struct ChatEncoder<'t> {
    /// The model, which defines the image grid.
    pub spec: &'t ModelSpec,
    /// The vocabulary.
    pub tekken: &'t Tekken,
    /// The layout.
    pub layout: Layout,
}

impl<'t> ChatEncoder<'t> {
    /// An encoder with the built-in vocabulary.
    pub fn new(spec: &'t ModelSpec, layout: Layout) -> ChatEncoder<'t> {
        ChatEncoder { spec, tekken: Tekken::embedded(), layout }
    }

    /// Whether the ids and counts are the reference's, or why they are approximate.
    pub fn exactness(&self) -> Exactness {
        match self.spec.tokenizer {
            TokenizerKind::Tekken { version: 3 } if self.tekken.version() == 3 => self.spec.exactness,
            TokenizerKind::Tekken { version: 3 } => {
                Exactness::Estimate("the chat layout is v3, but the tokenizer file has another version")
            }
            TokenizerKind::Tekken { version } if version == self.tekken.version() => {
                Exactness::Estimate("the vocabulary is the model's own, but the chat layout is v3")
            }
            _ => self.spec.exactness,
        }
    }

    /// Encodes to ids and loss mask; `sizes` are the widths and heights of [`Sample::images`]. What the reference rejects is a
    /// finding.
    pub fn encode<I, T: AsRef<str>>(
        &self,
        sample: &Sample<I, T>,
        sizes: &[(u32, u32)],
    ) -> Result<Encoded, Finding> {
        let out = self.walk(sample, sizes, Measure::Ids)?;
        Ok(Encoded { ids: out.ids, counts: out.counts })
    }

    /// An upper bound of the tokens of a sample, without the tokenizer: a text has at most as many tokens as bytes. Rejects
    /// exactly what [`ChatEncoder::encode`] rejects.
    pub fn bound<I, T: AsRef<str>>(
        &self,
        sample: &Sample<I, T>,
        sizes: &[(u32, u32)],
    ) -> Result<usize, Finding> {
        Ok(self.walk(sample, sizes, Measure::Bytes)?.counts.tokens)
    }

    /// A quick upper bound for a conversation that [`refusals`] accepts and that has only system messages, user messages and
    /// text answers, about which nothing else can be rejected. `None` for others.
    pub fn plain_bound<I, T: AsRef<str>>(
        &self,
        sample: &Sample<I, T>,
        sizes: &[(u32, u32)],
    ) -> Option<usize> {
        let plain = |message: &Message<T>| match message {
            Message::System(content) | Message::User(content) => Some(bytes_within(content)),
            Message::Assistant(Assistant { content: Some(Content::Text(text)), tool_calls, .. }) => {
                let text = text.as_ref();
                (!text.is_empty() && tool_calls.is_empty()).then_some(text.len())
            }
            _ => None,
        };
        let common = self.layout == Layout::MistralCommon;
        if !common || !sample.tools.is_empty() || sizes.len() < sample.images.len() {
            return None;
        }
        let texts = sample
            .messages
            .iter()
            .map(|message| Some(plain(message)? + MARKS_AROUND))
            .sum::<Option<usize>>()?;
        let images: usize =
            sizes.iter().map(|&(width, height)| grid(self.spec, width, height).tokens()).sum();
        Some(2 * MARKS_AROUND + texts + images)
    }

    /// The same as [`ChatEncoder::encode`] without the ids.
    pub fn count<I, T: AsRef<str>>(
        &self,
        sample: &Sample<I, T>,
        sizes: &[(u32, u32)],
    ) -> Result<Counts, Finding> {
        Ok(self.walk(sample, sizes, Measure::Tokens)?.counts)
    }

    /// The image token ids of the tokenizer file, or of the model if its own vocabulary is of another type.
    fn image_ids(&self) -> (u32, u32, u32) {
        match self.spec.tokenizer {
            TokenizerKind::Tekken { .. } => {
                let marks = self.tekken.marks();
                (marks.image, marks.image_break, marks.image_end)
            }
            TokenizerKind::SentencePiece { .. } => {
                (self.spec.image, self.spec.image_break, self.spec.image_end)
            }
        }
    }

    /// The image configuration of the tokenizer, if it differs from that of the model, which is used.
    pub fn other_images(&self) -> Option<ImageConfig> {
        let ModelSpec { patch, merge, max_side, .. } = *self.spec;
        self.tekken.images().filter(|images| *images != ImageConfig { patch, max_side, merge })
    }

    fn walk<I, T: AsRef<str>>(
        &self,
        sample: &Sample<I, T>,
        sizes: &[(u32, u32)],
        measure: Measure,
    ) -> Result<Out<'t>, Finding> {
        let encoder = (measure != Measure::Bytes).then(|| self.tekken.encoder());
        let counts = Counts::default();
        let mut out = Out { tekken: self.tekken, encoder, measure, ids: Vec::new(), counts };
        let images = Images { spec: self.spec, sizes, ids: self.image_ids() };
        out.mark(self.tekken.marks().begin, false);
        match self.layout {
            Layout::MistralCommon => common(sample, &images, &mut out)?,
            Layout::MistralFinetune => finetune(sample, &images, &mut out)?,
        }
        Ok(out)
    }
}

/// Everything in a conversation that the reference rejects before it encodes, in its order.
pub fn refusals<I, T: AsRef<str>>(sample: &Sample<I, T>) -> Vec<Finding> {
    validate::refusals(&Turn::all(&sample.messages), &sample.tools, Layout::MistralCommon)
}

/// The part of [`refusals`] about roles and their order.
pub fn order_refusals<I, T: AsRef<str>>(sample: &Sample<I, T>) -> Vec<Finding> {
    validate::structure(&Turn::all(&sample.messages), Layout::MistralCommon)
}

/// More than the tokens around a message and its separator.
const MARKS_AROUND: usize = 8;

/// Bytes of text, with separators.
fn bytes_within<T: AsRef<str>>(content: &Content<T>) -> usize {
    match content {
        Content::Text(text) => text.as_ref().len(),
        Content::Parts(parts) => parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.as_ref().len() + SEPARATOR.len(),
                Part::Image(_) => 0,
            })
            .sum(),
    }
}
