//! The CUDA backend on the emulated GPU: the conformance suite of devices, and what is its own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

#[path = "../../../pixtune-model/tests/kernels/suite/mod.rs"]
#[macro_use]
mod suite;

mod cuda;
mod faults;

use pixtune_cuda::{Cuda, CudaKernels};
use pixtune_emulator::Emulator;

// A number of threads stands for an order in which the threads of the GPU run; one is that of their indices.
conformance!(emulated_gpu, |threads| CudaKernels::new(Emulator::new(threads as u64 - 1)));

// The same on the first GPU of this machine: `cargo test -p pixtune-emulator --test kernels -- --ignored`. Each device is opened
// once per run, so equal bits are those of several runs.
conformance!(
    #[ignore = "needs a GPU"]
    gpu,
    |_| CudaKernels::new(Cuda::open(0).unwrap())
);
