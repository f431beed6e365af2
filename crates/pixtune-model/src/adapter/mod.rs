//! LoRA adapters: reading any dialect, writing any, merging them, and saying what a server does with one.

pub mod check;
pub mod config;
mod convert;
mod dialect;
mod error;
mod fit;
mod fold;
mod merge;
mod open;
mod pattern;
mod product;
mod refuse;
mod report;
mod settings;
mod targets;

pub use config::AdapterConfig;
pub use convert::{Conversion, ConversionReport};
pub use dialect::{Area, Dialect, is_linear};
pub use error::AdapterError;
pub use fold::{Rounding, parse_dtype};
pub use merge::Merge;
pub use open::{Adapter, Lora, MISTRAL_SCALING};
pub use product::PackedA;
pub use targets::Targets;
