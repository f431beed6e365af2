//! Posts JSON to an endpoint that the user names: one request, one bounded answer. Whether to try again is the caller's
//! decision.

use std::io::Read as _;
use std::time::{Duration, SystemTime};

use ureq::Agent;

use crate::network::{Networks, filtered};

/// Where requests go, and how long one may take.
#[derive(Clone)]
pub struct Poster {
    agent: Agent,
    url: String,
    key: Option<String>,
    timeout: Duration,
}

/// Without the key, which must not reach a log.
impl std::fmt::Debug for Poster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Poster")
            .field("url", &self.url)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// What an endpoint answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The HTTP status.
    pub status: u16,
    /// How long the endpoint asks to wait before the next request.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// The URL is none that requests can go to.
    #[error("`{0}` is not an http or https URL")]
    Url(String),
    /// Nothing answers there.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The answer took too long.
    #[error("no answer within {}", seconds(.0))]
    Timeout(Duration),
    /// The connection broke, or the answer is not HTTP.
    #[error("the connection failed: {0}")]
    Broken(String),
    /// The body is larger than the limit.
    #[error("the response has more than {0} bytes")]
    TooLarge(u64),
}

fn seconds(duration: &Duration) -> String {
    match duration.as_millis() {
        millis if millis % 1000 == 0 => format!("{} s", millis / 1000),
        millis => format!("{millis} ms"),
    }
}

/// Bytes of a response that are read: an answer of 1 MB is long, its JSON may be six times that.
const MAX_BODY: u64 = 64 << 20;

impl Poster {
    /// Requests to a URL, with a key as bearer token. Redirects are not followed: the key is for this endpoint.
    pub fn new(url: &str, key: Option<String>, timeout: Duration) -> Result<Poster, PostError> {
        let is_http = url.starts_with("http://") || url.starts_with("https://");
        let uri: Option<ureq::http::Uri> = url.parse().ok();
        let key = key.filter(|key| !key.is_empty());
        let has_host = uri.is_some_and(|uri| uri.host().is_some_and(|host| !host.is_empty()));
        if !is_http || !has_host || url.contains('@') {
            return Err(PostError::Url(without_password(url)));
        }
        let config = Agent::config_builder()
            .timeout_global(Some(timeout))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("pixtune/", env!("CARGO_PKG_VERSION")));
        Ok(Poster { agent: filtered(config.build(), Networks::All), url: url.to_owned(), key, timeout })
    }

    /// The URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Posts a JSON text.
    pub fn post(&self, json: &str) -> Result<Posted, PostError> {
        let mut request = self.agent.post(&self.url).content_type("application/json");
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let response = request.send(json).map_err(|error| self.explain(error))?;
        let status = response.status().as_u16();
        let header = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(|text| retry_after(text, SystemTime::now()));
        let mut body = Vec::new();
        let mut reader = response.into_body();
        let expected = reader.content_length();
        let read = reader.as_reader().take(MAX_BODY + 1).read_to_end(&mut body);
        read.map_err(|error| self.explain(ureq::Error::from(error)))?;
        if body.len() as u64 > MAX_BODY {
            return Err(PostError::TooLarge(MAX_BODY));
        }
        match expected {
            Some(expected) if expected != body.len() as u64 => {
                Err(PostError::Broken(format!("the body ends after {} of {expected} bytes", body.len())))
            }
            _ => Ok(Posted { status, retry_after, body }),
        }
    }

    /// A text from the endpoint without the key, which some servers repeat.
    pub fn without_key(&self, text: &str) -> String {
        self.key.as_ref().map_or_else(|| text.to_owned(), |key| text.replace(key.as_str(), "…"))
    }

    fn explain(&self, error: ureq::Error) -> PostError {
        let text = |error: &dyn std::fmt::Display| self.without_key(&error.to_string());
        match error {
            ureq::Error::Timeout(_) => PostError::Timeout(self.timeout),
            ureq::Error::HostNotFound => PostError::Connect("no such host".into()),
            ureq::Error::ConnectionFailed => PostError::Connect("the connection failed".into()),
            ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                PostError::Connect("the connection is refused".into())
            }
            ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                PostError::Timeout(self.timeout)
            }
            other => PostError::Broken(text(&other)),
        }
    }
}

/// A URL for messages, without user name and password: they do not belong in a log.
fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => url.to_owned(),
    }
}

/// The wait that a `Retry-After` header asks for: seconds, or a date (RFC 9110, 10.2.3).
pub(crate) fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(http_date(text)?))?;
    Some(at.duration_since(now).unwrap_or_default())
}

/// Seconds since 1970 of a date such as `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.split(' ');
    let day: u64 = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month = 1 + MONTHS.iter().position(|month| *month == name)? as u64;
    let year: u64 = words.next()?.parse().ok().filter(|year| (1970..10_000).contains(year))?;
    let clock: Vec<u64> = words.next()?.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let &[hours, minutes, seconds] = &clock[..] else { return None };
    if words.next() != Some("GMT") || day > 31 || hours > 24 || minutes > 60 || seconds > 61 {
        return None;
    }
    // Days since 1970: years begin in March here, so that a leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    Some(days.checked_sub(719_469)? * 86_400 + hours * 3_600 + minutes * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_seconds_or_dates() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        let wait = |text| retry_after(text, now).map(|wait| wait.as_secs_f64());
        assert_eq!(wait("120"), Some(120.0));
        assert_eq!(wait(" 0.5"), Some(0.5));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(7.0));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:00 GMT"), Some(0.0));
        for none in ["-1", "soon", "", "Sun, 06 Foo 1994 08:49:37 GMT", "NaN", "1e999"] {
            assert_eq!(wait(none), None, "{none}");
        }
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(http_date("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
    }

    #[test]
    fn urls_need_a_scheme_and_no_password() {
        let new = |url| Poster::new(url, None, Duration::from_secs(1)).map(|_| ()).unwrap_err().to_string();
        assert_eq!(new("localhost:8000/v1"), "`localhost:8000/v1` is not an http or https URL");
        assert_eq!(new("http://me:secret@host/v1"), "`http://…@host/v1` is not an http or https URL");
        assert!(Poster::new("http://localhost:8000/v1", None, Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn the_key_is_not_shown() {
        let poster = Poster::new("http://h/", Some("sk-1".into()), Duration::from_secs(1)).unwrap();
        assert_eq!(poster.without_key("bad key sk-1"), "bad key …");
        assert!(!format!("{poster:?}").contains("sk-1"));
    }
}
