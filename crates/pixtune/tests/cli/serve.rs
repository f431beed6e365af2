//! `serve`: the workflows of both vendors' clients, jobs that survive the server, and everything that a client can send wrong.

mod bad_input;
mod batches;
mod client;
mod family;
mod jobs;
mod keys;
mod log;
mod recorded;
mod remote;
mod trainers;
mod upstream;
mod vllm;
mod webhooks;
mod workflow;

pub use client::{Reply, Server};

use crate::harness::Case;
use crate::train::{case, toy};

/// A directory with the tiny model, and its toy data.
fn served() -> (Case, Vec<String>) {
    let samples = toy();
    (case(&samples), samples)
}
