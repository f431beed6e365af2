//! A loaded model that answers conversations: model directories, prompts, sampling, streaming.
//!
//! Whoever wants an answer calls an [`Answerer`]; what computes it, and where, stays behind that trait.

mod answerer;
mod decoder;
mod directory;
mod encode;
mod error;
mod failure;
mod generation;
mod local;
mod remote;
mod sampling;

pub use answerer::{Answer, Answerer, Event, FinishReason, Request, Usage};
pub use directory::{ModelDirectory, ModelFiles, TokenizerSource};
pub use encode::sequence;
pub use error::{AnswerError, ModelError};
pub use failure::{EndpointFailure, FailureKind};
pub use local::{LocalModel, load};
pub use remote::{RemoteModel, RemoteOptions, request_json};
pub use sampling::{InvalidTemperature, Sampling};
