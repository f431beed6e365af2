//! Thumbnails of all pictures on disk: a kilobyte each, read again only where two pictures may be the same.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use pixtune_core::curate::measure::Thumbnail;

/// Bytes of a thumbnail.
const SIZE: usize = 32 * 32;

/// The thumbnails of a run, in order of its pictures. A picture that was not measured has an empty place.
pub(super) struct Thumbnails {
    file: File,
    buffer: Vec<u8>,
}

impl Thumbnails {
    /// Opens the file; what is in it stays.
    pub(super) fn open(path: &Path) -> io::Result<Thumbnails> {
        let file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
        Ok(Thumbnails { file, buffer: Vec::new() })
    }

    /// Whether the first so many are there.
    pub(super) fn has(&self, pictures: u64) -> io::Result<bool> {
        Ok(self.file.metadata()?.len() >= pictures * SIZE as u64)
    }

    /// Cuts off what stands behind the first so many.
    pub(super) fn cut(&mut self, pictures: u64) -> io::Result<()> {
        self.file.set_len(pictures * SIZE as u64)?;
        self.file.seek(SeekFrom::End(0)).map(|_| ())
    }

    /// Adds a thumbnail; nothing stands for a picture that was not measured.
    pub(super) fn push(&mut self, thumbnail: &[u8]) {
        let end = self.buffer.len() + SIZE;
        self.buffer.extend_from_slice(&thumbnail[..thumbnail.len().min(SIZE)]);
        self.buffer.resize(end, 0);
    }

    /// Hands waiting thumbnails to the system.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// Reads one.
    pub(super) fn read(&mut self, picture: u32) -> io::Result<Thumbnail> {
        let mut pixels = vec![0; SIZE];
        self.file.seek(SeekFrom::Start(u64::from(picture) * SIZE as u64))?;
        self.file.read_exact(&mut pixels)?;
        Ok(Thumbnail { pixels })
    }
}
