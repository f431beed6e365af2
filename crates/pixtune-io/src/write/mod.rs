//! Samples out.

pub mod base64;
pub mod line;
pub mod whole;
