//! Training a Pixtral adapter: batches, optimizer, schedule, checkpoints, evaluation.
pub mod checkpoint;
pub mod data;
pub mod directory;
pub mod dry_run;
mod error;
pub mod evaluate;
pub mod metrics;
pub mod model;
pub mod progress;
pub mod random;
pub mod report;
pub mod schedule;
pub mod settings;
pub mod steps;
pub mod trainer;

pub use error::TrainError;
