//! The cases of the conformance suite, and the macro that makes tests of them.

mod harness;
mod reference;

pub mod attention;
pub mod elementwise;
pub mod linear;
pub mod loss;
pub mod memory;
pub mod optimizer;
pub mod rowwise;

pub use harness::conforms;

/// One test per operation for the device that `$open` makes for a number of threads, with these attributes.
macro_rules! conformance {
    ($(#[$attribute:meta])* $device:ident, $open:expr) => {
        mod $device {
            use super::*;

            conformance! { @tests [$(#[$attribute])*] $open,
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
    (@tests $attributes:tt $open:expr, $($file:ident::$case:ident),* $(,)?) => {
        $(
            conformance! { @test $attributes $open, $file::$case }
        )*
    };
    (@test [$(#[$attribute:meta])*] $open:expr, $file:ident::$case:ident) => {
        mod $case {
            use super::*;

            #[test]
            $(#[$attribute])*
            fn conforms() {
                crate::suite::conforms($open, crate::suite::$file::$case);
            }
        }
    };
}
