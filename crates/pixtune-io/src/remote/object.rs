//! An object as a file that is read by position. Requests are for windows of some megabytes, of which the last few of all objects
//! are in memory.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::{Part, RemoteError, Store};

/// An object in a store, of one version.
pub struct Object {
    id: u64,
    store: Arc<dyn Store>,
    key: String,
    length: u64,
    version: Option<String>,
}

/// Bytes of a window: enough that the time to the first byte does not count, few enough for several in memory.
const WINDOW: u64 = 4 << 20;

/// Windows in memory: 64 MiB.
const WINDOWS: usize = 16;

impl Object {
    /// Requests the beginning of an object, which states its length and version.
    pub(super) fn open(store: Arc<dyn Store>, key: String) -> Result<Object, RemoteError> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let Part { bytes, length, version } = store.read(&key, 0..WINDOW, None)?;
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        let object = Object { id, store, key, length, version };
        object.verify(&bytes, &(0..WINDOW))?;
        windows().add(id, 0, bytes);
        Ok(object)
    }

    /// Bytes of the object.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// What changes with the content, if the store states it.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Fails unless parts of the object can be read by themselves, as a format needs it.
    pub(crate) fn require_ranges(&self, format: &'static str) -> Result<(), RemoteError> {
        if self.store.has_ranges(&self.key) { Ok(()) } else { Err(RemoteError::NoRanges(format)) }
    }

    /// A range that lies within the object, by a request of its own.
    pub(crate) fn range(&self, range: Range<u64>) -> Result<Bytes, RemoteError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let part = self.store.read(&self.key, range.clone(), self.version.as_deref())?;
        if part.length != self.length || part.version != self.version {
            return Err(RemoteError::Changed);
        }
        self.verify(&part.bytes, &range)?;
        Ok(part.bytes)
    }

    /// Bytes at a position: as many as the window around it has, and none behind the end.
    pub(crate) fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        if at >= self.length || buffer.is_empty() {
            return Ok(0);
        }
        let index = at / WINDOW;
        let known = windows().find(self.id, index);
        let window = match known {
            Some(window) => window,
            None => {
                let start = index * WINDOW;
                let bytes = self.range(start..(start + WINDOW).min(self.length))?;
                windows().add(self.id, index, bytes.clone());
                bytes
            }
        };
        let from = (at - index * WINDOW) as usize;
        let count = buffer.len().min(window.len() - from);
        buffer[..count].copy_from_slice(&window[from..from + count]);
        Ok(count)
    }

    /// A store that sends less or more than was asked for would shift everything behind it.
    fn verify(&self, bytes: &Bytes, range: &Range<u64>) -> Result<(), RemoteError> {
        let expected = range.end.min(self.length).saturating_sub(range.start);
        match bytes.len() as u64 == expected {
            true => Ok(()),
            false => Err(RemoteError::Invalid(format!("{} of {expected} bytes", bytes.len()))),
        }
    }
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Object").field("length", &self.length).finish_non_exhaustive()
    }
}

/// The windows that were used last, of all objects.
#[derive(Default)]
struct Windows(Vec<(u64, u64, Bytes)>);

fn windows() -> std::sync::MutexGuard<'static, Windows> {
    static ALL: Mutex<Windows> = Mutex::new(Windows(Vec::new()));
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Windows {
    fn find(&mut self, id: u64, index: u64) -> Option<Bytes> {
        let at = self.0.iter().position(|window| (window.0, window.1) == (id, index))?;
        let window = self.0.remove(at);
        let bytes = window.2.clone();
        self.0.push(window);
        Some(bytes)
    }

    fn add(&mut self, id: u64, index: u64, bytes: Bytes) {
        self.0.retain(|window| (window.0, window.1) != (id, index));
        if self.0.len() == WINDOWS {
            self.0.remove(0);
        }
        self.0.push((id, index, bytes));
    }
}
