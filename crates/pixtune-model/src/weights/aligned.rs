//! Buffers and flags for reading and writing past the page cache.

use std::fs::OpenOptions;

/// What addresses, places and lengths have to be multiples of, on every disk there is.
pub const ALIGNMENT: usize = 4096;

/// A buffer at a multiple of [`ALIGNMENT`].
#[derive(Debug)]
pub struct Aligned {
    storage: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    /// Zeros.
    pub fn new(length: usize) -> Aligned {
        let storage = vec![0; length + ALIGNMENT];
        let start = storage.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Aligned { storage, start, length }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.storage[self.start..self.start + self.length]
    }

    /// Its bytes, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.start + self.length]
    }
}

/// Adds the flag that leads past the page cache; elsewhere than on Linux there is none.
pub fn past_the_cache(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(target_os = "linux")]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, libc::O_DIRECT);
    options
}
