//! Samples out.

pub mod line;
