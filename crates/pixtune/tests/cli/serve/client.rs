//! A server under test, and a plain HTTP client.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use pixtune_core::json::{self, Value};

use crate::harness::Case;

/// A server with the tiny model `tiny`. It is killed when the test ends.
pub struct Server {
    child: Child,
    pub address: String,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value<'static> {
        json::parse(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body)).value.into_owned()
    }

    /// The text at a path of keys.
    pub fn text(&self, path: &str) -> String {
        let value = self.json();
        let mut at = &value;
        for key in path.split('.') {
            let next = match key.parse::<usize>() {
                Ok(index) => at.as_array().and_then(|list| list.get(index)),
                Err(_) => at.get(key),
            };
            at = next.unwrap_or_else(|| panic!("no `{path}` in {}", self.body));
        }
        at.as_str().map_or_else(|| json::text(at), str::to_owned)
    }
}

impl Server {
    pub fn start(case: &Case, more: &[&str]) -> Server {
        Server::start_with(case, more, &[])
    }

    /// A server whose environment has these variables.
    pub fn start_with(case: &Case, more: &[&str], variables: &[(&str, String)]) -> Server {
        Server::start_at(case, "127.0.0.1:0", more, variables)
    }

    /// The same at an address.
    pub fn start_at(case: &Case, address: &str, more: &[&str], variables: &[(&str, String)]) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pixtune"))
            .current_dir(case.path("."))
            .args(["serve", "--data-dir", "data", "--listen", address, "--models", "tiny=model"])
            .args(more)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        let Some(address) = first.trim().strip_prefix("listening on http://").map(str::to_owned) else {
            let mut rest = String::new();
            lines.read_to_string(&mut rest).unwrap();
            panic!("{first}{rest}");
        };
        thread::spawn(move || {
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|length| length > 0) {
                line.clear();
            }
        });
        Server { child, address }
    }

    /// Ends the server at once.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends the server with a signal, and waits.
    pub fn end(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        self.child.wait().unwrap().code()
    }

    /// Sends bytes and reads the whole answer.
    pub fn raw(&self, bytes: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        // A server that refuses early may close before everything is sent.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        parse(&answer)
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        if !body.is_empty() || method == "POST" {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        self.raw(&[request.as_bytes(), b"\r\n", body].concat())
    }

    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"")
    }

    pub fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, &[], b"")
    }

    pub fn post(&self, path: &str, json: &str) -> Reply {
        self.send("POST", path, &[("Content-Type", "application/json")], json.as_bytes())
    }

    /// Uploads a file.
    pub fn upload(&self, path: &str, name: &str, purpose: &str, content: &[u8]) -> Reply {
        let head = format!(
            "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n{purpose}\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
        );
        let body = [head.as_bytes(), content, b"\r\n--b--\r\n"].concat();
        self.send("POST", path, &[("Content-Type", "multipart/form-data; boundary=b")], &body)
    }

    /// Uploads training data; returns its id.
    pub fn training_file(&self, path: &str, name: &str, lines: &[String]) -> String {
        let reply = self.upload(path, name, "fine-tune", lines.concat().as_bytes());
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.text("id")
    }

    /// Asks for a job until `is_reached` holds of its status.
    #[track_caller]
    pub fn wait(&self, path: &str, is_reached: impl Fn(&str) -> bool) -> Reply {
        let start = Instant::now();
        loop {
            let reply = self.get(path);
            if is_reached(&reply.text("status")) {
                return reply;
            }
            assert!(start.elapsed() < Duration::from_secs(300), "{}", reply.body);
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse(answer: &[u8]) -> Reply {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let Some(end) = end else { panic!("not an answer: {}", String::from_utf8_lossy(answer)) };
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let body = &answer[end + 4..];
    let is_chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if is_chunked { dechunked(body) } else { body.to_vec() };
    Reply { status, headers, body: String::from_utf8_lossy(&body).into_owned() }
}

fn dechunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(at) = rest.windows(2).position(|window| window == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..at]).unwrap().trim(), 16).unwrap_or(0);
        if length == 0 || rest.len() < at + 2 + length {
            break;
        }
        body.extend_from_slice(&rest[at + 2..at + 2 + length]);
        rest = rest.get(at + 4 + length..).unwrap_or_default();
    }
    body
}
