//! What carries the requests of `object_store`: the HTTP client that this program has anyway. A response is read as a whole, within
//! the bounds of what was requested.

use std::error::Error;
use std::io::{self, Read as _};
use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use ureq::http::{HeaderMap, Request};
use ureq::{Agent, Timeout};

use crate::network::{Networks, filtered};

/// Connects `object_store` to the client.
#[derive(Debug)]
pub(super) struct Transport;

/// Time for a name to be resolved and a connection to be made, until a response begins, and for all of it.
const CONNECT: Duration = Duration::from_secs(10);
pub(super) const RESPONSE: Duration = Duration::from_secs(30);
pub(super) const WHOLE: Duration = Duration::from_secs(180);

/// Time for services of the machine itself: an address that is not there on most machines.
const METADATA: Duration = Duration::from_secs(1);

/// Bytes of a response that is no part of an object: a list, a token, an error.
const MOST_BYTES: u64 = 16 << 20;

impl HttpConnector for Transport {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Transport))
    }
}

/// The client for requests that are signed: a redirect would lead to another signature.
fn agent() -> &'static Agent {
    static AGENT: OnceLock<Agent> = OnceLock::new();
    AGENT.get_or_init(|| {
        let config = Agent::config_builder()
            .timeout_global(Some(WHOLE))
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(RESPONSE))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .accept_encoding("")
            .user_agent(concat!("pixtune/", env!("CARGO_PKG_VERSION")));
        filtered(config.build(), Networks::All)
    })
}

#[async_trait]
impl HttpService for Transport {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        send(request)
    }
}

/// Blocks: every thread that waits for an object runs its own requests.
fn send(request: HttpRequest) -> Result<HttpResponse, HttpError> {
    let limit = limit(request.headers());
    let (parts, body) = request.into_parts();
    let body: Bytes = body.as_bytes().cloned().unwrap_or_default();
    let is_local = parts.uri.host().is_some_and(|host| host.starts_with("169.254."));
    let sent = match (is_local, body.is_empty()) {
        (true, _) => {
            let request = agent().configure_request(Request::from_parts(parts, ()));
            agent().run(request.timeout_global(Some(METADATA)).build())
        }
        (false, true) => agent().run(Request::from_parts(parts, ())),
        (false, false) => agent().run(Request::from_parts(parts, &*body)),
    };
    let (parts, body) = sent.map_err(failed)?.into_parts();
    let mut bytes = Vec::new();
    let read = body.into_reader().take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|error| failed(ureq::Error::from(error)))?;
    if bytes.len() as u64 > limit {
        let error = io::Error::other(format!("the response has more than {limit} bytes"));
        return Err(HttpError::new(HttpErrorKind::Decode, error));
    }
    let declared = parts.headers.get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
    // A connection that is closed early looks like the end of the body.
    if parts.status == 206 && declared.is_some_and(|declared: usize| declared != bytes.len()) {
        return Err(HttpError::new(
            HttpErrorKind::Interrupted,
            io::Error::from(io::ErrorKind::UnexpectedEof),
        ));
    }
    Ok(HttpResponse::from_parts(parts, Bytes::from(bytes).into()))
}

/// Bytes that a response may have: those of the range that is requested, and an error instead of it.
fn limit(headers: &HeaderMap) -> u64 {
    let range = headers.get("range").and_then(|range| range.to_str().ok()?.strip_prefix("bytes="));
    let ends = range.and_then(|range| range.split_once('-'));
    let bytes = ends.and_then(|(start, end)| end.parse::<u64>().ok()?.checked_sub(start.parse().ok()?));
    bytes.map_or(MOST_BYTES, |bytes| bytes.saturating_add(MOST_BYTES))
}

fn failed(error: ureq::Error) -> HttpError {
    let kind = match &error {
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed => HttpErrorKind::Connect,
        ureq::Error::Timeout(_) => HttpErrorKind::Timeout,
        ureq::Error::Io(error) => match error.kind() {
            io::ErrorKind::TimedOut => HttpErrorKind::Timeout,
            io::ErrorKind::ConnectionRefused => HttpErrorKind::Connect,
            _ => HttpErrorKind::Interrupted,
        },
        // Such as a response that ends within its header.
        ureq::Error::Protocol(_) => HttpErrorKind::Request,
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, error)
}

/// The error of the client below an error of `object_store`.
pub(super) fn cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e ureq::Error> {
    let mut error = Some(error);
    while let Some(found) = error {
        if let Some(cause) = found.downcast_ref() {
            return Some(cause);
        }
        error = found.source();
    }
    None
}
