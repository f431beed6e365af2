//! Why an object cannot be read.

use std::io;
use std::time::Duration;

/// Why an object cannot be read. The text continues "cannot read `s3://bucket/key`: …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// The URL names no object.
    #[error("the URL has no bucket or host")]
    Url,
    /// There is no such object, or no such bucket.
    #[error("there is no such {0}")]
    Missing(&'static str),
    /// The credentials are accepted, and not permitted to read the object.
    #[error("access is denied{}", in_brackets(.0))]
    Denied(String),
    /// The credentials are no longer valid.
    #[error("the credentials have expired{}", in_brackets(.0))]
    Expired(String),
    /// The credentials are wrong.
    #[error("the credentials are not accepted{}", in_brackets(.0))]
    Unauthenticated(String),
    /// There are no credentials, or they are incomplete.
    #[error("there are no credentials: {0}")]
    NoCredentials(String),
    /// The bucket is in another region than the request.
    #[error("the bucket is in another region")]
    Region,
    /// The server responded with an error.
    #[error("the server responds with status {status}{}", in_brackets(detail))]
    Status {
        /// The status.
        status: u16,
        /// What the response states.
        detail: String,
    },
    /// The object is not the one that was opened.
    #[error("it changed while it was read")]
    Changed,
    /// Parts of the object cannot be read without what precedes them.
    #[error("the server sends whole files only, and {0} is read in parts")]
    NoRanges(&'static str),
    /// The server does not state how long the object is.
    #[error("the server does not state its length")]
    NoLength,
    /// The object is larger than the limit.
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    /// The response is not one that was asked for.
    #[error("the response is invalid: {0}")]
    Invalid(String),
    /// More redirects than are followed.
    #[error("more than {0} redirects")]
    Redirects(u32),
    /// A public server redirects to a private network.
    #[error("it redirects to a private network")]
    Private,
    /// There is no connection.
    #[error("cannot connect: {0}")]
    Unreachable(String),
    /// It took too long.
    #[error("no response within {} seconds", .0.as_secs_f64())]
    Timeout(Duration),
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Broken(String),
    /// There are no lists of files.
    #[error("a web server has no list of its files")]
    NoList,
    /// The store cannot be used as it is configured.
    #[error("{0}")]
    Configuration(String),
}

fn in_brackets(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(" ({detail})") }
}

impl RemoteError {
    /// Whether a further attempt may succeed.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            RemoteError::Status { status, .. } => {
                matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
            }
            RemoteError::Unreachable(_) | RemoteError::Timeout(_) | RemoteError::Broken(_) => true,
            _ => false,
        }
    }

    /// A few words for it, by which failures are counted.
    pub(crate) fn cause(&self) -> &'static str {
        match self {
            RemoteError::Missing(_) => "missing in the store",
            RemoteError::Denied(_) => "access denied",
            RemoteError::Expired(_) | RemoteError::Unauthenticated(_) | RemoteError::NoCredentials(_) => {
                "credentials"
            }
            _ => "object store",
        }
    }

    /// Whether other objects of the store will have it too.
    pub(super) fn is_of_store(&self) -> bool {
        self.is_temporary()
            || matches!(
                self,
                RemoteError::Expired(_)
                    | RemoteError::Unauthenticated(_)
                    | RemoteError::NoCredentials(_)
                    | RemoteError::Region
                    | RemoteError::Configuration(_)
            )
    }

    /// The error inside of an I/O error, if it is one.
    pub fn of(error: &io::Error) -> Option<&RemoteError> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<RemoteError> for io::Error {
    fn from(error: RemoteError) -> io::Error {
        let kind = match error {
            RemoteError::Missing(_) => io::ErrorKind::NotFound,
            RemoteError::Denied(_) | RemoteError::Unauthenticated(_) | RemoteError::Expired(_) => {
                io::ErrorKind::PermissionDenied
            }
            RemoteError::Timeout(_) => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}
