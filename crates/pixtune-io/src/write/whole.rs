//! A file that appears whole or not at all: written beside its name, flushed, renamed.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file on its way. Dropped before [`WholeFile::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct WholeFile {
    path: PathBuf,
    beside: PathBuf,
    file: Option<BufWriter<File>>,
}

impl WholeFile {
    /// Starts a file that is to have this name, in a file beside it.
    pub fn create(path: &Path) -> io::Result<WholeFile> {
        let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        name.push(".partial");
        let beside = path.with_file_name(name);
        let file = Some(BufWriter::with_capacity(1 << 20, File::create(&beside)?));
        Ok(WholeFile { path: path.to_owned(), beside, file })
    }

    /// Gives the file its name, once its bytes have reached the disk; a file of that name is replaced.
    pub fn finish(mut self) -> io::Result<()> {
        let Some(buffered) = self.file.take() else { return Ok(()) };
        let renamed = buffered
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&self.beside, &self.path));
        if renamed.is_err() {
            let _ = fs::remove_file(&self.beside);
        }
        renamed
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.file {
            Some(file) => file.write(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            // What is buffered is not worth a write.
            drop(file.into_parts());
            let _ = fs::remove_file(&self.beside);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.jsonl");
        let entries = || fs::read_dir(directory.path()).unwrap().count();
        let mut file = WholeFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(entries(), 0);
        let mut file = WholeFile::create(&path).unwrap();
        file.write_all(b"whole").unwrap();
        assert!(!path.exists());
        file.finish().unwrap();
        assert_eq!((fs::read(&path).unwrap(), entries()), (b"whole".to_vec(), 1));
    }
}
