//! [`pixtune_model::kernels::Kernels`] over a [`Gpu`].
//!
//! A failed operation is saved, and those after it do nothing, until `Kernels::check` returns the failure.

mod attention;
mod elementwise;
mod linear;
mod loss;
mod memory;
mod operations;
mod optimizer;
mod quantized;
mod rowwise;
mod weight;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use attention::CudaSegments;
pub use memory::{CudaBuffer, CudaIndices};
use pixtune_model::kernels::DeviceError;
pub use weight::CudaWeight;

use crate::error::GpuError;
use crate::gpu::Gpu;

/// The operations of the network on a GPU.
#[derive(Debug)]
pub struct CudaKernels<G: Gpu> {
    gpu: Arc<G>,
    failure: Mutex<Option<GpuError>>,
}

impl<G: Gpu> CudaKernels<G> {
    /// Computes on this GPU.
    pub fn new(gpu: G) -> CudaKernels<G> {
        CudaKernels { gpu: Arc::new(gpu), failure: Mutex::new(None) }
    }

    /// The GPU.
    pub fn gpu(&self) -> &G {
        &self.gpu
    }

    /// A poisoned lock is fine: nothing panics while it is held.
    fn failure(&self) -> MutexGuard<'_, Option<GpuError>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does the work unless an operation before it failed. `None` if this one or one before it did.
    fn run<R>(&self, work: impl FnOnce(&G) -> Result<R, GpuError>) -> Option<R> {
        if self.failure().is_some() {
            return None;
        }
        match work(&self.gpu) {
            Ok(result) => Some(result),
            Err(error) => {
                *self.failure() = Some(error);
                None
            }
        }
    }

    /// The failure since the last call, if there was one.
    fn take_failure(&self) -> Result<(), DeviceError> {
        self.failure().take().map_or(Ok(()), |error| Err(error.into()))
    }
}

/// A size as a kernel's `int`.
fn int(size: usize) -> Result<i32, GpuError> {
    i32::try_from(size).map_err(|_| GpuError::Limit { what: "a dimension", size, limit: i32::MAX as usize })
}
