//! Bodies of requests, read with limits and timeouts, and bodies of answers.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::api::{Api, Form};
use crate::blobs::Incoming;
use crate::error::ApiError;
use crate::handlers::files::disk;

/// How long a client may send nothing.
const IDLE: Duration = Duration::from_secs(30);

/// A body that is too large is read on for so long, and up to so many times the limit: clients that are still sending do not
/// read an answer, and report a broken connection.
const DRAIN: Duration = Duration::from_secs(10);
const DRAIN_FACTOR: u64 = 8;

/// The next bytes of a body.
async fn next(body: &mut Body) -> Result<Option<Bytes>, ApiError> {
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
        let frame = timeout(IDLE, frame).await;
        let frame = frame.map_err(|_| ApiError::timeout())?;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(ApiError::bad_request(format!("the body was cut off: {error}"))),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Reads the rest of a body that will be refused, within limits.
async fn drain(body: &mut Body, limit: u64) {
    let start = Instant::now();
    let mut left = limit.saturating_mul(DRAIN_FACTOR);
    while start.elapsed() < DRAIN {
        match next(body).await {
            Ok(Some(bytes)) if (bytes.len() as u64) < left => left -= bytes.len() as u64,
            _ => return,
        }
    }
}

/// A JSON body as text.
pub async fn text(mut body: Body, limit: u64) -> Result<String, ApiError> {
    let mut bytes = Vec::new();
    while let Some(more) = next(&mut body).await? {
        if (bytes.len() + more.len()) as u64 > limit {
            drain(&mut body, limit).await;
            return Err(ApiError::too_large(format!("the body has more than {limit} bytes")));
        }
        bytes.extend_from_slice(&more);
    }
    String::from_utf8(bytes).map_err(|_| ApiError::bad_request("the body is not valid UTF-8"))
}

/// Fields of a form: more or longer ones are refused.
const MOST_FIELDS: usize = 64;
const MOST_FIELD_BYTES: usize = 64 << 10;

/// A form, whose file goes to the disk as it comes.
pub async fn form(body: Body, content_type: &str, file_part: &str, api: &Api) -> Result<Form, ApiError> {
    let boundary = multer::parse_boundary(content_type)
        .map_err(|_| ApiError::bad_request("the body has to be a form (multipart/form-data)"))?;
    let limit = api.limits.upload;
    let stream = Counted { body, left: limit.saturating_mul(DRAIN_FACTOR).saturating_add(1 << 20) };
    let mut parts = multer::Multipart::new(stream, boundary);
    let received = parse(&mut parts, file_part, api).await;
    if let Err(error) = &received
        && error.status == 413
    {
        // What is left of the form is dropped by the parser.
        let rest = async { while let Ok(Some(_)) = parts.next_field().await {} };
        let _ = timeout(DRAIN, rest).await;
    }
    received
}

async fn parse(parts: &mut multer::Multipart<'_>, file_part: &str, api: &Api) -> Result<Form, ApiError> {
    let mut form = Form::default();
    loop {
        let part = timeout(IDLE, parts.next_field()).await.map_err(|_| ApiError::timeout())?;
        let Some(mut part) = part.map_err(|error| explain(&error, api.limits.upload))? else {
            return Ok(form);
        };
        let name = part.name().unwrap_or_default().to_owned();
        if name == file_part && form.file.is_none() {
            let file_name = part.file_name().unwrap_or("upload").to_owned();
            let incoming = receive(&mut part, api).await?;
            form.file = Some((file_name, incoming));
            continue;
        }
        let mut text = Vec::new();
        while let Some(bytes) = chunk(&mut part, api.limits.upload).await? {
            text.extend_from_slice(&bytes);
            if text.len() > MOST_FIELD_BYTES {
                return Err(ApiError::bad_request(format!("the field `{name}` of the form is too long")));
            }
        }
        if form.fields.len() == MOST_FIELDS {
            return Err(ApiError::bad_request("the form has too many fields"));
        }
        form.fields.push((name, String::from_utf8_lossy(&text).into_owned()));
    }
}

/// Bytes of a file that are written at once. They arrive in pieces of a few kilobytes, and leaving the other tasks of a thread to
/// write each of them costs more than writing it.
const AT_ONCE: usize = 1 << 20;

/// Writes a file to the disk as it comes.
async fn receive(part: &mut multer::Field<'_>, api: &Api) -> Result<Incoming, ApiError> {
    let limit = api.limits.upload;
    let mut incoming = tokio::task::block_in_place(|| api.data.receive()).map_err(disk)?;
    let (mut held, mut held_bytes): (Vec<Bytes>, usize) = (Vec::new(), 0);
    loop {
        let more = chunk(part, limit).await?;
        let is_end = more.is_none();
        held_bytes += more.as_ref().map_or(0, Bytes::len);
        held.extend(more);
        if incoming.bytes() + held_bytes as u64 > limit {
            return Err(too_large(limit));
        }
        if is_end || held_bytes >= AT_ONCE {
            let written =
                tokio::task::block_in_place(|| held.iter().try_for_each(|bytes| incoming.write(bytes)));
            written.map_err(disk)?;
            held.clear();
            held_bytes = 0;
        }
        if is_end {
            return Ok(incoming);
        }
    }
}

async fn chunk(part: &mut multer::Field<'_>, limit: u64) -> Result<Option<Bytes>, ApiError> {
    let chunk = timeout(IDLE, part.chunk()).await.map_err(|_| ApiError::timeout())?;
    chunk.map_err(|error| explain(&error, limit))
}

fn too_large(limit: u64) -> ApiError {
    ApiError::too_large(format!("the file has more than {limit} bytes: split it into several files"))
}

fn explain(error: &multer::Error, limit: u64) -> ApiError {
    match error {
        multer::Error::StreamReadFailed(source) if source.to_string() == TOO_LARGE => too_large(limit),
        multer::Error::StreamReadFailed(source) => {
            ApiError::bad_request(format!("the upload was cut off: {source}"))
        }
        error => ApiError::bad_request(format!("the form is not valid: {error}")),
    }
}

const TOO_LARGE: &str = "the body is too large";

/// The data of a body as a stream, up to a limit.
struct Counted {
    body: Body,
    left: u64,
}

impl futures_core::Stream for Counted {
    type Item = Result<Bytes, Box<dyn std::error::Error + Send + Sync>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
            let data = match frame {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Some(Ok(frame)) => frame.into_data(),
            };
            if let Ok(data) = data {
                let length = data.len() as u64;
                if length > self.left {
                    return Poll::Ready(Some(Err(TOO_LARGE.into())));
                }
                self.left -= length;
                return Poll::Ready(Some(Ok(data)));
            }
        }
    }
}

/// A body of bytes that arrive on a channel.
pub struct Channel {
    receiver: mpsc::Receiver<Bytes>,
    left: Option<u64>,
}

impl Channel {
    /// `length` is promised to the client, if it is known.
    pub fn new(receiver: mpsc::Receiver<Bytes>, length: Option<u64>) -> Channel {
        Channel { receiver, left: length }
    }
}

impl HttpBody for Channel {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let bytes = std::task::ready!(self.receiver.poll_recv(context));
        match (bytes, &mut self.left) {
            (Some(bytes), Some(left)) => {
                *left = left.saturating_sub(bytes.len() as u64);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            (Some(bytes), None) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            // An error closes the connection, so that the client does not take a part for the whole.
            (None, Some(left)) if *left > 0 => {
                Poll::Ready(Some(Err(std::io::Error::other("the content ended early"))))
            }
            (None, _) => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
