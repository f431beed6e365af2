//! How conversations are written for trainers.

mod parts;
mod placeholders;
mod turns;

pub(crate) use turns::{Part, Turn, fold_untrained, token_turns, turns};
