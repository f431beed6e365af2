//! Training a Pixtral adapter: batches, optimizer, schedule, checkpoints, evaluation.
pub mod checkpoint;
pub mod data;
pub mod directory;
pub mod dry_run;
mod error;
pub mod evaluate;
pub mod examples;
pub mod guard;
pub mod inputs;
pub mod metrics;
pub mod plan;
mod recent;
pub mod report;
pub mod schedule;
pub mod settings;
pub mod state;
pub mod steps;
pub mod tensorboard;
pub mod trainer;

pub use error::{Kept, TrainError};
