//! The files among which the lines of a dataset are divided.

use pixtune_core::curate::Status;

/// Where the line of a row was written while the other rows were not yet known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Likely trained on.
    Train,
    /// Likely held out.
    Validation,
    /// Rejected by the scan: final.
    Rejected,
    /// In the test split of the dataset: final.
    Test,
}

impl Stream {
    /// All of them, in the order of their index.
    pub const ALL: [Stream; 4] = [Stream::Train, Stream::Validation, Stream::Rejected, Stream::Test];

    /// The stem of the files.
    pub fn name(self) -> &'static str {
        match self {
            Stream::Train => "train",
            Stream::Validation => "validation",
            Stream::Rejected => "rejected",
            Stream::Test => "test",
        }
    }

    /// The stream of a row.
    pub fn of(status: Status) -> Stream {
        match status {
            Status::Train => Stream::Train,
            Status::Validation => Stream::Validation,
            Status::Test => Stream::Test,
            Status::Rejected | Status::Duplicate | Status::Outlier => Stream::Rejected,
        }
    }
}
