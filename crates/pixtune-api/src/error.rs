//! Errors that clients get: a status, and one body that the clients of both vendors turn into their own exceptions.

use pixtune_core::json::{list, object, text};

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The kind, in OpenAI's words.
    pub kind: &'static str,
    /// A stable name of the fault for programs.
    pub code: Option<&'static str>,
    /// The parameter at fault.
    pub param: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
    /// How long to wait before the next try.
    pub retry_after: Option<u64>,
}

impl ApiError {
    fn new(status: u16, kind: &'static str, message: impl Into<String>) -> ApiError {
        ApiError { status, kind, code: None, param: None, message: message.into(), retry_after: None }
    }

    /// The request cannot be understood: 400.
    pub fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(400, "invalid_request_error", message)
    }

    /// A field of the request has a value that cannot be used: 422, which both vendors' clients have an exception for.
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> ApiError {
        ApiError { param: Some(param.into()), ..ApiError::new(422, "invalid_request_error", message) }
    }

    /// No key, or one that is not valid: 401.
    pub fn unauthorized(message: impl Into<String>) -> ApiError {
        ApiError { code: Some("invalid_api_key"), ..ApiError::new(401, "authentication_error", message) }
    }

    /// A key without the permission: 403.
    pub fn forbidden(message: impl Into<String>) -> ApiError {
        ApiError::new(403, "permission_error", message)
    }

    /// Nothing has this id: 404.
    pub fn not_found(what: &str, id: &str) -> ApiError {
        let message = format!("there is no {what} with the id `{}`", shortened(id));
        ApiError { code: Some("not_found"), ..ApiError::new(404, "not_found_error", message) }
    }

    /// No route has this path: 404.
    pub fn no_route(method: &str, path: &str) -> ApiError {
        let message = format!("{method} {} is not supported", shortened(path));
        ApiError { code: Some("unknown_url"), ..ApiError::new(404, "invalid_request_error", message) }
    }

    /// No model has this name: 404.
    pub fn no_model(name: &str, available: &[String]) -> ApiError {
        let available = match available {
            [] => "none is available: start the server with `--models DIR`".to_owned(),
            names => format!("available: {}", names.join(", ")),
        };
        let message = format!("there is no model `{}`; {available}", shortened(name));
        ApiError {
            code: Some("model_not_found"),
            param: Some("model".to_owned()),
            ..ApiError::new(404, "invalid_request_error", message)
        }
    }

    /// The state of an object does not allow this: 409.
    pub fn conflict(message: impl Into<String>) -> ApiError {
        ApiError::new(409, "conflict_error", message)
    }

    /// The body is larger than the limit: 413.
    pub fn too_large(message: impl Into<String>) -> ApiError {
        ApiError { code: Some("request_too_large"), ..ApiError::new(413, "invalid_request_error", message) }
    }

    /// The client sent nothing for too long: 408.
    pub fn timeout() -> ApiError {
        ApiError::new(408, "invalid_request_error", "the request was not sent in time")
    }

    /// The path does not take the method: 405.
    pub fn method(method: &str) -> ApiError {
        ApiError::new(405, "invalid_request_error", format!("the path does not take {method}"))
    }

    /// A quota is used up: 429.
    pub fn too_many(message: impl Into<String>, retry_after: u64) -> ApiError {
        let error = ApiError::new(429, "rate_limit_error", message);
        ApiError { code: Some("rate_limit_exceeded"), retry_after: Some(retry_after), ..error }
    }

    /// The server failed: 500.
    pub fn internal(message: impl Into<String>) -> ApiError {
        ApiError::new(500, "server_error", message)
    }

    /// The server cannot do this now: 503.
    pub fn unavailable(message: impl Into<String>) -> ApiError {
        ApiError { retry_after: Some(10), ..ApiError::new(503, "server_error", message) }
    }

    /// A server behind this one failed: 502.
    pub fn bad_gateway(message: impl Into<String>) -> ApiError {
        ApiError { code: Some("upstream_error"), ..ApiError::new(502, "server_error", message) }
    }

    /// A server behind this one took too long: 504.
    pub fn gateway_timeout(message: impl Into<String>) -> ApiError {
        ApiError { code: Some("upstream_timeout"), ..ApiError::new(504, "server_error", message) }
    }

    /// The disk is full: 507.
    pub fn disk_full(message: impl Into<String>) -> ApiError {
        ApiError { code: Some("disk_full"), ..ApiError::new(507, "server_error", message) }
    }

    /// The error that a fault of the database is for clients.
    pub fn from_ref(error: &crate::store::StoreError) -> ApiError {
        match error {
            crate::store::StoreError::Sql(rusqlite::Error::SqliteFailure(failure, _))
                if failure.code == rusqlite::ErrorCode::DiskFull =>
            {
                ApiError::disk_full("the disk of the server is full")
            }
            error => ApiError::internal(error.to_string()),
        }
    }

    /// The same error about a parameter.
    #[must_use]
    pub fn about(self, param: &str) -> ApiError {
        ApiError { param: Some(param.to_owned()), ..self }
    }

    /// The same error with a name for programs.
    #[must_use]
    pub fn coded(self, code: &'static str) -> ApiError {
        ApiError { code: Some(code), ..self }
    }

    /// Whether the same request may succeed later, so that clients should repeat it.
    pub fn may_succeed_later(&self) -> bool {
        matches!(self.status, 429 | 503)
    }

    /// The body. OpenAI's clients read `error`, Mistral's `detail` or `message`.
    pub fn body(&self) -> String {
        let (kind, message, code) = (self.kind, &self.message, self.code);
        let param = self.param.as_deref();
        text(object(|body| {
            body.field(
                "error",
                object(|error| {
                    error
                        .field("message", message)
                        .field("type", kind)
                        .field("param", param)
                        .field("code", code);
                }),
            );
            body.field("object", "error").field("message", message).field("type", kind);
            body.field("param", param).field("code", code);
            let detail = object(|detail| {
                let place = ["body"].into_iter().chain(param.into_iter().flat_map(|param| param.split('.')));
                detail.field("type", code.unwrap_or(kind)).field("loc", list(place));
                detail.field("msg", message).field("input", None::<&str>);
            });
            body.field("detail", list([detail]));
        }))
    }
}

impl From<crate::store::StoreError> for ApiError {
    fn from(error: crate::store::StoreError) -> ApiError {
        ApiError::from_ref(&error)
    }
}

/// A text of the client in a message: short.
fn shortened(text: &str) -> String {
    const MOST: usize = 120;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_body_has_the_keys_of_both_vendors() {
        let body = ApiError::invalid("hyperparameters.n_epochs", "must be at least 1").body();
        assert_eq!(
            body,
            concat!(
                r#"{"error":{"message":"must be at least 1","type":"invalid_request_error","param":"hyperparameters.n_epochs","#,
                r#""code":null},"object":"error","message":"must be at least 1","type":"invalid_request_error","#,
                r#""param":"hyperparameters.n_epochs","code":null,"detail":[{"type":"invalid_request_error","#,
                r#""loc":["body","hyperparameters","n_epochs"],"msg":"must be at least 1","input":null}]}"#
            )
        );
    }

    #[test]
    fn long_ids_are_cut_in_messages() {
        assert!(ApiError::not_found("file", &"é".repeat(5000)).message.len() < 400);
    }
}
