//! A loaded model that answers conversations: model directories, prompts, sampling, streaming.
//!
//! Callers use the trait [`Answerer`]; it hides whether a local network or a remote server generates.

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
mod stop;

pub use answerer::{Answer, Answerer, Event, FinishReason, Request, TokenLogprob, Usage};
pub use directory::{ModelDirectory, ModelFiles, TokenizerSource};
pub use encode::sequence;
pub use error::{AnswerError, ModelError};
pub use failure::{EndpointFailure, FailureKind};
pub use generation::Generation;
pub use local::{LocalModel, load};
pub use remote::{RemoteModel, RemoteOptions, request_json};
pub use sampling::{InvalidTemperature, InvalidTopP, Sampling};
