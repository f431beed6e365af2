//! Fetches images from URLs, within limits on bytes, time, redirects and requests, and not from private networks unless
//! asked.
//!
//! [`Fetcher::request`] starts a download and returns; [`Fetcher::fetch`] waits for its bytes. Downloads run on threads of
//! their own (`workers`), in the order of `schedule`, and go to a directory (`cache`), so that memory does not grow with
//! them and the next run does not repeat them. A URL has one result in a run, whoever asks and however often.

mod cache;
mod error;
mod request;
mod schedule;
mod workers;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use blake3::Hash;

pub use crate::network::Networks;
pub use error::FetchError;
use workers::Shared;

/// What may be fetched, how long it may take, and how many requests run at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchOptions {
    /// Bytes of one image.
    pub max_bytes: u64,
    /// Time for one attempt, redirects included.
    pub timeout: Duration,
    /// Redirects that are followed.
    pub max_redirects: u32,
    /// Attempts for one image, where a further one may succeed.
    pub attempts: u32,
    /// Time before the second attempt; it doubles with each further one.
    pub backoff: Duration,
    /// Requests at a time.
    pub connections: usize,
    /// Requests at a time to one host.
    pub per_host: usize,
    /// Whether addresses of this machine and of private networks are fetched, and proxies of the environment used.
    pub networks: Networks,
    /// Where downloads are stored.
    pub cache: PathBuf,
}

impl FetchOptions {
    /// The defaults, with downloads in a directory.
    pub fn new(cache: impl Into<PathBuf>) -> FetchOptions {
        FetchOptions {
            max_bytes: 64 << 20,
            timeout: Duration::from_secs(30),
            max_redirects: 5,
            attempts: 3,
            backoff: Duration::from_secs(1),
            connections: 64,
            per_host: 8,
            networks: Networks::Public,
            cache: cache.into(),
        }
    }

    /// The directory for downloads that all runs of a user share, from the environment.
    pub fn user_cache() -> Option<PathBuf> {
        let directory =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = directory("XDG_CACHE_HOME")
            .or_else(|| directory("LOCALAPPDATA"))
            .or_else(|| directory("HOME").map(|home| home.join(".cache")))?;
        Some(base.join("pixtune").join("images"))
    }
}

/// What was downloaded so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FetchCounts {
    /// Requests sent.
    pub requests: u64,
    /// Images downloaded.
    pub images: u64,
    /// Bytes received.
    pub bytes: u64,
    /// URLs without an image, by cause.
    pub failures: BTreeMap<String, u64>,
}

/// Fetches images.
#[derive(Debug)]
pub struct Fetcher {
    shared: Arc<Shared>,
}

impl Fetcher {
    /// A fetcher with these options. Fails if the directory for downloads cannot be created.
    pub fn new(options: FetchOptions) -> io::Result<Fetcher> {
        Ok(Fetcher { shared: Shared::open(options)? })
    }

    /// Starts the download of an image, unless it is in the cache, on its way or known to fail.
    pub fn request(&self, url: &str) {
        self.shared.request(self.key(url), url);
    }

    /// Waits for an image that was requested, no longer than `timeout`. Returns whether it is decided.
    pub fn wait(&self, url: &str, timeout: Duration) -> bool {
        self.shared.wait(&self.key(url), Some(timeout))
    }

    /// The bytes behind a URL. What is not an image is cut to its first 64 KiB, which show what it is.
    pub fn fetch(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let key = self.key(url);
        // A second time for a body that another process has removed or damaged.
        for _ in 0..2 {
            self.shared.request(key, url);
            self.shared.wait(&key, None);
            if let Some(bytes) = self.shared.result(&key)? {
                return Ok(bytes);
            }
        }
        Err(FetchError::Cache("a download was removed while it was in use".to_owned()))
    }

    /// What was downloaded so far.
    pub fn counts(&self) -> FetchCounts {
        self.shared.counts()
    }

    /// Why downloads cannot be stored, once that has happened: a run cannot go on.
    pub fn fault(&self) -> Option<io::Error> {
        self.shared.fault()
    }

    /// Where downloads are stored.
    pub fn cache(&self) -> &Path {
        self.shared.cache.directory()
    }

    /// What a URL is known by. Images of private networks have keys of their own: without the permission to go there, they are
    /// not used from the cache either.
    fn key(&self, url: &str) -> Hash {
        let networks: &[u8] = match self.shared.options.networks {
            Networks::Public => b"public\n",
            Networks::All => b"all\n",
        };
        blake3::Hasher::new().update(networks).update(url.as_bytes()).finalize()
    }
}

/// Requests that run are not waited for.
impl Drop for Fetcher {
    fn drop(&mut self) {
        self.shared.close();
    }
}
