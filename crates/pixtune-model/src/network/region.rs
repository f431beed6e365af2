//! The regions of the model.

/// A region of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Region {
    /// The vision encoder.
    Vision,
    /// The two linears between the vision encoder and the text decoder.
    Projector,
    /// The text decoder.
    Text,
}
