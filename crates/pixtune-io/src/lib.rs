//! Bytes to samples and back.
mod buffers;
pub mod check;
pub mod fix;
pub mod image;
pub mod parallel;
pub mod prepare;
pub mod read;
pub mod tokens;
pub mod write;
