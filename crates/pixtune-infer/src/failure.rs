//! What an endpoint did instead of answering.

/// What an endpoint did instead of answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureKind {
    /// Nothing answers at the URL.
    Unreachable,
    /// The answer took too long.
    Timeout,
    /// The connection broke, or the body was cut.
    Broken,
    /// Too many requests.
    RateLimit,
    /// An error of the server.
    Server,
    /// The key is missing, wrong or not allowed to ask.
    Unauthorized,
    /// There is no such URL or model.
    NotFound,
    /// The endpoint rejects this request.
    Rejected,
    /// The response is not one of chat completions.
    NotAnAnswer,
    /// The model or a filter refuses to answer.
    Refused,
}

impl FailureKind {
    /// The name in files.
    pub fn id(self) -> &'static str {
        match self {
            FailureKind::Unreachable => "unreachable",
            FailureKind::Timeout => "timeout",
            FailureKind::Broken => "broken-connection",
            FailureKind::RateLimit => "rate-limit",
            FailureKind::Server => "server-error",
            FailureKind::Unauthorized => "unauthorized",
            FailureKind::NotFound => "not-found",
            FailureKind::Rejected => "rejected",
            FailureKind::NotAnAnswer => "not-an-answer",
            FailureKind::Refused => "refused",
        }
    }

    /// Whether the same request may succeed later.
    pub(crate) fn passes(self) -> bool {
        use FailureKind::{Broken, NotAnAnswer, RateLimit, Server, Timeout, Unreachable};
        matches!(self, Unreachable | Timeout | Broken | RateLimit | Server | NotAnAnswer)
    }

    /// Whether every other request would fail the same way.
    pub fn is_of_endpoint(self) -> bool {
        matches!(self, FailureKind::Unreachable | FailureKind::Unauthorized | FailureKind::NotFound)
    }
}

/// A request without an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", after(*attempts))]
pub struct EndpointFailure {
    /// What happened, for programs.
    pub kind: FailureKind,
    /// What happened, for people.
    pub message: String,
    /// How often it was tried.
    pub attempts: u32,
}

fn after(count: u32) -> String {
    if count > 1 { format!(" ({count} attempts)") } else { String::new() }
}
