//! A loaded model that answers conversations: model directories, prompts, sampling, streaming.
//!
//! Whoever wants an answer calls an [`Answerer`]; what computes it, and where, stays behind that trait.

mod answerer;
mod decoder;
mod directory;
mod encode;
mod error;
mod generation;
mod local;
mod sampling;

pub use answerer::{Answer, Answerer, Event, FinishReason, Request, Usage};
pub use directory::{ModelDirectory, ModelFiles, TokenizerSource};
pub use encode::sequence;
pub use error::{AnswerError, ModelError};
pub use local::{LocalModel, load};
pub use sampling::{InvalidTemperature, Sampling};
