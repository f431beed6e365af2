//! Files of web servers, read by ranges where the server has them, and otherwise from their beginning on.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::ToSocketAddrs as _;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body, Timeout};

use super::location::Location;
use super::transport::{RESPONSE, WHOLE};
use super::{Part, RemoteError, Store, cloud::line};
use crate::network::{Networks, filtered, is_public, requested};
use crate::post::retry_after;

/// A web server.
pub(super) struct Web {
    agent: Agent,
    /// Files of which the server has sent all instead of a range.
    whole: Mutex<BTreeMap<String, Arc<Mutex<Option<Forward>>>>>,
}

/// The body of a whole file, and the next byte of it.
struct Forward {
    reader: Box<dyn Read + Send>,
    at: u64,
    length: u64,
    version: Option<String>,
}

/// Attempts for one range, and the time before the second.
const ATTEMPTS: u32 = 5;
const BACKOFF: Duration = Duration::from_millis(250);

/// The longest time that a server can put off an attempt.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Redirects that are followed, as for images.
const REDIRECTS: u32 = 5;

/// A response that cannot be used, and the time after which the server wants the next request.
type Failure = (RemoteError, Option<Duration>);

impl Web {
    /// The server of a URL. A user who names a host of a private network means it; a public host must not redirect there.
    pub(super) fn new(location: &Location) -> Web {
        let has_port = location.bucket.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let host = location.bucket.rsplit('@').next().unwrap_or_default().to_owned();
        let host = if has_port { host } else { format!("{host}:443") };
        let is_private = host.to_socket_addrs().is_ok_and(|mut found| found.all(|at| !is_public(at.ip())));
        let networks = if is_private { Networks::All } else { Networks::Public };
        let mut config = Agent::config_builder()
            .timeout_global(Some(WHOLE))
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_recv_response(Some(RESPONSE))
            .max_redirects(REDIRECTS)
            .http_status_as_error(false)
            .accept_encoding("")
            .user_agent(concat!("pixtune/", env!("CARGO_PKG_VERSION")));
        if networks == Networks::Public {
            // Through a proxy, what a name means would be the proxy's to decide.
            config = config.proxy(None);
        }
        Web { agent: filtered(config.build(), networks), whole: Mutex::default() }
    }

    fn whole(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Mutex<Option<Forward>>>>> {
        self.whole.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn request(&self, url: &str, range: Option<&Range<u64>>) -> Result<Response<Body>, Failure> {
        let uri = requested(url).ok_or((RemoteError::Url, None))?;
        let mut request = self.agent.get(uri);
        if let Some(Range { start, end }) = range {
            request = request.header("range", format!("bytes={start}-{}", end - 1));
        }
        let response = request.call().map_err(|error| (explain(error), None))?;
        let status = response.status().as_u16();
        let detail = || response.status().canonical_reason().unwrap_or_default().to_owned();
        let error = match status {
            200 | 206 | 416 => return Ok(response),
            404 | 410 => RemoteError::Missing("file"),
            401 => RemoteError::Unauthenticated(format!("status {status}")),
            403 => RemoteError::Denied(format!("status {status}")),
            status => RemoteError::Status { status, detail: detail() },
        };
        let header = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let wait = header.and_then(|text| retry_after(text, SystemTime::now()));
        Err((error, wait.filter(|wait| *wait <= LONGEST_WAIT)))
    }

    /// One attempt to read a range.
    fn attempt(&self, url: &str, range: &Range<u64>) -> Result<Part, Failure> {
        let known = self.whole().get(url).cloned();
        if let Some(forward) = known {
            return self.read_on(url, &forward, range);
        }
        let response = self.request(url, Some(range))?;
        match response.status().as_u16() {
            206 => part(response, range).map_err(|error| (error, None)),
            416 if content_range(response.headers()).is_some_and(|(_, length)| length == 0) => {
                let version = version(response.headers());
                Ok(Part { bytes: Bytes::new(), length: 0, version })
            }
            416 => Err((RemoteError::Changed, None)),
            _ => {
                let mut forward = Forward::of(response).map_err(|error| (error, None))?;
                if range.start == 0 && forward.length <= range.end {
                    return forward.part(range).map_err(|error| (error, None));
                }
                let forward = Arc::new(Mutex::new(Some(forward)));
                self.whole().insert(url.to_owned(), Arc::clone(&forward));
                self.read_on(url, &forward, range)
            }
        }
    }

    /// Reads a range of a body that is read from its beginning on.
    fn read_on(&self, url: &str, kept: &Mutex<Option<Forward>>, range: &Range<u64>) -> Result<Part, Failure> {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut forward = match kept.take().filter(|forward| forward.at <= range.start) {
            Some(forward) => forward,
            None => Forward::of(self.request(url, None)?).map_err(|error| (error, None))?,
        };
        let part = forward.part(range).map_err(|error| (error, None))?;
        *kept = Some(forward);
        Ok(part)
    }
}

impl Store for Web {
    fn read(&self, key: &str, range: Range<u64>, _: Option<&str>) -> Result<Part, RemoteError> {
        let mut attempt = 1;
        loop {
            match self.attempt(key, &range) {
                Ok(part) => return Ok(part),
                Err((error, wait)) if error.is_temporary() && attempt < ATTEMPTS => {
                    sleep(wait.unwrap_or(BACKOFF * 2_u32.pow(attempt - 1)));
                    attempt += 1;
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    fn list(&self, _: &str) -> Result<Vec<String>, RemoteError> {
        Err(RemoteError::NoList)
    }

    fn has_ranges(&self, key: &str) -> bool {
        !self.whole().contains_key(key)
    }
}

impl Forward {
    fn of(response: Response<Body>) -> Result<Forward, RemoteError> {
        let version = version(response.headers());
        let body = response.into_body();
        // Without a length, the end of the connection would be the end of the file, and so would be a failure.
        let length = body.content_length().ok_or(RemoteError::NoLength)?;
        Ok(Forward { reader: Box::new(body.into_reader()), at: 0, length, version })
    }

    fn part(&mut self, range: &Range<u64>) -> Result<Part, RemoteError> {
        let broken = |error: io::Error| explain(ureq::Error::from(error));
        let end = range.end.min(self.length);
        let before = range.start - self.at;
        let passed = io::copy(&mut self.reader.by_ref().take(before), &mut io::sink()).map_err(broken)?;
        let mut bytes = Vec::new();
        let wanted = end.saturating_sub(range.start);
        self.reader.by_ref().take(wanted).read_to_end(&mut bytes).map_err(broken)?;
        if passed < before.min(self.length - self.at) || (bytes.len() as u64) < wanted {
            return Err(RemoteError::Broken("the connection was closed early".to_owned()));
        }
        self.at = range.start + wanted;
        Ok(Part { bytes: bytes.into(), length: self.length, version: self.version.clone() })
    }
}

/// The part of a file in a response with status 206.
fn part(response: Response<Body>, range: &Range<u64>) -> Result<Part, RemoteError> {
    let invalid = || RemoteError::Invalid("it has another range than was requested".to_owned());
    let (sent, length) = content_range(response.headers()).ok_or_else(invalid)?;
    if sent.start != range.start || sent.end != range.end.min(length) {
        return Err(invalid());
    }
    let version = version(response.headers());
    let expected = sent.end - sent.start;
    let mut bytes = Vec::new();
    let read = response.into_body().into_reader().take(expected + 1).read_to_end(&mut bytes);
    read.map_err(|error| explain(ureq::Error::from(error)))?;
    match (bytes.len() as u64).cmp(&expected) {
        std::cmp::Ordering::Equal => Ok(Part { bytes: bytes.into(), length, version }),
        std::cmp::Ordering::Less => Err(RemoteError::Broken("the connection was closed early".to_owned())),
        std::cmp::Ordering::Greater => Err(RemoteError::Invalid("it is longer than it declares".to_owned())),
    }
}

/// The range in `bytes 0-9/100`, or in `bytes */0`, and the length of the whole file.
fn content_range(headers: &HeaderMap) -> Option<(Range<u64>, u64)> {
    let text = headers.get("content-range")?.to_str().ok()?.trim().strip_prefix("bytes ")?;
    let (range, length) = text.split_once('/')?;
    let length = length.parse().ok()?;
    if range == "*" {
        return Some((0..0, length));
    }
    let (start, last) = range.split_once('-')?;
    let (start, end) = (start.parse().ok()?, last.parse::<u64>().ok()?.checked_add(1)?);
    (start < end).then_some((start..end, length))
}

fn version(headers: &HeaderMap) -> Option<String> {
    let header = headers.get("etag").or_else(|| headers.get("last-modified"))?;
    Some(header.to_str().ok()?.to_owned())
}

fn explain(error: ureq::Error) -> RemoteError {
    let unreachable = |why: &str| RemoteError::Unreachable(why.to_owned());
    match error {
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => unreachable("timeout"),
        ureq::Error::Timeout(_) => RemoteError::Timeout(RESPONSE),
        ureq::Error::TooManyRedirects => RemoteError::Redirects(REDIRECTS),
        ureq::Error::HostNotFound => unreachable("no such host"),
        ureq::Error::ConnectionFailed => unreachable("the connection failed"),
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => RemoteError::Url,
        ureq::Error::Io(error) => match error.kind() {
            io::ErrorKind::PermissionDenied => RemoteError::Private,
            io::ErrorKind::ConnectionRefused => unreachable("connection refused"),
            io::ErrorKind::TimedOut => RemoteError::Timeout(RESPONSE),
            _ if error.to_string().contains("failed to lookup") => unreachable("no such host"),
            _ => RemoteError::Broken(line(&error.to_string())),
        },
        other => RemoteError::Broken(line(&other.to_string())),
    }
}
