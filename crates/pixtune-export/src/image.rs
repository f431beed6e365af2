//! The images of an export.

use pixtune_core::target::ImageFormat;

/// An image as it is exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredImage {
    pub(crate) format: ImageFormat,
    pub(crate) bytes: Vec<u8>,
}
