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
mod settings;
pub mod tokenizer;

pub use crate::version::TokenizerVersion;
pub(crate) use chat::CallIds;
pub use chat::{
    ChatEncoder, ChatFormat, Counts, Encoded, FROM_TABLES, Layout, Normalized, Piece, Rendered, RenderedTurn,
    Run, Span, SystemPrompt, Terms, normalized, order_refusals, refusals,
};
pub use grid::{Grid, grid, too_thin};
pub use scan::is_letter;
pub(crate) use schema::{check_schema, doubtful_patterns};
pub(crate) use settings::REASONING_EFFORTS;
pub use settings::{ReasoningEfforts, SettingsBuilder};
pub use tokenizer::{Encoder, ImageConfig, Origin, TekkenError, Tokenizer};
