//! Samples out.

pub mod line;
pub mod whole;
