//! Buffers and their pool: reusing memory is cheaper than having fresh pages mapped.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::kernels::DeviceBuffer;
use crate::weights::Dtype;

/// Numbers in memory, in f32. A dropped buffer returns to its pool.
#[derive(Debug)]
pub struct CpuBuffer {
    values: Vec<f32>,
    pool: Arc<Mutex<Free>>,
}

impl DeviceBuffer for CpuBuffer {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
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

/// The source of buffers. It keeps free ones as long as free and used ones together do not exceed the peak of those in use.
#[derive(Debug, Default)]
pub(super) struct Pool(Arc<Mutex<Free>>);

#[derive(Debug, Default)]
struct Free {
    /// By capacity.
    vectors: BTreeMap<usize, Vec<Vec<f32>>>,
    /// Numbers in free vectors.
    free: usize,
    /// Numbers in use.
    used: usize,
    /// Peak of the numbers in use.
    peak: usize,
}

impl Pool {
    /// A buffer with arbitrary contents.
    pub(super) fn take(&self, len: usize) -> CpuBuffer {
        let reused = lock(&self.0).take(len);
        let values = reused.unwrap_or_else(|| vec![0.0; len]);
        CpuBuffer { values, pool: Arc::clone(&self.0) }
    }

    /// Peak of the bytes in use.
    pub(super) fn peak_bytes(&self) -> u64 {
        (lock(&self.0).peak * size_of::<f32>()) as u64
    }
}

impl Free {
    fn take(&mut self, len: usize) -> Option<Vec<f32>> {
        // A much longer vector would count unused memory as used.
        let fits = self.vectors.range(len..=len + len / 4).next().map(|(&capacity, _)| capacity);
        let found = fits.and_then(|capacity| self.pop(capacity));
        let capacity = found.as_ref().map_or(len, Vec::capacity);
        self.used += capacity;
        self.peak = self.peak.max(self.used);
        while self.used + self.free > self.peak {
            let Some((&largest, _)) = self.vectors.last_key_value() else { break };
            drop(self.pop(largest));
        }
        found.map(|mut vector| {
            // Within the capacity: nothing moves, and only numbers past the old length are written.
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

/// A poisoned lock is fine: nothing panics while it is held.
fn lock(free: &Mutex<Free>) -> MutexGuard<'_, Free> {
    free.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reuses_dropped_buffers() {
        let pool = Pool::default();
        let mut first = pool.take(100);
        first[99] = 7.0;
        let address = first.as_ptr();
        drop(first);
        assert_eq!(pool.take(90).as_ptr(), address);
        assert_ne!(pool.take(40).len(), 100);
    }

    #[test]
    fn free_memory_never_exceeds_the_peak() {
        let pool = Pool::default();
        for len in 1..200 {
            drop((pool.take(len * 10), pool.take(len * 7)));
            let free = lock(&pool.0);
            assert!(free.free + free.used <= free.peak, "{free:?}");
        }
    }
}
