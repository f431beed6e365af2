//! What every request has in common: which addresses it may go to, and how URLs are written.

mod address;
mod url;

pub use address::Networks;
pub(crate) use address::{filtered, is_public};
pub(crate) use url::{host, requested};
