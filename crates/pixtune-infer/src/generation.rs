//! The token loop of one answer.

use std::cmp::Ordering;
use std::collections::VecDeque;

use pixtune_core::tokens::Tokenizer;
use pixtune_model::kernels::Kernels;
use pixtune_model::network::{Batch, Cache, Network, NetworkError, Sequence};

use crate::answerer::{Event, FinishReason, TokenLogprob, Usage};
use crate::decoder::StreamDecoder;
use crate::error::AnswerError;
use crate::sampling::{Sampler, Sampling};
use crate::stop::StopTexts;

/// An answer under way: each step reads what is new, the prompt first and then one token at a time, and chooses the next.
pub struct Generation<'a, 'w, K: Kernels> {
    network: &'a Network<'w, K>,
    cache: Cache<K>,
    /// What the network has not read yet.
    unread: Batch,
    sampler: Sampler,
    tokenizer: &'a Tokenizer,
    decoder: StreamDecoder<'a>,
    /// What follows before the next step.
    pending: VecDeque<Event>,
    logprobs: Option<usize>,
    stop: StopTexts,
    max_tokens: usize,
    usage: Usage,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Generating,
    /// All tokens are sampled; the last event is pending.
    Ended(FinishReason),
    /// Every event was delivered, or an error.
    Delivered,
}

enum Step {
    Token(u32),
    End(FinishReason),
}

impl<'a, 'w, K: Kernels> Generation<'a, 'w, K> {
    /// An answer to a prompt of one sequence, before its first token.
    pub fn new(
        network: &'a Network<'w, K>,
        tokenizer: &'a Tokenizer,
        prompt: Batch,
        sampling: Sampling,
        max_tokens: usize,
    ) -> Generation<'a, 'w, K> {
        Generation {
            network,
            cache: network.cache(prompt.tokens() + max_tokens),
            usage: Usage { prompt_tokens: prompt.tokens(), completion_tokens: 0 },
            unread: prompt,
            sampler: Sampler::new(sampling),
            tokenizer,
            decoder: StreamDecoder::new(tokenizer),
            pending: VecDeque::new(),
            logprobs: None,
            stop: StopTexts::new(Vec::new()),
            max_tokens,
            state: State::Generating,
        }
    }

    /// The same answer with the log-probability of each token, and of so many of the most likely ones.
    #[must_use]
    pub fn with_logprobs(self, logprobs: Option<usize>) -> Generation<'a, 'w, K> {
        Generation { logprobs, ..self }
    }

    /// The same answer, ended before the first of these texts.
    #[must_use]
    pub fn with_stop(self, stop: Vec<String>) -> Generation<'a, 'w, K> {
        Generation { stop: StopTexts::new(stop), ..self }
    }

    /// Reads what is unread and chooses the next token.
    fn step(&mut self) -> Result<Step, NetworkError> {
        if self.usage.completion_tokens == self.max_tokens {
            return Ok(Step::End(FinishReason::Length));
        }
        let image_token = self.network.shape().image_token;
        let mut logits = self.network.extend(&mut self.cache, &self.unread)?;
        // The token of an image patch has no meaning without an image.
        logits[image_token as usize] = f32::NEG_INFINITY;
        let token = self.sampler.choose(&logits);
        if token == self.tokenizer.marks().end {
            return Ok(Step::End(FinishReason::Stop));
        }
        if let Some(count) = self.logprobs {
            self.pending.push_back(Event::Token(logprob(self.tokenizer, &logits, token, count)));
        }
        self.usage.completion_tokens += 1;
        let single = Sequence { ids: vec![token], trained: vec![false], images: Vec::new() };
        self.unread = Batch::pack(&[single], image_token)?;
        Ok(Step::Token(token))
    }
}

impl<K: Kernels> Iterator for Generation<'_, '_, K> {
    type Item = Result<Event, AnswerError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(Ok(event));
            }
            if self.state != State::Generating {
                break;
            }
            let (text, calls_tools) = match self.step() {
                Ok(Step::Token(token)) => {
                    (self.decoder.push(token), token == self.tokenizer.marks().tool_calls)
                }
                Ok(Step::End(reason)) => {
                    self.state = State::Ended(reason);
                    (self.decoder.finish(), false)
                }
                Err(error) => {
                    self.state = State::Delivered;
                    self.pending.clear();
                    return Some(Err(error.into()));
                }
            };
            let mut text = self.stop.push(&text);
            if self.stop.has_stopped() {
                self.state = State::Ended(FinishReason::Stop);
            } else if self.state != State::Generating {
                text.push_str(&self.stop.finish());
            }
            if !text.is_empty() {
                self.pending.push_back(Event::Text(text));
            }
            if calls_tools {
                self.pending.push_back(Event::ToolCalls);
            }
        }
        let State::Ended(reason) = self.state else { return None };
        self.state = State::Delivered;
        Some(Ok(Event::Finished { reason, usage: self.usage }))
    }
}

/// The log-probability of a token, and of the `count` most likely ones, by the softmax of the logits.
fn logprob(tokenizer: &Tokenizer, logits: &[f32], token: u32, count: usize) -> TokenLogprob {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - max).exp()).sum();
    let log_sum_exp = f64::from(max) + sum.ln();
    let of = |id: u32| f64::from(logits[id as usize]) - log_sum_exp;
    let bytes = |id: u32| tokenizer.token(id).unwrap_or_default().to_vec();
    let by_logit = |one: &u32, other: &u32| {
        let order = logits[*other as usize].partial_cmp(&logits[*one as usize]).unwrap_or(Ordering::Equal);
        order.then(one.cmp(other))
    };
    let mut ids: Vec<u32> = (0..).take(logits.len()).collect();
    let count = count.min(ids.len());
    if count > 0 && count < ids.len() {
        ids.select_nth_unstable_by(count - 1, by_logit);
    }
    ids.truncate(count);
    ids.sort_by(by_logit);
    let top = ids.into_iter().map(|id| (bytes(id), of(id))).collect();
    TokenLogprob { bytes: bytes(token), logprob: of(token), top }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_probabilities_are_those_of_the_softmax() {
        let logits: Vec<f32> = [1.0f32, 2.0, 5.0, 2.0].iter().map(|odds| odds.ln()).collect();
        let TokenLogprob { logprob, top, .. } = logprob(Tokenizer::embedded(), &logits, 1, 3);
        assert!((logprob.exp() - 0.2).abs() < 1e-6);
        let likely: Vec<f64> = top.iter().map(|(_, logprob)| (logprob.exp() * 10.0).round()).collect();
        assert_eq!(likely, [5.0, 2.0, 2.0]);
        assert!(super::logprob(Tokenizer::embedded(), &logits, 0, 0).top.is_empty());
    }
}
