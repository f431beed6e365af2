//! Thumbnails of all images on disk: a kilobyte each, read again only where two images may be the same.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use pixtune_core::curate::measure::{Thumbnail, looks_same};

/// Bytes of a thumbnail.
const SIZE: usize = 32 * 32;

/// The thumbnails of a run, in order of its images. An image that was not measured has an empty place.
#[derive(Debug)]
pub(crate) struct Thumbnails {
    file: File,
    buffer: Vec<u8>,
    /// Removed in the end.
    temporary: Option<PathBuf>,
}

/// Bytes that wait in memory until they are written.
const WAITING: usize = 1 << 20;

impl Thumbnails {
    /// Opens the file; what is in it stays.
    pub(crate) fn open(path: &Path) -> io::Result<Thumbnails> {
        let file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
        Ok(Thumbnails { file, buffer: Vec::new(), temporary: None })
    }

    /// A file of its own in the directory for temporary files, which goes away with the value.
    pub(crate) fn temporary() -> io::Result<Thumbnails> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("pixtune-{}-{number}", std::process::id()));
            match File::options().create_new(true).read(true).write(true).open(&path) {
                Ok(file) => return Ok(Thumbnails { file, buffer: Vec::new(), temporary: Some(path) }),
                // What a killed run has left behind.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the first so many are there.
    pub(crate) fn has(&self, images: u64) -> io::Result<bool> {
        Ok(self.file.metadata()?.len() >= images * SIZE as u64)
    }

    /// Cuts off what stands behind the first so many.
    pub(crate) fn cut(&mut self, images: u64) -> io::Result<()> {
        self.file.set_len(images * SIZE as u64)?;
        self.file.seek(SeekFrom::End(0)).map(|_| ())
    }

    /// Adds a thumbnail; nothing stands for an image that was not measured.
    pub(crate) fn push(&mut self, thumbnail: &[u8]) {
        let end = self.buffer.len() + SIZE;
        self.buffer.extend_from_slice(&thumbnail[..thumbnail.len().min(SIZE)]);
        self.buffer.resize(end, 0);
    }

    /// Hands waiting thumbnails to the system.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// Hands them over when many wait.
    pub(crate) fn flush_many(&mut self) -> io::Result<()> {
        if self.buffer.len() < WAITING { Ok(()) } else { self.flush() }
    }

    /// Whether two show the same image. The first error is kept in `broken`, and they do not.
    pub(crate) fn look_same(&mut self, one: u32, other: u32, broken: &mut Option<io::Error>) -> bool {
        match (self.read(one), self.read(other)) {
            (Ok(one), Ok(other)) => looks_same(&one, &other),
            (Err(error), _) | (_, Err(error)) => {
                broken.get_or_insert(error);
                false
            }
        }
    }

    /// Reads one.
    pub(crate) fn read(&mut self, image: u32) -> io::Result<Thumbnail> {
        let mut pixels = vec![0; SIZE];
        self.file.seek(SeekFrom::Start(u64::from(image) * SIZE as u64))?;
        self.file.read_exact(&mut pixels)?;
        Ok(Thumbnail { pixels })
    }
}

impl Drop for Thumbnails {
    fn drop(&mut self) {
        if let Some(path) = &self.temporary {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_file_gives_back_what_it_was_given_and_goes_away() {
        let mut thumbnails = Thumbnails::temporary().unwrap();
        let path = thumbnails.temporary.clone().unwrap();
        let shown: Vec<u8> = (0..SIZE).map(|at| at as u8).collect();
        thumbnails.push(&[]);
        thumbnails.push(&shown);
        thumbnails.flush().unwrap();
        assert_eq!(thumbnails.read(1).unwrap().pixels, shown);
        let mut broken = None;
        assert!(thumbnails.look_same(1, 1, &mut broken) && broken.is_none());
        assert!(!thumbnails.look_same(0, 7, &mut broken) && broken.is_some());
        drop(thumbnails);
        assert!(!path.exists());
    }
}
