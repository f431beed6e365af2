//! Bytes to samples and back.
pub mod image;
pub mod parallel;
pub mod read;
pub mod write;
