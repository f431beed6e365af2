//! What every request has in common: which addresses it may go to, and how URLs are written.

mod address;
mod url;

pub(crate) use address::is_public;
pub use address::{Networks, filtered};
pub(crate) use url::{host, requested};
