//! The bytes of an input as a stream: of a file, compressed or not, or of a member of an archive.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::archive::Member;
use super::compression::Compression;
use super::encoding::TextForm;
use super::positioned::{AnyFile, ReadFrom};

/// Where the bytes of an input are.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) path: PathBuf,
    /// How the file is compressed as a whole.
    pub(super) compression: Option<Compression>,
    /// The member of an archive that is meant.
    pub(super) member: Option<Member>,
    /// How its text is written.
    pub(super) text: TextForm,
}

/// A stream of the content.
pub(super) struct Opened {
    pub(super) stream: Box<dyn Read + Send>,
    /// Bytes of the file that were read for it.
    pub(super) consumed: Arc<AtomicU64>,
}

impl Content {
    /// Opens a stream from the first byte on.
    pub(super) fn open(&self) -> io::Result<Opened> {
        let consumed = Arc::new(AtomicU64::new(0));
        let source = match &self.member {
            Some(member) => member.folder.stream(&member.name)?,
            None => self.open_file(0)?,
        };
        let source: Box<dyn Read + Send> = Box::new(Metered { source, consumed: Arc::clone(&consumed) });
        let stream = match self.compression {
            Some(compression) => compression.decompress(source)?,
            None => source,
        };
        let stream = if self.text.is_converted() { self.text.convert(stream) } else { stream };
        Ok(Opened { stream, consumed })
    }

    fn open_file(&self, at: u64) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(ReadFrom { file: Arc::new(AnyFile::open(&self.path)?), at }))
    }

    /// A stream from a position on, if one is to be had without reading all before it.
    fn open_at(&self, at: u64) -> Option<io::Result<Box<dyn Read + Send>>> {
        (self.compression.is_none() && self.member.is_none() && !self.text.is_converted())
            .then(|| self.open_file(at))
    }
}

/// Counts the bytes that are read.
struct Metered<R> {
    source: R,
    consumed: Arc<AtomicU64>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.consumed.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// A stream from which ranges are read again. What lies ahead is reached by reading on, anything else from the beginning:
/// ranges in order cost one pass.
#[derive(Default)]
pub(super) struct Forward(Option<(Box<dyn Read + Send>, u64)>);

impl Forward {
    /// The stream at a position; it ends early where the content does.
    pub(super) fn at(&mut self, content: &Content, offset: u64) -> io::Result<&mut (dyn Read + Send)> {
        let (mut stream, at) = match self.0.take() {
            Some((stream, at)) if at == offset => (stream, at),
            ahead => match (content.open_at(offset), ahead) {
                (Some(stream), _) => (stream?, offset),
                (None, Some((stream, at))) if at < offset => (stream, at),
                (None, _) => (content.open()?.stream, 0),
            },
        };
        io::copy(&mut stream.by_ref().take(offset - at), &mut io::sink())?;
        Ok(&mut self.0.insert((stream, offset)).0)
    }

    /// Notes that the stream was read up to a position.
    pub(super) fn read_to(&mut self, position: u64) {
        if let Some((_, at)) = &mut self.0 {
            *at = position;
        }
    }

    /// Forgets the stream, whose position is unknown.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }

    /// At most `length` bytes at a position.
    pub(super) fn bytes(&mut self, content: &Content, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.at(content, offset)?.take(length).read_to_end(&mut bytes);
        self.read_to(offset + bytes.len() as u64);
        read.map(|_| bytes).inspect_err(|_| self.forget())
    }
}
