//! One file a command.

pub mod prepare;
