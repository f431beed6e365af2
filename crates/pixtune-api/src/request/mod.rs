//! Bodies and queries of requests.

pub mod chat;
pub mod fields;
pub mod job;
pub mod query;
