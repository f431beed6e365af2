//! Encoding of conversations to ids and loss mask, in one pass and never truncated.
//!
//! The reference for [`Layout::MistralCommon`] is mistral-common 1.13.1, `encode_chat_completion` in fine-tuning mode
//! (`validator.py`, `normalize.py`, `instruct.py`), with the version of the tokenizer ([`ChatFormat`]); for [`Layout::MistralFinetune`] it is
//! mistral-finetune's `tokenize.py`. Conversations that the reference rejects are rejected here, with the reason.

mod common;
mod content;
mod finetune;
mod format;
mod normalized;
mod out;
mod tools;
mod validate;

use super::TokenizerVersion;
use super::grid::{Grid, grid};
use super::tokenizer::{ImageConfig, Origin, Tokenizer};
use crate::diagnostic::Finding;
use crate::sample::{Assistant, Content, Message, ModelSettings, Part, Sample};
use crate::spec::ModelSpec;
use common::common;
use finetune::finetune;
pub(crate) use format::CallIds;
pub use format::ChatFormat;
use format::SEPARATOR;
pub use normalized::{Normalized, RenderedTurn, Span, SystemPrompt, normalized};
use out::{Images, Measure, Out};
pub use out::{Piece, Rendered};
use validate::Turn;

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
    pub tokenizer: &'t Tokenizer,
    /// The layout.
    pub layout: Layout,
}

impl<'t> ChatEncoder<'t> {
    /// An encoder with the built-in tokenizer of the model.
    pub fn new(spec: &'t ModelSpec, layout: Layout) -> ChatEncoder<'t> {
        ChatEncoder { spec, tokenizer: Tokenizer::built_in(spec.tokenizer), layout }
    }

    /// Where the special tokens come from, if not from a file of their version: [`FROM_TABLES`]. It stands beside ids and
    /// counts.
    pub fn special_tokens(&self) -> Option<&'static str> {
        (self.tokenizer.origin() == Origin::Tables).then_some(FROM_TABLES)
    }

    /// What decides which conversations are accepted.
    pub fn terms(&self) -> Terms<'t> {
        Terms { layout: self.layout, tokenizer: self.tokenizer }
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

    /// What [`ChatEncoder::encode`] encodes, piece by piece: for programs that put a conversation together as one text.
    pub fn rendered<I, T: AsRef<str>>(
        &self,
        sample: &Sample<I, T>,
        sizes: &[(u32, u32)],
    ) -> Result<Vec<Rendered>, Finding> {
        Ok(self.walk(sample, sizes, Measure::Pieces)?.pieces)
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
        let settings = self.terms().settings(&sample.settings).ok()?.map_or(0, |settings| settings.len());
        Some(2 * MARKS_AROUND + settings + texts + images)
    }

    /// The same as [`ChatEncoder::encode`] without the ids.
    pub fn count<I, T: AsRef<str>>(
        &self,
        sample: &Sample<I, T>,
        sizes: &[(u32, u32)],
    ) -> Result<Counts, Finding> {
        Ok(self.walk(sample, sizes, Measure::Tokens)?.counts)
    }

    /// The image configuration of the tokenizer, if it differs from that of the model, which is used.
    pub fn other_images(&self) -> Option<ImageConfig> {
        let ModelSpec { patch, merge, max_side, .. } = *self.spec;
        self.tokenizer.images().filter(|images| *images != ImageConfig { patch, max_side, merge })
    }

    fn walk<I, T: AsRef<str>>(
        &self,
        sample: &Sample<I, T>,
        sizes: &[(u32, u32)],
        measure: Measure,
    ) -> Result<Out<'t>, Finding> {
        let mut out = Out {
            tokenizer: self.tokenizer,
            encoder: measure.encodes().then(|| self.tokenizer.encoder()),
            measure,
            ids: Vec::new(),
            pieces: Vec::new(),
            counts: Counts::default(),
        };
        let marks = self.tokenizer.marks();
        let ids = (marks.image, marks.image_break, marks.image_end);
        let images = Images { spec: Some(self.spec), sizes, ids };
        out.mark(marks.begin, false);
        match self.layout {
            Layout::MistralCommon => common(sample, self.terms(), &images, &mut out)?,
            Layout::MistralFinetune => finetune(sample, self.terms(), &images, &mut out)?,
        }
        Ok(out)
    }
}

/// The origin of special tokens that were not read from a file.
pub const FROM_TABLES: &str = "from published tables";

/// What decides which conversations are accepted, and how they are laid out.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'t> {
    /// The layout.
    pub layout: Layout,
    /// The tokenizer, whose version has its own rules.
    pub tokenizer: &'t Tokenizer,
}

impl Terms<'_> {
    /// The chat layout of the tokenizer's version.
    pub fn format(&self) -> &'static ChatFormat {
        self.tokenizer.version().chat_format()
    }

    pub(super) fn version(&self) -> TokenizerVersion {
        self.tokenizer.version()
    }

    /// The JSON of the settings of a conversation, if the version has any.
    fn settings(&self, settings: &ModelSettings) -> Result<Option<String>, Finding> {
        validate::settings(settings, *self)
    }
}

/// Everything in a conversation that the reference rejects before it encodes, in its order.
pub fn refusals<I, T: AsRef<str>>(sample: &Sample<I, T>, tokenizer: &Tokenizer) -> Vec<Finding> {
    validate::refusals(
        &Turn::all(&sample.messages),
        sample,
        Terms { layout: Layout::MistralCommon, tokenizer },
    )
}

/// The part of [`refusals`] about roles and their order.
pub fn order_refusals<I, T: AsRef<str>>(sample: &Sample<I, T>, tokenizer: &Tokenizer) -> Vec<Finding> {
    validate::structure(&Turn::all(&sample.messages), Terms { layout: Layout::MistralCommon, tokenizer })
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
                Part::Thinking { text, .. } => text.as_ref().len() + MARKS_AROUND,
            })
            .sum(),
    }
}
