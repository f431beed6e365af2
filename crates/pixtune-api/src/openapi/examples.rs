//! An example of each answer, from which its schema follows.

use pixtune_core::json::{self, Value};
use pixtune_infer::Usage;

use crate::catalog::BaseModel;
use crate::error::ApiError;
use crate::request::job::JobRequest;
use crate::store::{
    Batch, BatchStatus, Event, EventKind, File, Job, JobStatus, Level, Part, TunedModel, Upload, Wish,
};
use crate::vendor::{Dialect, Vendor};
use crate::wire::{self, Choice};

/// Names of schemas, and examples of each: with everything that may be set, and with nothing of it, in the forms of both vendors.
pub(super) fn examples() -> Vec<(&'static str, Vec<String>)> {
    let (files, uploads, events) = ([file(), bare_file()], upload(), event());
    let jobs = jobs();
    let base = BaseModel { context: 131_072, ..BaseModel::gone("pixtral-12b") };
    let choice = Choice { content: "text".to_owned(), finish_reason: "stop", ..Choice::default() };
    let model = wire::base_model_json(&base, 0);
    let page = |objects: &[String]| {
        let ids: &[&str] = if objects.is_empty() { &[] } else { &["first", "last"] };
        wire::page(objects, ids, objects.len() as u64, false)
    };
    let file_jsons: Vec<String> = files.iter().map(wire::file_json).collect();
    let batches: Vec<String> = [Vendor::Mistral, Vendor::OpenAi]
        .into_iter()
        .flat_map(|vendor| [batch(vendor), bare_batch(vendor)])
        .collect();
    let of = job(REQUEST);
    let bare_event = Event { kind: EventKind::Message, data: None, ..events.clone() };
    let part = Part { id: "part-1".to_owned(), blob: String::new(), bytes: 1, created_at: 0 };
    let error = ApiError::invalid("param", "message");
    vec![
        ("Error", vec![error.body(), ApiError::not_found("file", "file-1").body()]),
        ("FileList", vec![page(&file_jsons), page(&[])]),
        ("File", file_jsons),
        ("Deleted", vec![wire::deleted("file-1", "file")]),
        ("Url", vec![r#"{"url":"http://localhost"}"#.to_owned()]),
        ("Upload", vec![wire::upload_json(&uploads, Some(&files[0])), wire::upload_json(&uploads, None)]),
        ("Part", vec![wire::part_json("upload-1", &part)]),
        ("JobList", vec![page(&jobs), page(&[])]),
        ("Job", jobs),
        (
            "EventList",
            vec![page(&[wire::event_json(&of, &events), wire::event_json(&of, &bare_event)]), page(&[])],
        ),
        ("CheckpointList", vec![page(&[wire::checkpoint_json(&of, &events, "ft:m")]), page(&[])]),
        ("ModelList", vec![page(std::slice::from_ref(&model)), page(&[])]),
        ("Model", vec![model]),
        ("TunedModel", vec![wire::tuned_model_out_json(&tuned(), Some(&base))]),
        ("Archived", vec![r#"{"id":"ft:m","object":"model","archived":true}"#.to_owned()]),
        ("Completion", vec![wire::completion("chatcmpl-1", 0, "m", &[choice], Usage::default())]),
        ("BatchList", vec![page(&batches), page(&[])]),
        ("Batch", batches),
        ("Object", vec!["{}".to_owned()]),
    ]
}

const REQUEST: &str = r#"{"model":"m","training_file":"file-1","training_files":["file-1"]}"#;

/// Jobs of both vendors, that ended well and that wait.
fn jobs() -> Vec<String> {
    let body = json::parse(REQUEST).map(|parsed| parsed.value.into_owned()).unwrap_or(Value::Null);
    let kinds = [EventKind::Status, EventKind::Message, EventKind::Metrics, EventKind::Checkpoint];
    let events = kinds.map(|kind| Event { kind, ..event() });
    let mut jobs = Vec::new();
    for vendor in [Vendor::Mistral, Vendor::OpenAi] {
        let dialect = Dialect { vendor, is_azure: false, is_mistral_v0: false };
        for (job, events) in [(job(REQUEST), Some(&events[..])), (bare_job(REQUEST), None)] {
            let job = Job { vendor, ..job };
            let parsed = JobRequest::parse(vendor, &body);
            jobs.push(
                parsed.map_or_else(|error| error.body(), |of| wire::job_json(&job, &of, dialect, events)),
            );
        }
    }
    jobs
}

fn bare_file() -> File {
    File { samples: None, findings: None, expires_at: None, ..file() }
}

fn bare_job(request: &str) -> Job {
    Job {
        status: JobStatus::Queued,
        suffix: None,
        started_at: None,
        finished_at: None,
        slot: None,
        steps: None,
        epochs: None,
        trained_tokens: None,
        tuned_model: None,
        result_file: None,
        ..job(request)
    }
}

fn file() -> File {
    File {
        seq: 1,
        id: "file-1".to_owned(),
        project: "default".to_owned(),
        name: "train.jsonl".to_owned(),
        purpose: "fine-tune".to_owned(),
        source: "upload".to_owned(),
        blob: String::new(),
        bytes: 1,
        samples: Some(1),
        invalid: 0,
        invalid_lines: Vec::new(),
        findings: Some("[]".to_owned()),
        rules: String::new(),
        created_at: 0,
        expires_at: Some(0),
    }
}

fn upload() -> Upload {
    Upload {
        id: "upload-1".to_owned(),
        project: "default".to_owned(),
        name: "train.jsonl".to_owned(),
        purpose: "fine-tune".to_owned(),
        bytes: 1,
        status: "completed".to_owned(),
        file: Some("file-1".to_owned()),
        created_at: 0,
        expires_at: 0,
    }
}

fn event() -> Event {
    let data =
        r#"{"step":1,"total_steps":2,"train_loss":1.5,"valid_loss":1.5,"valid_mean_token_accuracy":0.5}"#;
    Event {
        seq: 1,
        kind: EventKind::Metrics,
        level: Level::Info,
        message: "Step 1/2".to_owned(),
        data: Some(data.to_owned()),
        created_at: 0,
    }
}

fn tuned() -> TunedModel {
    TunedModel {
        id: "ft:m".to_owned(),
        project: "default".to_owned(),
        base: "m".to_owned(),
        job: "job".to_owned(),
        adapter: std::path::PathBuf::new(),
        step: None,
        name: Some("name".to_owned()),
        description: Some("description".to_owned()),
        created_at: 0,
        is_archived: false,
    }
}

/// A job that has ended well.
fn job(request: &str) -> Job {
    Job {
        seq: 1,
        id: "ftjob-1".to_owned(),
        project: "default".to_owned(),
        vendor: Vendor::OpenAi,
        status: JobStatus::Succeeded,
        wish: Wish::Run,
        request: request.to_owned(),
        model: "m".to_owned(),
        suffix: Some("suffix".to_owned()),
        priority: 0,
        created_at: 0,
        modified_at: 0,
        started_at: Some(0),
        finished_at: Some(0),
        attempts: 1,
        process: None,
        slot: Some("cpu".to_owned()),
        samples: 1,
        steps: Some(1),
        epochs: Some(1),
        trained_tokens: Some(1),
        tuned_model: Some("ft:m".to_owned()),
        result_file: Some("file-2".to_owned()),
        error: None,
    }
}

/// A batch that has ended.
fn batch(vendor: Vendor) -> String {
    wire::batch_json(&full_batch(vendor), Some(&[]))
}

/// A batch that waits.
fn bare_batch(vendor: Vendor) -> String {
    let batch = Batch {
        status: BatchStatus::Queued,
        model: None,
        started_at: None,
        cancelled_at: None,
        finished_at: None,
        output_file: None,
        error_file: None,
        error: None,
        ..full_batch(vendor)
    };
    wire::batch_json(&batch, None)
}

fn full_batch(vendor: Vendor) -> Batch {
    Batch {
        seq: 1,
        id: "batch_1".to_owned(),
        project: "default".to_owned(),
        vendor,
        status: BatchStatus::Succeeded,
        model: Some("m".to_owned()),
        inputs: vec!["file-1".to_owned()],
        metadata: "{}".to_owned(),
        total: 2,
        succeeded: 1,
        failed: 1,
        created_at: 0,
        started_at: Some(0),
        cancelled_at: Some(0),
        finished_at: Some(0),
        expires_at: 0,
        output_file: Some("file-2".to_owned()),
        error_file: Some("file-3".to_owned()),
        error: Some((Some(1), "message".to_owned())),
    }
}
