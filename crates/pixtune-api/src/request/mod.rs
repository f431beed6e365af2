//! Bodies and queries of requests.

pub mod chat;
pub mod job;
pub mod query;
