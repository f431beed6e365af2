//! Buffers that are used again: a fresh page costs more than the numbers in it.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Numbers in memory. Dropped, they go back to their pool.
#[derive(Debug)]
pub struct CpuBuffer {
    values: Vec<f32>,
    pool: Arc<Mutex<Free>>,
}

impl Deref for CpuBuffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values
    }
}

impl DerefMut for CpuBuffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }
}

impl Drop for CpuBuffer {
    fn drop(&mut self) {
        lock(&self.pool).put(std::mem::take(&mut self.values));
    }
}

/// Where buffers come from. Free ones are kept as long as all of them together do not pass the most that was in use at
/// once.
#[derive(Debug, Default)]
pub(super) struct Pool(Arc<Mutex<Free>>);

#[derive(Debug, Default)]
struct Free {
    /// By capacity.
    vectors: BTreeMap<usize, Vec<Vec<f32>>>,
    /// Numbers in free vectors.
    free: usize,
    /// Numbers handed out.
    used: usize,
    /// The most that were handed out at once.
    most: usize,
}

impl Pool {
    /// A buffer with arbitrary contents.
    pub(super) fn take(&self, len: usize) -> CpuBuffer {
        let reused = lock(&self.0).take(len);
        let values = reused.unwrap_or_else(|| vec![0.0; len]);
        CpuBuffer { values, pool: Arc::clone(&self.0) }
    }
}

impl Pool {
    /// The most bytes that were in use at once.
    pub(super) fn peak_bytes(&self) -> u64 {
        (lock(&self.0).most * size_of::<f32>()) as u64
    }
}

impl Free {
    fn take(&mut self, len: usize) -> Option<Vec<f32>> {
        // A vector that is much too long would count as used memory that is not.
        let fits = self.vectors.range(len..=len + len / 4).next().map(|(&capacity, _)| capacity);
        let found = fits.and_then(|capacity| self.pop(capacity));
        let capacity = found.as_ref().map_or(len, Vec::capacity);
        self.used += capacity;
        self.most = self.most.max(self.used);
        while self.used + self.free > self.most {
            let Some((&largest, _)) = self.vectors.last_key_value() else { break };
            drop(self.pop(largest));
        }
        found.map(|mut vector| {
            // Within the capacity: no number is moved, and only those never used before are written.
            vector.resize(len, 0.0);
            vector
        })
    }

    fn pop(&mut self, capacity: usize) -> Option<Vec<f32>> {
        let same = self.vectors.get_mut(&capacity)?;
        let vector = same.pop();
        if same.is_empty() {
            self.vectors.remove(&capacity);
        }
        self.free -= vector.as_ref().map_or(0, Vec::capacity);
        vector
    }

    fn put(&mut self, vector: Vec<f32>) {
        let capacity = vector.capacity();
        self.used -= capacity;
        self.free += capacity;
        self.vectors.entry(capacity).or_default().push(vector);
    }
}

/// Nothing panics while the lock is held.
fn lock(free: &Mutex<Free>) -> MutexGuard<'_, Free> {
    free.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_used_again() {
        let pool = Pool::default();
        let mut first = pool.take(100);
        first[99] = 7.0;
        let place = first.as_ptr();
        drop(first);
        assert_eq!(pool.take(90).as_ptr(), place);
        assert_ne!(pool.take(40).len(), 100);
    }

    #[test]
    fn free_memory_never_passes_the_peak() {
        let pool = Pool::default();
        for len in 1..200 {
            drop((pool.take(len * 10), pool.take(len * 7)));
            let free = lock(&pool.0);
            assert!(free.free + free.used <= free.most, "{free:?}");
        }
    }
}
