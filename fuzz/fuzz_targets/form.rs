//! Forms: what is read of one does not depend on how its bytes arrive, limits hold, and the file is a part of the body.
#![no_main]
use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use libfuzzer_sys::fuzz_target;
use pixtune_api::form::{self, Fields, FileSink};

/// The body in pieces.
struct Pieces(VecDeque<Bytes>);

impl Pieces {
    fn of(body: &[u8], length: usize) -> Pieces {
        Pieces(body.chunks(length.max(1)).map(Bytes::copy_from_slice).collect())
    }
}

impl Stream for Pieces {
    type Item = Result<Bytes, Box<dyn Error + Send + Sync>>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

#[derive(Default, PartialEq, Debug)]
struct Received {
    name: Option<String>,
    content: Vec<u8>,
    has_ended: bool,
}

impl FileSink for Received {
    fn begin(&mut self, name: &str, _: &Fields) -> io::Result<()> {
        assert!(self.name.replace(name.to_owned()).is_none(), "two files");
        Ok(())
    }

    fn write(&mut self, pieces: &[Bytes]) -> io::Result<()> {
        pieces.iter().for_each(|piece| self.content.extend_from_slice(piece));
        Ok(())
    }

    fn end(&mut self) {
        self.has_ended = true;
    }
}

const LIMIT: u64 = 1000;

fn read(body: &[u8], length: usize) -> (Result<Fields, String>, Received) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut received = Received::default();
    let read =
        form::read(Pieces::of(body, length), "multipart/form-data; boundary=b", "file", LIMIT, &mut received);
    (runtime.block_on(read).map_err(|error| error.to_string()), received)
}

fuzz_target!(|data: &[u8]| {
    let Some((length, body)) = data.split_first() else { return };
    let (fields, received) = read(body, body.len());
    let (again, piecewise) = read(body, usize::from(*length));
    assert!(received.content.len() as u64 <= LIMIT && piecewise.content.len() as u64 <= LIMIT);
    if let Ok(fields) = fields {
        assert_eq!((Ok(&fields), &received), (again.as_ref(), &piecewise));
        assert!(fields.len() <= 64 && fields.iter().all(|(_, text)| text.len() <= 3 * (64 << 10)));
        assert_eq!(received.name.is_some(), received.has_ended);
        let content = &received.content;
        assert!(content.is_empty() || body.windows(content.len()).any(|window| window == content));
    }
});
