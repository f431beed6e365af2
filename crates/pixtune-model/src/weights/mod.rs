//! Checkpoints on disk: safetensors, names, configurations, conversion.
//!
//! [`Checkpoint::open`] is the way in. It accepts a directory in either format, whole or sharded, and refuses whatever does
//! not match its configuration exactly, so that what comes out needs no further check:
//!
//! ```no_run
//! use pixtune_model::weights::{Checkpoint, Module, Part, RowOrder};
//!
//! # fn main() -> Result<(), pixtune_model::weights::WeightsError> {
//! let checkpoint = Checkpoint::open("pixtral-12b".as_ref())?;
//! let heads = checkpoint.config().text.heads;
//! let q = checkpoint.tensor(Module::Text(0, Part::Q).weight()).expect("every Pixtral has it");
//! assert_eq!(q.shape()[0] % heads, 0);
//! let bytes = q.bytes()?;                                           // as stored, memory-mapped
//! let values: Vec<f32> = q.to_f32(RowOrder::HalfSplit)?;            // rows in the given order
//! # Ok(()) }
//! ```
//!
//! - [`config`]: [`ModelConfig`] with the sizes of text, vision and projector.
//! - [`names`]: [`Module`], [`TensorName`] and their [`Spelling`]s: one table, both ways. Adapters use modules.
//! - [`rows`]: [`RowOrder`], the one thing besides names in which the formats differ.
//! - [`convert`]: from one format to the other; a [`convert::Change`] alters weights on their way.
//! - [`inspect`]: what a directory is, and what is wrong with it.
//! - [`found`]: what lies where a model or an adapter was expected, and the next step.
//! - [`safetensors`]: the strict reader and the streaming writer below all of this.
//! - [`quantized`]: NF4, FP4 and FP8 weights, which are dequantized while they are read.
//! - [`pickled`]: files of `torch.save`, read without executing anything.
//! - [`dtype`]: element types and their conversions.

mod checkpoint;
pub mod config;
pub mod convert;
pub mod dtype;
mod error;
mod format;
pub mod found;
pub mod inspect;
pub mod names;
pub mod pickled;
pub mod quantized;
pub mod rows;
pub mod safetensors;
mod substitute;

pub use checkpoint::{Checkpoint, Reader, Tensor, parse_index};
pub use config::{Family, ModelConfig, ProjectorConfig, TextConfig, VisionConfig};
pub use dtype::Dtype;
pub use error::{Problems, Sharded, Sharding, WeightsError};
pub use format::Format;
pub use names::{Kind, Module, Part, Spelling, TensorName};
pub use rows::RowOrder;
pub use substitute::Substitute;
