//! A model behind an OpenAI-compatible URL.

mod body;
mod response;

use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use pixtune_io::post::{PostError, Poster};

use crate::answerer::{Answer, Answerer, Event, Request};
use crate::error::AnswerError;
use crate::failure::{EndpointFailure, FailureKind};

pub use body::request_json;
use response::read_response;

/// How a remote model is asked.
#[derive(Debug, Clone)]
pub struct RemoteOptions {
    /// The base URL, such as `http://localhost:8000/v1`, or that of the chat completions themselves.
    pub endpoint: String,
    /// The model's name there.
    pub model: String,
    /// The API key.
    pub key: Option<String>,
    /// Time for one request.
    pub timeout: Duration,
    /// Further attempts after a request that failed and may succeed later.
    pub retries: u32,
    /// The wait before the first further attempt; it doubles with each.
    pub backoff: Duration,
    /// Requests that may begin within a minute.
    pub requests_per_minute: Option<u32>,
}

/// The longest wait between two attempts, whatever the endpoint asks for.
const MAX_WAIT: Duration = Duration::from_secs(120);

/// A model behind a URL. Requests wait for each other where the endpoint asks for it.
#[derive(Debug)]
pub struct RemoteModel {
    poster: Poster,
    options: RemoteOptions,
    /// When the next request may begin.
    next: Mutex<Option<Instant>>,
}

impl RemoteModel {
    /// A model behind a URL; nothing is sent yet.
    pub fn new(options: RemoteOptions) -> Result<RemoteModel, PostError> {
        let poster = Poster::new(&completions_url(&options.endpoint), options.key.clone(), options.timeout)?;
        Ok(RemoteModel { poster, options, next: Mutex::new(None) })
    }

    fn ask(&self, body: &str) -> Result<Vec<Event>, EndpointFailure> {
        let mut attempt = 0;
        loop {
            self.wait_for_start();
            attempt += 1;
            let (failure, retry_after) = match self.attempt(body) {
                Ok(events) => return Ok(events),
                Err(failed) => failed,
            };
            if !failure.kind.passes() || attempt > self.options.retries {
                return Err(EndpointFailure { attempts: attempt, ..failure });
            }
            let wait = retry_after.unwrap_or_else(|| self.backoff(attempt)).min(MAX_WAIT);
            match failure.kind {
                // Whoever asks next would be rejected too.
                FailureKind::RateLimit => self.hold(wait),
                _ => thread::sleep(wait),
            }
        }
    }

    fn attempt(&self, body: &str) -> Result<Vec<Event>, (EndpointFailure, Option<Duration>)> {
        let failure = |kind, message: &str| EndpointFailure {
            kind,
            message: self.poster.without_key(message),
            attempts: 1,
        };
        let posted = self.poster.post(body).map_err(|error| {
            let kind = match error {
                PostError::Connect(_) | PostError::Url(_) => FailureKind::Unreachable,
                PostError::Timeout(_) => FailureKind::Timeout,
                PostError::Broken(_) => FailureKind::Broken,
                PostError::TooLarge(_) => FailureKind::Rejected,
            };
            (failure(kind, &error.to_string()), None)
        })?;
        read_response(&posted).map_err(|(kind, message)| (failure(kind, &message), posted.retry_after))
    }

    fn backoff(&self, attempt: u32) -> Duration {
        self.options.backoff.saturating_mul(1 << (attempt - 1).min(16))
    }

    /// Waits for the turn of a request, and moves the turn of the next one.
    fn wait_for_start(&self) {
        let now = Instant::now();
        let start = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let start = next.unwrap_or(now).max(now);
            if let Some(per_minute) = self.options.requests_per_minute {
                *next = Some(start + Duration::from_secs(60) / per_minute.max(1));
            }
            start
        };
        thread::sleep(start.saturating_duration_since(now));
        // Meanwhile the server may have asked another request to wait.
        let held = *self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(held), None) = (held, self.options.requests_per_minute) {
            thread::sleep(held.saturating_duration_since(Instant::now()));
        }
    }

    /// Holds every further request for so long.
    fn hold(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next = Some(next.map_or(until, |next| next.max(until)));
    }
}

impl Answerer for RemoteModel {
    fn answer<'a>(&'a self, request: &Request) -> Result<Answer<'a>, AnswerError> {
        let body = request_json(&self.options.model, request)?;
        let mut body = Some(body);
        let mut events: std::vec::IntoIter<Event> = Vec::new().into_iter();
        Ok(Box::new(std::iter::from_fn(move || {
            if let Some(body) = body.take() {
                match self.ask(&body) {
                    Ok(answered) => events = answered.into_iter(),
                    Err(failure) => return Some(Err(AnswerError::Endpoint(failure))),
                }
            }
            events.next().map(Ok)
        })))
    }
}

/// The URL of chat completions below a base URL.
fn completions_url(endpoint: &str) -> String {
    const PATH: &str = "/chat/completions";
    let endpoint = endpoint.trim_end_matches('/');
    if endpoint.ends_with(PATH) { endpoint.to_owned() } else { format!("{endpoint}{PATH}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_added_unless_it_is_there() {
        for url in ["http://h/v1", "http://h/v1/", "http://h/v1/chat/completions"] {
            assert_eq!(completions_url(url), "http://h/v1/chat/completions");
        }
    }
}
