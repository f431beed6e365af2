//! A client of Mistral's API, at this program's server or at any other: files, jobs, models.

mod parts;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pixtune_core::json::{self, Value};
use ureq::{Agent, Body, SendBody};

use crate::ids;

pub use parts::UploadEvent;

/// Where requests go.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    base: String,
    key: Option<String>,
}

/// Without the key, which must not reach a log.
impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("base", &self.base).finish_non_exhaustive()
    }
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The base URL is none.
    #[error("`{0}` is not an http or https URL")]
    Url(String),
    /// Nothing answers there, or the connection broke.
    #[error("cannot reach {base}: {reason}")]
    Connection {
        /// The base URL.
        base: String,
        /// Why.
        reason: String,
    },
    /// The server refuses the request.
    #[error("the server answers {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The server's reason.
        message: String,
    },
    /// The answer is not JSON.
    #[error("the server answers something else than JSON: {0}")]
    NotJson(String),
    /// A file could not be read or written.
    #[error("cannot use `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Bytes of an answer that are read.
const MOST: u64 = 256 << 20;

impl Client {
    /// Requests to a base URL, with or without `/v1`.
    pub fn new(base: &str, key: Option<String>) -> Result<Client, ClientError> {
        let is_http = base.starts_with("http://") || base.starts_with("https://");
        if !is_http || base.contains('@') {
            return Err(ClientError::Url(base.to_owned()));
        }
        let base = base.trim_end_matches('/');
        let base = if base.ends_with("/v1") { base.to_owned() } else { format!("{base}/v1") };
        let config = Agent::config_builder()
            .timeout_connect(Some(Duration::from_secs(20)))
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent(concat!("pixtune/", env!("CARGO_PKG_VERSION")));
        Ok(Client { agent: config.build().into(), base, key: key.filter(|key| !key.is_empty()) })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn lost(&self, error: &dyn std::fmt::Display) -> ClientError {
        ClientError::Connection { base: self.base.clone(), reason: error.to_string() }
    }

    /// An answer as JSON.
    fn answer(&self, response: ureq::http::Response<Body>) -> Result<Value<'static>, ClientError> {
        let status = response.status().as_u16();
        let mut text = String::new();
        let mut body = response.into_body();
        body.as_reader().take(MOST).read_to_string(&mut text).map_err(|error| self.lost(&error))?;
        let parsed = json::parse(&text).map(|parsed| parsed.value.into_owned());
        match (status, parsed) {
            (200..=299, Ok(value)) => Ok(value),
            (200..=299, Err(_)) => Err(ClientError::NotJson(text.chars().take(200).collect())),
            (_, parsed) => Err(ClientError::Refused { status, message: reason(parsed.ok().as_ref(), &text) }),
        }
    }

    fn bearer(&self) -> String {
        self.key.as_ref().map_or("Bearer none".to_owned(), |key| format!("Bearer {key}"))
    }

    /// `GET`
    pub fn get(&self, path: &str) -> Result<Value<'static>, ClientError> {
        let sent = self.agent.get(self.url(path)).header("authorization", self.bearer()).call();
        self.answer(sent.map_err(|error| self.lost(&error))?)
    }

    /// `DELETE`
    pub fn delete(&self, path: &str) -> Result<Value<'static>, ClientError> {
        let sent = self.agent.delete(self.url(path)).header("authorization", self.bearer()).call();
        self.answer(sent.map_err(|error| self.lost(&error))?)
    }

    /// `POST` of a JSON text.
    pub fn post(&self, path: &str, body: &str) -> Result<Value<'static>, ClientError> {
        let request = self.agent.post(self.url(path)).header("authorization", self.bearer());
        let sent = request.content_type("application/json").send(body);
        self.answer(sent.map_err(|error| self.lost(&error))?)
    }

    /// `POST` of a JSON text whose answer is read as it comes.
    pub fn stream(&self, path: &str, body: &str) -> Result<impl Read + use<>, ClientError> {
        let request = self.agent.post(self.url(path)).header("authorization", self.bearer());
        let response =
            request.content_type("application/json").send(body).map_err(|error| self.lost(&error))?;
        match response.status().is_success() {
            true => Ok(response.into_body().into_reader()),
            false => Err(self.answer(response).err().unwrap_or_else(|| self.lost(&"no answer"))),
        }
    }

    /// Downloads the content of a file, which appears whole or not at all. Returns its size.
    pub fn download(&self, id: &str, to: &Path) -> Result<u64, ClientError> {
        let path = format!("/files/{id}/content");
        let sent = self.agent.get(self.url(&path)).header("authorization", self.bearer()).call();
        let response = sent.map_err(|error| self.lost(&error))?;
        if !response.status().is_success() {
            return Err(self.answer(response).err().unwrap_or_else(|| self.lost(&"no answer")));
        }
        let failed = |source| ClientError::File { path: to.to_owned(), source };
        let mut out = pixtune_files::WholeFile::create(to, pixtune_files::Existing::Keep).map_err(failed)?;
        let copied = io::copy(&mut response.into_body().as_reader(), &mut out).map_err(failed)?;
        out.commit().map_err(failed)?;
        Ok(copied)
    }

    /// Uploads bytes of a file under a name. `progress` gets the bytes that were sent.
    pub fn upload(
        &self,
        content: &mut dyn Read,
        length: u64,
        name: &str,
        purpose: &str,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Value<'static>, ClientError> {
        self.send_form("/files", &[("purpose", purpose)], ("file", name), (content, length), progress)
    }

    /// Posts a form with a file, under the name of its part and its own.
    fn send_form(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        (part, name): (&str, &str),
        (content, length): (&mut dyn Read, u64),
        progress: &mut dyn FnMut(u64),
    ) -> Result<Value<'static>, ClientError> {
        let boundary = format!("pixtune-{}", ids::hex(&ids::random::<16>()));
        let plain: String = name.chars().filter(|c| !c.is_control() && !matches!(c, '"' | '\\')).collect();
        let mut head = String::new();
        for (key, value) in fields {
            head.push_str(&format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{key}\"\r\n\r\n{value}\r\n"
            ));
        }
        head.push_str(&format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{part}\"; filename=\"{plain}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        ));
        let tail = format!("\r\n--{boundary}--\r\n");
        let total = head.len() as u64 + length + tail.len() as u64;
        let mut body = Watched {
            inner: head.as_bytes().chain(content.take(length)).chain(tail.as_bytes()),
            sent: 0,
            progress,
        };
        let request = self
            .agent
            .post(self.url(path))
            .header("authorization", self.bearer())
            .header("content-length", total.to_string())
            .content_type(format!("multipart/form-data; boundary={boundary}"));
        let sent = request.send(SendBody::from_reader(&mut body));
        self.answer(sent.map_err(|error| self.lost(&error))?)
    }

    /// Uploads a file.
    pub fn upload_file(
        &self,
        path: &Path,
        purpose: &str,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Value<'static>, ClientError> {
        let failed = |source| ClientError::File { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        self.upload(&mut file, length, &name, purpose, progress)
    }
}

/// Reports how much was read.
struct Watched<'w, R> {
    inner: R,
    sent: u64,
    progress: &'w mut dyn FnMut(u64),
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.sent += read as u64;
        (self.progress)(self.sent);
        Ok(read)
    }
}

/// The reason in the body of an error, of any of the shapes in use.
fn reason(body: Option<&Value<'_>>, text: &str) -> String {
    let nested = |key: &str| body.and_then(|body| body.get(key));
    let message = nested("error").and_then(|error| error.text("message"));
    let message = message.or_else(|| nested("message").and_then(Value::as_str));
    let message = message.or_else(|| nested("detail").and_then(Value::as_str));
    let listed = nested("detail")
        .and_then(Value::as_array)
        .and_then(|list| list.first())
        .and_then(|first| first.text("msg"));
    match message.or(listed) {
        Some(message) => message.to_owned(),
        None => text.split_whitespace().take(40).collect::<Vec<_>>().join(" "),
    }
}
