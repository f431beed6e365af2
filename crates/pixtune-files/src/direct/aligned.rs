//! Buffers and flags for direct I/O.

use std::fs::OpenOptions;

/// Addresses, offsets and lengths have to be multiples of this: enough for every disk.
pub const ALIGNMENT: usize = 4096;

/// A buffer at a multiple of [`ALIGNMENT`].
#[derive(Debug)]
pub struct Aligned {
    storage: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    /// A buffer of zeros.
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

/// Adds the flag for direct I/O, which only Linux has.
pub fn direct(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(target_os = "linux")]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, libc::O_DIRECT);
    options
}
