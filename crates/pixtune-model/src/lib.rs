//! Pixtral's weights and adapters in every dialect, and its network.

pub mod adapter;
pub mod kernels;
pub mod network;
mod simd;
pub mod weights;
