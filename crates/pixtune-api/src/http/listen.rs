//! Accepts connections, with timeouts that protect against clients that send slowly or nothing.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

/// How long a client may take to send the head of a request, which limits how long an idle connection stays open too.
const HEAD: Duration = Duration::from_secs(10);

/// How long requests under way may take when the server ends.
const GRACE: Duration = Duration::from_secs(20);

/// File descriptors that are not for connections: databases, contents, logs.
const RESERVED: u64 = 256;

/// Connections at the same time, however many the system allows.
const MOST: u64 = 20_000;

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
}

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens on an address; port 0 is any free one.
    pub async fn bind(address: SocketAddr) -> Result<Listener, ListenError> {
        let failed = |source| ListenError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Listener { listener, address })
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `ends` is true, then lets requests under way end.
    pub async fn serve(self, router: axum::Router, mut ends: watch::Receiver<bool>) {
        let most = connections();
        let permits = Arc::new(Semaphore::new(most));
        let (closing, _) = watch::channel(false);
        loop {
            let permit = tokio::select! {
                permit = Arc::clone(&permits).acquire_owned() => permit,
                () = until(&mut ends) => break,
            };
            let Ok(permit) = permit else { break };
            let stream = tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    // Out of file descriptors, or the client has gone: others are served.
                    Err(_) => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        continue;
                    }
                },
                () = until(&mut ends) => break,
            };
            let _ = stream.set_nodelay(true);
            let service = TowerToHyperService::new(router.clone());
            let mut closing = closing.subscribe();
            tokio::spawn(async move {
                let mut builder = http1::Builder::new();
                builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(16 << 10);
                let connection = builder.serve_connection(TokioIo::new(stream), service);
                tokio::pin!(connection);
                // A fault of one connection concerns only its client.
                tokio::select! {
                    _ = connection.as_mut() => {}
                    () = until(&mut closing) => {
                        connection.as_mut().graceful_shutdown();
                        let _ = connection.await;
                    }
                }
                drop(permit);
            });
        }
        drop(self.listener);
        closing.send_replace(true);
        let _ = timeout(GRACE, permits.acquire_many(u32::try_from(most).unwrap_or(u32::MAX))).await;
    }
}

/// Waits until a value is true, or can never be.
async fn until(value: &mut watch::Receiver<bool>) {
    let _ = value.wait_for(|value| *value).await;
}

/// How many connections the system's limit of file descriptors allows.
fn connections() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call only writes into the structure.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0;
    if known && limit.rlim_cur < limit.rlim_max {
        let raised = libc::rlimit { rlim_cur: limit.rlim_max.min(MOST + RESERVED), ..limit };
        // SAFETY: the call only reads the structure.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0 {
            limit = raised;
        }
    }
    let allowed = if known { limit.rlim_cur.saturating_sub(RESERVED).clamp(16, MOST) } else { 1000 };
    usize::try_from(allowed).unwrap_or(1000)
}
