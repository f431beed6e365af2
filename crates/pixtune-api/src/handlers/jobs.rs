//! Fine-tuning jobs: create, list, show, events, checkpoints, start, cancel, pause, resume.

use pixtune_core::json::{self, object, raw, text};
use pixtune_core::text::counted;

use super::dry_run;
use crate::api::{Call, Reply};
use crate::catalog::BaseModel;
use crate::clock::parse_rfc3339;
use crate::error::ApiError;
use crate::request::job::{JobRequest, without_secrets};
use crate::run::{checkpoint_id, first_events, model_id};
use crate::store::{Created, File, Job, JobQuery, JobStatus, NewJob, Same};
use crate::training_file::{as_for, errors_in, invalid_message};
use crate::vendor::Vendor;
use crate::wire;

/// `POST /fine_tuning/jobs`
pub fn create(call: Call<'_>) -> Result<Reply, ApiError> {
    let parsed = call.json()?;
    let vendor = call.dialect.vendor;
    let mut request = JobRequest::parse(vendor, &parsed.value)?;
    request.notes.extend(call.api.trainer.notes(&request));
    let names = call.api.model_names();
    let base =
        call.api.catalog.find(&request.model).ok_or_else(|| ApiError::no_model(&request.model, &names))?;
    let training = files(&call, request.training.iter().map(|(id, _)| id), "training file", base)?;
    files(&call, request.validation.iter(), "validation file", base)?;
    let samples = samples(&training, &request);
    if call.query.flag("dry_run") {
        return Ok(Reply::Json(dry_run::describe(&call, &request, base, (&training, samples))?));
    }
    refuse_too_many(&call)?;
    let error = invalid(&training, request.skip_share, vendor);
    let status = match (&error, request.auto_start) {
        (Some(_), _) => JobStatus::FailedValidation,
        (None, true) => JobStatus::Queued,
        (None, false) => JobStatus::Validated,
    };
    let new = NewJob {
        project: call.project().to_owned(),
        vendor,
        status,
        request: without_secrets(&parsed.value),
        model: base.id.clone(),
        suffix: request.suffix.clone(),
        idempotency_key: call.idempotency_key.clone(),
        priority: request.priority,
        samples,
        error,
    };
    let is_repeated = call.is_repeated || call.idempotency_key.is_some();
    let same = match (is_repeated, vendor) {
        (true, _) => Same::Recent,
        (false, Vendor::Mistral) => Same::Active,
        (false, Vendor::OpenAi) => Same::Never,
    };
    let job = match call.api.store.create_job(&new, same)? {
        Created::New(job) => job,
        Created::Same(job) if is_repeated => return shown(&call, &job),
        Created::Same(job) => {
            let message = format!(
                "the job `{}` with the same request has not ended: cancel it first, or change the request",
                job.id
            );
            return Err(ApiError::conflict(message).coded("duplicate_job"));
        }
    };
    let invalid = training.iter().map(|file| file.invalid).sum();
    call.api.store.add_events(job.seq, &first_events(&job, &request, invalid), None)?;
    call.api.signal.wake();
    call.api.changed();
    shown(&call, &job)
}

fn refuse_too_many(call: &Call<'_>) -> Result<(), ApiError> {
    let waiting = [JobStatus::Validated, JobStatus::Queued, JobStatus::Paused, JobStatus::Running];
    let query = JobQuery { statuses: Some(waiting.to_vec()), limit: 1, ..JobQuery::default() };
    let (_, count) = call.api.store.jobs(call.project(), &query)?;
    if count >= call.api.limits.jobs {
        let message = format!("{} have not ended, and no more are allowed", counted(count, "job"));
        return Err(ApiError::too_many(message, 60).coded("job_quota_exceeded"));
    }
    let free = call.api.data.free_bytes();
    if free.is_some_and(|free| free < call.api.limits.min_free) {
        return Err(ApiError::disk_full(
            "the disk of the server is nearly full: no new jobs until there is free space",
        ));
    }
    Ok(())
}

/// The training data that a request names, as the base model sees it.
fn files<'i>(
    call: &Call<'_>,
    ids: impl Iterator<Item = &'i String>,
    what: &str,
    base: &BaseModel,
) -> Result<Vec<File>, ApiError> {
    ids.map(|id| {
        let param = what.replace(' ', "_");
        let file = call.api.store.file(call.project(), id)?;
        let file = file.ok_or_else(|| ApiError::not_found("file", id).about(&param))?;
        match file.samples {
            Some(_) => {
                let path = call.api.data.blob(&file.blob);
                as_for(file, &path, call.api.limits.threads, &base.rules)
            }
            None => {
                let message =
                    format!("the {what} `{id}` has the purpose `{}`; it has to be `fine-tune`", file.purpose);
                Err(ApiError::invalid(param, message))
            }
        }
    })
    .collect()
}

/// Samples of an epoch, by the weights of the files.
fn samples(files: &[File], request: &JobRequest) -> u64 {
    let valid = |file: &File| file.samples.unwrap_or(0).saturating_sub(file.invalid);
    files
        .iter()
        .zip(&request.training)
        .map(|(file, (_, weight))| (valid(file) as f64 * weight).floor() as u64)
        .sum()
}

/// Why files cannot be trained on: a file with more invalid samples than are skipped.
fn invalid(files: &[File], skip_share: f64, vendor: Vendor) -> Option<(String, String)> {
    let share = |file: &File| file.invalid as f64 / file.samples.unwrap_or(0).max(1) as f64;
    let file = files.iter().find(|file| file.invalid > 0 && share(file) > skip_share)?;
    let first = errors_in(file.findings.as_deref().unwrap_or("[]"));
    let mut message = invalid_message(&file.name, file.invalid, file.samples.unwrap_or(0), &first);
    if vendor == Vendor::Mistral && skip_share < 0.5 {
        message += "; `invalid_sample_skip_percentage` skips such samples";
    }
    Some(("invalid_training_file".to_owned(), message))
}

fn find(call: &Call<'_>) -> Result<Job, ApiError> {
    let id = call.param(0);
    call.api.store.job(call.project(), id)?.ok_or_else(|| ApiError::not_found("job", id))
}

/// The request that created a job.
fn request_of(job: &Job) -> Result<JobRequest, ApiError> {
    let body = json::parse(&job.request).map_err(|error| ApiError::internal(error.to_string()))?;
    JobRequest::parse(job.vendor, &body.value)
}

/// The same as it is answered: Mistral's shape has the learning rate of the run, whoever chose it.
fn shown_request(call: &Call<'_>, job: &Job) -> Result<JobRequest, ApiError> {
    let mut request = request_of(job)?;
    if job.vendor == Vendor::Mistral && request.hyperparameters.learning_rate.is_none() {
        request.hyperparameters.learning_rate =
            call.api.catalog.find(&job.model).map(|base| base.learning_rate);
    }
    Ok(request)
}

/// Events of a job that are shown with it.
const MOST_EVENTS: u64 = 10_000;

fn shown(call: &Call<'_>, job: &Job) -> Result<Reply, ApiError> {
    let request = shown_request(call, job)?;
    let events = match job.vendor {
        Vendor::Mistral => Some(call.api.store.events_before(job.seq, i64::MAX, MOST_EVENTS)?),
        Vendor::OpenAi => None,
    };
    Ok(Reply::Json(wire::job_json(job, &request, call.dialect, events.as_deref())))
}

/// `GET /fine_tuning/jobs`
pub fn list(call: Call<'_>) -> Result<Reply, ApiError> {
    let query = &call.query;
    let is_openai = call.dialect.vendor == Vendor::OpenAi;
    let limit = match is_openai {
        true => query.number("limit", 20, 1..=100)?,
        false => query.number("page_size", 100, 1..=1000)?,
    };
    let page = query.number("page", 0, 0..=u64::from(u32::MAX))?;
    let time = |name: &str| match query.get(name) {
        None => Ok(None),
        Some(text) => parse_rfc3339(text).map(Some).ok_or_else(|| {
            ApiError::invalid(
                name,
                format!("`{name}` has to be a date and time such as 2026-11-30T00:00:00Z"),
            )
        }),
    };
    let model =
        query.get("model").map(|name| call.api.catalog.find(name).map_or(name, |base| &base.id).to_owned());
    let asked = JobQuery {
        model,
        statuses: query.get("status").map(statuses).transpose()?,
        suffix: query.get("suffix").map(str::to_owned),
        created_after: time("created_after")?,
        created_before: time("created_before")?,
        metadata: query.members("metadata"),
        after: query.get("after").map(str::to_owned),
        offset: if is_openai { 0 } else { page * limit },
        limit: limit + 1,
    };
    let (mut jobs, total) = call.api.store.jobs(call.project(), &asked)?;
    let has_more = jobs.len() as u64 > limit;
    jobs.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let ids: Vec<&str> = jobs.iter().map(|job| job.id.as_str()).collect();
    let object = |job: &Job| Ok(wire::job_json(job, &shown_request(&call, job)?, call.dialect, None));
    let objects: Vec<String> = jobs.iter().map(object).collect::<Result<_, ApiError>>()?;
    Ok(Reply::Json(wire::page(&objects, &ids, total, has_more)))
}

/// The states that a filter names, in the words of either vendor.
fn statuses(name: &str) -> Result<Vec<JobStatus>, ApiError> {
    Ok(match name.to_ascii_uppercase().as_str() {
        "QUEUED" => vec![JobStatus::Queued, JobStatus::Paused],
        "STARTED" | "RUNNING" | "CANCELLATION_REQUESTED" => vec![JobStatus::Running],
        "VALIDATING" | "VALIDATING_FILES" => vec![],
        "VALIDATED" => vec![JobStatus::Validated],
        "FAILED_VALIDATION" => vec![JobStatus::FailedValidation],
        "FAILED" => vec![JobStatus::Failed],
        "SUCCESS" | "SUCCEEDED" => vec![JobStatus::Succeeded],
        "CANCELLED" => vec![JobStatus::Cancelled],
        "PAUSED" => vec![JobStatus::Paused],
        _ => return Err(ApiError::invalid("status", format!("`{name}` is not a state of a job"))),
    })
}

/// `GET /fine_tuning/jobs/{id}`
pub fn show(call: Call<'_>) -> Result<Reply, ApiError> {
    shown(&call, &find(&call)?)
}

/// `GET /fine_tuning/jobs/{id}/events`, the newest first
pub fn events(call: Call<'_>) -> Result<Reply, ApiError> {
    let job = find(&call)?;
    let limit = call.query.number("limit", 20, 1..=10_000)?;
    let before = match call.query.get("after") {
        None => i64::MAX,
        Some(id) => id
            .rsplit('-')
            .next()
            .and_then(|seq| seq.parse().ok())
            .ok_or_else(|| ApiError::not_found("event", id).about("after"))?,
    };
    let mut events = call.api.store.texts_before(job.seq, before, limit + 1)?;
    let has_more = events.len() as u64 > limit;
    events.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let objects: Vec<String> = events.iter().map(|event| wire::event_json(&job, event)).collect();
    let ids: Vec<String> = events.iter().map(|event| wire::event_id(&job, event)).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    Ok(Reply::Json(wire::page(&objects, &ids, events.len() as u64, has_more)))
}

/// `GET /fine_tuning/jobs/{id}/checkpoints`, the newest first
pub fn checkpoints(call: Call<'_>) -> Result<Reply, ApiError> {
    let job = find(&call)?;
    let limit = usize::try_from(call.query.number("limit", 10, 1..=100)?).unwrap_or(usize::MAX);
    let events = call.api.store.checkpoint_events(job.seq)?;
    let tuned = model_id(&job);
    let id = |event: &crate::store::Event| format!("ftckpt-{}-{}", job.id, event.seq);
    let all: Vec<_> = events.iter().rev().collect();
    let start = match call.query.get("after") {
        None => 0,
        Some(after) => all.iter().position(|event| id(event) == after).map_or(all.len(), |at| at + 1),
    };
    let page: Vec<_> = all.iter().skip(start).take(limit).collect();
    let objects: Vec<String> = page
        .iter()
        .map(|event| {
            let data = json::parse(event.data.as_deref().unwrap_or("{}"))
                .map(|parsed| parsed.value.into_owned())
                .ok();
            let step =
                data.as_ref().and_then(|data| data.get("step")).and_then(|step| text(step).parse().ok());
            wire::checkpoint_json(&job, event, &checkpoint_id(&tuned, step.unwrap_or(0)))
        })
        .collect();
    let ids: Vec<String> = page.iter().map(|event| id(event)).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    Ok(Reply::Json(wire::page(&objects, &ids, all.len() as u64, start + page.len() < all.len())))
}

/// A change of a job: the job after it, or a conflict with the reason.
fn changed(call: &Call<'_>, job: &Job, changed: Option<Job>, what: &str) -> Result<Reply, ApiError> {
    let Some(after) = changed else {
        let is = call.api.store.job(call.project(), &job.id)?.map_or(job.status, |job| job.status);
        let message =
            format!("the job `{}` is {} and cannot be {what}", job.id, is.as_str().replace('_', " "));
        return Err(ApiError::conflict(message));
    };
    call.api.signal.wake();
    call.api.changed();
    shown(call, &after)
}

fn note(call: &Call<'_>, job: &Job, status: &str) -> Result<(), ApiError> {
    Ok(call.api.store.add_events(job.seq, &[crate::store::NewEvent::status(status)], None)?)
}

/// `POST /fine_tuning/jobs/{id}/start`
pub fn start(call: Call<'_>) -> Result<Reply, ApiError> {
    let job = find(&call)?;
    let after = call.api.store.start_job(&job.id)?;
    if after.is_some() {
        note(&call, &job, "QUEUED")?;
    }
    changed(&call, &job, after, "started")
}

/// `POST /fine_tuning/jobs/{id}/cancel`. Cancelling again changes nothing.
pub fn cancel(call: Call<'_>) -> Result<Reply, ApiError> {
    let job = find(&call)?;
    if job.status == JobStatus::Cancelled {
        return shown(&call, &job);
    }
    let after = match call.api.store.cancel_job(&job.id) {
        // A full disk must not prevent it.
        Err(error) if ApiError::from_ref(&error).status == 507 && call.api.data.drop_ballast() => {
            call.api.store.cancel_job(&job.id)?
        }
        after => after?,
    };
    if let Some(after) = &after {
        let requested = after.status == JobStatus::Running;
        note(&call, &job, if requested { "CANCELLATION_REQUESTED" } else { "CANCELLED" })?;
    }
    changed(&call, &job, after, "cancelled")
}

/// `POST /fine_tuning/jobs/{id}/pause`
pub fn pause(call: Call<'_>) -> Result<Reply, ApiError> {
    let job = find(&call)?;
    let after = call.api.store.pause_job(&job.id)?;
    changed(&call, &job, after, "paused")
}

/// `POST /fine_tuning/jobs/{id}/resume`
pub fn resume(call: Call<'_>) -> Result<Reply, ApiError> {
    let job = find(&call)?;
    let after = call.api.store.resume_job(&job.id)?;
    changed(&call, &job, after, "resumed")
}

/// `GET /fine_tuning/checkpoints/{id}/permissions`: nothing is shared between projects.
pub fn permissions(_: Call<'_>) -> Result<Reply, ApiError> {
    Ok(Reply::Json(wire::page(&[], &[], 0, false)))
}

/// `POST` and `DELETE` of permissions
pub fn refuse_permissions(_: Call<'_>) -> Result<Reply, ApiError> {
    Err(ApiError::forbidden("checkpoints cannot be shared between projects on this server"))
}

/// `GET /fine_tuning/jobs/{id}/log`: what the training process printed; an extension of this server.
pub fn log(call: Call<'_>) -> Result<Reply, ApiError> {
    let job = find(&call)?;
    let (log, _) = crate::run::log_and_report(&call.api.data.job(&job.id));
    match log.exists() {
        true => Reply::file(log, "text/plain; charset=utf-8", None),
        false => Ok(Reply::Text("text/plain; charset=utf-8", String::new())),
    }
}

/// The counts of jobs, for the state of the server.
pub fn counts(call: &Call<'_>) -> Result<String, ApiError> {
    let counts = call.api.store.job_counts()?;
    Ok(text(json::members(counts.iter().map(|(status, count)| (status.as_str(), *count)))))
}

/// A job as the dashboard shows it, whichever API created it.
pub fn summary(job: &Job) -> String {
    text(object(|out| {
        out.field("id", &job.id).field("status", job.status.as_str()).field("model", &job.model);
        out.field("vendor", job.vendor.as_str()).field("suffix", job.suffix.as_deref());
        out.field("created_at", job.created_at)
            .field("started_at", job.started_at)
            .field("finished_at", job.finished_at);
        out.field("tuned_model", job.tuned_model.as_deref())
            .field("steps", job.steps)
            .field("samples", job.samples);
        out.field("slot", job.slot.as_deref()).field("attempts", u64::from(job.attempts));
        out.field("priority", job.priority)
            .field("error", job.error.as_ref().map(|(_, message)| message.as_str()));
        out.field("request", raw(&job.request));
    }))
}
