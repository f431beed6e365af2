//! A server of objects whose failures a test decides.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::harness::{Case, Run, finish, root};

/// What the server does with requests for an object.
#[derive(Clone, Copy, PartialEq)]
pub enum Fault {
    /// Answers some requests with status 500.
    Errors,
    /// Closes some connections in the middle of the body.
    Resets,
    /// Has another version from the third request on.
    Changes,
    /// Responds with this status and the code in an error document.
    Refuses(u16, &'static str),
    /// Sends the whole file, whatever is asked for.
    Whole,
    /// The same without a length.
    Endless,
    /// Redirects to itself.
    Circle,
}

#[derive(Default)]
pub struct Shared {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    faults: Mutex<BTreeMap<String, Fault>>,
    pub requests: AtomicUsize,
    pub bytes: AtomicUsize,
}

/// A server of objects: by their paths, as a web server has them and S3 with the bucket in the path.
pub struct Store {
    pub address: String,
    pub shared: Arc<Shared>,
}

impl Store {
    pub fn new() -> Store {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let store = Store { address, shared: Arc::clone(&shared) };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || respond(stream, &shared));
            }
        });
        store
    }

    pub fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.shared.objects.lock().unwrap().insert(path.to_owned(), bytes.into());
    }

    pub fn fixture(&self, path: &str, name: &str) {
        self.put(path, fs::read(root().join("fixtures").join(name)).unwrap());
    }

    pub fn fails(&self, path: &str, fault: Fault) {
        self.shared.faults.lock().unwrap().insert(path.to_owned(), fault);
    }

    /// The program with the credentials and the endpoint of this store.
    pub fn command(&self, case: &Case, args: &[&str]) -> Command {
        let mut command = case.command(args);
        command
            .env("AWS_ACCESS_KEY_ID", "id")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("AWS_ENDPOINT_URL", &self.address)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("HOME", case.path(""))
            .env_remove("AWS_PROFILE");
        command
    }

    pub fn run(&self, case: &Case, args: &[&str]) -> Run {
        let run = finish(self.command(case, args));
        Run { stdout: run.stdout.replace(&self.address, "http://server"), ..run }
    }

    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

fn respond(mut stream: TcpStream, shared: &Shared) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let target = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
    let mut range = None;
    for line in lines.take_while(|line| !line.is_empty()) {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            let (start, last) = value.split_once('-').unwrap();
            range = Some((start.parse::<usize>().unwrap(), last.parse::<usize>().unwrap()));
        }
    }
    let number = shared.requests.fetch_add(1, Ordering::SeqCst);
    let (path, query) = target.trim_start_matches('/').split_once('?').unwrap_or((&target[1..], ""));
    let send = |mut stream: TcpStream, status: &str, headers: &str, body: &[u8]| {
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n",
            body.len()
        );
        shared.bytes.fetch_add(body.len(), Ordering::SeqCst);
        let _ = stream.write_all(&[head.as_bytes(), body].concat());
    };
    if query.contains("list-type=2") {
        let prefix = query.split('&').find_map(|part| part.strip_prefix("prefix=")).unwrap_or_default();
        let prefix = format!("{path}/{}", prefix.replace("%2F", "/"));
        let objects = shared.objects.lock().unwrap();
        let contents = objects.iter().filter(|(name, _)| name.starts_with(&prefix)).map(|(name, bytes)| {
            format!(
                "<Contents><Key>{}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>x</ETag><Size>{}</Size></Contents>",
                &name[path.len() + 1..],
                bytes.len()
            )
        });
        let body = format!(
            "<ListBucketResult><Name>{path}</Name><IsTruncated>false</IsTruncated>{}</ListBucketResult>",
            contents.collect::<String>()
        );
        return send(stream, "200 OK", "", body.as_bytes());
    }
    let fault = shared.faults.lock().unwrap().get(path).copied();
    let Some(object) = shared.objects.lock().unwrap().get(path).cloned() else {
        return send(stream, "404 Not Found", "", b"<Error><Code>NoSuchKey</Code></Error>");
    };
    let is_struck = number % 3 == 1;
    let mut version = "\"1\"";
    match fault {
        Some(Fault::Errors) if is_struck => {
            return send(
                stream,
                "500 Internal Server Error",
                "",
                b"<Error><Code>InternalError</Code></Error>",
            );
        }
        Some(Fault::Refuses(status, code)) => {
            let body = format!("<Error><Code>{code}</Code><Message>as the test wants</Message></Error>");
            return send(stream, &format!("{status} Refused"), "", body.as_bytes());
        }
        Some(Fault::Changes) if number >= 2 => version = "\"2\"",
        Some(Fault::Circle) => {
            return send(stream, "302 Found", &format!("location: /{path}\r\n"), b"");
        }
        Some(Fault::Endless) => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
            while stream.write_all(&object).is_ok() {}
            return;
        }
        _ => {}
    }
    let etag = format!("etag: {version}\r\nlast-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n");
    let Some((start, last)) = range.filter(|_| fault != Some(Fault::Whole)) else {
        return send(stream, "200 OK", &etag, &object);
    };
    if start >= object.len() {
        let headers = format!("content-range: bytes */{}\r\n", object.len());
        return send(
            stream,
            "416 Range Not Satisfiable",
            &headers,
            b"<Error><Code>InvalidRange</Code></Error>",
        );
    }
    let end = (last + 1).min(object.len());
    let body = &object[start..end];
    let headers = format!("{etag}content-range: bytes {start}-{}/{}\r\n", end - 1, object.len());
    if fault == Some(Fault::Resets) && is_struck {
        let head = format!("HTTP/1.1 206 Partial Content\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
        let _ = stream.write_all(&[head.as_bytes(), &body[..body.len() / 2]].concat());
        return;
    }
    send(stream, "206 Partial Content", &headers, body);
}
