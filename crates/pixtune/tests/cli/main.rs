//! The program from outside: what it writes, what it says, how it ends.

mod bad_input;
mod harness;
mod prepare;
mod resume;
mod snapshots;
mod tokens;
