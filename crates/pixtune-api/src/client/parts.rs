//! Uploads in parts (OpenAI's uploads), which go on where they were interrupted.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use pixtune_core::json::{self, Value, document, list, object, text};
use pixtune_files::{Existing, WholeFile};

use super::{Client, ClientError};

/// How often a part is sent again after a broken connection or a fault of the server, and how long after the first.
const TRIES: u32 = 4;
const WAIT: Duration = Duration::from_secs(1);

/// The name of the file beside an upload that has not ended.
fn state_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".upload");
    path.with_file_name(name)
}

/// A file on its way.
struct State {
    upload: String,
    /// What the upload is of: it goes on only if nothing of this has changed.
    of: Identity,
    parts: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    base: String,
    purpose: String,
    bytes: u64,
    modified: u64,
    part: u64,
}

/// What happens while a file is uploaded in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadEvent {
    /// The server has so many bytes.
    Sent(u64),
    /// An interrupted upload goes on after so many bytes.
    Resumed(u64),
    /// An interrupted upload of the same file cannot go on, and the file is sent from its beginning.
    StartedOver(&'static str),
}

impl Identity {
    /// Why an upload of something else does not go on with this one.
    fn difference(&self, other: &Identity) -> Option<&'static str> {
        match self {
            same if same == other => None,
            _ if self.base != other.base => Some("it went to another server"),
            _ if (self.bytes, self.modified) != (other.bytes, other.modified) => {
                Some("the file has changed since")
            }
            _ if self.purpose != other.purpose => Some("it had another purpose"),
            _ => Some("its parts had another size"),
        }
    }
}

impl State {
    fn read(path: &Path) -> Option<State> {
        let content = fs::read_to_string(path).ok()?;
        let parsed = json::parse(&content).ok()?;
        let value = &parsed.value;
        let number = |key: &str| match value.get(key) {
            Some(Value::Number(text)) => text.parse::<u64>().ok(),
            _ => None,
        };
        let parts = value.get("parts").and_then(Value::as_array)?;
        Some(State {
            upload: value.text("upload")?.to_owned(),
            of: Identity {
                base: value.text("base")?.to_owned(),
                purpose: value.text("purpose")?.to_owned(),
                bytes: number("bytes")?,
                modified: number("modified")?,
                part: number("part")?,
            },
            parts: parts.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        })
    }

    fn write(&self, path: &Path) -> std::io::Result<()> {
        let Identity { base, purpose, bytes, modified, part } = &self.of;
        let text = document(object(|out| {
            out.field("upload", &self.upload).field("base", base).field("purpose", purpose);
            out.field("bytes", *bytes).field("modified", *modified).field("part", *part);
            out.field("parts", list(self.parts.iter().map(String::as_str)));
        }));
        let mut file = WholeFile::create(path, Existing::Replace)?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        file.commit()
    }
}

impl Client {
    /// Uploads a file in parts of some bytes, and goes on with an upload of it that was interrupted: what is known of it is in a file
    /// beside it. `None` if the server does not take parts.
    pub fn upload_in_parts(
        &self,
        path: &Path,
        purpose: &str,
        part: u64,
        event: &mut dyn FnMut(UploadEvent),
    ) -> Result<Option<Value<'static>>, ClientError> {
        let failed = |source| ClientError::File { path: path.to_owned(), source };
        let about = fs::metadata(path).map_err(failed)?;
        let bytes = about.len();
        let modified = about.modified().map_err(failed)?.duration_since(UNIX_EPOCH);
        let of = Identity {
            base: self.base.clone(),
            purpose: purpose.to_owned(),
            bytes,
            modified: modified.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)),
            part,
        };
        let state_path = state_path(path);
        let known = State::read(&state_path);
        if let Some(why) = known.as_ref().and_then(|state| state.of.difference(&of)) {
            event(UploadEvent::StartedOver(why));
        }
        let known = known.filter(|state| state.of == of);
        let is_known = known.is_some();
        let state = match known {
            Some(state) => {
                event(UploadEvent::Resumed(bytes.min((state.parts.len() as u64).saturating_mul(part))));
                state
            }
            None => match self.begin(path, of.clone())? {
                Some(state) => state,
                None => return Ok(None),
            },
        };
        let sent = match self.send_parts(path, state, (&state_path, &mut *event)) {
            // The server has dropped it, which takes a day.
            Err(ClientError::Refused { status: 404 | 409, .. }) if is_known => match self.begin(path, of)? {
                Some(state) => {
                    event(UploadEvent::StartedOver("the server no longer has its parts"));
                    self.send_parts(path, state, (&state_path, event))
                }
                None => return Ok(None),
            },
            sent => sent,
        }?;
        pixtune_files::remove(&state_path).map_err(failed)?;
        Ok(Some(sent))
    }

    /// Announces an upload; `None` if the server has no such thing.
    fn begin(&self, path: &Path, of: Identity) -> Result<Option<State>, ClientError> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let body = text(object(|out| {
            out.field("filename", &name).field("purpose", &of.purpose).field("bytes", of.bytes);
            out.field("mime_type", "application/jsonl");
        }));
        match self.post("/uploads", &body) {
            Ok(made) => {
                let upload = made.text("id").unwrap_or_default().to_owned();
                Ok(Some(State { upload, of, parts: Vec::new() }))
            }
            Err(ClientError::Refused { status: 404 | 405, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends the parts that the server does not have, and ends the upload.
    fn send_parts(
        &self,
        path: &Path,
        mut state: State,
        (state_path, event): (&Path, &mut dyn FnMut(UploadEvent)),
    ) -> Result<Value<'static>, ClientError> {
        let failed = |source| ClientError::File { path: path.to_owned(), source };
        state.write(state_path).map_err(failed)?;
        let mut file = File::open(path).map_err(failed)?;
        let Identity { bytes, part, .. } = state.of;
        let at = format!("/uploads/{}", state.upload);
        loop {
            let start = (state.parts.len() as u64).saturating_mul(part);
            if start >= bytes {
                break;
            }
            let length = part.min(bytes - start);
            event(UploadEvent::Sent(start));
            let mut tries = 0;
            let made = loop {
                tries += 1;
                file.seek(SeekFrom::Start(start)).map_err(failed)?;
                let mut watched = |sent: u64| event(UploadEvent::Sent(start + sent.min(length)));
                let sent = self.send_form(
                    &format!("{at}/parts"),
                    &[],
                    ("data", "part"),
                    (&mut file.by_ref().take(length), length),
                    &mut watched,
                );
                match sent {
                    Err(error) if tries < TRIES && is_passing(&error) => {
                        thread::sleep(WAIT * (1 << (tries - 1)));
                    }
                    sent => break sent?,
                }
            };
            state.parts.push(made.text("id").unwrap_or_default().to_owned());
            state.write(state_path).map_err(failed)?;
        }
        let ids = text(object(|out| {
            out.field("part_ids", list(state.parts.iter().map(String::as_str)));
        }));
        let ended = self.post(&format!("{at}/complete"), &ids)?;
        Ok(ended.get("file").cloned().unwrap_or(ended))
    }
}

/// Whether the same request may succeed soon.
fn is_passing(error: &ClientError) -> bool {
    match error {
        ClientError::Connection { .. } => true,
        ClientError::Refused { status, .. } => matches!(status, 408 | 429 | 500 | 502..=504),
        _ => false,
    }
}
