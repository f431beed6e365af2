//! The program from outside: what it writes, what it says, how it ends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod adapter;
mod bad_input;
mod check;
mod convert;
mod crate_edges;
mod curate;
mod deploy;
mod documents;
mod evaluate;
mod exactness;
mod export;
mod family;
mod fetch;
mod fix;
mod formats;
mod fragments;
mod generate;
mod gguf;
mod harness;
mod inputs;
mod language;
mod limits;
mod models;
mod output;
mod prepare;
mod provenance;
mod report;
mod resume;
mod run;
mod serve;
mod snapshots;
mod stats;
mod stores;
mod text;
mod tokenizers;
mod tokens;
mod train;
mod train_watch;
mod verdicts;
mod walkthrough;
