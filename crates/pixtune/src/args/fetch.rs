//! The options of commands that download images.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use pixtune_io::fetch::{FetchOptions, Networks};

use crate::error::Error;

/// Whether and how images at URLs are downloaded.
#[derive(Debug, Args)]
pub struct FetchArgs {
    /// Download images from http and https URLs: `check` verifies them, `fix` and `prepare` embed them, `evaluate`
    /// sends them. Follows up to 5 redirects, and does not connect to private networks
    #[arg(long)]
    pub fetch: bool,
    /// Also download from this machine, private networks, and through the proxy set in the environment
    #[arg(long, requires = "fetch")]
    pub fetch_private: bool,
    /// Directory for downloaded images, which later runs reuse [default: pixtune/images in the user's cache directory]
    #[arg(long, requires = "fetch", value_name = "DIR")]
    pub fetch_cache: Option<PathBuf>,
    /// Maximum requests at a time
    #[arg(long, requires = "fetch", value_name = "N", default_value_t = 64,
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub fetch_connections: usize,
    /// Maximum requests at a time to one host
    #[arg(long, requires = "fetch", value_name = "N", default_value_t = 8,
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub fetch_per_host: usize,
    /// Maximum seconds per attempt to download an image
    #[arg(long, requires = "fetch", value_name = "SECONDS", default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub fetch_timeout: u64,
    /// Further attempts after a server error, a timeout or a broken connection
    #[arg(long, requires = "fetch", value_name = "N", default_value_t = 2,
        value_parser = clap::value_parser!(u32).range(0..=20))]
    pub fetch_retries: u32,
}

impl FetchArgs {
    /// The options for images up to a size, if images are downloaded.
    pub fn options(&self, max_bytes: u64) -> Result<Option<FetchOptions>, Error> {
        if !self.fetch {
            return Ok(None);
        }
        let cache = self.fetch_cache.clone().or_else(FetchOptions::user_cache).ok_or_else(|| {
            Error::argument("no cache directory is known, because neither XDG_CACHE_HOME nor HOME is set; set `--fetch-cache`")
        })?;
        Ok(Some(FetchOptions {
            max_bytes,
            timeout: Duration::from_secs(self.fetch_timeout),
            attempts: self.fetch_retries + 1,
            connections: self.fetch_connections,
            per_host: self.fetch_per_host,
            networks: if self.fetch_private { Networks::All } else { Networks::Public },
            ..FetchOptions::new(cache)
        }))
    }
}
