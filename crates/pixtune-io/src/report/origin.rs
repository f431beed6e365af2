//! Where the samples of a report came from.

use std::fmt::Debug;

use crate::survey::DataFile;

/// Knows from which row of which source file a sample was prepared.
pub trait Origins: Debug {
    /// The source of the sample at a line of a prepared file, as people read it: `labels.csv:20`.
    fn origin(&self, file: &DataFile, line: u64) -> Option<String>;
}
