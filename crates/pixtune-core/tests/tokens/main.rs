//! Token ids against the saved answers of mistral-common 1.13.1 (`fixtures/vectors`), and what must hold for any text.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; the helpers are not marked as tests"
)]

mod chats;
mod family;
mod files;
mod sizes;
mod texts;
mod vectors;
