//! A file of an export while it is written.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use pixtune_io::manifest::OutputFile;

/// Counts and hashes the bytes of a file.
#[derive(Debug)]
pub(super) struct HashedFile {
    file: BufWriter<File>,
    hash: blake3::Hasher,
    bytes: u64,
    name: String,
}

/// Bytes that wait until they are written.
const BUFFER: usize = 256 << 10;

impl HashedFile {
    /// Creates the file of this name below `root`, with its directories.
    pub(super) fn create(root: &Path, name: String) -> io::Result<HashedFile> {
        let path = root.join(&name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = BufWriter::with_capacity(BUFFER, File::create(path)?);
        Ok(HashedFile { file, hash: blake3::Hasher::new(), bytes: 0, name })
    }

    /// Bytes so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Hands everything to the system.
    pub(super) fn close(mut self, lines: u64) -> io::Result<OutputFile> {
        self.file.flush()?;
        let blake3 = self.hash.finalize().to_hex().to_string();
        Ok(OutputFile { path: self.name, bytes: self.bytes, lines, blake3 })
    }
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Names of files that are numbered while they are written, and get the total into their names at the end.
#[derive(Debug, Clone)]
pub(crate) struct Numbered {
    /// Directory and beginning of the names, such as `data/train`.
    pub(crate) stem: String,
    /// The end of the names, with the dot.
    pub(crate) extension: &'static str,
    /// Whether the only file has no number.
    pub(crate) plain_if_alone: bool,
}

impl Numbered {
    /// The name of the file with this index, until the number of files is known.
    pub(super) fn name(&self, index: usize) -> String {
        format!("{}-{index:05}{}", self.stem, self.extension)
    }

    /// Renames files to `STEM-00000-of-00003.EXTENSION`, as `datasets` names them.
    pub(super) fn publish(&self, root: &Path, files: &mut [OutputFile]) -> io::Result<()> {
        let count = files.len();
        for (index, file) in files.iter_mut().enumerate() {
            let name = match count {
                1 if self.plain_if_alone => format!("{}{}", self.stem, self.extension),
                _ => format!("{}-{index:05}-of-{count:05}{}", self.stem, self.extension),
            };
            match fs::rename(root.join(&file.path), root.join(&name)) {
                // The export was stopped after this rename.
                Err(error) if error.kind() == io::ErrorKind::NotFound && root.join(&name).exists() => {}
                renamed => renamed?,
            }
            file.path = name;
        }
        Ok(())
    }
}
