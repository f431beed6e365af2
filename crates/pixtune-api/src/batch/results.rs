//! The results of a batch so far: a line for each request, in a file of answers or in one of errors.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use pixtune_core::json::{self, object, raw};

use super::requests::Request;
use crate::error::ApiError;

/// Results that are being written.
#[derive(Debug)]
pub(super) struct Results {
    answers: Lines,
    errors: Lines,
}

#[derive(Debug)]
struct Lines {
    path: PathBuf,
    file: File,
    lines: u64,
    bytes: u64,
}

impl Lines {
    /// Opens the lines that are there. A kill may have left half of one.
    fn open(path: PathBuf) -> io::Result<Lines> {
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        let (mut lines, mut bytes) = (0, 0);
        let mut reader = BufReader::with_capacity(1 << 18, &file);
        loop {
            let block = reader.fill_buf()?;
            if block.is_empty() {
                break;
            }
            let length = block.len();
            lines += block.iter().filter(|byte| **byte == b'\n').count() as u64;
            bytes += length as u64;
            reader.consume(length);
        }
        let whole = whole(&file, bytes)?;
        file.set_len(whole)?;
        file.seek(SeekFrom::Start(whole))?;
        Ok(Lines { path, file, lines, bytes: whole })
    }

    /// Appends a line, whole or not at all.
    fn push(&mut self, line: &str) -> io::Result<()> {
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            // Half a line that cannot be removed now is removed when the file is opened again.
            let _ = self.file.set_len(self.bytes).and_then(|()| self.file.seek(SeekFrom::Start(self.bytes)));
            return Err(error);
        }
        self.bytes += line.len() as u64;
        self.lines += 1;
        Ok(())
    }
}

/// The length up to the last line break.
fn whole(mut file: &File, length: u64) -> io::Result<u64> {
    use std::io::Read as _;
    const BLOCK: u64 = 1 << 16;
    let mut end = length;
    let mut buffer = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        buffer.clear();
        file.take(end - start).read_to_end(&mut buffer)?;
        if let Some(at) = buffer.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

impl Results {
    /// Opens the results of an earlier server, or begins.
    pub(super) fn open(directory: &Path) -> io::Result<Results> {
        fs::create_dir_all(directory)?;
        Ok(Results {
            answers: Lines::open(directory.join("output.jsonl"))?,
            errors: Lines::open(directory.join("errors.jsonl"))?,
        })
    }

    /// Requests with an answer.
    pub(super) fn succeeded(&self) -> u64 {
        self.answers.lines
    }

    /// Requests with an error.
    pub(super) fn failed(&self) -> u64 {
        self.errors.lines
    }

    /// Requests with a result: the first ones of the batch.
    pub(super) fn written(&self) -> u64 {
        self.answers.lines + self.errors.lines
    }

    /// Appends the result of the next request.
    pub(super) fn push(
        &mut self,
        batch: &str,
        request: &Request,
        answer: &Result<String, ApiError>,
    ) -> io::Result<()> {
        let id = format!("batch_req_{batch}_{}", request.number);
        let (status, body) = match answer {
            Ok(body) => (200, body.clone()),
            Err(error) => (error.status, error.body()),
        };
        let line = json::line(object(|line| {
            line.field("id", &id).field("custom_id", &request.custom_id());
            line.field(
                "response",
                object(|response| {
                    response.field("status_code", u64::from(status)).field("request_id", &id);
                    response.field("body", raw(&body));
                }),
            );
            match answer {
                Ok(_) => line.field("error", None::<&str>),
                Err(failed) => line.field(
                    "error",
                    object(|error| {
                        error
                            .field("code", failed.code.unwrap_or(failed.kind))
                            .field("message", &failed.message);
                    }),
                ),
            };
        }));
        match answer {
            Ok(_) => self.answers.push(&line),
            Err(_) => self.errors.push(&line),
        }
    }

    /// Makes what was written durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.answers.file.sync_data()?;
        self.errors.file.sync_data()
    }

    /// The files: their kinds, paths and lines.
    pub(super) fn files(&self) -> [(&'static str, &Path, u64); 2] {
        [("output", &self.answers.path, self.answers.lines), ("error", &self.errors.path, self.errors.lines)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_server_goes_on_behind_the_last_whole_line() {
        let directory = tempfile::tempdir().unwrap();
        let request =
            |number: u64| Request { number, text: format!(r#"{{"custom_id":"r{number}","body":{{}}}}"#) };
        let mut results = Results::open(directory.path()).unwrap();
        results.push("b", &request(1), &Ok(r#"{"id":"c"}"#.to_owned())).unwrap();
        results.push("b", &request(2), &Err(ApiError::bad_request("no"))).unwrap();
        for name in ["output.jsonl", "errors.jsonl"] {
            let mut file = OpenOptions::new().append(true).open(directory.path().join(name)).unwrap();
            file.write_all(b"{\"id\":\"half").unwrap();
        }
        let mut results = Results::open(directory.path()).unwrap();
        assert_eq!((results.succeeded(), results.failed(), results.written()), (1, 1, 2));
        results.push("b", &request(3), &Ok("{}".to_owned())).unwrap();
        let text = fs::read_to_string(directory.path().join("output.jsonl")).unwrap();
        let expected = concat!(
            r#"{"id":"batch_req_b_1","custom_id":"r1","response":{"status_code":200,"request_id":"batch_req_b_1","body":{"id":"c"}},"error":null}"#,
            "\n",
            r#"{"id":"batch_req_b_3","custom_id":"r3","response":{"status_code":200,"request_id":"batch_req_b_3","body":{}},"error":null}"#,
            "\n"
        );
        assert_eq!(text, expected);
        let errors = fs::read_to_string(directory.path().join("errors.jsonl")).unwrap();
        assert!(
            errors.contains(r#""status_code":400"#) && errors.ends_with("\"message\":\"no\"}}\n"),
            "{errors}"
        );
    }
}
