//! A checked dataset in the layout of a trainer, with a configuration that makes the trainer see the tokens that pixtune
//! counted.

mod config;
mod error;
pub mod external;
mod image;
mod layout;
mod plan;
mod row;
mod run;
mod source;
mod store;
pub mod trainer;

pub use config::{Run, RunSettings, Settings, configuration};
pub use error::ExportError;
pub use plan::{ExportPlan, default_shard_bytes, max_shard_bytes};
pub use run::{ExportReporter, ExportSummary, run};
pub use source::{Source, SplitFile};
