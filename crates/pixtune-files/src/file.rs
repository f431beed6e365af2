//! A file that appears whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::Existing;
use crate::paths::{beside, parent, resolve};
use crate::sync::sync_directory;

/// Bytes that are gathered before they are written.
const BUFFER: usize = 1 << 20;

/// A file that has no name yet. Dropped before [`WholeFile::commit`], it leaves nothing behind.
#[derive(Debug)]
pub struct WholeFile {
    target: PathBuf,
    partial: PathBuf,
    existing: Existing,
    /// Taken when the file is committed or dropped.
    file: Option<BufWriter<File>>,
}

impl WholeFile {
    /// Starts a file that will have this name, as `NAME.partial` beside it. A target that must be kept, and one that is
    /// not a regular file, is refused.
    pub fn create(target: &Path, existing: Existing) -> io::Result<WholeFile> {
        check_target(target, existing)?;
        let target = resolve(target);
        let partial = beside(&target, ".partial")?;
        let file = Some(BufWriter::with_capacity(BUFFER, File::create(&partial)?));
        Ok(WholeFile { target, partial, existing, file })
    }

    /// Syncs the file and gives it its name.
    pub fn commit(mut self) -> io::Result<()> {
        let Some(buffered) = self.file.take() else { return Ok(()) };
        let committed = buffered
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .and_then(|()| self.publish());
        if committed.is_err() {
            let _ = fs::remove_file(&self.partial);
        }
        committed
    }

    fn publish(&self) -> io::Result<()> {
        match self.existing {
            Existing::Replace => fs::rename(&self.partial, &self.target)?,
            Existing::Keep => rename_to_free_name(&self.partial, &self.target)?,
        }
        sync_directory(parent(&self.target));
        Ok(())
    }
}

fn check_target(target: &Path, existing: Existing) -> io::Result<()> {
    match fs::metadata(target) {
        Ok(_) if existing == Existing::Keep => Err(io::ErrorKind::AlreadyExists.into()),
        // A device or a pipe would be replaced by a file.
        Ok(about) if !about.is_file() => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
        }
        _ => Ok(()),
    }
}

/// A rename that fails if the name exists by now: a link never replaces, a rename does.
fn rename_to_free_name(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // A file system without links.
        Err(_) if to.exists() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, to),
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
            // The buffered bytes of a discarded file need no write.
            drop(file.into_parts());
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// Writes a small file whole, in place of one that is there.
pub fn write(target: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = WholeFile::create(target, Existing::Replace)?;
    file.write_all(bytes)?;
    file.commit()
}
