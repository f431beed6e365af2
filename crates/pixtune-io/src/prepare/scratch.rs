//! Files for what does not fit into memory while it is sorted, in the work directory of a run.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use pixtune_core::curate::sorted::Scratch;

/// A file that is removed when it is dropped. What a killed run leaves is removed with the work directory.
#[derive(Debug)]
pub(crate) struct ScratchFile {
    file: File,
    path: PathBuf,
}

impl ScratchFile {
    /// Creates a file in a directory.
    pub(crate) fn create(directory: &Path) -> io::Result<ScratchFile> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let path = directory.join(format!("scratch-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let file = File::options().create(true).truncate(true).read(true).write(true).open(&path)?;
        Ok(ScratchFile { file, path })
    }
}

impl Scratch for ScratchFile {
    type Error = io::Error;

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::End(0))?;
        self.file.write_all(bytes)
    }

    fn read_at(&self, from: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(buffer)
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_was_appended_and_removes_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let mut scratch = ScratchFile::create(directory.path()).unwrap();
        let mut other = ScratchFile::create(directory.path()).unwrap();
        scratch.append(b"one").unwrap();
        other.append(b"other").unwrap();
        let mut buffer = [0; 2];
        scratch.read_at(1, &mut buffer).unwrap();
        scratch.append(b"two").unwrap();
        assert_eq!(&buffer, b"ne");
        scratch.read_at(4, &mut buffer).unwrap();
        assert_eq!(&buffer, b"wo");
        assert!(scratch.read_at(5, &mut buffer).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
        drop((scratch, other));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
