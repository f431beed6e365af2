//! What a model will see: token ids, how many pictures and answers cost, and which tokens are trained.

mod bpe;
#[rustfmt::skip]
mod classes;
mod scan;
pub mod tekken;

pub use tekken::Tekken;
