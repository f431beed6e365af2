//! Every route of the APIs: the router, the permissions and `openapi.json` follow from this table.

use crate::api::{Call, Reply};
use crate::error::ApiError;
use crate::handlers::{batches, chat, extra, files, jobs, models, reports, uploads};
use crate::store::Scope;

/// What body a route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// None; one that is sent is read and ignored, because old clients send `{}`.
    None,
    /// JSON.
    Json,
    /// A form whose file is the part with this name.
    Form(&'static str),
}

/// What a route does.
pub type Handler = fn(Call<'_>) -> Result<Reply, ApiError>;

/// A route below `/v1`.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// The HTTP method.
    pub method: &'static str,
    /// The path, with names of its variable parts in braces.
    pub path: &'static str,
    /// What the key has to permit.
    pub scope: Scope,
    /// What body it takes.
    pub body: BodyKind,
    /// What it does.
    pub handler: Handler,
    /// The name of its answer's schema in `openapi.json`.
    pub answer: &'static str,
    /// One sentence for `openapi.json`.
    pub summary: &'static str,
}

const fn get(path: &'static str, handler: Handler, answer: &'static str, summary: &'static str) -> Route {
    Route { method: "GET", path, scope: Scope::Read, body: BodyKind::None, handler, answer, summary }
}

const fn post(
    path: &'static str,
    body: BodyKind,
    handler: Handler,
    answer: &'static str,
    summary: &'static str,
) -> Route {
    Route { method: "POST", path, scope: Scope::Write, body, handler, answer, summary }
}

const fn delete(path: &'static str, handler: Handler, answer: &'static str, summary: &'static str) -> Route {
    Route { method: "DELETE", path, scope: Scope::Write, body: BodyKind::None, handler, answer, summary }
}

use BodyKind::{Form, Json, None as Empty};

/// Every route.
pub const ROUTES: &[Route] = &[
    get("/files", files::list, "FileList", "List files"),
    post("/files", Form("file"), files::create, "File", "Upload a file, which is checked"),
    get("/files/{id}", files::show, "File", "Show a file"),
    delete("/files/{id}", files::delete, "Deleted", "Delete a file"),
    get("/files/{id}/content", files::content, "Bytes", "Download the content of a file"),
    get("/files/{id}/url", files::url, "Url", "Get a URL of the content that needs no key"),
    post("/uploads", Json, uploads::create, "Upload", "Begin an upload in parts"),
    post("/uploads/{id}/parts", Form("data"), uploads::add_part, "Part", "Add a part to an upload"),
    post("/uploads/{id}/complete", Json, uploads::complete, "Upload", "Make a file of the parts"),
    post("/uploads/{id}/cancel", Empty, uploads::cancel, "Upload", "Cancel an upload"),
    get("/fine_tuning/jobs", jobs::list, "JobList", "List jobs"),
    post("/fine_tuning/jobs", Json, jobs::create, "Job", "Create a job"),
    get("/fine_tuning/jobs/{id}", jobs::show, "Job", "Show a job"),
    post("/fine_tuning/jobs/{id}/start", Empty, jobs::start, "Job", "Start a validated job"),
    post("/fine_tuning/jobs/{id}/cancel", Empty, jobs::cancel, "Job", "Cancel a job"),
    post("/fine_tuning/jobs/{id}/pause", Empty, jobs::pause, "Job", "Pause a job at its newest checkpoint"),
    post("/fine_tuning/jobs/{id}/resume", Empty, jobs::resume, "Job", "Resume a paused job"),
    get("/fine_tuning/jobs/{id}/events", jobs::events, "EventList", "List the events of a job"),
    get(
        "/fine_tuning/jobs/{id}/checkpoints",
        jobs::checkpoints,
        "CheckpointList",
        "List the checkpoints of a job",
    ),
    get("/fine_tuning/jobs/{id}/log", jobs::log, "Bytes", "Read the log of the training process"),
    get("/fine_tuning/jobs/{id}/report", reports::of_job, "Page", "Read the report of the run"),
    get("/fine_tuning/jobs/{id}/stream", extra::stream, "Events", "Follow the events of a job"),
    get(
        "/fine_tuning/checkpoints/{id}/permissions",
        jobs::permissions,
        "Object",
        "List who may use a checkpoint",
    ),
    post(
        "/fine_tuning/checkpoints/{id}/permissions",
        Json,
        jobs::refuse_permissions,
        "Object",
        "Share a checkpoint; refused",
    ),
    delete(
        "/fine_tuning/checkpoints/{id}/permissions/{permission}",
        jobs::refuse_permissions,
        "Object",
        "End the sharing of a checkpoint; refused",
    ),
    Route {
        method: "PATCH",
        ..post("/fine_tuning/models/{id}", Json, models::update, "TunedModel", "Describe a tuned model")
    },
    post("/fine_tuning/models/{id}/archive", Empty, models::archive, "Archived", "Archive a tuned model"),
    delete("/fine_tuning/models/{id}/archive", models::unarchive, "Archived", "Unarchive a tuned model"),
    get("/batch/jobs", batches::list, "BatchList", "List batches of chats, in Mistral's API"),
    post("/batch/jobs", Json, batches::create_mistral, "Batch", "Answer files of chats, in Mistral's API"),
    get("/batch/jobs/{id}", batches::show, "Batch", "Show a batch"),
    delete("/batch/jobs/{id}", batches::delete, "Deleted", "Delete a batch that has ended"),
    post("/batch/jobs/{id}/cancel", Empty, batches::cancel, "Batch", "Cancel a batch"),
    get("/batches", batches::list, "BatchList", "List batches of chats, in OpenAI's API"),
    post("/batches", Json, batches::create_openai, "Batch", "Answer a file of chats, in OpenAI's API"),
    get("/batches/{id}", batches::show, "Batch", "Show a batch"),
    post("/batches/{id}/cancel", Empty, batches::cancel, "Batch", "Cancel a batch"),
    get("/models", models::list, "ModelList", "List base models and tuned models"),
    get("/models/{id}", models::show, "Model", "Show a model"),
    delete("/models/{id}", models::delete, "Deleted", "Delete a tuned model"),
    get("/pixtune/jobs", extra::list_jobs, "Object", "List jobs of both APIs in one shape"),
    get("/pixtune/jobs/{id}", extra::show_job, "Object", "Show a job of either API in one shape"),
    get(
        "/pixtune/jobs/{id}/report/url",
        reports::job_url,
        "Url",
        "Get a URL of the report of a run that needs no key",
    ),
    get("/pixtune/files/{id}/report", reports::of_file, "Page", "Read a report about training data"),
    get(
        "/pixtune/files/{id}/report/url",
        reports::file_url,
        "Url",
        "Get a URL of the report about training data that needs no key",
    ),
    get("/pixtune/files/{id}/samples", extra::samples, "Object", "Show the first samples of training data"),
    get(
        "/pixtune/models/{id}/servers",
        extra::servers,
        "Object",
        "Show which servers apply the adapter of a tuned model",
    ),
    get("/pixtune/system", extra::system, "Object", "Show the state of the server"),
    Route {
        scope: Scope::Read,
        ..post("/chat/completions", Json, chat::complete, "Completion", "Answer a conversation")
    },
];

/// The route of a request, and the variable parts of its path.
pub fn find<'p>(method: &str, segments: &[&'p str]) -> Found<'p> {
    let mut has_path = false;
    for route in ROUTES {
        let Some(params) = matched(route.path, segments) else { continue };
        if route.method == method {
            return Found::Route(route, params);
        }
        has_path = true;
    }
    if has_path { Found::OtherMethod } else { Found::Nothing }
}

/// What is found for a path.
#[derive(Debug)]
pub enum Found<'p> {
    /// The route, and the variable parts of the path.
    Route(&'static Route, Vec<&'p str>),
    /// The path has routes for other methods.
    OtherMethod,
    /// No route has the path.
    Nothing,
}

fn matched<'p>(path: &str, segments: &[&'p str]) -> Option<Vec<&'p str>> {
    let mut params = Vec::new();
    let mut parts = path.split('/').skip(1);
    for segment in segments {
        match parts.next()? {
            part if part.starts_with('{') => params.push(*segment),
            part if part == *segment => {}
            _ => return None,
        }
    }
    parts.next().is_none().then_some(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_their_routes() {
        let found = |method: &str, path: &'static str| {
            let segments: Vec<&str> = path.split('/').collect();
            match find(method, &segments) {
                Found::Route(route, params) => format!("{} {params:?}", route.path),
                Found::OtherMethod => "other method".to_owned(),
                Found::Nothing => "nothing".to_owned(),
            }
        };
        assert_eq!(found("GET", "models/ft:a:b::c"), r#"/models/{id} ["ft:a:b::c"]"#);
        assert_eq!(
            found("DELETE", "fine_tuning/checkpoints/a/permissions/b"),
            r#"/fine_tuning/checkpoints/{id}/permissions/{permission} ["a", "b"]"#
        );
        assert_eq!(
            [found("PUT", "files"), found("GET", "nope"), found("GET", "files/a/b")],
            ["other method", "nothing", "nothing"]
        );
    }
}
