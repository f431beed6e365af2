//! Fetches images from URLs, within limits on bytes, time and redirects, and not from private networks unless asked.
//!
//! Data are untrusted, and a URL in them could point at a host that only this machine can reach. Every name is resolved
//! once, its addresses are filtered, and the connection goes to one of the rest; a redirect goes the same way.

use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// What may be fetched, and how long it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// Time for one image, redirects included.
    pub timeout: Duration,
    /// Redirects that are followed.
    pub max_redirects: u32,
    /// Whether addresses of this machine and of private networks are fetched, and proxies of the environment used.
    pub networks: Networks,
}

/// Which addresses are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Networks {
    /// Those that everyone can reach.
    Public,
    /// Also those of this machine and of private networks.
    All,
}

impl Default for FetchLimits {
    fn default() -> FetchLimits {
        FetchLimits { timeout: Duration::from_secs(30), max_redirects: 5, networks: Networks::Public }
    }
}

/// Why an image could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The server answered with an error.
    #[error("the server answers {0}")]
    Status(u16),
    /// The image is larger than the limit.
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    /// The name stands for an address that is not fetched.
    #[error("it is on a private network")]
    Private,
    /// It took too long.
    #[error("it took more than {} seconds", .0.as_secs())]
    Timeout(Duration),
    /// The connection or the protocol failed.
    #[error("{0}")]
    Connection(String),
}

/// Fetches images; keeps connections for the next of the same server.
#[derive(Debug)]
pub struct Fetcher {
    agent: Agent,
    limits: FetchLimits,
}

impl Fetcher {
    /// A fetcher within these limits.
    pub fn new(limits: FetchLimits) -> Fetcher {
        let mut config = Agent::config_builder()
            .timeout_global(Some(limits.timeout))
            .max_redirects(limits.max_redirects)
            .accept("image/*, */*;q=0.1")
            .user_agent(concat!("pixtune/", env!("CARGO_PKG_VERSION")));
        if limits.networks == Networks::Public {
            // Through a proxy, what the name means would be the proxy's to say.
            config = config.proxy(None);
        }
        let resolver = Filtered { inner: DefaultResolver::default(), networks: limits.networks };
        let agent = Agent::with_parts(config.build(), DefaultConnector::default(), resolver);
        Fetcher { agent, limits }
    }

    /// The bytes behind a URL, if there are no more than `max_bytes`.
    pub fn fetch(&self, url: &str, max_bytes: u64) -> Result<Vec<u8>, FetchError> {
        let response = self.agent.get(url).call().map_err(|error| self.explain(error))?;
        let mut body = response.into_body();
        if body.content_length().is_some_and(|length| length > max_bytes) {
            return Err(FetchError::TooLarge(max_bytes));
        }
        let mut bytes = Vec::new();
        let read = body.as_reader().take(max_bytes.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| self.explain(ureq::Error::from(error)))?;
        if bytes.len() as u64 > max_bytes {
            return Err(FetchError::TooLarge(max_bytes));
        }
        Ok(bytes)
    }

    fn explain(&self, error: ureq::Error) -> FetchError {
        match error {
            ureq::Error::StatusCode(status) => FetchError::Status(status),
            ureq::Error::Timeout(_) => FetchError::Timeout(self.limits.timeout),
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => FetchError::Private,
            ureq::Error::TooManyRedirects => {
                FetchError::Connection(format!("more than {} redirects", self.limits.max_redirects))
            }
            ureq::Error::HostNotFound => FetchError::Connection("no such host".into()),
            other => FetchError::Connection(other.to_string()),
        }
    }
}

/// Looks names up and keeps the addresses that may be fetched.
#[derive(Debug)]
struct Filtered {
    inner: DefaultResolver,
    networks: Networks,
}

impl Resolver for Filtered {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        if self.networks == Networks::All {
            return Ok(found);
        }
        let mut kept = self.empty();
        found.iter().filter(|address| is_public(address.ip())).for_each(|address| kept.push(*address));
        if kept.is_empty() { Err(ureq::Error::Io(io::ErrorKind::PermissionDenied.into())) } else { Ok(kept) }
    }
}

/// Whether an address can be reached from everywhere (IANA's registries of special addresses, RFC 6890).
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation()
        || matches!((a, b, c), (0, ..) | (240.., ..) | (100, 64..128, _) | (192, 0, 0) | (198, 18 | 19, _));
    !special
}

/// Global unicast addresses that hold no special one of version 4.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let within = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match ip.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => within(high, low),
        [0x2002, high, low, ..] => within(high, low),
        // Teredo, benchmarks, ORCHID and documentation.
        [0x2001, ..0x200, ..] | [0x2001, 0xdb8, ..] | [0x3fff, ..0x1000, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_networks_are_known() {
        for public in ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "100.63.0.1", "172.32.0.1"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "::127.0.0.1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }
}
