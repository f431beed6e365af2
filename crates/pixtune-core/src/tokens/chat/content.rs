//! Contents of messages, joined and as written.

use std::borrow::Cow;

use super::format::{ChatFormat, SEPARATOR};
use crate::sample::{Content, Part};

/// A part of a normalized message.
pub(super) enum Chunk<'s> {
    Text(Cow<'s, str>),
    Image(usize),
    Thinking { text: &'s str, closed: bool },
}

/// The joined contents of consecutive messages of one role.
pub(super) enum Joined<'s> {
    Text(Cow<'s, str>),
    /// Texts and at least one other part; no text follows another.
    Chunks(Vec<Chunk<'s>>),
}

impl Joined<'_> {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Joined::Text(text) if text.is_empty())
    }
}

/// Joins the contents of consecutive messages: adjacent texts that are not empty, with an empty line between those of two
/// messages and the separator of the format between those of one.
pub(super) fn join<'s, T: AsRef<str> + 's>(
    contents: impl Iterator<Item = &'s Content<T>>,
    format: &ChatFormat,
) -> Joined<'s> {
    let mut joiner = Joiner { chunks: Vec::new(), text: Cow::Borrowed(""), separator: SEPARATOR };
    for content in contents {
        joiner.separator = SEPARATOR;
        match content {
            Content::Text(part) => joiner.text(part.as_ref(), format),
            Content::Parts(parts) => {
                for part in parts {
                    match part {
                        Part::Text(part) => joiner.text(part.as_ref(), format),
                        Part::Image(image) => joiner.other(Chunk::Image(*image)),
                        Part::Thinking { text, closed } => {
                            joiner.other(Chunk::Thinking { text: text.as_ref(), closed: *closed });
                        }
                    }
                }
            }
        }
    }
    joiner.finish()
}

struct Joiner<'s> {
    chunks: Vec<Chunk<'s>>,
    /// The text that the next one is appended to.
    text: Cow<'s, str>,
    /// What comes between the two.
    separator: &'static str,
}

impl<'s> Joiner<'s> {
    fn text(&mut self, part: &'s str, format: &ChatFormat) {
        if part.is_empty() {
            return;
        }
        if self.text.is_empty() {
            self.text = Cow::Borrowed(part);
        } else {
            let text = self.text.to_mut();
            text.push_str(self.separator);
            text.push_str(part);
        }
        self.separator = format.chunk_separator;
    }

    fn other(&mut self, chunk: Chunk<'s>) {
        if !self.text.is_empty() {
            self.chunks.push(Chunk::Text(std::mem::take(&mut self.text)));
        }
        self.chunks.push(chunk);
    }

    fn finish(mut self) -> Joined<'s> {
        if self.chunks.is_empty() {
            return Joined::Text(self.text);
        }
        if !self.text.is_empty() {
            self.chunks.push(Chunk::Text(self.text));
        }
        Joined::Chunks(self.chunks)
    }
}

/// The joined text of a content without images.
pub(super) fn joined_text<'s, T: AsRef<str>>(content: &'s Content<T>, format: &ChatFormat) -> Cow<'s, str> {
    match join(std::iter::once(content), format) {
        Joined::Text(text) => text,
        Joined::Chunks(chunks) => chunks.into_iter().fold(Cow::Borrowed(""), |text, chunk| match chunk {
            Chunk::Text(more) => text + more,
            Chunk::Image(_) | Chunk::Thinking { .. } => text,
        }),
    }
}

/// Whether the content is falsy in Python: a list with an empty text is not.
pub fn is_empty<T: AsRef<str>>(content: &Content<T>) -> bool {
    match content {
        Content::Text(text) => text.as_ref().is_empty(),
        Content::Parts(parts) => parts.is_empty(),
    }
}

/// A user content as it was written.
pub(super) fn unjoined<T: AsRef<str>>(content: &Content<T>) -> Joined<'_> {
    match content {
        Content::Text(text) => Joined::Text(Cow::Borrowed(text.as_ref())),
        Content::Parts(parts) => Joined::Chunks(
            parts
                .iter()
                .map(|part| match part {
                    Part::Text(text) => Chunk::Text(Cow::Borrowed(text.as_ref())),
                    Part::Image(image) => Chunk::Image(*image),
                    Part::Thinking { text, closed } => {
                        Chunk::Thinking { text: text.as_ref(), closed: *closed }
                    }
                })
                .collect(),
        ),
    }
}
