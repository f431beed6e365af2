//! Memory that is used again: asking the system for megabytes at every image costs as much as hashing them.

use std::sync::{Mutex, PoisonError};

/// Empty byte vectors that keep their capacity.
#[derive(Debug, Default)]
pub struct Buffers {
    free: Mutex<Vec<Vec<u8>>>,
}

/// More free buffers than this are given back to the system, and so are larger ones.
const MOST: usize = 32;
const LARGEST: usize = 4 << 20;

impl Buffers {
    /// An empty buffer: a returned one with its capacity, or a new one.
    pub fn take(&self) -> Vec<u8> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Takes a buffer back.
    pub fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < MOST && (1..=LARGEST).contains(&buffer.capacity()) {
            free.push(buffer);
        }
    }
}
