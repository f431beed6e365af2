//! The token loop of one answer.

use pixtune_core::tokens::Tekken;
use pixtune_model::kernels::Kernels;
use pixtune_model::network::{Batch, Cache, Network, NetworkError, Sequence};

use crate::answerer::{Event, FinishReason, Usage};
use crate::decoder::StreamDecoder;
use crate::error::AnswerError;
use crate::sampling::{Sampler, Sampling};

/// An answer under way: each step reads what is new, the prompt first and then one token at a time, and chooses the next.
pub struct Generation<'a, 'w, K: Kernels> {
    network: &'a Network<'w, K>,
    cache: Cache<K>,
    /// What the network has not read yet.
    unread: Batch,
    sampler: Sampler,
    decoder: StreamDecoder<'a>,
    /// The token that ends an answer.
    end: u32,
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
        tekken: &'a Tekken,
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
            decoder: StreamDecoder::new(tekken),
            end: tekken.marks().end,
            max_tokens,
            state: State::Generating,
        }
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
        if token == self.end {
            return Ok(Step::End(FinishReason::Stop));
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
        while self.state == State::Generating {
            let text = match self.step() {
                Ok(Step::Token(token)) => self.decoder.push(token),
                Ok(Step::End(reason)) => {
                    self.state = State::Ended(reason);
                    self.decoder.finish()
                }
                Err(error) => {
                    self.state = State::Delivered;
                    return Some(Err(error.into()));
                }
            };
            if !text.is_empty() {
                return Some(Ok(Event::Text(text)));
            }
        }
        let State::Ended(reason) = self.state else { return None };
        self.state = State::Delivered;
        Some(Ok(Event::Finished { reason, usage: self.usage }))
    }
}
