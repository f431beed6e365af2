//! One attempt to download an image.

use std::io::{self, Read as _};
use std::time::{Duration, SystemTime};

use blake3::Hash;
use ureq::http::Uri;
use ureq::{Agent, Timeout};

use super::cache::{Cache, Object};
use super::{FetchError, FetchOptions};
use crate::network::{Networks, filtered};
use crate::post::retry_after;
use crate::remote::{self, RemoteError};
use crate::sniff::sniff;

/// A body that was downloaded.
pub(super) struct Downloaded {
    pub(super) object: Object,
    /// Whether it starts as an image does. If not, only its beginning is stored, and only for this run.
    pub(super) is_image: bool,
}

/// An attempt without a body.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: FetchError,
    pub(super) again: Again,
}

/// Whether a further attempt makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// No: it would fail as well.
    Never,
    /// After a while.
    Later,
    /// After the time that the server asks for.
    After(Duration),
}

/// Bytes that show what a body is, if it is no image.
const STRAY: u64 = 64 << 10;

/// Bytes that are read before a body is recognized.
const HEAD: usize = 4 << 10;

/// Time for a name to be resolved and a connection to be made.
const CONNECT: Duration = Duration::from_secs(10);

/// What sends the requests.
pub(super) fn agent(options: &FetchOptions) -> Agent {
    let mut config = Agent::config_builder()
        .timeout_global(Some(options.timeout))
        .timeout_resolve(Some(CONNECT))
        .timeout_connect(Some(CONNECT))
        .max_redirects(options.max_redirects)
        .http_status_as_error(false)
        .max_idle_connections(options.connections)
        .max_idle_connections_per_host(options.per_host)
        .accept("image/*, */*;q=0.1")
        .user_agent(concat!("pixtune/", env!("CARGO_PKG_VERSION")));
    if options.networks == Networks::Public {
        // Through a proxy, what the name means would be the proxy's to say.
        config = config.proxy(None);
    }
    filtered(config.build(), options.networks)
}

/// Downloads a body into the cache.
pub(super) fn download(
    agent: &Agent,
    options: &FetchOptions,
    cache: &Cache,
    key: &Hash,
    uri: &Uri,
) -> Result<Downloaded, Failure> {
    let failed = |error| explain(error, options);
    let response = agent.get(uri).call().map_err(failed)?;
    let status = response.status().as_u16();
    if !response.status().is_success() {
        let header = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let wait = header.and_then(|text| retry_after(text, SystemTime::now()));
        let again = match (status, wait) {
            (429 | 503, Some(wait)) => Again::After(wait),
            (408 | 425 | 429 | 500 | 502 | 503 | 504, _) => Again::Later,
            _ => Again::Never,
        };
        return Err(Failure { error: FetchError::Status(status), again });
    }
    let mut body = response.into_body();
    let declared = body.content_length();
    let mut reader = body.as_reader();
    let disk =
        |error: io::Error| Failure { error: FetchError::Cache(error.to_string()), again: Again::Never };
    let broken = |error: io::Error| failed(ureq::Error::from(error));
    let mut buffer = vec![0; STRAY as usize];
    let too_large = || Failure { error: FetchError::TooLarge(options.max_bytes), again: Again::Never };
    let is_too_large = declared.is_some_and(|length| length > options.max_bytes);
    let mut read = match read_head(&mut reader, &mut buffer[..HEAD]) {
        Err(_) if is_too_large => return Err(too_large()),
        head => head.map_err(broken)?,
    };
    let is_image = sniff(&buffer[..read]).is_ok();
    if is_image && is_too_large {
        return Err(too_large());
    }
    let limit = if is_image { options.max_bytes } else { STRAY.min(options.max_bytes) };
    let mut incoming = cache.create().map_err(disk)?;
    while read > 0 {
        let within = usize::try_from(limit - incoming.length()).map_or(read, |rest| rest.min(read));
        incoming.write(&buffer[..within]).map_err(disk)?;
        match within < read {
            true if is_image => return Err(too_large()),
            true => break,
            false => read = reader.read(&mut buffer).map_err(broken)?,
        }
    }
    if let Some(declared) = declared
        && is_image
        && declared != incoming.length()
    {
        let why = format!("the body ends after {} of {declared} bytes", incoming.length());
        return Err(Failure { error: FetchError::Broken(why), again: Again::Later });
    }
    let object = incoming.finish(is_image.then_some(key)).map_err(disk)?;
    Ok(Downloaded { object, is_image })
}

/// Downloads an object of a store into the cache. What may work later was tried several times already.
pub(super) fn download_object(
    options: &FetchOptions,
    cache: &Cache,
    key: &Hash,
    url: &str,
) -> Result<Downloaded, Failure> {
    let never = |error| Failure { error, again: Again::Never };
    let bytes = remote::read(url, options.max_bytes).map_err(|error| match error {
        RemoteError::TooLarge(limit) => never(FetchError::TooLarge(limit)),
        error => never(FetchError::Store(error)),
    })?;
    let is_image = sniff(&bytes).is_ok();
    let stored = if is_image { &bytes[..] } else { &bytes[..bytes.len().min(STRAY as usize)] };
    let store = || -> io::Result<Object> {
        let mut incoming = cache.create()?;
        incoming.write(stored)?;
        incoming.finish(is_image.then_some(key))
    };
    let object = store().map_err(|error| never(FetchError::Cache(error.to_string())))?;
    Ok(Downloaded { object, is_image })
}

/// Reads until the buffer is full or the body ends.
fn read_head(reader: &mut impl io::Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn explain(error: ureq::Error, options: &FetchOptions) -> Failure {
    let unreachable = |why: &str| (FetchError::Unreachable(why.to_owned()), Again::Later);
    let (error, again) = match error {
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => unreachable("timeout"),
        ureq::Error::Timeout(_) => (FetchError::Timeout(options.timeout), Again::Later),
        ureq::Error::Io(error) => match error.kind() {
            io::ErrorKind::PermissionDenied => (FetchError::Private, Again::Never),
            io::ErrorKind::ConnectionRefused => unreachable("connection refused"),
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
                unreachable("no route to it")
            }
            io::ErrorKind::TimedOut => (FetchError::Timeout(options.timeout), Again::Later),
            io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => {
                (FetchError::Broken("the connection was closed early".to_owned()), Again::Later)
            }
            // The resolver of the system reports a name without an address as an error of no kind.
            _ if error.to_string().contains("failed to lookup") => unreachable("no such host"),
            _ => (FetchError::Broken(error.to_string()), Again::Later),
        },
        ureq::Error::HostNotFound => unreachable("no such host"),
        ureq::Error::ConnectionFailed => unreachable("the connection failed"),
        ureq::Error::TooManyRedirects => (FetchError::Redirects(options.max_redirects), Again::Never),
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => (FetchError::Url, Again::Never),
        other => (FetchError::Broken(other.to_string()), Again::Later),
    };
    Failure { error, again }
}
