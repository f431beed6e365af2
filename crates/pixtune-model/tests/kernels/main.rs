//! The conformance suite of devices: every operation of [`Kernels`], forward and backward, against a float64 reference at
//! ragged shapes, with the same bits for any number of threads.
//!
//! A new backend adds one line: `conformance!(name, |threads| …)`. Tolerances follow from its activation dtype.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

mod attention;
mod elementwise;
mod harness;
mod linear;
mod loss;
mod memory;
mod optimizer;
mod reference;
mod rowwise;

use pixtune_model::kernels::{CpuKernels, Precision};

/// One test per operation for the device that `$open` makes for a number of threads.
macro_rules! conformance {
    ($device:ident, $open:expr) => {
        mod $device {
            use super::*;

            conformance! { @tests $open,
                memory::transfers, memory::rows, memory::unsupported_dtype, memory::embed, memory::patches,
                rowwise::rms_norm, rowwise::rope, rowwise::add_bias, rowwise::gradients_of_vectors,
                linear::linear, linear::trained_linear, linear::trained_linear_backward, linear::lora_down, linear::lora_linear, linear::lora_linear_backward, linear::dropout,
                attention::full, attention::causal, attention::cached_keys,
                elementwise::swiglu, elementwise::gelu,
                loss::cross_entropy, loss::large_logits,
                optimizer::gradient_norm, optimizer::adamw,
            }
        }
    };
    (@tests $open:expr, $($file:ident::$case:ident),* $(,)?) => {
        $(
            mod $case {
                use super::*;

                #[test]
                fn conforms() {
                    harness::conforms($open, super::super::$file::$case);
                }
            }
        )*
    };
}

conformance!(cpu, |threads| CpuKernels::new(threads).unwrap());
conformance!(cpu_in_double_precision, |threads| {
    CpuKernels::with_precision(threads, Precision::Double).unwrap()
});
