//! The text of the kernels, embedded in the program, which a GPU's driver compiles.

/// A file of kernels that is compiled on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Module {
    /// The name of the file, without its ending.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
    /// The macros that are defined while it is compiled.
    pub defines: &'static [&'static str],
    /// The names of its kernels.
    pub kernels: &'static [&'static str],
}

/// The files that kernels include, by name.
pub const HEADERS: [(&str, &str); 2] = [
    ("prelude.cuh", include_str!("../kernels/prelude.cuh")),
    ("attention_tiles.cuh", include_str!("../kernels/attention_tiles.cuh")),
];

const ATTENTION_FORWARD: &str = include_str!("../kernels/attention_forward.cu");
const ATTENTION_BACKWARD: &str = include_str!("../kernels/attention_backward.cu");

/// Attention of one head size, a module each, so that a model compiles only those it has.
macro_rules! attention {
    ($define:literal, $size:literal) => {
        [
            Module {
                name: "attention_forward",
                text: ATTENTION_FORWARD,
                defines: &[$define],
                kernels: &[concat!("attention_", $size)],
            },
            Module {
                name: "attention_backward",
                text: ATTENTION_BACKWARD,
                defines: &[$define],
                kernels: &[
                    concat!("attention_deltas_", $size),
                    concat!("attention_backward_keys_", $size),
                    concat!("attention_backward_queries_", $size),
                ],
            },
        ]
    };
}

const ATTENTION_16: [Module; 2] = attention!("HEAD_16", "16");
const ATTENTION_64: [Module; 2] = attention!("HEAD_64", "64");
const ATTENTION_128: [Module; 2] = attention!("HEAD_128", "128");

/// Every module.
pub static MODULES: [Module; 12] = [
    Module {
        name: "elementwise",
        text: include_str!("../kernels/elementwise.cu"),
        defines: &[],
        kernels: &[
            "fill_f32",
            "fill_bf16",
            "scale_f32",
            "scale_bf16",
            "to_bf16",
            "swiglu",
            "swiglu_backward",
            "gelu",
            "gelu_backward",
            "add_bias",
            "dropout",
            "rope",
        ],
    },
    Module {
        name: "loss",
        text: include_str!("../kernels/loss.cu"),
        defines: &[],
        kernels: &["cross_entropy"],
    },
    Module {
        name: "norm",
        text: include_str!("../kernels/norm.cu"),
        defines: &[],
        kernels: &["rms_norm", "rms_norm_backward", "inverse_rms", "column_sums", "add_partials"],
    },
    Module {
        name: "optimizer",
        text: include_str!("../kernels/optimizer.cu"),
        defines: &[],
        kernels: &["adamw", "square_sums"],
    },
    Module {
        name: "quantized",
        text: include_str!("../kernels/quantized.cu"),
        defines: &[],
        kernels: &["dequantize_4bit", "dequantize_4bit_double"],
    },
    Module {
        name: "rows",
        text: include_str!("../kernels/rows.cu"),
        defines: &[],
        kernels: &["move_rows_bf16", "move_rows_f32", "patches", "resize_heads"],
    },
    ATTENTION_16[0],
    ATTENTION_16[1],
    ATTENTION_64[0],
    ATTENTION_64[1],
    ATTENTION_128[0],
    ATTENTION_128[1],
];

/// The module of a kernel.
pub fn module_of(kernel: &str) -> Option<&'static Module> {
    MODULES.iter().find(|module| module.kernels.contains(&kernel))
}
