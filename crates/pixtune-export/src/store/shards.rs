//! Files whose samples are bytes that follow each other: JSON Lines, tar.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use pixtune_io::manifest::OutputFile;

use super::output::{HashedFile, Numbered};
use super::{Piece, Store};

/// A row of files, each below a size unless it is one sample; a sample never spans two.
#[derive(Debug)]
pub(crate) struct Shards {
    root: PathBuf,
    names: Numbered,
    max_bytes: u64,
    /// What ends a file.
    end: &'static [u8],
    open: Option<(HashedFile, u64)>,
    done: Vec<OutputFile>,
}

impl Shards {
    /// Files below `root`, behind those that are finished.
    pub(crate) fn new(
        root: &Path,
        names: Numbered,
        max_bytes: u64,
        end: &'static [u8],
        done: Vec<OutputFile>,
    ) -> Shards {
        Shards { root: root.to_owned(), names, max_bytes, end, open: None, done }
    }

    fn close(&mut self) -> io::Result<()> {
        if let Some((mut file, samples)) = self.open.take() {
            file.write_all(self.end)?;
            self.done.push(file.close(samples)?);
        }
        Ok(())
    }
}

impl Store for Shards {
    fn append(&mut self, piece: Piece) -> io::Result<bool> {
        let bytes = piece.into_bytes();
        let size = (bytes.len() + self.end.len()) as u64;
        if self.open.as_ref().is_some_and(|(file, _)| file.bytes() + size > self.max_bytes) {
            self.close()?;
        }
        let starts_file = self.open.is_none();
        let (mut file, samples) = match self.open.take() {
            Some(open) => open,
            None => (HashedFile::create(&self.root, self.names.name(self.done.len()))?, 0),
        };
        file.write_all(&bytes)?;
        self.open = Some((file, samples + 1));
        Ok(starts_file)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.close()
    }

    fn files(&self) -> &[OutputFile] {
        &self.done
    }

    fn publish(&mut self, root: &Path) -> io::Result<()> {
        self.names.publish(root, &mut self.done)
    }
}
