//! Contents of files on disk, named by their hashes, so that a client's file name is never a path.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::ids;

/// The data directory of a server.
#[derive(Debug, Clone)]
pub struct DataDirectory {
    root: PathBuf,
    contents: Arc<Mutex<()>>,
}

/// The space that is kept free for the database: with it, a full disk does not stop cancelling and deleting.
const BALLAST: u64 = 8 << 20;

impl DataDirectory {
    /// Creates the directories, and removes what interrupted uploads left.
    pub fn open(root: &Path) -> io::Result<DataDirectory> {
        let data = DataDirectory { root: root.to_owned(), contents: Arc::default() };
        fs::create_dir_all(data.blobs())?;
        fs::create_dir_all(data.jobs())?;
        pixtune_files::remove(&data.incoming())?;
        fs::create_dir_all(data.incoming())?;
        data.keep_ballast()?;
        Ok(data)
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    fn incoming(&self) -> PathBuf {
        self.root.join("incoming")
    }

    /// Where runs are.
    pub fn jobs(&self) -> PathBuf {
        self.root.join("jobs")
    }

    /// The directory of a job's run.
    pub fn job(&self, id: &str) -> PathBuf {
        self.jobs().join(id)
    }

    /// The report about content with a hash, made by some rules.
    pub fn report(&self, hash: &str, rules: &str) -> PathBuf {
        self.root.join("reports").join(format!("{hash}-{}.html", rules.replace('/', "-")))
    }

    /// Where the results of a batch are until it ends.
    pub fn batch(&self, id: &str) -> PathBuf {
        self.root.join("batches").join(id)
    }

    fn ballast(&self) -> PathBuf {
        self.root.join("ballast")
    }

    /// Occupies the space that is freed when the disk is full.
    pub fn keep_ballast(&self) -> io::Result<()> {
        let path = self.ballast();
        if fs::metadata(&path).is_ok_and(|about| about.len() == BALLAST) {
            return Ok(());
        }
        let mut file = File::create(&path)?;
        let zeros = [0; 1 << 16];
        for _ in 0..BALLAST / zeros.len() as u64 {
            file.write_all(&zeros)?;
        }
        file.sync_all()
    }

    /// Frees the space that was kept; true if there was any.
    pub fn drop_ballast(&self) -> bool {
        fs::remove_file(self.ballast()).is_ok()
    }

    /// Bytes that are free on the disk; `None` where the system does not tell.
    pub fn free_bytes(&self) -> Option<u64> {
        free_bytes(&self.root)
    }

    /// Held while content is kept and its file is stored, or a file is deleted and its content removed: between the two,
    /// the same content may come or go with another file.
    pub fn hold(&self) -> MutexGuard<'_, ()> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file that content is received into.
    pub fn receive(&self) -> io::Result<Incoming> {
        let path = self.incoming().join(ids::hex(&ids::random::<16>()));
        let file = File::options().create_new(true).read(true).write(true).open(&path)?;
        Ok(Incoming { path, file, hasher: Box::default(), bytes: 0, reader: None })
    }

    /// Where the content with a hash is.
    pub fn blob(&self, hash: &str) -> PathBuf {
        let directory = hash.get(..2).unwrap_or("");
        self.blobs().join(directory).join(hash)
    }

    /// Keeps received content under its hash.
    pub fn keep(&self, incoming: Incoming) -> io::Result<String> {
        incoming.sync()?;
        let hash = incoming.hasher.finalize().to_hex().to_string();
        let target = self.blob(&hash);
        let directory = target.parent().unwrap_or(&self.root).to_owned();
        fs::create_dir_all(&directory)?;
        fs::rename(&incoming.path, &target)?;
        File::open(directory)?.sync_all()?;
        Ok(hash)
    }

    /// Keeps a text as content.
    pub fn keep_text(&self, text: &str) -> io::Result<String> {
        let mut incoming = self.receive()?;
        incoming.write(text.as_bytes())?;
        self.keep(incoming)
    }

    /// Joins contents into one that is being received.
    pub fn join(&self, blobs: &[String]) -> io::Result<Incoming> {
        let mut incoming = self.receive()?;
        for blob in blobs {
            incoming.copy(&self.blob(blob))?;
        }
        Ok(incoming)
    }

    /// Removes the content with a hash, and the reports about it.
    pub fn remove(&self, hash: &str) -> io::Result<()> {
        for report in fs::read_dir(self.root.join("reports")).into_iter().flatten().flatten() {
            if report.file_name().to_string_lossy().starts_with(hash) {
                pixtune_files::remove(&report.path())?;
            }
        }
        pixtune_files::remove(&self.blob(hash))
    }
}

/// Content that is being received. It is removed unless it is kept.
#[derive(Debug)]
pub struct Incoming {
    path: PathBuf,
    file: File,
    hasher: Box<blake3::Hasher>,
    bytes: u64,
    /// How far it may be read while it arrives.
    reader: Option<Arc<Arrival>>,
}

impl Incoming {
    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        if let Some(reader) = &self.reader {
            reader.set(Arrived::So(self.bytes));
        }
        Ok(())
    }

    /// The content from its beginning; reading waits for bytes that have not arrived. It ends after [`Incoming::end`].
    pub fn reader(&mut self) -> io::Result<Arriving> {
        let file = File::open(&self.path)?;
        let arrival = Arrival { arrived: Mutex::new(Arrived::So(self.bytes)), changed: Condvar::new() };
        let arrival = Arc::clone(self.reader.insert(Arc::new(arrival)));
        Ok(Arriving { file, at: 0, arrival })
    }

    /// All bytes have arrived.
    pub fn end(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.set(Arrived::All(self.bytes));
        }
    }

    /// Appends the content of a file; its length.
    pub fn copy(&mut self, path: &Path) -> io::Result<u64> {
        let mut file = File::open(path)?;
        let mut buffer = vec![0; 1 << 20];
        let mut copied = 0;
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(copied),
                length => {
                    self.write(&buffer[..length])?;
                    copied += length as u64;
                }
            }
        }
    }

    /// Flushes the bytes to the disk, so that keeping them takes no time.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// How many bytes there are.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where they are.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// How much of content has arrived.
#[derive(Debug, Clone, Copy)]
enum Arrived {
    /// So many bytes, and there will be more.
    So(u64),
    /// All of them.
    All(u64),
    /// The rest will never arrive.
    Never,
}

#[derive(Debug)]
struct Arrival {
    arrived: Mutex<Arrived>,
    changed: Condvar,
}

impl Arrival {
    fn set(&self, arrived: Arrived) {
        *self.arrived.lock().unwrap_or_else(PoisonError::into_inner) = arrived;
        self.changed.notify_all();
    }

    /// Bytes that can be read from here on; 0 at the end.
    fn after(&self, at: u64) -> io::Result<u64> {
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match *arrived {
                Arrived::So(bytes) if bytes <= at => {
                    arrived = self.changed.wait(arrived).unwrap_or_else(PoisonError::into_inner);
                }
                Arrived::So(bytes) | Arrived::All(bytes) => return Ok(bytes - at.min(bytes)),
                Arrived::Never => return Err(io::Error::other("the upload was cut off")),
            }
        }
    }
}

/// A reader of content that is still arriving.
#[derive(Debug)]
pub struct Arriving {
    file: File,
    at: u64,
    arrival: Arc<Arrival>,
}

impl io::Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.arrival.after(self.at)?).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        let read = self.file.read(&mut buffer[..most])?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.set(Arrived::Never);
        }
        // After `keep` there is nothing under this name.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(unix)]
#[allow(clippy::useless_conversion, reason = "the counts have 32 bits on some systems")]
fn free_bytes(path: &Path) -> Option<u64> {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt as _;
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut about = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends with a zero byte, and the call only writes into the structure.
    let result = unsafe { libc::statvfs(path.as_ptr(), about.as_mut_ptr()) };
    // SAFETY: the call filled the structure, as its result shows.
    (result == 0)
        .then(|| unsafe { about.assume_init() })
        .map(|about| u64::from(about.f_bavail) * u64::from(about.f_frsize))
}

#[cfg(not(unix))]
fn free_bytes(_: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_kept_once_under_its_hash() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(directory.path()).unwrap();
        let first = data.keep_text("one").unwrap();
        let second = data.keep_text("two").unwrap();
        assert_eq!(data.keep_text("one").unwrap(), first);
        assert_eq!(fs::read_to_string(data.blob(&second)).unwrap(), "two");
        let joined = data.join(&[first.clone(), second]).unwrap();
        assert_eq!((joined.bytes(), fs::read_to_string(joined.path()).unwrap()), (6, "onetwo".to_owned()));
        let path = joined.path().to_owned();
        drop(joined);
        assert!(!path.exists());
        data.remove(&first).unwrap();
        assert!(!data.blob(&first).exists());
    }

    #[test]
    fn content_is_read_while_it_arrives() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(directory.path()).unwrap();
        let read = |mut reader: Arriving| {
            std::thread::spawn(move || {
                let mut text = String::new();
                reader.read_to_string(&mut text).map(|_| text).map_err(|error| error.to_string())
            })
        };
        let mut whole = data.receive().unwrap();
        whole.write(b"one ").unwrap();
        let reading = read(whole.reader().unwrap());
        whole.write(b"two").unwrap();
        whole.end();
        data.keep(whole).unwrap();
        assert_eq!(reading.join().unwrap(), Ok("one two".to_owned()));
        let mut cut = data.receive().unwrap();
        let reading = read(cut.reader().unwrap());
        cut.write(b"one").unwrap();
        drop(cut);
        assert_eq!(reading.join().unwrap(), Err("the upload was cut off".to_owned()));
    }

    #[test]
    fn what_was_not_kept_is_removed_at_the_next_start() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(directory.path()).unwrap();
        let mut left = data.receive().unwrap();
        left.write(b"half").unwrap();
        std::mem::forget(left);
        DataDirectory::open(directory.path()).unwrap();
        assert_eq!(fs::read_dir(directory.path().join("incoming")).unwrap().count(), 0);
        assert!(data.drop_ballast() && !data.drop_ballast());
        assert!(data.free_bytes().is_some_and(|free| free > 0));
    }
}
