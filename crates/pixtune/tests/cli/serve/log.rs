//! The log of the server, for people and for programs.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use pixtune_core::json::{self, Value};

use super::served;

#[test]
fn a_log_of_json_has_an_object_for_each_request() {
    let (case, _) = served();
    let mut child = Command::new(env!("CARGO_BIN_EXE_pixtune"))
        .current_dir(case.path("."))
        .args([
            "serve",
            "--data-dir",
            "data",
            "--listen",
            "127.0.0.1:0",
            "--models",
            "tiny=model",
            "--log-format",
            "json",
        ])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut next =
        || -> Value<'static> { json::parse(&lines.next().unwrap().unwrap()).unwrap().value.into_owned() };
    let first = next();
    assert_eq!(first.text("level"), Some("info"));
    let address = first.text("message").unwrap().strip_prefix("listening on http://").unwrap().to_owned();
    let mut stream = TcpStream::connect(address).unwrap();
    let request = "GET /v1/files/no%22pe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    let logged = loop {
        let entry = next();
        if entry.get("path").is_some() {
            break entry;
        }
    };
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(json::text(logged.get("status").unwrap()), "404");
    assert_eq!((logged.text("method"), logged.text("path")), (Some("GET"), Some("/v1/files/no%22pe")));
    assert!(answer.contains(&format!("x-request-id: {}", logged.text("request").unwrap())), "{answer}");
}
