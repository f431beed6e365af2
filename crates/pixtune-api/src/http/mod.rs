//! Connections: accepting them with limits and timeouts, and what happens to a request before and after its handler.

mod body;
pub mod form;
mod listen;
mod observe;
mod pages;
mod service;

pub use listen::{ListenError, Listener};
pub use observe::Observed;
pub use service::{Access, Service};
