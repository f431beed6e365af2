//! How closely images are inspected.

/// How deep images are verified that nothing else decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// Decoded to the last pixel.
    #[default]
    Full,
    /// By their headers, and by their structure where that is needed to find a truncated file.
    Header,
}

/// How closely images are inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspection {
    /// How deep they are verified.
    pub verify: Verify,
    /// Whether decoded images are measured, for near-duplicates and quality.
    pub measure: bool,
}

impl Inspection {
    /// Headers alone.
    pub const HEADERS: Inspection = Inspection { verify: Verify::Header, measure: false };
}
