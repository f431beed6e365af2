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

/// Names of schemas, and an example of each.
pub(super) fn examples() -> Vec<(&'static str, String)> {
    let (file, upload, event) = (file(), upload(), event());
    let request = r#"{"model":"m","training_file":"file-1","training_files":["file-1"]}"#;
    let body = json::parse(request).map(|parsed| parsed.value.into_owned()).unwrap_or(Value::Null);
    let dialect = |vendor| Dialect { vendor, is_azure: false, is_mistral_v0: false };
    let job = |vendor| {
        let job = Job { vendor, ..job(request) };
        let events = [event.clone(), Event { kind: EventKind::Checkpoint, ..event.clone() }];
        JobRequest::parse(vendor, &body)
            .map_or_else(|error| error.body(), |of| wire::job_json(&job, &of, dialect(vendor), Some(&events)))
    };
    let base = BaseModel { context: 131_072, ..BaseModel::gone("pixtral-12b") };
    let (mistral, openai) = (job(Vendor::Mistral), job(Vendor::OpenAi));
    let of = self::job(request);
    let either = format!(r#"{{"mistral":{mistral},"openai":{openai}}}"#);
    let file_json = wire::file_json(&file);
    let choice = Choice { content: "text".to_owned(), finish_reason: "stop", ..Choice::default() };
    let model = wire::base_model_json(&base, 0);
    let page = |object: &str| wire::page(&[object.to_owned()], &["id"], 1, false);
    vec![
        ("Error", ApiError::invalid("param", "message").body()),
        ("FileList", page(&file_json)),
        ("File", file_json),
        ("Deleted", wire::deleted("file-1", "file")),
        ("Url", r#"{"url":"http://localhost"}"#.to_owned()),
        ("Upload", wire::upload_json(&upload, Some(&file))),
        (
            "Part",
            wire::part_json(
                "upload-1",
                &Part { id: "part-1".to_owned(), blob: String::new(), bytes: 1, created_at: 0 },
            ),
        ),
        ("Job", either),
        ("JobList", page(&openai)),
        ("EventList", page(&wire::event_json(&of, &event))),
        ("CheckpointList", page(&wire::checkpoint_json(&of, &event, "ft:m"))),
        ("Model", model.clone()),
        ("ModelList", page(&model)),
        ("TunedModel", wire::tuned_model_out_json(&tuned(), Some(&base))),
        ("Archived", r#"{"id":"ft:m","object":"model","archived":true}"#.to_owned()),
        ("Completion", wire::completion("chatcmpl-1", 0, "m", &[choice], Usage::default())),
        ("Batch", format!(r#"{{"mistral":{},"openai":{}}}"#, batch(Vendor::Mistral), batch(Vendor::OpenAi))),
        ("BatchList", page(&batch(Vendor::OpenAi))),
        ("Object", "{}".to_owned()),
    ]
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
    let batch = Batch {
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
    };
    wire::batch_json(&batch, Some(&[]))
}
