//! What the dashboard and `jobs watch` need beyond the vendors' APIs.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use pixtune_core::conversation;
use pixtune_core::diagnostic::Severity;
use pixtune_core::json::{self, ToJson, list, object, raw, text};
use pixtune_core::sample::{Content, Image, ImageSource, Message, Part, Sample};
use pixtune_model::adapter::Adapter;
use pixtune_model::adapter::check::{Server, ServerOptions, check};
use pixtune_model::weights::Checkpoint;
use tokio::sync::mpsc;

use super::{files, jobs};
use crate::api::{Api, Call, Reply};
use crate::error::ApiError;
use crate::store::{Job, JobQuery};
use crate::wire;

/// Jobs that the dashboard shows.
const MOST_JOBS: u64 = 200;

/// `GET /pixtune/jobs`
pub fn list_jobs(call: Call<'_>) -> Result<Reply, ApiError> {
    let query = JobQuery { limit: MOST_JOBS, ..JobQuery::default() };
    let (jobs, total) = call.api.store.jobs(call.project(), &query)?;
    let ids: Vec<&str> = jobs.iter().map(|job| job.id.as_str()).collect();
    let objects: Vec<String> = jobs.iter().map(jobs::summary).collect();
    Ok(Reply::Json(wire::page(&objects, &ids, total, total > MOST_JOBS)))
}

fn find(call: &Call<'_>) -> Result<Job, ApiError> {
    let id = call.param(0);
    call.api.store.job(call.project(), id)?.ok_or_else(|| ApiError::not_found("job", id))
}

/// `GET /pixtune/jobs/{id}`
pub fn show_job(call: Call<'_>) -> Result<Reply, ApiError> {
    Ok(Reply::Json(jobs::summary(&find(&call)?)))
}

/// `GET /pixtune/system`
pub fn system(call: Call<'_>) -> Result<Reply, ApiError> {
    let api = call.api;
    let counts = jobs::counts(&call)?;
    let stored = api.store.stored_bytes(call.project())?;
    let (models, loaded) = (api.model_names(), api.models.loaded());
    Ok(Reply::Json(text(object(|out| {
        out.field("version", env!("CARGO_PKG_VERSION")).field("started_at", api.started_at);
        out.field("free_bytes", api.data.free_bytes())
            .field("stored_bytes", stored)
            .field("slots", list(api.slots.iter()));
        out.field("upstream", api.upstream.as_ref().map(|upstream| upstream.url()));
        out.field("models", list(models.iter()))
            .field("loaded_models", list(loaded.iter()))
            .field("jobs", raw(&counts));
    }))))
}

/// `GET /pixtune/models/{id}/servers`: which servers apply the adapter of a tuned model.
pub fn servers(call: Call<'_>) -> Result<Reply, ApiError> {
    let id = call.param(0);
    let model = call.api.store.model(call.project(), id)?.ok_or_else(|| ApiError::not_found("model", id))?;
    let base = call.api.catalog.find(&model.base);
    let base = base
        .ok_or_else(|| ApiError::unavailable(format!("the base `{}` is not on this server", model.base)))?;
    let adapter =
        Adapter::open(&model.adapter, None).map_err(|error| ApiError::internal(error.to_string()))?;
    let verdicts: Vec<(Server, bool, String)> =
        Server::ALL.into_iter().map(|server| verdict(&adapter, &base.path, server)).collect();
    Ok(Reply::Json(text(object(|out| {
        out.field("object", "list");
        out.field(
            "data",
            list(verdicts.iter().map(|(server, applies, verdict)| {
                object(move |out| {
                    out.field("server", server.as_str()).field("applies", *applies).field("verdict", verdict);
                })
            })),
        );
    }))))
}

fn verdict(adapter: &Adapter, base: &std::path::Path, server: Server) -> (Server, bool, String) {
    // A directory with both formats is read in that of the server.
    let opened = Checkpoint::open_as(base, server.format()).or_else(|_| Checkpoint::open(base));
    let checked = opened.map_err(|error| error.to_string()).and_then(|base| {
        check(adapter, &base, server, ServerOptions::default()).map_err(|error| error.to_string())
    });
    match checked {
        Err(error) => (server, false, error),
        Ok(report) if report.is_fine() => (server, true, "applies every module".to_owned()),
        Ok(report) => {
            let other = report.modules.iter().find(|module| module.verdict.as_str() != "applied");
            let reason = other.map_or("is not what was trained".to_owned(), |module| {
                format!("{}: {} ({})", module.path, module.verdict.as_str(), module.reason)
            });
            (server, false, reason)
        }
    }
}

/// Samples that are shown of a file, and bytes that are read for them.
const SAMPLES: usize = 20;
const SAMPLE_BYTES: u64 = 32 << 20;

/// `GET /pixtune/files/{id}/samples`: the first samples of training data.
pub fn samples(call: Call<'_>) -> Result<Reply, ApiError> {
    let file = files::find(&call)?;
    let mut lines = Vec::new();
    if file.samples.is_some() {
        let content = File::open(call.api.data.blob(&file.blob)).map_err(files::disk)?;
        let mut reader = BufReader::new(content.take(SAMPLE_BYTES));
        let mut line = Vec::new();
        while lines.len() < SAMPLES && reader.read_until(b'\n', &mut line).map_err(files::disk)? > 0 {
            // The last line may be cut by the limit.
            if line.ends_with(b"\n") || lines.is_empty() {
                lines.push(String::from_utf8_lossy(&line).into_owned());
            }
            line.clear();
        }
    }
    Ok(Reply::Json(text(object(|out| {
        out.field("object", "list").field("data", list(lines.iter().map(|line| raw_sample(line))));
    }))))
}

struct Shown(String);

impl ToJson for Shown {
    fn write_json(self, slot: json::Slot<'_>) {
        raw(&self.0).write_json(slot);
    }
}

fn raw_sample(line: &str) -> Shown {
    let error = |message: &str| {
        Shown(text(object(|out| {
            out.field("error", message);
        })))
    };
    let Ok(parsed) = json::parse(line.trim_start_matches('\u{feff}')) else { return error("not JSON") };
    let (sample, findings) = conversation::read(&parsed.value, &[]);
    if let Some(finding) = findings.iter().find(|finding| finding.severity == Severity::Error) {
        return error(&finding.message);
    }
    Shown(text(object(|out| {
        out.field("messages", list(sample.messages.iter().map(|message| shown(message, &sample))));
    })))
}

fn shown<'s>(message: &'s Message, sample: &'s Sample<Image>) -> impl ToJson + 's {
    let (role, content) = match message {
        Message::System(content) => ("system", Some(content)),
        Message::User(content) => ("user", Some(content)),
        Message::Assistant(assistant) => ("assistant", assistant.content.as_ref()),
        Message::Tool(result) => ("tool", Some(&result.content)),
    };
    object(move |out| {
        let parts: Vec<(&str, Option<&Image>)> = match content {
            None => Vec::new(),
            Some(Content::Text(text)) => vec![(text, None)],
            Some(Content::Parts(parts)) => parts
                .iter()
                .map(|part| match part {
                    Part::Text(text) | Part::Thinking { text, .. } => (text.as_str(), None),
                    Part::Image(index) => ("", sample.images.get(*index)),
                })
                .collect(),
        };
        out.field("role", role);
        out.field(
            "parts",
            list(parts.into_iter().map(|(text, image)| {
                object(move |out| {
                    match image.map(|image| &image.source) {
                        // Only images in the sample: a page must not fetch what it names.
                        Some(ImageSource::Inline { mime, base64 }) if mime.starts_with("image/") => {
                            out.field("image", &format!("data:{mime};base64,{base64}"))
                        }
                        Some(_) => out.field("text", "(an image that is not in the sample)"),
                        None => out.field("text", text),
                    };
                })
            })),
        );
    })
}

/// How often a stream that has nothing to send shows that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a stream collects events. Streams wait a little longer than each other: a thousand that woke at the same moment would keep
/// every other request waiting.
const PAUSE: Duration = Duration::from_millis(75);
const LONGER: Duration = Duration::from_millis(1);
const PAUSES: u64 = 50;

/// `GET /fine_tuning/jobs/{id}/stream?after=SEQ`: the events of a job as they happen, until it has ended.
pub fn stream(call: Call<'_>) -> Result<Reply, ApiError> {
    let job = find(&call)?;
    let after = call.query.number("after", 0, 0..=u64::from(u32::MAX))?;
    // A client that does not read holds one batch here, and one on its way.
    let (sender, receiver) = mpsc::channel(1);
    let api = Arc::clone(call.api);
    tokio::runtime::Handle::current().spawn(async move {
        // A client that has gone, or a database that fails, ends the stream: the client asks again.
        let _ = send_events(&api, &job, i64::try_from(after).unwrap_or(i64::MAX), &sender).await;
    });
    Ok(Reply::Stream("text/event-stream", None, None, receiver))
}

async fn send_events(api: &Api, job: &Job, mut after: i64, sender: &mpsc::Sender<Bytes>) -> Result<(), ()> {
    let mut changes = api.changes.subscribe();
    let nth = api.streams.fetch_add(1, Ordering::Relaxed);
    let pause = PAUSE + LONGER * u32::try_from(nth % PAUSES).unwrap_or(0);
    loop {
        let version = *changes.borrow_and_update();
        let batch = api.batches.next(&api.store, job, (after, version)).map_err(drop)?;
        after = batch.last;
        if !batch.text.is_empty() {
            sender.send(batch.text.clone()).await.map_err(drop)?;
        }
        if batch.has_ended && batch.is_all {
            return Ok(());
        }
        if !batch.is_all {
            tokio::task::yield_now().await;
            continue;
        }
        match tokio::time::timeout(HEARTBEAT, changes.changed()).await {
            // Changes that follow at once are sent together.
            Ok(_) => tokio::time::sleep(pause).await,
            Err(_elapsed) => sender.send(Bytes::from_static(b": alive\n\n")).await.map_err(drop)?,
        }
    }
}
