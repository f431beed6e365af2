//! What handlers of requests work with, and what they answer.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use bytes::Bytes;
use pixtune_core::json::{self, Parsed};
use ring::hmac;
use tokio::sync::{mpsc, watch};

use crate::answer::Models;
use crate::blobs::{DataDirectory, Incoming};
use crate::catalog::Catalog;
use crate::error::ApiError;
use crate::request::query::Query;
use crate::run::{Signal, Trainer};
use crate::store::{Scope, Store};
use crate::streams::Batches;
use crate::training_file::EarlyCheck;
use crate::upstream::Upstream;
use crate::vendor::{Dialect, Vendor};

/// The server without its connections.
pub struct Api {
    /// Keys, files, jobs, models.
    pub store: Arc<Store>,
    /// Contents of files.
    pub data: DataDirectory,
    /// Base models.
    pub catalog: Arc<Catalog>,
    /// Models that answer.
    pub models: Models,
    /// What answers in place of the models on this machine.
    pub upstream: Option<Arc<Upstream>>,
    /// Wakes what runs jobs.
    pub signal: Arc<Signal>,
    /// Wakes what answers batches.
    pub batch_signal: Arc<Signal>,
    /// Counts changes that clients can see, for those that wait for them.
    pub changes: Arc<watch::Sender<u64>>,
    /// What streams of events send next, by job.
    pub batches: Batches,
    /// Streams of events so far.
    pub streams: AtomicU64,
    /// Files that are checked while they arrive.
    pub early_checks: Arc<AtomicUsize>,
    /// The program that trains, and computes what a job would be.
    pub trainer: Trainer,
    /// Where jobs run.
    pub slots: Vec<String>,
    /// Limits of requests.
    pub limits: Limits,
    /// Signs addresses of contents.
    pub secret: hmac::Key,
    /// When the server started.
    pub started_at: i64,
}

/// Limits that protect the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an uploaded file.
    pub upload: u64,
    /// Bytes of a JSON body.
    pub body: u64,
    /// Bytes of all files of a project.
    pub quota: u64,
    /// Jobs of a project that have not ended.
    pub jobs: u64,
    /// Bytes that stay free on the disk.
    pub min_free: u64,
    /// Threads that check an uploaded file.
    pub threads: usize,
}

impl Api {
    /// Tells those that wait that something changed.
    pub fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// The models that a client can name.
    pub fn model_names(&self) -> Vec<String> {
        self.catalog.names()
    }
}

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose objects the request reaches.
    pub project: String,
    /// What it may do.
    pub scope: Scope,
    /// The id of its key; none while the server has no keys.
    pub key: Option<String>,
    /// The vendor of the key.
    pub vendor: Option<Vendor>,
}

/// A request, read and authorized.
pub struct Call<'c> {
    /// The server.
    pub api: &'c Arc<Api>,
    /// Whose shapes the answer has.
    pub dialect: Dialect,
    /// Who sent it.
    pub caller: Caller,
    /// The parts of the path that its route names, decoded.
    pub params: Vec<String>,
    /// The query.
    pub query: Query,
    /// The body.
    pub body: CallBody,
    /// The client sends this again, because it got no answer the first time.
    pub is_repeated: bool,
    /// The client's name of this request, which it repeats with the same one.
    pub idempotency_key: Option<String>,
    /// The address that the client used: scheme, host and prefix.
    pub base_url: String,
}

/// The body of a request.
pub enum CallBody {
    /// None that matters.
    Empty,
    /// JSON text.
    Json(String),
    /// A form with a file.
    Form(Form),
}

/// A form with a file.
#[derive(Debug, Default)]
pub struct Form {
    /// Texts.
    pub fields: Vec<(String, String)>,
    /// The file.
    pub file: Option<FormFile>,
}

/// The file of a form.
#[derive(Debug)]
pub struct FormFile {
    /// Its name, as the client gave it.
    pub name: String,
    /// Its content.
    pub content: Incoming,
    /// The check of its content that began while it arrived.
    pub check: Option<EarlyCheck>,
}

impl Form {
    /// The text of a field.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl<'c> Call<'c> {
    /// The part of the path with this number.
    pub fn param(&self, index: usize) -> &str {
        self.params.get(index).map_or("", String::as_str)
    }

    /// Whose objects the request reaches.
    pub fn project(&self) -> &str {
        &self.caller.project
    }

    /// The JSON body.
    pub fn json(&self) -> Result<Parsed<'_>, ApiError> {
        let CallBody::Json(text) = &self.body else {
            return Err(ApiError::bad_request("a JSON body is required"));
        };
        json::parse(text).map_err(|error| {
            ApiError::bad_request(format!("the body is not valid JSON: {error}")).coded("invalid_json")
        })
    }
}

/// What a request is answered with.
#[derive(Debug)]
pub enum Reply {
    /// JSON, with status 200.
    Json(String),
    /// A text of another type.
    Text(&'static str, String),
    /// A page with styles and scripts of its own.
    Page(String),
    /// Bytes as they come: the type, the length if it is known, the name of a file that they are.
    Stream(&'static str, Option<u64>, Option<String>, mpsc::Receiver<Bytes>),
}

impl Reply {
    /// The content of a file, read as it is sent.
    pub fn file(path: PathBuf, content_type: &'static str, name: Option<String>) -> Result<Reply, ApiError> {
        use std::io::Read as _;
        let mut file = std::fs::File::open(&path)
            .map_err(|error| ApiError::internal(format!("the content cannot be read: {error}")))?;
        let length = file.metadata().map_err(|error| ApiError::internal(error.to_string()))?.len();
        let (sender, receiver) = mpsc::channel(4);
        tokio::task::spawn_blocking(move || {
            let mut left = length;
            let mut buffer = vec![0; 256 << 10];
            // The length was promised: bytes that were added since are not sent, and a shorter file breaks the connection.
            while left > 0 {
                let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                match file.read(&mut buffer[..most]) {
                    Ok(0) | Err(_) => return,
                    Ok(read) => {
                        left -= read as u64;
                        if sender.blocking_send(Bytes::copy_from_slice(&buffer[..read])).is_err() {
                            return;
                        }
                    }
                }
            }
        });
        Ok(Reply::Stream(content_type, Some(length), name, receiver))
    }
}
