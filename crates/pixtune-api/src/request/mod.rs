//! Bodies and queries of requests.

pub mod chat;
mod fields;
pub mod job;
pub mod query;
