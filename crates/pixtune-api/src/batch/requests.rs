//! The requests of a batch: a JSON object on each line.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::PathBuf;

use pixtune_core::json::{self, Value};

use super::Fault;
use crate::vendor::Vendor;
use crate::wire::ENDPOINT;

/// The longest request: a chat with many images.
const LONGEST: u64 = 64 << 20;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// Its number in the batch, from 1.
    pub(super) number: u64,
    /// Its line.
    pub(super) text: String,
}

impl Request {
    /// The client's name of the request.
    pub(super) fn custom_id(&self) -> String {
        let parsed = json::parse(&self.text).ok();
        let id = parsed.as_ref().and_then(|parsed| parsed.value.text("custom_id"));
        id.unwrap_or_default().to_owned()
    }
}

/// The requests of files, in their order.
pub(super) struct Requests {
    files: std::vec::IntoIter<PathBuf>,
    open: Option<BufReader<File>>,
    number: u64,
    line: u64,
}

impl Requests {
    pub(super) fn open(paths: Vec<PathBuf>) -> Requests {
        Requests { files: paths.into_iter(), open: None, number: 0, line: 0 }
    }

    /// The next request; blank lines are none.
    pub(super) fn next(&mut self) -> Result<Option<Request>, Fault> {
        loop {
            let Some(reader) = &mut self.open else {
                let Some(path) = self.files.next() else { return Ok(None) };
                let file = File::open(path).map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => {
                        Fault::Batch(None, "the content of a file is missing".to_owned())
                    }
                    _ => Fault::Disk(error),
                })?;
                self.open = Some(BufReader::with_capacity(1 << 18, file));
                self.line = 0;
                continue;
            };
            let mut line = Vec::new();
            let length = reader.by_ref().take(LONGEST + 1).read_until(b'\n', &mut line)? as u64;
            if length == 0 {
                self.open = None;
                continue;
            }
            self.line += 1;
            if length > LONGEST {
                return Err(Fault::Batch(
                    Some(self.line),
                    format!("the request has more than {LONGEST} bytes"),
                ));
            }
            let text = String::from_utf8(line)
                .map_err(|_| Fault::Batch(Some(self.line), "the line is not UTF-8".to_owned()))?;
            let text = text.trim().trim_start_matches('\u{feff}');
            if !text.is_empty() {
                self.number += 1;
                return Ok(Some(Request { number: self.number, text: text.to_owned() }));
            }
        }
    }
}

/// Checks every request, and counts them. The first one that cannot be asked fails the batch.
pub(super) fn check(paths: &[PathBuf], vendor: Vendor) -> Result<u64, Fault> {
    let mut requests = Requests::open(paths.to_vec());
    let mut seen = HashSet::new();
    let mut total = 0;
    while let Some(request) = requests.next()? {
        let refuse = |message: String| Fault::Batch(Some(requests.line), message);
        let parsed =
            json::parse(&request.text).map_err(|error| refuse(format!("the line is not JSON: {error}")))?;
        let id = parsed
            .value
            .text("custom_id")
            .ok_or_else(|| refuse("`custom_id` is required, a string".to_owned()))?;
        if parsed.value.get("body").and_then(Value::as_object).is_none() {
            return Err(refuse("`body` is required, an object".to_owned()));
        }
        let other = ["method", "url"].into_iter().zip(["POST", ENDPOINT]).find(|(key, expected)| {
            vendor == Vendor::OpenAi && parsed.value.text(key).is_some_and(|given| given != *expected)
        });
        if let Some((key, expected)) = other {
            return Err(refuse(format!("`{key}` has to be `{expected}`")));
        }
        let hash: [u8; 16] = blake3::hash(id.as_bytes()).as_bytes()[..16].try_into().unwrap_or_default();
        if !seen.insert(hash) {
            return Err(refuse(format!("another request has the `custom_id` `{id}`")));
        }
        total += 1;
    }
    match total {
        0 => Err(Fault::Batch(None, "the batch has no requests".to_owned())),
        total => Ok(total),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn checked(text: &str) -> Result<u64, (Option<u64>, String)> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("requests.jsonl");
        fs::write(&path, text).unwrap();
        check(&[path.clone(), path.with_extension("none")][..1], Vendor::OpenAi).map_err(
            |fault| match fault {
                Fault::Batch(line, message) => (line, message),
                fault => panic!("{fault}"),
            },
        )
    }

    #[test]
    fn requests_are_checked_before_one_is_asked() {
        let line = |id: &str| format!("{{\"custom_id\":\"{id}\",\"body\":{{}}}}\n");
        assert_eq!(checked(&format!("\u{feff}{}\n{}", line("a"), line("b"))), Ok(2));
        let fails = |text: &str, line: Option<u64>, part: &str| {
            let (at, message) = checked(text).unwrap_err();
            assert_eq!(at, line, "{text}");
            assert!(message.contains(part), "{message}");
        };
        fails("\n", None, "no requests");
        fails(&format!("{}\n{{", line("a")), Some(3), "not JSON");
        fails(&(line("a") + &line("a")), Some(2), "another request has the `custom_id` `a`");
        fails("{\"custom_id\":1,\"body\":{}}", Some(1), "`custom_id` is required");
        fails("{\"custom_id\":\"a\"}", Some(1), "`body` is required");
        fails("{\"custom_id\":\"a\",\"url\":\"/v1/embeddings\",\"body\":{}}", Some(1), "`url` has to be");
    }
}
