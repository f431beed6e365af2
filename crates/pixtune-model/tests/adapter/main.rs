//! Adapters: every dialect and every merge against the reference's bytes, what servers do, and adapters that are wrong.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bad_input;
mod convert;
mod harness;
mod incomplete;
mod merge;
mod quantized;
mod repair;
mod servers;
#[path = "../weights/support.rs"]
mod support;
mod vocabulary;
