//! Checkpoints on disk: the fixture in both formats, and directories that are wrong in one way each.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod checkpoint;
mod header;
mod large;
mod places;
mod quantized;
mod support;
