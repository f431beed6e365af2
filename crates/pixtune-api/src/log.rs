//! What the server reports of itself: a line for each request, and failures that no client hears of.

use std::time::Duration;

use pixtune_core::json::{line, object};

use crate::clock::{now, rfc3339};

/// Something to report.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LogEntry<'l> {
    /// A request was answered.
    Request {
        /// Its id, as the header `x-request-id` has it.
        id: &'l str,
        /// Its method.
        method: &'l str,
        /// Its path, without control characters and cut where it is long.
        path: &'l str,
        /// The status of the answer.
        status: u16,
        /// From its first byte to the first of the answer.
        took: Duration,
        /// Whose API it speaks; `-` where neither.
        api: &'l str,
    },
    /// Something that happened to the server.
    Note {
        /// What happened.
        text: &'l str,
    },
    /// A failure in the background: of the jobs, of batches or of webhooks.
    Failure {
        /// What failed.
        text: &'l str,
    },
}

impl LogEntry<'_> {
    /// A line for people, without its end.
    pub fn text(&self) -> String {
        match self {
            LogEntry::Request { id, method, path, status, took, api } => {
                format!("{id} {status} {method} {path} {:.3} s {api}", took.as_secs_f64())
            }
            LogEntry::Note { text } | LogEntry::Failure { text } => (*text).to_owned(),
        }
    }

    /// A line of JSON, with its end. The time is UTC.
    pub fn json(&self) -> String {
        line(object(|out| {
            out.field("time", &rfc3339(now()));
            match self {
                LogEntry::Request { id, method, path, status, took, api } => {
                    out.field("level", if *status >= 500 { "error" } else { "info" }).field("request", *id);
                    out.field("method", *method).field("path", *path).field("status", u64::from(*status));
                    out.field("seconds", took.as_secs_f64()).field("api", *api);
                }
                LogEntry::Note { text } => {
                    out.field("level", "info").field("message", *text);
                }
                LogEntry::Failure { text } => {
                    out.field("level", "error").field("message", *text);
                }
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use pixtune_core::json;

    use super::*;

    #[test]
    fn entries_are_lines_for_people_and_for_programs() {
        let took = Duration::from_micros(1500);
        let entry = LogEntry::Request {
            id: "req-1",
            method: "GET",
            path: "/v1/\"files\"",
            status: 503,
            took,
            api: "openai",
        };
        assert_eq!(entry.text(), "req-1 503 GET /v1/\"files\" 0.002 s openai");
        let text = entry.json();
        let parsed = json::parse(text.trim_end()).unwrap().value;
        assert_eq!((parsed.text("level"), parsed.text("path")), (Some("error"), Some("/v1/\"files\"")));
        assert!(crate::clock::parse_rfc3339(parsed.text("time").unwrap()).unwrap() > 1_700_000_000);
        assert!(
            LogEntry::Failure { text: "jobs: disk" }
                .json()
                .ends_with("\"level\":\"error\",\"message\":\"jobs: disk\"}\n")
        );
    }
}
