//! Messages whose content is one text, with a placeholder where an image stands: what LLaMA-Factory and ms-swift read.

use super::{Part, Turn};

/// The placeholder of an image.
pub(crate) const PLACEHOLDER: &str = "<image>";

impl Turn {
    /// The content as one text, without anything between parts.
    pub(crate) fn text(&self) -> String {
        let text = |part: &Part| match part {
            Part::Text(text) | Part::Tools(text) | Part::Calls(text) | Part::Token(text) => text.clone(),
            Part::Image => PLACEHOLDER.to_owned(),
        };
        self.parts.iter().map(text).collect()
    }
}
