//! Fetching, against a server in the test.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pixtune_io::fetch::{FetchError, FetchOptions, Fetcher, Networks};
use tempfile::TempDir;

/// Responds to every path in its own way, and counts the requests.
struct Server {
    address: String,
    requests: Arc<Mutex<BTreeMap<String, u32>>>,
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(BTreeMap::new()));
        let counted = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counted = Arc::clone(&counted);
                std::thread::spawn(move || respond(stream, &counted));
            }
        });
        Server { address, requests }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    fn requests(&self, path: &str) -> u32 {
        self.requests.lock().unwrap().get(path).copied().unwrap_or(0)
    }
}

const JPEG: &[u8] = b"\xff\xd8\xff\xe0 an image";

fn respond(mut stream: TcpStream, counted: &Mutex<BTreeMap<String, u32>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let nth = {
        let mut counted = counted.lock().unwrap();
        let count = counted.entry(path.clone()).or_default();
        *count += 1;
        *count
    };
    let mut send = |bytes: &[u8]| stream.write_all(bytes).is_ok();
    let image = |length: usize| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        [head.as_bytes(), JPEG].concat()
    };
    let status = |line: &str| {
        format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").into_bytes()
    };
    let moved = |to: &str| status(&format!("302 Found\r\nlocation: {to}"));
    match path.as_str() {
        "/moved" => send(&moved("/image")),
        "/circle" => send(&moved("/circle")),
        "/declared" => send(&image(99_999_999_999)),
        "/endless" => {
            send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n\xff\xd8\xff\xe0\r\n");
            while send(format!("400\r\n{}\r\n", "x".repeat(0x400)).as_bytes()) {}
            true
        }
        "/endless-text" => {
            send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            while send(format!("400\r\n{}\r\n", "x".repeat(0x400)).as_bytes()) {}
            true
        }
        path if path.starts_with("/slow") => {
            send(&image(99)[..60]);
            std::thread::sleep(Duration::from_secs(20));
            true
        }
        "/torn" => send(&image(99)),
        "/nonsense" => send(b"what?\r\n\r\n"),
        "/page" => send(b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\nconnection: close\r\n\r\n<html></html>"),
        "/empty" => send(&status("200 OK")),
        "/later" if nth <= 2 => send(&status("503 Service Unavailable")),
        "/limited" if nth <= 3 => send(&status("429 Too Many Requests\r\nretry-after: 0.1")),
        "/in-an-hour" => send(&status("429 Too Many Requests\r\nretry-after: 3600")),
        "/broken" => send(&status("500 Internal Server Error")),
        "/missing" => send(&status("404 Not Found")),
        "/interrupted" if nth == 1 => send(&image(99)),
        _ => send(&image(JPEG.len())),
    };
}

fn options(cache: &TempDir) -> FetchOptions {
    FetchOptions {
        max_bytes: 5000,
        timeout: Duration::from_secs(2),
        max_redirects: 3,
        networks: Networks::All,
        backoff: Duration::from_millis(20),
        ..FetchOptions::new(cache.path())
    }
}

fn fetch(url: &str, networks: Networks) -> Result<Vec<u8>, FetchError> {
    let cache = tempfile::tempdir().unwrap();
    Fetcher::new(FetchOptions { networks, ..options(&cache) }).unwrap().fetch(url)
}

#[test]
fn images_come_within_limits() {
    let server = Server::start();
    let get = |path: &str| fetch(&server.url(path), Networks::All);
    assert_eq!(get("/image").unwrap(), JPEG);
    assert_eq!(get("/moved").unwrap(), JPEG);
    assert_eq!(get("/a b\u{e4}?x#y").unwrap(), JPEG);
    assert_eq!(get("/missing"), Err(FetchError::Status(404)));
    assert_eq!(get("/declared"), Err(FetchError::TooLarge(5000)));
    assert_eq!(get("/endless"), Err(FetchError::TooLarge(5000)));
    assert_eq!(get("/circle"), Err(FetchError::Redirects(3)));
    assert_eq!(get("/slow"), Err(FetchError::Timeout(Duration::from_secs(2))));
    for path in ["/torn", "/nonsense"] {
        assert!(matches!(get(path), Err(FetchError::Broken(_))), "{path}: {:?}", get(path));
    }
    for url in ["http://127.0.0.1:1/x", "https://no.such.host.invalid/x"] {
        let fetched = fetch(url, Networks::All);
        assert!(matches!(fetched, Err(FetchError::Unreachable(_))), "{url}: {fetched:?}");
    }
    for url in ["http://", "http://a b/", "ftp://127.0.0.1/x"] {
        assert_eq!(fetch(url, Networks::All), Err(FetchError::Url), "{url}");
    }
}

#[test]
fn what_is_no_image_comes_with_its_beginning() {
    let server = Server::start();
    let get = |path: &str| fetch(&server.url(path), Networks::All);
    assert_eq!(get("/page").unwrap(), b"<html></html>");
    assert_eq!(get("/empty").unwrap(), b"");
    assert_eq!(get("/endless-text").unwrap()[..4], *b"xxxx");
}

#[test]
fn private_networks_are_not_connected_to() {
    let server = Server::start();
    let port = server.address.rsplit_once(':').unwrap().1;
    for host in ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "2130706433", "[::ffff:127.0.0.1]"] {
        let fetched = fetch(&format!("http://{host}:{port}/image"), Networks::Public);
        assert!(fetched.is_err(), "{host}: {fetched:?}");
    }
    assert_eq!(fetch(&server.url("/image"), Networks::Public), Err(FetchError::Private));
    assert_eq!(server.requests("/image"), 0);
}

#[test]
fn images_of_private_networks_are_not_used_from_the_cache_without_permission() {
    let (server, cache) = (Server::start(), tempfile::tempdir().unwrap());
    Fetcher::new(options(&cache)).unwrap().fetch(&server.url("/image")).unwrap();
    let public = FetchOptions { networks: Networks::Public, ..options(&cache) };
    assert_eq!(Fetcher::new(public).unwrap().fetch(&server.url("/image")), Err(FetchError::Private));
}

#[test]
fn errors_that_may_pass_are_tried_again() {
    let (server, cache) = (Server::start(), tempfile::tempdir().unwrap());
    let fetcher = Fetcher::new(options(&cache)).unwrap();
    let get = |path: &str| fetcher.fetch(&server.url(path));
    assert_eq!(get("/later").unwrap(), JPEG);
    assert_eq!(get("/limited").unwrap(), JPEG);
    assert_eq!(get("/interrupted").unwrap(), JPEG);
    assert_eq!(get("/broken"), Err(FetchError::Status(500)));
    assert_eq!(get("/in-an-hour"), Err(FetchError::Status(429)));
    assert_eq!(get("/missing"), Err(FetchError::Status(404)));
    let requests = ["/later", "/limited", "/interrupted", "/broken", "/in-an-hour", "/missing"]
        .map(|path| server.requests(path));
    assert_eq!(requests, [3, 4, 2, 3, 1, 1]);
    let counts = fetcher.counts();
    assert_eq!((counts.requests, counts.images), (14, 3));
    let failures: Vec<_> = counts.failures.into_iter().collect();
    assert_eq!(
        failures,
        [("status 404", 1), ("status 429", 1), ("status 500", 1)].map(|(a, b)| (a.to_owned(), b))
    );
}

#[test]
fn a_url_is_downloaded_once_by_all_runs() {
    let (server, cache) = (Server::start(), tempfile::tempdir().unwrap());
    let url = server.url("/image");
    let fetcher = Fetcher::new(options(&cache)).unwrap();
    std::thread::scope(|scope| {
        (0..8).for_each(|_| {
            scope.spawn(|| assert_eq!(fetcher.fetch(&url).unwrap(), JPEG));
        });
    });
    assert_eq!(Fetcher::new(options(&cache)).unwrap().fetch(&url).unwrap(), JPEG);
    assert_eq!(server.requests("/image"), 1);
    // What is not an image is not kept: the server may be repaired.
    for _ in 0..2 {
        let fetcher = Fetcher::new(options(&cache)).unwrap();
        let _ = (fetcher.fetch(&server.url("/page")), fetcher.fetch(&server.url("/page")));
        let _ = (fetcher.fetch(&server.url("/missing")), fetcher.fetch(&server.url("/missing")));
    }
    assert_eq!((server.requests("/page"), server.requests("/missing")), (2, 2));
}

#[test]
fn a_damaged_download_is_repeated() {
    let (server, cache) = (Server::start(), tempfile::tempdir().unwrap());
    let fetcher = Fetcher::new(options(&cache)).unwrap();
    fetcher.fetch(&server.url("/image")).unwrap();
    for object in glob(&cache.path().join("objects")) {
        std::fs::write(object, "damage").unwrap();
    }
    assert_eq!(fetcher.fetch(&server.url("/image")).unwrap(), JPEG);
    std::fs::remove_dir_all(cache.path().join("objects")).unwrap();
    assert_eq!(fetcher.fetch(&server.url("/image")).unwrap(), JPEG);
    assert_eq!(server.requests("/image"), 3);
}

fn glob(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = |path: &std::path::Path| {
        std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    entries(directory).iter().flat_map(|path| entries(path)).collect()
}

/// One host that never responds holds its own requests, and no others: more URLs wait for it than it may have connections.
#[test]
fn a_slow_host_does_not_hold_up_others() {
    let (slow, server, cache) = (Server::start(), Server::start(), tempfile::tempdir().unwrap());
    let options = FetchOptions { connections: 4, per_host: 2, attempts: 1, ..options(&cache) };
    let fetcher = Fetcher::new(options).unwrap();
    let started = Instant::now();
    let waiting: Vec<_> = (0..6).map(|nth| slow.url(&format!("/slow?{nth}"))).collect();
    let stuck = slow.url("/slow");
    fetcher.request(&stuck);
    waiting.iter().for_each(|url| fetcher.request(url));
    for nth in 0..20 {
        assert_eq!(fetcher.fetch(&server.url(&format!("/{nth}"))).unwrap(), JPEG);
    }
    assert!(!fetcher.wait(&stuck, Duration::ZERO) || started.elapsed() > Duration::from_secs(2));
    for url in &waiting {
        assert_eq!(fetcher.fetch(url), Err(FetchError::Timeout(Duration::from_secs(2))));
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_a_fault_of_the_run() {
    let (server, cache) = (Server::start(), tempfile::tempdir().unwrap());
    let fetcher = Fetcher::new(options(&cache)).unwrap();
    std::fs::remove_dir_all(cache.path()).unwrap();
    assert!(matches!(fetcher.fetch(&server.url("/image")), Err(FetchError::Cache(_))));
    assert!(fetcher.fault().is_some());
    let file = cache.path().with_extension("file");
    std::fs::write(&file, "").unwrap();
    assert!(Fetcher::new(FetchOptions { cache: file, ..options(&cache) }).is_err());
}
