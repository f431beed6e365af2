//! What a device has to be able to do, and the processor's way of doing it.

/// The operations of the network over buffers on one device.
pub trait Kernels: Send + Sync {}

/// The processor, in single precision.
#[derive(Debug)]
pub struct CpuKernels {
    threads: usize,
}

impl CpuKernels {
    /// Works on this many threads; results do not depend on it.
    pub fn new(threads: usize) -> CpuKernels {
        CpuKernels { threads: threads.max(1) }
    }

    /// How many.
    pub fn threads(&self) -> usize {
        self.threads
    }
}

impl Kernels for CpuKernels {}
