//! Tokens: ids of texts and conversations, image tokens, and which tokens are trained.

mod bpe;
pub mod chat;
#[rustfmt::skip]
mod classes;
mod grid;
mod python_json;
mod python_regex;
mod scan;
mod schema;
pub mod tekken;

pub(crate) use chat::is_call_id;
pub use chat::{
    ChatEncoder, Counts, Encoded, Layout, Normalized, RenderedTurn, Run, Span, SystemPrompt, normalized,
    order_refusals, refusals,
};
pub use grid::{Grid, grid, too_thin};
pub use scan::is_letter;
pub(crate) use schema::{check_schema, doubtful_patterns};
pub use tekken::{Encoder, ImageConfig, Tekken, TekkenError};
