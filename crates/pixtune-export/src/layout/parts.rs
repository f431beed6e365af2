//! Parts as trainers name them.

use super::Part;

impl Part {
    /// The type and the text of the part.
    pub(crate) fn named(&self) -> (&'static str, Option<&str>) {
        match self {
            Part::Text(text) | Part::Token(text) => ("text", Some(text)),
            Part::Image => ("image", None),
            Part::Tools(json) => ("tools", Some(json)),
            Part::Calls(json) => ("tool_calls", Some(json)),
        }
    }
}
