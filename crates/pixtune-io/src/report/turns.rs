//! The last prompt and response of a conversation, by which people recognize a sample.

use std::borrow::Cow;
use std::fmt;

use pixtune_core::quality::plain;
use pixtune_core::sample::Message;
use pixtune_core::strict::BorrowedSample;

/// The last prompt and response of a conversation.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns {
    pub(super) prompt: String,
    pub(super) response: String,
}

impl Turns {
    pub(super) fn last_of(sample: &BorrowedSample<'_>) -> Turns {
        let mut prompt = Cow::Borrowed("");
        let mut response = Cow::Borrowed("");
        for message in &sample.messages {
            match message {
                Message::User(content) => prompt = plain(content),
                Message::Assistant(assistant) => {
                    response = assistant.content.as_ref().map(plain).unwrap_or_default();
                }
                _ => {}
            }
        }
        Turns { prompt: prompt.trim().to_owned(), response: response.trim().to_owned() }
    }
}

impl fmt::Display for Turns {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} → {}", self.prompt, self.response)
    }
}
