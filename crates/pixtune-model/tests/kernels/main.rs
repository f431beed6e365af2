//! The conformance suite of devices: every operation of [`Kernels`], forward and backward, against a float64 reference at
//! ragged shapes, with the same bits for any number of threads.
//!
//! A new backend adds one line: `conformance!(name, |threads| …)`. Tolerances follow from its activation dtype. The suite runs on
//! an emulated GPU in `pixtune-emulator`.
//!
//! [`Kernels`]: pixtune_model::kernels::Kernels

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

#[macro_use]
mod suite;

use pixtune_model::kernels::{CpuKernels, Precision};

conformance!(cpu, |threads| CpuKernels::new(threads).unwrap());
conformance!(cpu_in_double_precision, |threads| {
    CpuKernels::with_precision(threads, Precision::Double).unwrap()
});
