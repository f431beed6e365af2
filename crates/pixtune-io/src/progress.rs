//! How far a run is.

/// How much of its input a run has processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Rows processed.
    pub rows: u64,
    /// Images in them.
    pub images: u64,
    /// Bytes of output written.
    pub bytes: u64,
    /// Bytes of input read.
    pub input_read: u64,
    /// Bytes of input in total.
    pub input_total: u64,
}
