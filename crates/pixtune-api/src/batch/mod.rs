//! The thread that answers the requests of batches, one batch after the other.
//!
//! Answers are appended in the order of the requests, each as a whole line, so that their number shows a later server where to
//! go on: every request has exactly one line, whenever the server is killed.

mod requests;
mod results;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use pixtune_core::json::{self, Value, object};

use crate::api::Api;
use crate::clock::now;
use crate::error::ApiError;
use crate::handlers::chat;
use crate::store::{Batch, BatchStatus, NewFile, StoreError};
use crate::vendor::Vendor;
use requests::{Request, Requests};
use results::Results;

/// Answers at the same time: a model on this machine answers one request after the other, an upstream server many.
const AT_ONCE: usize = 16;

/// How often the counts of a batch are stored, and its state is read.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long a request that may succeed later is repeated.
const PATIENCE: Duration = Duration::from_secs(600);

/// What stops the work on a batch.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Disk(#[from] io::Error),
    #[error("{1}")]
    Batch(Option<u64>, String),
}

/// Why a batch is not answered any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// Every request has a result.
    Complete,
    /// Its user cancelled it, or its time is over.
    Early(BatchStatus),
    /// The server ends.
    ServerEnds,
}

/// Answers batches until the server ends. A fault of the disk or the database ends no batch: the next look goes on.
pub fn run(api: &Arc<Api>, log: &dyn Fn(&str)) {
    let mut last = String::new();
    loop {
        let fault = look(api).err().map_or(String::new(), |error| error.to_string());
        // A fault that lasts is reported once.
        if !fault.is_empty() && fault != last {
            log(&format!("batches: {fault}"));
        }
        last = fault;
        if !api.batch_signal.wait() {
            return;
        }
    }
}

fn look(api: &Arc<Api>) -> Result<(), Fault> {
    while let Some(batch) = api.store.next_batch()? {
        match work(api, &batch) {
            Ok(Stop::ServerEnds) => return Ok(()),
            Ok(_) => {}
            Err(Fault::Batch(line, message)) => {
                api.store.finish_batch(
                    &batch.id,
                    BatchStatus::Failed,
                    (None, None),
                    Some(&(line, message)),
                )?;
            }
            Err(fault) => return Err(fault),
        }
        api.changed();
    }
    Ok(())
}

fn work(api: &Arc<Api>, batch: &Batch) -> Result<Stop, Fault> {
    let paths = batch.inputs.iter().map(|id| match api.store.file(&batch.project, id)? {
        Some(file) => Ok(api.data.blob(&file.blob)),
        None => Err(Fault::Batch(None, format!("the file `{id}` was deleted"))),
    });
    let paths: Vec<_> = paths.collect::<Result<_, _>>()?;
    if batch.status == BatchStatus::Queued {
        let total = requests::check(&paths, batch.vendor)?;
        api.store.start_batch(&batch.id, total)?;
    }
    let mut results = Results::open(&api.data.batch(&batch.id))?;
    let mut open = Requests::open(paths);
    for _ in 0..results.written() {
        open.next()?;
    }
    let stop = answer_all(api, batch, &mut open, &mut results)?;
    let status = match stop {
        Stop::Complete => BatchStatus::Succeeded,
        Stop::Early(status) => status,
        Stop::ServerEnds => return Ok(stop),
    };
    finish(api, batch, &mut results, status)?;
    Ok(stop)
}

fn answer_all(
    api: &Arc<Api>,
    batch: &Batch,
    open: &mut Requests,
    results: &mut Results,
) -> Result<Stop, Fault> {
    let mut looked: Option<Instant> = None;
    loop {
        if looked.is_none_or(|looked| looked.elapsed() >= INTERVAL) {
            results.sync()?;
            let status = api.store.progress_batch(&batch.id, results.succeeded(), results.failed())?;
            looked = Some(Instant::now());
            api.changed();
            match status {
                BatchStatus::Cancelling => return Ok(Stop::Early(BatchStatus::Cancelled)),
                _ if now() >= batch.expires_at => return Ok(Stop::Early(BatchStatus::Expired)),
                _ => {}
            }
        }
        if api.batch_signal.has_ended() {
            results.sync()?;
            return Ok(Stop::ServerEnds);
        }
        let at_once = if api.upstream.is_some() { AT_ONCE } else { 1 };
        let mut window = Vec::new();
        while window.len() < at_once {
            match open.next()? {
                Some(request) => window.push(request),
                None => break,
            }
        }
        if window.is_empty() {
            return Ok(Stop::Complete);
        }
        let answers: Vec<Result<String, ApiError>> = thread::scope(|scope| {
            let asked: Vec<_> =
                window.iter().map(|request| scope.spawn(|| answer(api, batch, request))).collect();
            asked
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err(ApiError::internal("the answer failed"))))
                .collect()
        });
        if api.batch_signal.has_ended() && answers.iter().any(|answer| is_unanswered(answer.as_ref())) {
            results.sync()?;
            return Ok(Stop::ServerEnds);
        }
        for (request, answer) in window.iter().zip(answers) {
            results.push(&batch.id, request, &answer)?;
        }
    }
}

/// A request that was not repeated because the server ends: the next one asks again.
fn is_unanswered(answer: Result<&String, &ApiError>) -> bool {
    answer.is_err_and(ApiError::may_succeed_later)
}

/// Answers a request, as a chat of the client would be. What may succeed later is repeated for a while.
fn answer(api: &Arc<Api>, batch: &Batch, request: &Request) -> Result<String, ApiError> {
    let body = body(batch, request)?;
    let parsed = json::parse(&body).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let start = Instant::now();
    let mut pause = Duration::from_secs(1);
    loop {
        let answer = chat::answer(api, &batch.project, batch.vendor, &parsed.value);
        let repeat = is_unanswered(answer.as_ref()) && start.elapsed() < PATIENCE && now() < batch.expires_at;
        if !repeat || api.batch_signal.sleep(pause) {
            return answer;
        }
        pause = (pause * 2).min(Duration::from_secs(60));
    }
}

/// The body with the model of the batch, and without a stream.
fn body(batch: &Batch, request: &Request) -> Result<String, ApiError> {
    let root = json::parse(&request.text).map_err(|error| ApiError::bad_request(error.to_string()))?.value;
    let body = root.get("body").and_then(Value::as_object).unwrap_or_default();
    let set: BTreeSet<&str> =
        if batch.model.is_some() { ["model", "stream"] } else { ["stream", "stream"] }.into();
    Ok(json::text(object(|out| {
        out.optional("model", batch.model.as_deref());
        for (key, value) in body.iter().filter(|(key, _)| !set.contains(&**key)) {
            out.field(key, value);
        }
    })))
}

/// Makes files of the results, and ends the batch. A batch that ends early has the results so far.
fn finish(api: &Arc<Api>, batch: &Batch, results: &mut Results, status: BatchStatus) -> Result<(), Fault> {
    results.sync()?;
    let mut kept = Vec::new();
    for (kind, path, lines) in results.files() {
        if lines == 0 {
            kept.push(None);
            continue;
        }
        let mut incoming = api.data.receive()?;
        let bytes = incoming.copy(path)?;
        let _held = api.data.hold();
        let blob = api.data.keep(incoming)?;
        let file = api.store.create_file(&NewFile {
            project: batch.project.clone(),
            name: format!("{}_{kind}.jsonl", batch.id),
            purpose: if batch.vendor == Vendor::OpenAi { "batch_output" } else { "batch" }.to_owned(),
            source: "mistral",
            blob,
            bytes,
            samples: None,
            invalid_lines: Vec::new(),
            findings: None,
            rules: String::new(),
            expires_at: None,
        })?;
        kept.push(Some(file.id));
    }
    api.store.progress_batch(&batch.id, results.succeeded(), results.failed())?;
    let file = |index: usize| kept.get(index).and_then(Option::as_deref);
    api.store.finish_batch(&batch.id, status, (file(0), file(1)), None)?;
    pixtune_files::remove(&api.data.batch(&batch.id))?;
    Ok(())
}
