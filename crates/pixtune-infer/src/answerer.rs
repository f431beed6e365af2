//! The seam between callers and the model that generates.

use std::sync::Arc;

use pixtune_core::sample::Sample;

use crate::error::AnswerError;
use crate::sampling::Sampling;

/// A model that answers conversations, on this machine or elsewhere.
///
/// Answers do not share state: any number of them can be read at the same time, from any thread.
pub trait Answerer: Sync {
    /// Starts an answer. A request that cannot be answered is refused here, before anything is computed.
    fn answer<'a>(&'a self, request: &Request) -> Result<Answer<'a>, AnswerError>;
}

/// The events of one answer: texts as they are generated, then [`Event::Finished`], then nothing. Nothing is computed that
/// is not asked for, so dropping it cancels the answer.
pub type Answer<'a> = Box<dyn Iterator<Item = Result<Event, AnswerError>> + 'a>;

/// What to answer, and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// The conversation. Its last message comes from the user or a tool; its images are encoded files (JPEG, PNG, …).
    pub conversation: Sample<Arc<[u8]>>,
    /// How each token is chosen.
    pub sampling: Sampling,
    /// The answer ends after this many tokens.
    pub max_tokens: usize,
    /// Report the log-probability of each token, and of so many of the most likely ones in its place. Only models on this
    /// machine report them.
    pub logprobs: Option<usize>,
    /// The answer ends before the first of these texts.
    pub stop: Vec<String>,
}

impl Request {
    /// A request without log-probabilities and texts that end the answer.
    pub fn new(conversation: Sample<Arc<[u8]>>, sampling: Sampling, max_tokens: usize) -> Request {
        Request { conversation, sampling, max_tokens, logprobs: None, stop: Vec::new() }
    }
}

/// A token with its log-probability, before temperature and nucleus are applied.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprob {
    /// Its bytes, which may be a part of a character; none for a control token.
    pub bytes: Vec<u8>,
    /// The natural logarithm of its probability.
    pub logprob: f64,
    /// The most likely tokens in its place, the most likely first.
    pub top: Vec<(Vec<u8>, f64)>,
}

/// What happens while an answer is read.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A token that was chosen, where [`Request::logprobs`] asks for it; its text follows once it is complete.
    Token(TokenLogprob),
    /// The model calls tools: the texts that follow are a JSON list of the calls.
    ToolCalls,
    /// The next piece of text, never empty, in whole characters. The pieces joined are the answer.
    Text(String),
    /// The answer is complete.
    Finished {
        /// Why it ends here.
        reason: FinishReason,
        /// What it cost.
        usage: Usage,
    },
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended it.
    Stop,
    /// It reached [`Request::max_tokens`].
    Length,
}

/// Tokens that an answer read and generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the conversation, images included.
    pub prompt_tokens: usize,
    /// Tokens of the answer, without the one that ends it.
    pub completion_tokens: usize,
}
