//! Bytes to samples and back.
pub mod image;
pub mod read;
