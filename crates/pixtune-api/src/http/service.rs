//! From a request to an answer: who sent it, which route it is for, what it says, what its handler replies.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Request, Response, header};
use pixtune_core::conversation::percent_decode;
use pixtune_core::json;

use super::body::{self, Channel};
use super::observe::Observed;
use super::pages;
use crate::api::{Api, Call, CallBody, Caller, Reply};
use crate::error::ApiError;
use crate::handlers::files::signed_project;
use crate::handlers::reports::PAGES;
use crate::ids;
use crate::log::LogEntry;
use crate::request::query::Query;
use crate::routes::{BodyKind, Found, Route, find};
use crate::store::Scope;
use crate::vendor::{ApiPath, Dialect, Hints, Vendor};

/// Who may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The vendor of `/v1` where nothing else decides.
    pub vendor: Option<Vendor>,
    /// Only clients of this machine can connect, so that requests without a key are its user's.
    pub is_local: bool,
}

/// Answers requests.
pub struct Service {
    api: Arc<Api>,
    access: Access,
    observed: Arc<Observed>,
    log: fn(&LogEntry<'_>),
}

/// The project of requests without a key.
pub const DEFAULT_PROJECT: &str = "default";

/// The longest path and query.
const MOST_URI: usize = 16 << 10;

impl Service {
    /// A service; `log` gets a line for each request.
    pub fn new(api: Arc<Api>, access: Access, observed: Arc<Observed>, log: fn(&LogEntry<'_>)) -> Service {
        Service { api, access, observed, log }
    }

    /// Answers a request of the API.
    pub async fn answer(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let start = Instant::now();
        let id = ids::id("req");
        let (parts, body) = request.into_parts();
        let mut label = "none";
        let mut vendor = None;
        let result = match self.page(&parts, &mut label).await {
            Some(page) => page,
            None => self.handle(&parts, body, &mut label, &mut vendor).await.map(respond),
        };
        let mut response = result.unwrap_or_else(|error| failure(&error));
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&id) {
            headers.insert("x-request-id", id);
        }
        let vendor = vendor.map_or("-", Vendor::as_str);
        if vendor != "-" {
            headers.insert("x-pixtune-api", HeaderValue::from_static(vendor));
        }
        let (status, took) = (response.status().as_u16(), start.elapsed());
        self.observed.add(label, status, took);
        // The path is the client's text: without what would break the line.
        let path: String = parts.uri.path().chars().filter(|c| !c.is_control()).take(200).collect();
        let method = parts.method.as_str();
        (self.log)(&LogEntry::Request { id: &id, method, path: &path, status, took, api: vendor });
        response
    }

    /// What is served beside the APIs.
    async fn page(
        self: &Arc<Self>,
        parts: &Parts,
        label: &mut &'static str,
    ) -> Option<Result<Response<Body>, ApiError>> {
        if parts.method != axum::http::Method::GET {
            return None;
        }
        let path = parts.uri.path();
        *label = "page";
        match path {
            "/healthz" => Some(Ok(pages::health())),
            "/openapi.json" => Some(Ok(pages::description())),
            "/readyz" => {
                let service = Arc::clone(self);
                let ready = tokio::task::spawn_blocking(move || pages::ready(&service.api)).await;
                Some(ready.map_err(|error| ApiError::internal(error.to_string())))
            }
            "/metrics" => Some(self.metrics(parts).await),
            _ => match pages::page(path) {
                Some(page) => Some(Ok(page)),
                None => {
                    *label = "none";
                    None
                }
            },
        }
    }

    /// Counts of the whole server are for keys that may see all of it.
    async fn metrics(self: &Arc<Self>, parts: &Parts) -> Result<Response<Body>, ApiError> {
        self.refuse_other_sites(&parts.headers)?;
        if self.caller(&parts.headers).await?.scope < Scope::Admin {
            return Err(ApiError::forbidden("the metrics of the server need a key with the scope `admin`"));
        }
        let service = Arc::clone(self);
        let metrics =
            tokio::task::spawn_blocking(move || pages::metrics(&service.api, &service.observed)).await;
        metrics.map_err(|error| ApiError::internal(error.to_string()))?
    }

    async fn handle(
        self: &Arc<Self>,
        parts: &Parts,
        body: Body,
        label: &mut &'static str,
        answered: &mut Option<Vendor>,
    ) -> Result<Reply, ApiError> {
        let (path, query_text) =
            (parts.uri.path().to_owned(), parts.uri.query().unwrap_or_default().to_owned());
        if path.len() + query_text.len() > MOST_URI {
            return Err(ApiError::bad_request("the URL is too long"));
        }
        let query = Query::parse(&query_text);
        let api_path = ApiPath::parse(&path, query.get("api-version").is_some());
        let api_path = api_path.ok_or_else(|| ApiError::no_route(parts.method.as_str(), &path))?;
        let (route, params) = match find(parts.method.as_str(), &api_path.segments) {
            Found::Route(route, params) => (route, params),
            Found::OtherMethod => return Err(ApiError::method(parts.method.as_str())),
            Found::Nothing => return Err(ApiError::no_route(parts.method.as_str(), &path)),
        };
        *label = route.path;
        self.refuse_other_sites(&parts.headers)?;
        let params: Vec<String> = params.into_iter().map(percent_decode).collect();
        let caller = self.authorize(parts, route, &params, &query).await?;
        let body = self.read(parts, body, route).await?;
        let body = with_deployment(body, api_path.deployment);
        let dialect = self.dialect(parts, &api_path, &query, (&body, &caller));
        *answered = Some(dialect.vendor);
        let base_url = base_url(parts, &path, &api_path);
        let is_repeated = header(&parts.headers, "x-stainless-retry-count").is_some_and(|count| count != "0");
        let idempotency_key = header(&parts.headers, "idempotency-key").map(str::to_owned);
        let service = Arc::clone(self);
        let work = move || {
            let call = Call {
                api: &service.api,
                dialect,
                caller,
                params,
                query,
                body,
                is_repeated,
                idempotency_key,
                base_url,
            };
            (route.handler)(call)
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|_| Err(ApiError::internal("the request failed: this is a defect of the server")))
    }

    /// A page of another site must not use a server on its visitor's machine: its requests name their origin, or, where a name
    /// was made to lead here, another host.
    fn refuse_other_sites(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let host = header(headers, "host").unwrap_or_default();
        if let Some(origin) = header(headers, "origin") {
            let own = origin.split_once("://").map(|(_, host)| host);
            if own != Some(host) {
                return Err(ApiError::forbidden("requests of pages of other sites are refused"));
            }
        }
        let name = host
            .rsplit_once(':')
            .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
            .map_or(host, |(name, _)| name);
        let is_local_name = matches!(name, "" | "localhost" | "[::1]")
            || name.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback());
        match self.access.is_local && !is_local_name {
            true => {
                Err(ApiError::forbidden(format!("`{name}` is not a name of this machine: use localhost")))
            }
            false => Ok(()),
        }
    }

    async fn authorize(
        &self,
        parts: &Parts,
        route: &Route,
        params: &[String],
        query: &Query,
    ) -> Result<Caller, ApiError> {
        if (route.path == "/files/{id}/content" || PAGES.contains(&route.path))
            && let Some(project) =
                signed_project(&self.api, route.path, params.first().map_or("", String::as_str), query)
        {
            return Ok(Caller { project, scope: Scope::Read, key: None, vendor: None });
        }
        let caller = self.caller(&parts.headers).await?;
        match caller.scope >= route.scope {
            true => Ok(caller),
            false => Err(ApiError::forbidden(format!("the key may only {}", caller.scope.as_str()))),
        }
    }

    /// Who sent a request, by its key.
    async fn caller(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        let secret = secret(headers).map(str::to_owned);
        let api = Arc::clone(&self.api);
        let known = tokio::task::spawn_blocking(move || {
            let key = secret.as_deref().map(|secret| api.store.key_of(secret)).transpose()?.flatten();
            Ok::<_, ApiError>((secret.is_some(), key, api.store.has_keys()?))
        });
        let (is_given, key, has_keys) =
            known.await.map_err(|error| ApiError::internal(error.to_string()))??;
        match key {
            Some(key) => {
                Ok(Caller { project: key.project, scope: key.scope, key: Some(key.id), vendor: key.vendor })
            }
            // Without keys, clients send whatever they are set up with.
            None if !has_keys && self.access.is_local => {
                let project = DEFAULT_PROJECT.to_owned();
                Ok(Caller { project, scope: Scope::Admin, key: None, vendor: None })
            }
            None if is_given => Err(ApiError::unauthorized("the API key is not valid")),
            None => Err(ApiError::unauthorized("an API key is required: `Authorization: Bearer KEY`")),
        }
    }

    async fn read(&self, parts: &Parts, body: Body, route: &Route) -> Result<CallBody, ApiError> {
        let content_type = header(&parts.headers, "content-type").unwrap_or_default();
        if let Some(encoding) =
            header(&parts.headers, "content-encoding").filter(|encoding| *encoding != "identity")
        {
            return Err(ApiError::bad_request(format!(
                "bodies with the encoding `{encoding}` are not accepted"
            )));
        }
        match route.body {
            BodyKind::None => {
                body::text(body, 64 << 10).await?;
                Ok(CallBody::Empty)
            }
            BodyKind::Json => Ok(CallBody::Json(body::text(body, self.api.limits.body).await?)),
            BodyKind::Form(part) => {
                Ok(CallBody::Form(body::form(body, content_type, part, &self.api).await?))
            }
        }
    }

    /// The path decides, then the key, then the options of the server, then what the client sends.
    fn dialect(
        &self,
        parts: &Parts,
        path: &ApiPath<'_>,
        query: &Query,
        (body, caller): (&CallBody, &Caller),
    ) -> Dialect {
        let parsed = match body {
            CallBody::Json(text) => json::parse(text).ok(),
            _ => None,
        };
        let hints = Hints {
            user_agent: header(&parts.headers, "user-agent").unwrap_or_default(),
            headers: parts.headers.keys().map(header::HeaderName::as_str).collect(),
            segments: path.segments.clone(),
            query: query.names().collect(),
            body: parsed.as_ref().map(|parsed| &parsed.value),
        };
        let chosen = path.vendor.or(caller.vendor).or(self.access.vendor);
        let vendor = chosen.or_else(|| hints.vendor()).unwrap_or(Vendor::Mistral);
        Dialect { vendor, is_azure: path.is_azure, is_mistral_v0: hints.is_mistral_v0() }
    }
}

/// Azure names the model in the path instead of the body.
fn with_deployment(body: CallBody, deployment: Option<&str>) -> CallBody {
    let (CallBody::Json(text), Some(model)) = (&body, deployment) else { return body };
    let Ok(parsed) = json::parse(text) else { return body };
    let Some(members) = parsed.value.as_object() else { return body };
    let model = percent_decode(model);
    CallBody::Json(json::text(json::object(|out| {
        out.field("model", &model);
        for (key, value) in members.iter().filter(|(key, _)| key != "model") {
            out.field(key, value);
        }
    })))
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// The key of a request: a bearer token, or Azure's header.
fn secret(headers: &HeaderMap) -> Option<&str> {
    let bearer = header(headers, "authorization")
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    bearer.map(|(_, token)| token.trim()).or_else(|| header(headers, "api-key")).filter(|key| !key.is_empty())
}

/// The address up to `/v1`, as the client sees it.
fn base_url(parts: &Parts, path: &str, api_path: &ApiPath<'_>) -> String {
    let host = header(&parts.headers, "host").unwrap_or("localhost");
    let scheme = header(&parts.headers, "x-forwarded-proto")
        .filter(|scheme| matches!(*scheme, "http" | "https"))
        .unwrap_or("http");
    let rest = api_path.segments.join("/");
    let prefix = path.strip_suffix(&rest).unwrap_or(path).trim_end_matches('/');
    format!("{scheme}://{host}{prefix}")
}

/// The answer of a handler.
fn respond(reply: Reply) -> Response<Body> {
    let (content_type, body, name) = match reply {
        Reply::Json(json) => ("application/json", Body::from(json), None),
        Reply::Text(content_type, text) => (content_type, Body::from(text), None),
        Reply::Page(page) => return pages::report(page),
        Reply::Stream(content_type, length, name, receiver) => {
            (content_type, Body::new(Channel::new(receiver, length)), name)
        }
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(name) = name {
        // A name is the client's text: only plain characters are repeated.
        let plain: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' })
            .collect();
        if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{plain}\"")) {
            headers.insert(header::CONTENT_DISPOSITION, value);
        }
    }
    response
}

/// The answer of an error.
fn failure(error: &ApiError) -> Response<Body> {
    let mut response = Response::new(Body::from(error.body()));
    *response.status_mut() = axum::http::StatusCode::from_u16(error.status)
        .unwrap_or(axum::http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Clients repeat some errors by themselves: only those that can pass are worth it.
    let repeat = if error.may_succeed_later() { "true" } else { "false" };
    headers.insert("x-should-retry", HeaderValue::from_static(repeat));
    if let Some(seconds) = error.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
