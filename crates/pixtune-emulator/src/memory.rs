//! Allocations, each between two pages without access.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pixtune_cuda::GpuError;
use pixtune_cuda::gpu::Address;

unsafe extern "C" {
    fn emulator_allocate(bytes: usize) -> *mut c_void;
    fn emulator_free(at: *mut c_void, bytes: usize);
}

#[derive(Debug)]
pub(super) struct Memory {
    capacity: AtomicUsize,
    /// Bytes by address.
    allocations: Mutex<BTreeMap<u64, usize>>,
    peak: AtomicUsize,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory::with_capacity(usize::MAX)
    }
}

impl Memory {
    pub(super) fn with_capacity(capacity: usize) -> Memory {
        Memory {
            capacity: AtomicUsize::new(capacity),
            allocations: Mutex::default(),
            peak: AtomicUsize::new(0),
        }
    }

    /// A poisoned lock is fine: nothing panics while it is held.
    fn allocations(&self) -> MutexGuard<'_, BTreeMap<u64, usize>> {
        self.allocations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn allocated_bytes(&self) -> usize {
        self.allocations().values().sum()
    }

    pub(super) fn peak_bytes(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    pub(super) fn free_bytes(&self) -> usize {
        self.capacity.load(Ordering::Relaxed).saturating_sub(self.allocated_bytes())
    }

    pub(super) fn occupy(&self, bytes: usize) {
        let left = self.capacity.load(Ordering::Relaxed).saturating_sub(bytes);
        self.capacity.store(left, Ordering::Relaxed);
    }

    pub(super) fn allocate(&self, bytes: usize) -> Result<Address, GpuError> {
        let mut allocations = self.allocations();
        let used: usize = allocations.values().sum();
        if bytes > self.capacity.load(Ordering::Relaxed).saturating_sub(used) {
            return Err(GpuError::OutOfMemory { bytes });
        }
        // SAFETY: it maps pages of its own.
        let at = unsafe { emulator_allocate(bytes) };
        if at.is_null() {
            return Err(GpuError::OutOfMemory { bytes });
        }
        allocations.insert(at as u64, bytes);
        self.peak.fetch_max(used + bytes, Ordering::Relaxed);
        Ok(Address(at as u64))
    }

    pub(super) fn free(&self, address: Address, bytes: usize) {
        if self.allocations().remove(&address.0) == Some(bytes) {
            // SAFETY: it was allocated with this size, and was not freed.
            unsafe { emulator_free(address.0 as *mut c_void, bytes) };
        }
    }

    /// Refuses a range that is not inside one allocation.
    pub(super) fn check(&self, address: Address, bytes: usize) -> Result<(), GpuError> {
        let allocations = self.allocations();
        let found = allocations.range(..=address.0).next_back();
        let fits = |(start, len): (&u64, &usize)| address.0 - start + bytes as u64 <= *len as u64;
        match found.is_some_and(fits) {
            true => Ok(()),
            false => Err(GpuError::Range { address, bytes }),
        }
    }
}
