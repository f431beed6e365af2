//! LoRA adapters: reading any dialect, writing any, merging them, and saying what a server does with one.

pub mod config;
mod dialect;
mod error;
mod open;
mod pattern;
mod targets;

pub use config::AdapterConfig;
pub use dialect::{Area, Dialect, is_linear};
pub use error::AdapterError;
pub use open::{Adapter, Lora, MISTRAL_SCALING};
pub use targets::Targets;
