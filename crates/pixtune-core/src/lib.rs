//! The vocabulary of pixtune and everything that can be decided without touching the world.
pub mod bytes;
pub mod columns;
pub mod conversation;
pub mod curate;
pub mod diagnostic;
pub mod fix;
pub mod json;
pub mod plan;
pub mod quality;
pub mod rules;
pub mod sample;
pub mod spec;
pub mod spelling;
pub mod strict;
pub mod target;
pub mod text;
pub mod tokens;
