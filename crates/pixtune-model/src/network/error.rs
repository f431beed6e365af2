//! Errors of a model, an adapter or a batch.

use std::io;
use std::path::PathBuf;

use pixtune_core::text::{counted, counted_as};

use crate::adapter::AdapterError;
use crate::kernels::{DeviceError, UnsupportedDtype};
use crate::weights::quantized::NotQuantizable;
use crate::weights::safetensors::SafetensorsError;

/// A batch that cannot be packed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BatchError {
    /// More tokens than an index of 32 bits can count.
    #[error("a batch of {} is too long: the maximum is 2^32 - 1", counted(*tokens as u64, "token"))]
    TooLong {
        /// Tokens of the batch.
        tokens: usize,
    },
    /// A sequence without tokens.
    #[error("sequence {sequence} is empty")]
    Empty {
        /// Its index in the batch.
        sequence: usize,
    },
    /// The mask and the ids differ in length.
    #[error("sequence {sequence} has {} but a mask of length {masked}", counted(*tokens as u64, "token"))]
    MaskLength {
        /// Its index in the batch.
        sequence: usize,
        /// The number of its ids.
        tokens: usize,
        /// The length of its mask.
        masked: usize,
    },
    /// The number of image tokens differs from the number of patches.
    #[error(
        "sequence {sequence} has {} but its images have {}",
        counted(*image_tokens as u64, "image token"),
        counted_as(*patches as u64, "patch", "patches")
    )]
    ImageTokens {
        /// Its index in the batch.
        sequence: usize,
        /// The number of its `[IMG]` tokens.
        image_tokens: usize,
        /// The patches of its images.
        patches: usize,
    },
}

impl NetworkError {
    /// Whether the device had no memory for a buffer.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, NetworkError::Device(DeviceError { out_of_memory: true, .. }))
    }
}

/// An error while loading a network, or in a pass over a batch.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A tensor that the configuration requires is missing.
    #[error("the checkpoint has no tensor `{name}`")]
    MissingTensor {
        /// The name of the tensor.
        name: String,
    },
    /// The shape of a tensor differs from the configuration.
    #[error("`{name}` has shape {found:?}, but the configuration requires {expected:?}")]
    TensorShape {
        /// The name of the tensor.
        name: String,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape that the configuration requires.
        expected: Vec<usize>,
    },
    /// A tensor is stored in a dtype that the device does not compute with.
    #[error("cannot load `{name}`")]
    TensorDtype {
        /// The name of the tensor.
        name: String,
        /// The dtype.
        source: UnsupportedDtype,
    },
    /// A matrix cannot be quantized to 4 bits.
    #[error("cannot load `{name}` in 4 bits")]
    FourBit {
        /// The name of the tensor.
        name: String,
        /// Why.
        source: NotQuantizable,
    },
    /// A configuration that is invalid or not supported.
    #[error("the configuration is not supported: {reason}")]
    Configuration {
        /// The reason.
        reason: String,
    },
    /// A token id outside the vocabulary.
    #[error("token id {id} is outside the vocabulary of {}", counted(*vocabulary as u64, "token"))]
    TokenId {
        /// The id.
        id: u32,
        /// Tokens of the vocabulary.
        vocabulary: usize,
    },
    /// An image whose patches are not merged as the model merges them.
    #[error(
        "image {image} has {rows}x{columns} patches merged {found}x{found}; the model merges {merge}x{merge}"
    )]
    ImageMerge {
        /// Its index in the batch.
        image: usize,
        /// Patches from top to bottom.
        rows: usize,
        /// Patches from left to right.
        columns: usize,
        /// Patches on a side of its squares.
        found: usize,
        /// Patches on a side of the model's squares.
        merge: usize,
    },
    /// An image whose pixels do not match its grid.
    #[error("image {image} has {found} values, but its grid of {rows}x{columns} patches needs {expected}")]
    ImageSize {
        /// Its index in the batch.
        image: usize,
        /// The number of values.
        found: usize,
        /// The number that the grid needs.
        expected: usize,
        /// Patches from top to bottom.
        rows: usize,
        /// Patches from left to right.
        columns: usize,
    },
    /// An image without patches, or with more per side than the model supports.
    #[error("image {image} has a grid of {rows}x{columns} patches; the model supports 1 to {limit} per side")]
    ImageGrid {
        /// Its index in the batch.
        image: usize,
        /// Patches from top to bottom.
        rows: usize,
        /// Patches from left to right.
        columns: usize,
        /// The maximum per side.
        limit: usize,
    },
    /// A row outside the batch or past the capacity of the cache.
    #[error("row {row} is out of range: there are only {}", counted(*rows as u64, "row"))]
    Row {
        /// The row.
        row: u32,
        /// The number of rows.
        rows: usize,
    },
    /// A tensor cannot be read.
    #[error(transparent)]
    Safetensors(#[from] SafetensorsError),
    /// A sequence that cannot be packed.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Invalid LoRA settings.
    #[error("{reason}")]
    Lora {
        /// The reason.
        reason: String,
    },
    /// An adapter that does not match this network.
    #[error("{}: {reason}", path.display())]
    Adapter {
        /// Its directory or file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// An adapter that cannot be read or is not supported by this network.
    #[error(transparent)]
    AdapterFile(#[from] AdapterError),
    /// A file cannot be read or written.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}
