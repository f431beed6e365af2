//! LoRA adapters: reading any dialect, writing any, merging them, and what a server does with one.

mod base_name;
pub mod check;
pub mod config;
mod config_keys;
mod convert;
mod dialect;
mod error;
mod files;
mod fit;
mod fold;
mod keys;
mod merge;
mod mlx;
mod mlx_settings;
mod open;
mod original;
mod pattern;
mod product;
mod refuse;
mod report;
mod settings;
mod targets;
mod tensors;
mod trained;

pub use config::AdapterConfig;
pub use convert::{Conversion, ConversionReport};
pub use dialect::{Area, Dialect, is_linear};
pub use error::AdapterError;
pub use fold::{Rounding, parse_dtype};
pub use keys::Deviations;
pub use merge::Merge;
pub use open::{Adapter, Lora, MISTRAL_SCALING, TokenRows};
pub use product::PackedA;
pub use targets::Targets;
pub use tensors::Tensors;
pub use trained::Untrained;
