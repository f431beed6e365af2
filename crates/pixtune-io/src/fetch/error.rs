//! Why an image could not be fetched.

use std::time::Duration;

use crate::remote::RemoteError;

/// Why an image could not be fetched. The text continues "cannot be fetched: …" and is the same for every attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The server responded with an error.
    #[error("the server responds with status {0}")]
    Status(u16),
    /// The image is larger than the limit.
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    /// The name stands for an address that is not fetched.
    #[error("it is on a private network")]
    Private,
    /// It took too long.
    #[error("it took more than {} seconds", .0.as_secs_f64())]
    Timeout(Duration),
    /// There is no connection to the host.
    #[error("cannot connect to the host: {0}")]
    Unreachable(String),
    /// More redirects than are followed.
    #[error("more than {0} redirects")]
    Redirects(u32),
    /// The URL cannot be requested.
    #[error("the URL is invalid")]
    Url,
    /// The connection or the protocol failed.
    #[error("{0}")]
    Broken(String),
    /// An object in a store cannot be read.
    #[error("{0}")]
    Store(RemoteError),
    /// The download could not be stored.
    #[error("{0}")]
    Cache(String),
}

impl FetchError {
    /// A few words for it, by which failures are counted.
    pub fn cause(&self) -> String {
        match self {
            FetchError::Status(status) => return format!("status {status}"),
            FetchError::TooLarge(_) => "too large",
            FetchError::Private => "private network",
            FetchError::Timeout(_) => "timeout",
            FetchError::Unreachable(_) => "no connection",
            FetchError::Redirects(_) => "redirects",
            FetchError::Url => "invalid URL",
            FetchError::Broken(_) => "broken connection",
            FetchError::Store(error) => error.cause(),
            FetchError::Cache(_) => "disk",
        }
        .to_owned()
    }
}
