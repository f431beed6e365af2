//! Requests that real clients sent, sent again: each is understood as the vendor's whose client it was.

use std::fs;

use pixtune_core::json;

use super::{Server, served};
use crate::harness::root;

#[test]
fn recorded_requests_of_every_client_are_understood() {
    let (case, _) = served();
    let server = Server::start(&case, &[]);
    let mut sent = 0;
    let mut files: Vec<_> =
        fs::read_dir(root().join("fixtures/clients")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for path in files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for (number, line) in fs::read_to_string(path).unwrap().lines().enumerate() {
            let request = json::parse(line).unwrap().value.into_owned();
            let (method, target) = (request.text("m").unwrap(), request.text("path").unwrap());
            let headers: Vec<(String, String)> = request
                .get("h")
                .and_then(json::Value::as_object)
                .unwrap()
                .iter()
                .filter(|(name, _)| {
                    !["host", "content-length", "connection", "transfer-encoding"]
                        .contains(&&*name.to_ascii_lowercase())
                })
                .map(|(name, value)| (name.to_string(), value.as_str().unwrap().to_owned()))
                .collect();
            let borrowed: Vec<(&str, &str)> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let reply =
                server.send(method, target, &borrowed, request.text("body").unwrap_or_default().as_bytes());
            let place = format!("{name}:{} {method} {target}: {} {}", number + 1, reply.status, reply.body);
            assert!(reply.status < 500, "{place}");
            assert!(!reply.body.contains("unknown_url") && reply.status != 405, "{place}");
            if reply.header("content-type") == Some("application/json") {
                assert!(json::parse(&reply.body).is_ok(), "{place}");
            }
            let agent = headers
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case("user-agent"))
                .map_or("", |(_, value)| value);
            let expected = match agent {
                _ if target.contains("/mistral/") || agent.starts_with("mistral-client") => Some("mistral"),
                _ if target.starts_with("/openai/") || agent.contains("OpenAI/") => Some("openai"),
                _ => None,
            };
            // A request that is refused before its vendor is known has no header.
            if let (Some(expected), Some(found)) = (expected, reply.header("x-pixtune-api")) {
                assert_eq!(found, expected, "{place}");
            }
            sent += 1;
        }
    }
    assert!(sent > 600, "{sent} requests");
}
