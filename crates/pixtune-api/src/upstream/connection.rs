//! Requests to an upstream server, and what its refusals are for clients.

use std::io::{BufReader, Read as _};
use std::time::Duration;

use pixtune_core::json::{self, Value};
use ureq::Agent;
use ureq::http::Response;

use crate::error::ApiError;

/// Where requests go.
pub(super) struct Connection {
    agent: Agent,
    url: String,
    key: Option<String>,
    timeout: Duration,
}

/// Without the key, which must not reach a log.
impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("url", &self.url).finish_non_exhaustive()
    }
}

/// An answer that is being sent.
pub(super) type Opened = BufReader<ureq::BodyReader<'static>>;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing answers there.
    Unreachable(String),
    /// The answer took too long.
    Timeout(u64),
    /// It answered with a status that is not success, and this message.
    Refused(u16, String),
}

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Bytes of an answer that is read at once.
const MOST: u64 = 16 << 20;

impl Connection {
    /// A connection to an address, with or without `/v1`. Redirects are not followed: the key is for this server.
    pub(super) fn new(url: &str, key: Option<String>, timeout: Duration) -> Result<Connection, String> {
        let trimmed = url.trim_end_matches('/');
        let trimmed = trimmed.strip_suffix("/v1").unwrap_or(trimmed);
        let uri: Option<ureq::http::Uri> = trimmed.parse().ok();
        let is_http = trimmed.starts_with("http://") || trimmed.starts_with("https://");
        let has_host = uri.is_some_and(|uri| uri.host().is_some_and(|host| !host.is_empty()));
        if !is_http || !has_host || trimmed.contains(['@', '?', '#']) {
            return Err("--upstream takes a URL such as http://127.0.0.1:8001, without a password".to_owned());
        }
        let config = Agent::config_builder()
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(timeout))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .proxy(None)
            .user_agent(concat!("pixtune/", env!("CARGO_PKG_VERSION")));
        Ok(Connection {
            agent: config.build().into(),
            url: trimmed.to_owned(),
            key: key.filter(|key| !key.is_empty()),
            timeout,
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Gets a text.
    pub(super) fn get(&self, path: &str) -> Result<String, Failure> {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        self.text(self.checked(request.call())?)
    }

    /// Posts JSON and reads the whole answer.
    pub(super) fn post(&self, path: &str, json: &str) -> Result<String, Failure> {
        self.text(self.send(path, json)?)
    }

    /// Posts JSON; the answer is read as it comes.
    pub(super) fn open(&self, path: &str, json: &str) -> Result<Opened, Failure> {
        Ok(BufReader::new(self.send(path, json)?.into_body().into_reader()))
    }

    fn send(&self, path: &str, json: &str) -> Result<Response<ureq::Body>, Failure> {
        let mut request = self.agent.post(format!("{}{path}", self.url)).content_type("application/json");
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        self.checked(request.send(json))
    }

    fn checked(
        &self,
        response: Result<Response<ureq::Body>, ureq::Error>,
    ) -> Result<Response<ureq::Body>, Failure> {
        let response = response.map_err(|error| self.explain(&error))?;
        let status = response.status().as_u16();
        if (200..300).contains(&status) {
            return Ok(response);
        }
        let text = self.text(response).unwrap_or_default();
        Err(Failure::Refused(status, self.without_key(&message_of(&text))))
    }

    fn text(&self, response: Response<ureq::Body>) -> Result<String, Failure> {
        let mut bytes = Vec::new();
        let read = response.into_body().into_reader().take(MOST).read_to_end(&mut bytes);
        read.map_err(|error| self.explain(&ureq::Error::from(error)))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn explain(&self, error: &ureq::Error) -> Failure {
        match error {
            ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
                Failure::Unreachable("it does not answer".to_owned())
            }
            ureq::Error::Timeout(_) => Failure::Timeout(self.timeout.as_secs()),
            error => Failure::Unreachable(self.without_key(&error.to_string())),
        }
    }

    /// A text of the server without the key, which some repeat.
    fn without_key(&self, text: &str) -> String {
        match &self.key {
            Some(key) => text.replace(key.as_str(), "[key]"),
            None => text.to_owned(),
        }
    }
}

/// The message in an error of vLLM: OpenAI's shape, that of older versions, and that of FastAPI.
fn message_of(text: &str) -> String {
    const LONGEST: usize = 600;
    let parsed = json::parse(text).ok();
    let root = parsed.as_ref().map(|parsed| &parsed.value);
    let message = root.and_then(|root| {
        let error = root.get("error").unwrap_or(root);
        error.text("message").or_else(|| root.text("detail")).or_else(|| error.as_str())
    });
    message.unwrap_or(text.trim()).chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

impl Failure {
    /// Whether the server has no model of this name.
    pub(super) fn is_unknown_model(&self) -> bool {
        matches!(self, Failure::Refused(404, message) if message.contains("does not exist"))
    }

    /// Whether the server has no such path: adapters cannot be loaded while it runs.
    pub(super) fn is_unknown_path(&self) -> bool {
        matches!(self, Failure::Refused(404 | 405, message) if matches!(message.as_str(), "Not Found" | "Method Not Allowed" | ""))
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> ApiError {
        match failure {
            Failure::Unreachable(why) => {
                ApiError::unavailable(format!("the upstream server cannot be reached: {why}"))
                    .coded("upstream_unreachable")
            }
            Failure::Timeout(seconds) => {
                ApiError::gateway_timeout(format!("the upstream server gave no answer within {seconds} s"))
            }
            Failure::Refused(429, message) => ApiError::too_many(message, 5),
            Failure::Refused(503, message) => {
                ApiError::unavailable(format!("the upstream server: {message}"))
            }
            Failure::Refused(400 | 422, message) => {
                let is_length = ["context length", "max_model_len", "longer than the maximum"];
                let error = ApiError::bad_request(message);
                match is_length.iter().any(|text| error.message.contains(text)) {
                    true => error.about("messages").coded("context_length_exceeded"),
                    false => error,
                }
            }
            Failure::Refused(401 | 403, _) => ApiError::bad_gateway(
                "the upstream server refuses the key of this server: PIXTUNE_UPSTREAM_KEY has it",
            ),
            Failure::Refused(status, message) => {
                ApiError::bad_gateway(format!("the upstream server answered with status {status}: {message}"))
            }
        }
    }
}

/// A number of a JSON object.
pub(super) fn number(value: &Value<'_>, key: &str) -> Option<f64> {
    match value.get(key)? {
        Value::Number(text) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_every_shape_are_found() {
        for (text, message) in [
            (r#"{"error":{"message":"nested","code":400}}"#, "nested"),
            (r#"{"object":"error","message":"flat"}"#, "flat"),
            (r#"{"detail":"Not Found"}"#, "Not Found"),
            ("plain\n", "plain"),
            ("", ""),
        ] {
            assert_eq!(message_of(text), message);
        }
    }

    #[test]
    fn addresses_are_checked() {
        let new = |url: &str| Connection::new(url, None, CONNECT).map(|connection| connection.url);
        assert_eq!(new("http://127.0.0.1:8001/v1/"), Ok("http://127.0.0.1:8001".to_owned()));
        for wrong in ["127.0.0.1:8001", "ftp://a", "http://", "http://user:password@a", "http://a/?x=1"] {
            assert!(new(wrong).is_err(), "{wrong}");
        }
    }
}
