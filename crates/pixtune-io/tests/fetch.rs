//! Fetching, against a server in the test.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use pixtune_io::fetch::{FetchError, FetchLimits, Fetcher, Networks};

/// Answers every path in its own way; gives back the address.
fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let mut send = |text: &str| stream.write_all(text.as_bytes()).is_ok();
    match path.as_str() {
        "/image" => {
            send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nimage");
        }
        "/moved" => {
            send("HTTP/1.1 302 Found\r\nlocation: /image\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
        "/circle" => {
            send("HTTP/1.1 302 Found\r\nlocation: /circle\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
        "/declared" => {
            send("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\nx");
        }
        "/endless" => {
            send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            while send(&format!("400\r\n{}\r\n", "x".repeat(0x400))) {}
        }
        "/slow" => {
            send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx");
            std::thread::sleep(Duration::from_secs(20));
        }
        "/torn" => {
            send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx");
        }
        "/nonsense" => {
            send("what?\r\n\r\n");
        }
        _ => {
            send("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    }
}

fn fetch(url: &str, networks: Networks) -> Result<Vec<u8>, FetchError> {
    let timeout = Duration::from_secs(2);
    Fetcher::new(FetchLimits { timeout, max_redirects: 3, networks }).fetch(url, 5000)
}

#[test]
fn images_come_within_limits() {
    let server = server();
    let get = |path: &str| fetch(&format!("{server}{path}"), Networks::All);
    assert_eq!(get("/image").unwrap(), b"image");
    assert_eq!(get("/moved").unwrap(), b"image");
    assert!(matches!(get("/missing"), Err(FetchError::Status(404))));
    assert!(matches!(get("/declared"), Err(FetchError::TooLarge(5000))));
    assert!(matches!(get("/endless"), Err(FetchError::TooLarge(5000))));
    assert!(matches!(get("/slow"), Err(FetchError::Timeout(_))));
    for path in ["/circle", "/torn", "/nonsense"] {
        assert!(matches!(get(path), Err(FetchError::Connection(_))), "{path}: {:?}", get(path));
    }
    for url in ["http://127.0.0.1:1/x", "http://", "http://a b/", "https://no.such.host.invalid/x"] {
        assert!(matches!(fetch(url, Networks::All), Err(FetchError::Connection(_))), "{url}");
    }
}

#[test]
fn private_networks_are_not_asked() {
    let server = server();
    let port = server.rsplit_once(':').unwrap().1;
    for host in ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "2130706433", "[::ffff:127.0.0.1]"] {
        let fetched = fetch(&format!("http://{host}:{port}/image"), Networks::Public);
        assert!(fetched.is_err(), "{host}: {fetched:?}");
    }
    let fetched = fetch(&format!("{server}/image"), Networks::Public);
    assert!(matches!(fetched, Err(FetchError::Private)), "{fetched:?}");
}
