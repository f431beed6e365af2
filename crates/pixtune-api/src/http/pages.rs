//! What is served beside the APIs: the dashboard, the state of the server, and the description of its routes.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};

use super::observe::Observed;
use crate::api::Api;
use crate::error::ApiError;
use crate::openapi;

/// The dashboard's files: path, type, content.
const FILES: [(&str, &str, &str); 3] = [
    ("/", "text/html; charset=utf-8", include_str!("../dashboard/index.html")),
    ("/dashboard.css", "text/css; charset=utf-8", include_str!("../dashboard/dashboard.css")),
    ("/dashboard.js", "text/javascript; charset=utf-8", include_str!("../dashboard/dashboard.js")),
];

/// Scripts and styles of this server alone; images of samples are data URIs, logs are opened from memory, reports are frames.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; frame-src 'self'; \
                      form-action 'none'; frame-ancestors 'none'; base-uri 'none'";

/// Reports have styles, scripts and images of their own, and nothing else; they run apart from the dashboard, whose key they do not
/// reach. Pages of this server may hold them.
const REPORT_POLICY: &str = "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; \
                             style-src 'unsafe-inline'; img-src data: blob:; form-action 'none'; frame-ancestors 'self'; base-uri 'none'";

/// A report.
pub fn report(page: String) -> Response<Body> {
    let mut response = response(StatusCode::OK, "text/html; charset=utf-8", page);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(REPORT_POLICY));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The page with this path.
pub fn page(path: &str) -> Option<Response<Body>> {
    let (_, content_type, content) = FILES.into_iter().find(|(name, _, _)| *name == path)?;
    Some(response(StatusCode::OK, content_type, content.to_owned()))
}

fn response(status: StatusCode, content_type: &'static str, content: String) -> Response<Body> {
    let mut response = Response::new(Body::from(content));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// `/healthz`: the server answers.
pub fn health() -> Response<Body> {
    response(StatusCode::OK, "text/plain; charset=utf-8", "ok\n".to_owned())
}

/// `/readyz`: the database answers too, and there is room on the disk.
pub fn ready(api: &Api) -> Response<Body> {
    let fault = match api.store.ping() {
        Err(error) => Some(error.to_string()),
        Ok(()) if api.data.free_bytes().is_some_and(|free| free < api.limits.min_free) => {
            Some("the disk is nearly full".to_owned())
        }
        Ok(()) => None,
    };
    match fault {
        None => health(),
        Some(fault) => {
            response(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", format!("{fault}\n"))
        }
    }
}

/// `/metrics` in the text format of Prometheus.
pub fn metrics(api: &Api, observed: &Observed) -> Result<Response<Body>, ApiError> {
    let counts = api.store.job_counts()?;
    let labels: Vec<String> =
        counts.iter().map(|(status, _)| format!("{{status=\"{}\"}}", status.as_str())).collect();
    let mut gauges: Vec<(&str, &str, f64)> = counts
        .iter()
        .zip(&labels)
        .map(|((_, count), labels)| ("pixtune_jobs", labels.as_str(), *count as f64))
        .collect();
    let loaded = api.models.loaded().len();
    gauges.push(("pixtune_loaded_models", "", loaded as f64));
    gauges.extend(api.data.free_bytes().map(|free| ("pixtune_free_bytes", "", free as f64)));
    gauges.push(("pixtune_started_seconds", "", api.started_at as f64));
    Ok(response(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", observed.prometheus(&gauges)))
}

/// `/openapi.json`
pub fn description() -> Response<Body> {
    response(StatusCode::OK, "application/json", openapi::document())
}
