//! Bytes to samples and back.
pub mod base64;
mod buffers;
pub mod check;
pub mod encode;
pub mod fetch;
pub mod fix;
pub mod image;
pub mod manifest;
pub mod parallel;
pub mod prepare;
pub mod read;
pub mod report;
pub mod survey;
mod thumbnails;
pub mod tokens;
pub mod write;
