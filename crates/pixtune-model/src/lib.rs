//! Pixtral's weights and adapters in every dialect, files for llama.cpp, and its network.

pub mod adapter;
pub mod deploy;
pub mod gguf;
pub mod kernels;
pub mod network;
mod simd;
pub mod weights;
