//! The operations of the network on NVIDIA GPUs.
//!
//! [`CudaKernels`] implements [`pixtune_model::kernels::Kernels`] over a [`Gpu`]: memory, launches of the kernels in
//! `kernels/*.cu`, and matrix multiplications. There are two: a GPU behind the CUDA driver, whose libraries are found when the program
//! runs, and the one that `pixtune-emulator` emulates on the CPU, on which the tests prove the kernels and everything above.
//!
//! Activations are bf16; sums, parameters, their gradients and the optimizer are f32. Frozen weights are bf16: those stored in
//! f32 or f16 are rounded when they are loaded.

mod address;
mod backend;
mod driver;
mod error;
pub mod gpu;
pub mod matmul;
mod select;
pub mod source;

pub use backend::{CudaBuffer, CudaIndices, CudaKernels, CudaSegments, CudaWeight};
pub use driver::{Cuda, missing_libraries};
pub use error::GpuError;
pub use gpu::Gpu;
pub use select::{Device, OpenDevice, OpenError};
