//! What can be wrong with an image; every message continues "`photo.jpg` …".
use std::path::PathBuf;

use crate::fetch::FetchError;
use crate::sniff::{Format, NoImage};

/// Why an image cannot be used. Each variant is one finding about the user's file, never a failed run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// There is no such file.
    #[error("does not exist")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
        /// The name there that is most like it.
        near: Option<PathBuf>,
    },
    /// What should be a path is too long to be one, or has a null character in it.
    #[error("is not a path, a URL, a data URI or the base64 of an image")]
    NotAPath,
    /// The file could not be read.
    #[error("cannot be read: {why}")]
    Unreadable {
        /// The operating system's reason.
        why: String,
    },
    /// The path is a directory.
    #[error("is a directory, not an image")]
    Directory,
    /// The path is a pipe, a device or a socket.
    #[error("is not a regular file")]
    NotRegularFile,
    /// The payload of a data URI cannot be decoded.
    #[error("is not valid base64: its length or its padding is wrong")]
    BadBase64,
    /// A URL, and URLs are not fetched.
    #[error("is a URL: it is not fetched, verified or counted")]
    NotFetched,
    /// An object in a store, and such images are not fetched.
    #[error("is in an object store: it is read if images are fetched")]
    InStore,
    /// A URL that could not be fetched.
    #[error("cannot be fetched: {0}")]
    Fetch(#[from] FetchError),
    /// The bytes are no image of a format that is read.
    #[error(transparent)]
    NoImage(#[from] NoImage),
    /// A known format in a variant that is not read.
    #[error("is a {format} with `{feature}`, which is not read")]
    UnsupportedFeature {
        /// The format.
        format: Format,
        /// The variant, in the format's own words.
        feature: String,
    },
    /// A format that is read but that the target does not take.
    #[error("is a {format}, which the target `{target}` does not take")]
    UnsupportedFormat {
        /// The format.
        format: Format,
        /// The target's name.
        target: &'static str,
    },
    /// The file ends before its image does.
    #[error("is a truncated {format}")]
    Truncated {
        /// The format.
        format: Format,
    },
    /// The bytes contradict the format.
    #[error("is a damaged {format}: {why}")]
    Corrupt {
        /// The format.
        format: Format,
        /// The first contradiction met.
        why: String,
    },
    /// The pixels may be whole, but the reference stops at a block of the file.
    #[error("is a {format} that Pillow, and so mistral-common and transformers, refuses: {why}")]
    Refused {
        /// The format.
        format: Format,
        /// The first block that is refused.
        why: String,
    },
    /// A width or height of zero.
    #[error("declares a size of `{width}x{height}` pixels")]
    ZeroSize {
        /// Declared width.
        width: u32,
        /// Declared height.
        height: u32,
    },
    /// More bytes than [`Limits::max_bytes`](super::Limits), or than the target takes.
    #[error("has `{bytes}` bytes; the limit is `{max}`")]
    TooManyBytes {
        /// Size of the file, or of the re-encoded image.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// A side above [`Limits::max_side`](super::Limits).
    #[error("is `{width}x{height}` pixels; the limit for a side is `{max}`")]
    TooLarge {
        /// Declared width.
        width: u32,
        /// Declared height.
        height: u32,
        /// The limit.
        max: u32,
    },
    /// An area above [`Limits::max_pixels`](super::Limits).
    #[error("is `{width}x{height}` = `{pixels}` pixels; the limit is `{max}`")]
    TooManyPixels {
        /// Declared width.
        width: u32,
        /// Declared height.
        height: u32,
        /// Their product.
        pixels: u64,
        /// The limit.
        max: u64,
    },
    /// Decoding would take more memory than [`Limits::max_decoded_bytes`](super::Limits).
    #[error("would need `{bytes}` bytes once decoded; the limit is `{max}`")]
    TooMuchMemory {
        /// Size of the decoded image.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// More than one frame, where a still image is wanted.
    #[error("is an animated {format} with `{frames}` frames")]
    Animated {
        /// The format.
        format: Format,
        /// Frames declared or counted.
        frames: u32,
    },
    /// A decoder broke down on the bytes: its fault, but this image cannot be used.
    #[error("made the {format} decoder fail: {why}")]
    Decoder {
        /// The format.
        format: Format,
        /// The text of the panic.
        why: String,
    },
}

impl ImageError {
    /// The image may be fine, but passes one of the [`Limits`](super::Limits).
    pub(super) fn is_limit(&self) -> bool {
        matches!(
            self,
            ImageError::TooManyBytes { .. }
                | ImageError::TooLarge { .. }
                | ImageError::TooManyPixels { .. }
                | ImageError::TooMuchMemory { .. }
        )
    }

    pub(super) fn corrupt(format: Format, why: impl Into<String>) -> Self {
        ImageError::Corrupt { format, why: why.into() }
    }
}
