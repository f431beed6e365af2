//! Bodies of requests, read with limits and timeouts, and bodies of answers.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::form::{self, DRAIN, Fields, FileSink, FormError, IDLE, TOO_LARGE};
use crate::api::{Api, Form, FormFile};
use crate::error::ApiError;
use crate::handlers::files::{TRAINING, disk};
use crate::training_file::EarlyCheck;

/// A body that is too large is read on up to so many times the limit.
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

/// A form, whose file goes to the disk as it comes.
pub async fn form(body: Body, content_type: &str, file_part: &str, api: &Api) -> Result<Form, ApiError> {
    let limit = api.limits.upload;
    let stream = Counted { body, left: limit.saturating_mul(DRAIN_FACTOR).saturating_add(1 << 20) };
    let mut sink = ToDisk { api, may_be_training: file_part == "file", file: None };
    let fields = form::read(stream, content_type, file_part, limit, &mut sink).await.map_err(refusal)?;
    Ok(Form { fields, file: sink.file })
}

fn refusal(error: FormError) -> ApiError {
    match error {
        FormError::TooLarge(_) => ApiError::too_large(error.to_string()),
        FormError::Timeout => ApiError::timeout(),
        FormError::Disk(source) => disk(source),
        error => ApiError::bad_request(error.to_string()),
    }
}

/// Writes a file to the disk as it comes. Training data is checked meanwhile, unless it is so small that it has arrived before.
struct ToDisk<'a> {
    api: &'a Api,
    may_be_training: bool,
    file: Option<FormFile>,
}

impl FileSink for ToDisk<'_> {
    fn begin(&mut self, name: &str, fields: &Fields) -> io::Result<()> {
        let content = tokio::task::block_in_place(|| self.api.data.receive())?;
        // Where the purpose follows the file, most files are training data.
        self.may_be_training &= fields.iter().all(|(name, purpose)| name != "purpose" || purpose == TRAINING);
        self.file = Some(FormFile { name: name.to_owned(), content, check: None });
        Ok(())
    }

    fn write(&mut self, pieces: &[Bytes]) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        if self.may_be_training && file.content.bytes() > 0 && file.check.is_none() {
            let Api { limits, catalog, early_checks, .. } = self.api;
            let rules = catalog.rules().first().copied().unwrap_or_default();
            file.check =
                EarlyCheck::start(&mut file.content, &file.name, limits.threads, rules, early_checks);
        }
        tokio::task::block_in_place(|| pieces.iter().try_for_each(|bytes| file.content.write(bytes)))
    }

    fn end(&mut self) {
        if let Some(file) = &mut self.file {
            file.content.end();
        }
    }
}

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
    type Error = io::Error;

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
                Poll::Ready(Some(Err(io::Error::other("the content ended early"))))
            }
            (None, _) => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
