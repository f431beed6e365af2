//! What can be wrong with a model, an adapter or a batch.

use std::io;
use std::path::PathBuf;

use crate::adapter::AdapterError;
use crate::kernels::DeviceError;
use crate::weights::safetensors::SafetensorsError;

/// A batch that cannot be packed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BatchError {
    /// More tokens than an index can name.
    #[error("a batch of {tokens} tokens is longer than 2^32")]
    TooLong {
        /// How many.
        tokens: usize,
    },
    /// A sequence without a token.
    #[error("sequence {sequence} is empty")]
    Empty {
        /// Which of the batch.
        sequence: usize,
    },
    /// The mask is not as long as the ids.
    #[error("sequence {sequence} has {tokens} tokens and a mask of {masked}")]
    MaskLength {
        /// Which of the batch.
        sequence: usize,
        /// Its ids.
        tokens: usize,
        /// Its mask.
        masked: usize,
    },
    /// Images and their tokens do not fit.
    #[error("sequence {sequence} has {image_tokens} image tokens for {patches} patches of its images")]
    ImageTokens {
        /// Which of the batch.
        sequence: usize,
        /// Its `[IMG]` tokens.
        image_tokens: usize,
        /// What its images have.
        patches: usize,
    },
}

/// Why a network cannot be made, or cannot read a batch.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A tensor the configuration asks for is not there.
    #[error("the checkpoint has no tensor `{name}`")]
    MissingTensor {
        /// Its canonical name.
        name: String,
    },
    /// A tensor has another shape than the configuration says.
    #[error("`{name}` is {found:?}, the configuration makes it {expected:?}")]
    TensorShape {
        /// Its canonical name.
        name: String,
        /// What the file has.
        found: Vec<usize>,
        /// What the configuration asks for.
        expected: Vec<usize>,
    },
    /// A configuration no network of this kind can have.
    #[error("the configuration is impossible: {reason}")]
    Configuration {
        /// Why.
        reason: String,
    },
    /// A token id beyond the vocabulary.
    #[error("token id {id} is not in the vocabulary of {vocabulary}")]
    TokenId {
        /// The id.
        id: u32,
        /// How many there are.
        vocabulary: usize,
    },
    /// An image whose pixels do not fit its grid.
    #[error("image {image} has {found} values, its {rows} by {columns} patches need {expected}")]
    ImageSize {
        /// Which of the batch.
        image: usize,
        /// Values it has.
        found: usize,
        /// Values it needs.
        expected: usize,
        /// Patches from top to bottom.
        rows: usize,
        /// Patches from left to right.
        columns: usize,
    },
    /// An image with no patches, or more on a side than the model takes.
    #[error("image {image} has {rows} by {columns} patches; the model takes 1 to {limit} on a side")]
    ImageGrid {
        /// Which of the batch.
        image: usize,
        /// Patches from top to bottom.
        rows: usize,
        /// Patches from left to right.
        columns: usize,
        /// The most on a side.
        limit: usize,
    },
    /// A row beyond the batch, or a cache that is full.
    #[error("row {row} of {rows}")]
    Row {
        /// Which was asked for.
        row: u32,
        /// How many there are.
        rows: usize,
    },
    /// A tensor could not be read.
    #[error(transparent)]
    Safetensors(#[from] SafetensorsError),
    /// A sequence that cannot be packed.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// LoRA settings that make no adapter.
    #[error("{reason}")]
    Lora {
        /// Why.
        reason: String,
    },
    /// An adapter that does not fit this network.
    #[error("{}: {reason}", path.display())]
    Adapter {
        /// Its directory or file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// An adapter that cannot be read, or that this network does not compute.
    #[error(transparent)]
    AdapterFile(#[from] AdapterError),
    /// A file could not be read or written.
    #[error("{}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
