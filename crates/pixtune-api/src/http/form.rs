//! Forms (multipart/form-data), read as they arrive: fields are kept, within limits, and a file goes where its bytes belong.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use tokio::time::timeout;

/// How long a client may send nothing.
pub const IDLE: Duration = Duration::from_secs(30);

/// A form that is too large is read on for so long: clients that are still sending do not read an answer, and report a broken
/// connection.
pub const DRAIN: Duration = Duration::from_secs(10);

/// Fields of a form: more or longer ones are refused.
const MOST_FIELDS: usize = 64;
const MOST_FIELD_BYTES: usize = 64 << 10;

/// Bytes of a file that are written at once. They arrive in pieces of a few kilobytes, and leaving the other tasks of a thread to
/// write each of them costs more than writing it.
const AT_ONCE: usize = 1 << 20;

/// Texts of a form by their names, in order.
pub type Fields = Vec<(String, String)>;

/// Where the file of a form goes.
pub trait FileSink: Send {
    /// A file with this name arrives, after these fields.
    fn begin(&mut self, name: &str, fields: &Fields) -> io::Result<()>;
    /// The next bytes of the file, in pieces.
    fn write(&mut self, pieces: &[Bytes]) -> io::Result<()>;
    /// The file has arrived.
    fn end(&mut self);
}

/// Why a form is refused.
#[derive(Debug, thiserror::Error)]
pub enum FormError {
    /// The type of the body is not that of a form.
    #[error("the body has to be a form (multipart/form-data)")]
    OtherType,
    /// The file has more bytes than the limit.
    #[error("the file has more than {0} bytes: split it into several files")]
    TooLarge(u64),
    /// A field has more bytes than any that is used.
    #[error("the field `{0}` of the form is too long")]
    LongField(String),
    /// There are more fields than any client sends.
    #[error("the form has too many fields")]
    ManyFields,
    /// The client sent nothing for too long.
    #[error("the request was not sent in time")]
    Timeout,
    /// The connection ended.
    #[error("the upload was cut off: {0}")]
    Cut(String),
    /// It is not a form.
    #[error("the form is not valid: {0}")]
    Invalid(String),
    /// The file cannot be kept.
    #[error(transparent)]
    Disk(#[from] io::Error),
}

/// What the stream of a body fails with when it has more bytes than are ever read.
pub const TOO_LARGE: &str = "the body is too large";

/// Reads a form: its fields, and the first file whose part has this name into the sink, at most `limit` bytes of it. The whole form is
/// read, also where it is refused for the size of its file.
pub async fn read<S>(
    stream: S,
    content_type: &str,
    file_part: &str,
    limit: u64,
    sink: &mut dyn FileSink,
) -> Result<Fields, FormError>
where
    S: Stream<Item = Result<Bytes, Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let boundary = multer::parse_boundary(content_type).map_err(|_| FormError::OtherType)?;
    let mut parts = multer::Multipart::new(stream, boundary);
    let mut form = Form { file_part, limit, sink, fields: Fields::new(), has_file: false };
    let received = form.read(&mut parts).await;
    if let Err(FormError::TooLarge(_)) = &received {
        // What is left of the form is dropped by the parser.
        let rest = async { while let Ok(Some(_)) = parts.next_field().await {} };
        let _ = timeout(DRAIN, rest).await;
    }
    received.map(|()| form.fields)
}

struct Form<'f> {
    file_part: &'f str,
    limit: u64,
    sink: &'f mut dyn FileSink,
    fields: Fields,
    has_file: bool,
}

impl Form<'_> {
    async fn read(&mut self, parts: &mut multer::Multipart<'_>) -> Result<(), FormError> {
        loop {
            let part = timeout(IDLE, parts.next_field()).await.map_err(|_| FormError::Timeout)?;
            let Some(mut part) = part.map_err(|error| explain(&error, self.limit))? else {
                return Ok(());
            };
            let name = part.name().unwrap_or_default().to_owned();
            if name == self.file_part && !self.has_file {
                self.has_file = true;
                self.file(&mut part).await?;
                continue;
            }
            let mut text = Vec::new();
            while let Some(bytes) = chunk(&mut part, self.limit).await? {
                text.extend_from_slice(&bytes);
                if text.len() > MOST_FIELD_BYTES {
                    return Err(FormError::LongField(name.chars().take(100).collect()));
                }
            }
            if self.fields.len() == MOST_FIELDS {
                return Err(FormError::ManyFields);
            }
            self.fields.push((name, String::from_utf8_lossy(&text).into_owned()));
        }
    }

    async fn file(&mut self, part: &mut multer::Field<'_>) -> Result<(), FormError> {
        self.sink.begin(part.file_name().unwrap_or("upload"), &self.fields)?;
        let (mut held, mut held_bytes, mut bytes): (Vec<Bytes>, usize, u64) = (Vec::new(), 0, 0);
        loop {
            let more = chunk(part, self.limit).await?;
            let is_end = more.is_none();
            let length = more.as_ref().map_or(0, Bytes::len);
            held_bytes += length;
            bytes += length as u64;
            held.extend(more);
            if bytes > self.limit {
                return Err(FormError::TooLarge(self.limit));
            }
            if is_end || held_bytes >= AT_ONCE {
                self.sink.write(&held)?;
                held.clear();
                held_bytes = 0;
            }
            if is_end {
                self.sink.end();
                return Ok(());
            }
        }
    }
}

async fn chunk(part: &mut multer::Field<'_>, limit: u64) -> Result<Option<Bytes>, FormError> {
    let chunk = timeout(IDLE, part.chunk()).await.map_err(|_| FormError::Timeout)?;
    chunk.map_err(|error| explain(&error, limit))
}

fn explain(error: &multer::Error, limit: u64) -> FormError {
    match error {
        multer::Error::StreamReadFailed(source) if source.to_string() == TOO_LARGE => {
            FormError::TooLarge(limit)
        }
        multer::Error::StreamReadFailed(source) => FormError::Cut(source.to_string()),
        error => FormError::Invalid(error.to_string()),
    }
}
