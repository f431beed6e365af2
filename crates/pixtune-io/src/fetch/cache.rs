//! Downloads on disk, named by their content: the same image at two URLs is stored once, and damage shows when it is read.
//!
//! `objects/ab/cd…` holds a body, named by its BLAKE3 hash. `urls/ab/cd…`, named by the hash of the URL, holds the hash and the
//! length of the body. Both appear by a rename, so any number of processes can share a cache. URLs are not stored: they may
//! hold passwords.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use blake3::{Hash, Hasher};

/// The directory.
#[derive(Debug)]
pub(super) struct Cache {
    directory: PathBuf,
    created: AtomicU64,
}

/// A body in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Object {
    hash: Hash,
    /// Its bytes.
    pub(super) length: u64,
}

/// Unfinished downloads of killed runs are removed after this time.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// Marks a directory as a cache for programs that make backups (bford.info/cachedir).
const TAG: &str =
    "Signature: 8a477f597d28d172789f06886806bc55\n# Images that pixtune has downloaded. It can be removed.\n";

impl Cache {
    /// Opens a directory, which is created where it is missing.
    pub(super) fn open(directory: &Path) -> io::Result<Cache> {
        let unfinished = directory.join("unfinished");
        fs::create_dir_all(&unfinished)?;
        let tag = directory.join("CACHEDIR.TAG");
        if !tag.exists() {
            fs::write(tag, TAG)?;
        }
        for entry in fs::read_dir(unfinished)?.flatten() {
            let modified = entry.metadata().and_then(|about| about.modified()).ok();
            let age = modified.and_then(|time| SystemTime::now().duration_since(time).ok());
            if age.is_some_and(|age| age > ABANDONED) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(Cache { directory: directory.to_owned(), created: AtomicU64::new(0) })
    }

    /// Where it is.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The body of a URL.
    pub(super) fn lookup(&self, url: &Hash) -> Option<Object> {
        let entry = fs::read_to_string(self.path("urls", url)).ok()?;
        let (hash, length) = entry.trim_end().split_once(' ')?;
        Some(Object { hash: Hash::from_hex(hash).ok()?, length: length.parse().ok()? })
    }

    /// The bytes of a body; `None` if they are not there any more, or not what they were.
    pub(super) fn read(&self, object: &Object) -> Option<Vec<u8>> {
        let bytes = fs::read(self.path("objects", &object.hash)).ok()?;
        (blake3::hash(&bytes) == object.hash).then_some(bytes)
    }

    /// Forgets the body of a URL.
    pub(super) fn forget(&self, url: &Hash) {
        let _ = fs::remove_file(self.path("urls", url));
    }

    /// A body that is on its way.
    pub(super) fn create(&self) -> io::Result<Incoming<'_>> {
        let number = self.created.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join("unfinished").join(format!("{}-{number}", std::process::id()));
        let file = File::create(&path)?;
        Ok(Incoming { cache: self, file: Some(file), path, hasher: Hasher::new(), length: 0 })
    }

    fn path(&self, kind: &str, hash: &Hash) -> PathBuf {
        let hex = hash.to_hex();
        self.directory.join(kind).join(&hex[..2]).join(&hex[2..])
    }

    /// Moves a finished file to its place.
    fn place(&self, from: &Path, to: &Path) -> io::Result<()> {
        match fs::rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                to.parent().map_or(Ok(()), fs::create_dir_all)?;
                fs::rename(from, to)
            }
            result => result,
        }
    }
}

/// A body of which more may come. It is removed unless it is finished.
pub(super) struct Incoming<'c> {
    cache: &'c Cache,
    file: Option<File>,
    path: PathBuf,
    hasher: Hasher,
    length: u64,
}

impl Incoming<'_> {
    /// Appends to the body.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(bytes))
    }

    /// Bytes so far.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Stores the body, for later runs under its URL if there is one.
    pub(super) fn finish(mut self, url: Option<&Hash>) -> io::Result<Object> {
        // Not synchronized with the disk: a body that a power failure damages is noticed by its hash and fetched again.
        self.file = None;
        let object = Object { hash: self.hasher.finalize(), length: self.length };
        self.cache.place(&self.path, &self.cache.path("objects", &object.hash))?;
        if let Some(url) = url {
            fs::write(&self.path, format!("{} {}\n", object.hash.to_hex(), object.length))?;
            self.cache.place(&self.path, &self.cache.path("urls", url))?;
        }
        Ok(object)
    }
}

impl Drop for Incoming<'_> {
    fn drop(&mut self) {
        self.file = None;
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_back_under_their_urls() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        let (first, second, third) = (blake3::hash(b"1"), blake3::hash(b"2"), blake3::hash(b"3"));
        for url in [&first, &second] {
            let mut body = cache.create().unwrap();
            body.write(b"the ").unwrap();
            body.write(b"image").unwrap();
            body.finish(Some(url)).unwrap();
        }
        drop(cache.create().unwrap());
        let again = Cache::open(directory.path()).unwrap();
        let object = again.lookup(&first).unwrap();
        assert_eq!((again.lookup(&second), object.length), (Some(object), 9));
        assert_eq!(again.read(&object).as_deref(), Some(b"the image".as_slice()));
        assert_eq!(again.lookup(&third), None);
        assert_eq!(fs::read_dir(directory.path().join("unfinished")).unwrap().count(), 0);
        fs::write(again.path("objects", &object.hash), "the damage").unwrap();
        assert_eq!(again.read(&object), None, "damage is noticed");
    }
}
