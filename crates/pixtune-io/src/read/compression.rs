//! Compressed files: recognized by their first bytes, decompressed as a stream.

use std::io::{self, BufReader, Read};

use flate2::read::MultiGzDecoder;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// gzip, possibly of several members.
    Gzip,
    /// Zstandard, possibly of several frames.
    Zstd,
}

impl Compression {
    /// The compression of a file that starts like this.
    pub(super) fn of(start: &[u8]) -> Option<Compression> {
        match start {
            [0x1f, 0x8b, ..] => Some(Compression::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Compression::Zstd),
            _ => None,
        }
    }

    /// What a file that is compressed like this is called in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Compression::Gzip => "gzip-compressed",
            Compression::Zstd => "zstd-compressed",
        }
    }

    /// The decompressed stream. Nothing but the next bytes is in memory, and a window of at most 128 MiB of zstd. Anything
    /// after the last member or frame is an error, and so is a truncated file.
    pub(super) fn decompress(self, source: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
        let stream: Box<dyn Read + Send> = match self {
            Compression::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(128 << 10, source))),
            Compression::Zstd => Box::new(zstd::Decoder::new(source)?),
        };
        Ok(Box::new(Decompressed { stream, compression: self }))
    }
}

/// A decompressed stream whose errors name the compression.
struct Decompressed {
    stream: Box<dyn Read + Send>,
    compression: Compression,
}

impl Read for Decompressed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer).map_err(|error| {
            let how = self.compression.name();
            let message = match error.kind() {
                io::ErrorKind::UnexpectedEof => format!("it is {how} and truncated"),
                _ => format!("it is {how} and damaged: {error}"),
            };
            io::Error::new(error.kind(), message)
        })
    }
}
