//! What each route does: from a call to a reply, without knowledge of connections.

pub mod batches;
pub mod chat;
mod dry_run;
pub mod extra;
pub mod files;
pub mod jobs;
pub mod models;
pub mod reports;
pub mod uploads;
