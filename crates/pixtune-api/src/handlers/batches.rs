//! Batches of chats: create, list, show, cancel, delete, in Mistral's API and in OpenAI's.

use std::fs;

use pixtune_core::json::{self, Value, members};

use super::files::disk;
use crate::api::{Call, Reply};
use crate::clock::parse_rfc3339;
use crate::error::ApiError;
use crate::request::fields::Fields;
use crate::store::{Batch, BatchQuery, BatchStatus, NewBatch, NewFile};
use crate::vendor::Vendor;
use crate::wire;

/// The purpose of files with requests.
const PURPOSE: &str = "batch";

/// Batches of a project that have not ended.
const MOST_OPEN: u64 = 100;

/// Seconds that a batch may take, unless its client says otherwise.
const DAY: i64 = 24 * 3600;

/// `POST /batch/jobs`, Mistral's
pub fn create_mistral(call: Call<'_>) -> Result<Reply, ApiError> {
    let parsed = call.json()?;
    let fields = object(&parsed.value)?;
    endpoint(&fields)?;
    if fields.text("agent_id")?.is_some() {
        return Err(ApiError::invalid("agent_id", "agents are not supported: name a `model`"));
    }
    let model = fields.text("model")?.map(str::to_owned);
    if model.is_none() {
        return Err(ApiError::invalid("model", "`model` is required"));
    }
    let hours = fields.count("timeout_hours", 1)?;
    let mut inputs = Vec::new();
    for file in fields.list("input_files")? {
        let id = file
            .as_str()
            .ok_or_else(|| ApiError::invalid("input_files", "each input file has to be an id"))?;
        inputs.push(id.to_owned());
    }
    inputs.iter().try_for_each(|id| requests_file(&call, id, "input_files"))?;
    let requests = fields.list("requests")?;
    if inputs.is_empty() == requests.is_empty() {
        return Err(ApiError::invalid("input_files", "either `input_files` or `requests` is required"));
    }
    if !requests.is_empty() {
        inputs.push(keep_requests(&call, requests)?);
    }
    let lifetime =
        hours.map_or(DAY, |hours| i64::try_from(hours).unwrap_or(i64::MAX / 3600).saturating_mul(3600));
    create(&call, &fields, Vendor::Mistral, (model, inputs, lifetime))
}

/// `POST /batches`, OpenAI's
pub fn create_openai(call: Call<'_>) -> Result<Reply, ApiError> {
    let parsed = call.json()?;
    let fields = object(&parsed.value)?;
    endpoint(&fields)?;
    match fields.text("completion_window")? {
        None | Some("24h") => {}
        Some(_) => {
            return Err(ApiError::invalid("completion_window", "`completion_window` can only be `24h`"));
        }
    }
    let id = fields.text("input_file_id")?;
    let id = id.ok_or_else(|| ApiError::invalid("input_file_id", "`input_file_id` is required"))?.to_owned();
    requests_file(&call, &id, "input_file_id")?;
    create(&call, &fields, Vendor::OpenAi, (None, vec![id], DAY))
}

fn object<'v, 'a>(body: &'v Value<'a>) -> Result<Fields<'v, 'a>, ApiError> {
    match body.as_object() {
        Some(_) => Ok(Fields { value: body, path: "" }),
        None => Err(ApiError::bad_request(format!("the body is {}, not an object", body.kind()))),
    }
}

fn endpoint(fields: &Fields<'_, '_>) -> Result<(), ApiError> {
    match fields.text("endpoint")? {
        Some(wire::ENDPOINT) => Ok(()),
        _ => Err(ApiError::invalid("endpoint", format!("`endpoint` has to be `{}`", wire::ENDPOINT))),
    }
}

/// Refuses what is not a file of requests.
fn requests_file(call: &Call<'_>, id: &str, param: &str) -> Result<(), ApiError> {
    let file = call.api.store.file(call.project(), id)?;
    let file = file.ok_or_else(|| ApiError::not_found("file", id).about(param))?;
    match file.purpose == PURPOSE {
        true => Ok(()),
        false => {
            let message = format!("the file `{id}` has the purpose `{}`; it has to be `batch`", file.purpose);
            Err(ApiError::invalid(param, message))
        }
    }
}

/// Keeps requests that are in the body as a file.
fn keep_requests(call: &Call<'_>, requests: &[Value<'_>]) -> Result<String, ApiError> {
    let text: String = requests.iter().map(|request| json::text(request) + "\n").collect();
    let _held = call.api.data.hold();
    let blob = call.api.data.keep_text(&text).map_err(disk)?;
    let file = call.api.store.create_file(&NewFile {
        project: call.project().to_owned(),
        name: "requests.jsonl".to_owned(),
        purpose: PURPOSE.to_owned(),
        source: "upload",
        blob,
        bytes: text.len() as u64,
        samples: None,
        invalid_lines: Vec::new(),
        findings: None,
        rules: String::new(),
        expires_at: None,
    })?;
    Ok(file.id)
}

fn create(
    call: &Call<'_>,
    fields: &Fields<'_, '_>,
    vendor: Vendor,
    (model, inputs, lifetime): (Option<String>, Vec<String>, i64),
) -> Result<Reply, ApiError> {
    if call.api.store.open_batches(call.project())? >= MOST_OPEN {
        return Err(ApiError::too_many(
            format!("{MOST_OPEN} batches have not ended, and no more are allowed"),
            60,
        ));
    }
    let metadata = fields.metadata()?;
    let metadata = json::text(members(metadata.iter().map(|(key, value)| (key, value))));
    let project = call.project().to_owned();
    let new = NewBatch { project, vendor, model, inputs, metadata, lifetime };
    let batch = call.api.store.create_batch(&new)?;
    call.api.batch_signal.wake();
    Ok(Reply::Json(wire::batch_json(&batch, None)))
}

/// The API of a path: a batch is shown in the API that created it.
fn vendor_of(call: &Call<'_>) -> Vendor {
    call.dialect.vendor
}

fn find(call: &Call<'_>) -> Result<Batch, ApiError> {
    let id = call.param(0);
    let batch = call.api.store.batch(call.project(), id)?.filter(|batch| batch.vendor == vendor_of(call));
    batch.ok_or_else(|| ApiError::not_found("batch", id))
}

/// `GET /batch/jobs`, and `GET /batches`
pub fn list(call: Call<'_>) -> Result<Reply, ApiError> {
    let (vendor, query) = (vendor_of(&call), &call.query);
    let is_openai = vendor == Vendor::OpenAi;
    let limit = match is_openai {
        true => query.number("limit", 20, 1..=100)?,
        false => query.number("page_size", 100, 1..=1000)?,
    };
    let page = if is_openai { 0 } else { query.number("page", 0, 0..=u64::from(u32::MAX))? };
    let created_after = match query.get("created_after") {
        None => None,
        Some(text) => Some(parse_rfc3339(text).ok_or_else(|| {
            ApiError::invalid(
                "created_after",
                "`created_after` has to be a date and time such as 2026-11-30T00:00:00Z",
            )
        })?),
    };
    let asked = BatchQuery {
        vendor,
        model: query.get("model").map(str::to_owned),
        statuses: query.all("status").map(status).collect::<Result<_, _>>()?,
        created_after,
        after: query.get("after").map(str::to_owned),
        offset: page * limit,
        limit: limit + 1,
    };
    let (mut batches, total) = call.api.store.batches(call.project(), &asked)?;
    let has_more = batches.len() as u64 > limit;
    batches.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let ids: Vec<&str> = batches.iter().map(|batch| batch.id.as_str()).collect();
    let objects: Vec<String> = batches.iter().map(|batch| wire::batch_json(batch, None)).collect();
    Ok(Reply::Json(wire::page(&objects, &ids, total, has_more)))
}

fn status(name: &str) -> Result<BatchStatus, ApiError> {
    Ok(match name {
        "QUEUED" => BatchStatus::Queued,
        "RUNNING" => BatchStatus::Running,
        "SUCCESS" => BatchStatus::Succeeded,
        "FAILED" => BatchStatus::Failed,
        "TIMEOUT_EXCEEDED" => BatchStatus::Expired,
        "CANCELLATION_REQUESTED" => BatchStatus::Cancelling,
        "CANCELLED" => BatchStatus::Cancelled,
        _ => return Err(ApiError::invalid("status", format!("`{name}` is not a state of a batch"))),
    })
}

/// Answers that are shown with a batch.
const MOST_INLINE: u64 = 64 << 20;

/// `GET /batch/jobs/{id}`, and `GET /batches/{id}`
pub fn show(call: Call<'_>) -> Result<Reply, ApiError> {
    let batch = find(&call)?;
    let outputs = match call.query.flag("inline") {
        true => Some(outputs(&call, &batch)?),
        false => None,
    };
    Ok(Reply::Json(wire::batch_json(&batch, outputs.as_deref())))
}

fn outputs(call: &Call<'_>, batch: &Batch) -> Result<Vec<String>, ApiError> {
    let mut lines = Vec::new();
    for id in batch.output_file.iter().chain(&batch.error_file) {
        let Some(file) = call.api.store.file(call.project(), id)? else { continue };
        if file.bytes > MOST_INLINE {
            return Err(ApiError::too_large(
                "the answers are too large to be shown with the batch: download its files",
            ));
        }
        let text = fs::read_to_string(call.api.data.blob(&file.blob)).map_err(disk)?;
        lines.extend(text.lines().map(str::to_owned));
    }
    Ok(lines)
}

/// `POST /batch/jobs/{id}/cancel`, and `POST /batches/{id}/cancel`. Cancelling again changes nothing.
pub fn cancel(call: Call<'_>) -> Result<Reply, ApiError> {
    let batch = find(&call)?;
    if batch.status == BatchStatus::Cancelled {
        return Ok(Reply::Json(wire::batch_json(&batch, None)));
    }
    match call.api.store.cancel_batch(&batch.id)? {
        Some(after) => {
            call.api.batch_signal.wake();
            Ok(Reply::Json(wire::batch_json(&after, None)))
        }
        None => {
            Err(ApiError::conflict(format!("the batch `{}` has ended and cannot be cancelled", batch.id)))
        }
    }
}

/// `DELETE /batch/jobs/{id}`: its files stay.
pub fn delete(call: Call<'_>) -> Result<Reply, ApiError> {
    let batch = find(&call)?;
    match call.api.store.delete_batch(&batch.id)? {
        true => Ok(Reply::Json(wire::deleted(&batch.id, "batch"))),
        false => Err(ApiError::conflict(format!("the batch `{}` has not ended: cancel it first", batch.id))),
    }
}
