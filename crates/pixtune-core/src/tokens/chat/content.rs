//! Contents of messages, joined and as written.

use std::borrow::Cow;

use crate::sample::{Content, Part};

/// The separator between joined texts.
pub(super) const SEPARATOR: &str = "\n\n";

/// A part of a normalized user message.
pub(super) enum Chunk<'s> {
    Text(Cow<'s, str>),
    Image(usize),
}

/// The joined contents of consecutive messages of one role.
pub(super) enum Joined<'s> {
    Text(Cow<'s, str>),
    /// Texts and at least one image; no text follows another.
    Chunks(Vec<Chunk<'s>>),
}

/// Joins the contents of consecutive messages: non-empty adjacent texts with an empty line between.
pub(super) fn join<'s, T: AsRef<str> + 's>(contents: impl Iterator<Item = &'s Content<T>>) -> Joined<'s> {
    let mut chunks = Vec::new();
    let mut text: Cow<'s, str> = Cow::Borrowed("");
    let add = |part: &'s str, text: &mut Cow<'s, str>| {
        if text.is_empty() {
            *text = Cow::Borrowed(part);
        } else if !part.is_empty() {
            text.to_mut().push_str(SEPARATOR);
            text.to_mut().push_str(part);
        }
    };
    for content in contents {
        match content {
            Content::Text(part) => add(part.as_ref(), &mut text),
            Content::Parts(parts) => {
                for part in parts {
                    match part {
                        Part::Text(part) => add(part.as_ref(), &mut text),
                        Part::Image(image) => {
                            if !text.is_empty() {
                                chunks.push(Chunk::Text(std::mem::take(&mut text)));
                            }
                            chunks.push(Chunk::Image(*image));
                        }
                    }
                }
            }
        }
    }
    if chunks.is_empty() {
        return Joined::Text(text);
    }
    if !text.is_empty() {
        chunks.push(Chunk::Text(text));
    }
    Joined::Chunks(chunks)
}

/// The joined text of a content without images.
pub(super) fn joined_text<T: AsRef<str>>(content: &Content<T>) -> Cow<'_, str> {
    match join(std::iter::once(content)) {
        Joined::Text(text) => text,
        Joined::Chunks(chunks) => chunks.into_iter().fold(Cow::Borrowed(""), |text, chunk| match chunk {
            Chunk::Text(more) => text + more,
            Chunk::Image(_) => text,
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
                })
                .collect(),
        ),
    }
}
