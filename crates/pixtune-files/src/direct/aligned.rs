//! Buffers and flags for direct I/O.

use std::fs::OpenOptions;

/// Addresses, offsets and lengths have to be multiples of this: enough for every disk.
pub const ALIGNMENT: usize = 4096;

/// Bytes of a huge page. A disk is given few pieces of memory per request: with pages of this size a request can be larger, and
/// both directions are up to twice as fast.
const HUGE: usize = 2 << 20;

/// A buffer at a multiple of [`ALIGNMENT`], in huge pages if it is large enough and the system has them.
#[derive(Debug)]
pub struct Aligned {
    storage: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    /// A buffer of zeros.
    pub fn new(length: usize) -> Aligned {
        let alignment = if length < HUGE { ALIGNMENT } else { HUGE };
        // Not touched yet: what is skipped below takes no memory.
        let storage = vec![0; length + alignment];
        let start = storage.as_ptr().align_offset(alignment).min(alignment);
        let mut buffer = Aligned { storage, start, length };
        if alignment == HUGE {
            prefer_huge_pages(buffer.bytes_mut());
        }
        buffer
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

#[cfg(target_os = "linux")]
fn prefer_huge_pages(buffer: &mut [u8]) {
    // SAFETY: the range is memory of `buffer`, which is borrowed; the call changes how it is mapped, not what it holds.
    // A system without huge pages refuses, and nothing is lost.
    unsafe { libc::madvise(buffer.as_mut_ptr().cast(), buffer.len(), libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn prefer_huge_pages(_: &mut [u8]) {}

/// Adds the flag for direct I/O, which only Linux has.
pub fn direct(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(target_os = "linux")]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, libc::O_DIRECT);
    options
}
