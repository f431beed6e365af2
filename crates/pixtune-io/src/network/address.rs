//! Which addresses are fetched: a URL in data from anywhere could point at what only this machine can reach.
//!
//! Every name is resolved once, its addresses are filtered, and the connection goes to one of the rest; a redirect goes the
//! same way.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// Which addresses are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Networks {
    /// Those that everyone can reach.
    Public,
    /// Also those of this machine and of private networks.
    All,
}

/// A client that connects to these networks alone.
pub fn filtered(config: Config, networks: Networks) -> Agent {
    Agent::with_parts(config, DefaultConnector::default(), Filtered { inner: Lookup::default(), networks })
}

/// Looks names up, and remembers them for a while: a client asks for the addresses before each request, also for one that
/// goes over an open connection, and a lookup with a time limit costs a thread.
#[derive(Debug, Default)]
struct Lookup {
    inner: DefaultResolver,
    known: Mutex<HashMap<String, (Instant, Vec<SocketAddr>)>>,
}

/// How long the addresses of a name are used. Servers change theirs within minutes, not seconds.
const REMEMBERED: Duration = Duration::from_secs(30);

/// Names that are remembered at most.
const MOST_NAMES: usize = 4096;

impl Resolver for Lookup {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let scheme_and_authority = uri.scheme().zip(uri.authority());
        let name = scheme_and_authority
            .and_then(|(scheme, authority)| DefaultResolver::host_and_port(scheme, authority));
        let Some(name) = name else { return self.inner.resolve(uri, config, timeout) };
        let addresses = |known: &[SocketAddr]| {
            let mut found = self.empty();
            known.iter().for_each(|address| found.push(*address));
            found
        };
        if let Ok(address) = name.parse::<SocketAddr>() {
            return Ok(addresses(&[address]));
        }
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, found)) = known().get(&name)
            && since.elapsed() < REMEMBERED
        {
            return Ok(addresses(found));
        }
        let found = self.inner.resolve(uri, config, timeout)?;
        let mut known = known();
        if known.len() >= MOST_NAMES {
            known.clear();
        }
        known.insert(name, (Instant::now(), found.iter().copied().collect()));
        Ok(found)
    }
}

/// Looks names up and keeps the addresses that may be fetched.
#[derive(Debug)]
struct Filtered {
    inner: Lookup,
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
pub(crate) fn is_public(ip: IpAddr) -> bool {
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

    /// Resolves one name to this machine, as if it were public.
    #[derive(Debug)]
    struct Named(Filtered);

    impl Resolver for Named {
        fn resolve(
            &self,
            uri: &Uri,
            config: &Config,
            timeout: NextTimeout,
        ) -> Result<ResolvedSocketAddrs, ureq::Error> {
            match uri.host() {
                Some("public.test") => {
                    let port = uri.port_u16().unwrap();
                    let mut found = self.empty();
                    found.push(([127, 0, 0, 1], port).into());
                    Ok(found)
                }
                _ => self.0.resolve(uri, config, timeout),
            }
        }
    }

    #[test]
    fn names_are_remembered_and_addresses_need_no_lookup() {
        let lookup = Lookup::default();
        let config = Agent::config_builder().build();
        let found = |url: &str| {
            lookup.resolve(&url.parse().unwrap(), &config, NextTimeout::default()).map(|found| found.to_vec())
        };
        assert_eq!(found("http://127.0.0.1:81/").unwrap(), ["127.0.0.1:81".parse().unwrap()]);
        assert_eq!(found("https://[::1]/").unwrap(), ["[::1]:443".parse().unwrap()]);
        assert!(lookup.known.lock().unwrap().is_empty());
        let known = ["192.0.2.1:80".parse().unwrap()];
        lookup.known.lock().unwrap().insert("images.test:80".to_owned(), (Instant::now(), known.to_vec()));
        assert_eq!(found("http://images.test/a.png").unwrap(), known);
        assert!(found("http://nowhere.invalid/").is_err());
        assert_eq!(lookup.known.lock().unwrap().len(), 1);
    }

    #[test]
    fn redirects_to_private_networks_are_refused() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = io::Read::read(&mut stream, &mut [0; 4096]);
            let target = format!("http://127.0.0.1:{port}/secret");
            let response = format!("HTTP/1.1 302 Found\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n");
            io::Write::write_all(&mut stream, response.as_bytes()).unwrap();
        });
        let resolver = Named(Filtered { inner: Lookup::default(), networks: Networks::Public });
        let config = Agent::config_builder().proxy(None).build();
        let agent = Agent::with_parts(config, DefaultConnector::default(), resolver);
        let error = agent.get(format!("http://public.test:{port}/")).call().unwrap_err();
        assert!(
            matches!(&error, ureq::Error::Io(error) if error.kind() == io::ErrorKind::PermissionDenied),
            "{error}"
        );
        requests.join().unwrap();
    }
}
