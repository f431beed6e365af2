//! Jobs, their events and their checkpoints, in the shape of each vendor.

use pixtune_core::json::{self, Object, Value, list, object, raw, text};
use pixtune_core::metrics::{Record, finite};

use crate::request::job::{Hyperparameters, JobRequest};
use crate::store::{Event, EventKind, Job, JobStatus, Wish};
use crate::vendor::{Dialect, Vendor};

/// The state in Mistral's words; its client before 1.0 has not all of them.
pub fn mistral_status(job: &Job, is_v0: bool) -> &'static str {
    match (job.status, job.wish) {
        (JobStatus::Running, Wish::Cancel) => "CANCELLATION_REQUESTED",
        (JobStatus::Running, _) => "RUNNING",
        (JobStatus::Validated, _) if is_v0 => "QUEUED",
        (JobStatus::Validated, _) => "VALIDATED",
        (JobStatus::Queued | JobStatus::Paused, _) => "QUEUED",
        (JobStatus::Succeeded, _) => "SUCCESS",
        (JobStatus::FailedValidation, _) if !is_v0 => "FAILED_VALIDATION",
        (JobStatus::Failed | JobStatus::FailedValidation, _) => "FAILED",
        (JobStatus::Cancelled, _) => "CANCELLED",
    }
}

/// The state in OpenAI's words. `paused` is in no list of states that clients check, so it is a field of its own.
pub fn openai_status(job: &Job) -> &'static str {
    match (job.status, job.wish) {
        (JobStatus::Running, Wish::Cancel) | (JobStatus::Cancelled, _) => "cancelled",
        (JobStatus::Running, _) => "running",
        (JobStatus::Validated | JobStatus::Queued | JobStatus::Paused, _) => "queued",
        (JobStatus::Succeeded, _) => "succeeded",
        (JobStatus::Failed | JobStatus::FailedValidation, _) => "failed",
    }
}

/// A job in the shape of the API that created it. With events, it is Mistral's detailed shape.
pub fn job_json(job: &Job, request: &JobRequest, dialect: Dialect, events: Option<&[Event]>) -> String {
    match job.vendor {
        Vendor::Mistral => mistral(job, request, dialect.is_mistral_v0, events),
        Vendor::OpenAi => openai(job, request),
    }
}

/// Steps of the run: known once it runs, before that computed as `train` computes its defaults.
fn steps(job: &Job, hyper: &Hyperparameters) -> u64 {
    use pixtune_core::plan::defaults;
    let per_step = hyper.batch_size.unwrap_or_else(|| defaults::samples_per_step(job.samples));
    let epochs = hyper.epochs.unwrap_or(defaults::epochs(job.samples) as f64);
    let estimate = (job.samples as f64 * epochs / per_step.max(1) as f64).ceil().max(1.0) as u64;
    job.steps.or(hyper.steps).unwrap_or(estimate)
}

fn mistral(job: &Job, request: &JobRequest, is_v0: bool, events: Option<&[Event]>) -> String {
    let hyper = &request.hyperparameters;
    let steps = steps(job, hyper);
    text(object(|out| {
        out.field("id", &job.id).field("object", "job").field("job_type", "completion");
        out.field("auto_start", request.auto_start).field("model", &request.model);
        out.field("status", mistral_status(job, is_v0));
        out.field("created_at", job.created_at).field("modified_at", job.modified_at);
        out.field("training_files", list(request.training.iter().map(|(id, _)| id)));
        out.field("validation_files", list(request.validation.iter()));
        out.field("fine_tuned_model", job.tuned_model.as_deref()).field("suffix", job.suffix.as_deref());
        out.field(
            "integrations",
            list(request.wandb.iter().map(|wandb| {
                object(move |out| {
                    out.field("type", "wandb")
                        .field("project", &wandb.project)
                        .field("name", wandb.name.as_deref());
                    out.field("run_name", wandb.name.as_deref());
                })
            })),
        );
        out.field("trained_tokens", job.trained_tokens)
            .field("repositories", list(std::iter::empty::<&str>()));
        out.field(
            "metadata",
            object(|out| {
                out.field("expected_duration_seconds", None::<u64>)
                    .field("cost", 0u64)
                    .field("cost_currency", "USD");
                out.field("train_tokens_per_step", None::<u64>).field("train_tokens", job.trained_tokens);
                out.field("data_tokens", None::<u64>).field("estimated_start_time", None::<u64>);
            }),
        );
        out.field(
            "hyperparameters",
            object(|out| {
                // Mistral's client before 1.0 accepts 1 to 10,000 steps.
                let shown = if is_v0 { steps.clamp(1, 10_000) } else { steps };
                out.field("training_steps", shown).field("learning_rate", hyper.learning_rate);
                out.field("weight_decay", hyper.weight_decay).field("warmup_fraction", hyper.warmup_fraction);
                out.field("epochs", hyper.epochs.or(job.epochs.map(|epochs| epochs as f64)));
                out.field("seq_len", hyper.seq_len).field("fim_ratio", None::<f64>);
            }),
        );
        let message = job.error.as_ref().map(|(_, message)| message.as_str());
        out.optional("message", message);
        if let Some(events) = events {
            out.field(
                "events",
                list(events.iter().filter(|event| event.kind != EventKind::Metrics).map(mistral_event)),
            );
            let checkpoints = events.iter().filter(|event| event.kind == EventKind::Checkpoint);
            out.field("checkpoints", list(checkpoints.map(mistral_checkpoint)));
        }
    }))
}

fn mistral_event(event: &Event) -> impl json::ToJson {
    let name = match event.kind {
        EventKind::Status => "status-updated",
        EventKind::Message | EventKind::Metrics | EventKind::Checkpoint => "message",
    };
    object(move |out| {
        out.field("name", name).field("created_at", event.created_at);
        out.field(
            "data",
            object(|data| {
                data.field(
                    if event.kind == EventKind::Status { "status" } else { "message" },
                    &event.message,
                );
                data.field("level", event.level.as_str());
            }),
        );
    })
}

/// A number of an event's data.
fn number(data: &Value<'_>, key: &str) -> Option<f64> {
    match data.get(key)? {
        Value::Number(text) => text.parse().ok(),
        _ => None,
    }
}

fn parsed(event: &Event) -> Value<'static> {
    let data = event.data.as_deref().unwrap_or("{}");
    json::parse(data).map_or(Value::Null, |parsed| parsed.value.into_owned())
}

fn mistral_checkpoint(event: &Event) -> impl json::ToJson {
    let data = parsed(event);
    object(move |out| {
        out.field(
            "metrics",
            object(|out| {
                out.field("train_loss", number(&data, "train_loss"))
                    .field("valid_loss", number(&data, "valid_loss"));
                out.field("valid_mean_token_accuracy", number(&data, "valid_mean_token_accuracy"));
            }),
        );
        out.field("step_number", number(&data, "step").map(|step| step as u64))
            .field("created_at", event.created_at);
    })
}

fn openai(job: &Job, request: &JobRequest) -> String {
    let hyper = &request.hyperparameters;
    let is_done = job.status == JobStatus::Succeeded;
    text(object(|out| {
        out.field("id", &job.id).field("object", "fine_tuning.job").field("model", &request.model);
        out.field("created_at", job.created_at).field("finished_at", job.finished_at.filter(|_| is_done));
        out.field("fine_tuned_model", job.tuned_model.as_deref()).field("organization_id", "org-pixtune");
        out.field("result_files", list(job.result_file.iter())).field("status", openai_status(job));
        out.field("validation_file", request.validation.first())
            .field("training_file", &request.training[0].0);
        out.field("hyperparameters", object(|out| openai_hyperparameters(out, job, hyper)));
        out.field("trained_tokens", job.trained_tokens);
        match &job.error {
            None => out.field("error", None::<&str>),
            Some((code, message)) => out.field(
                "error",
                object(|out| {
                    let param = (job.status == JobStatus::FailedValidation).then_some("training_file");
                    out.field("code", code).field("message", message).field("param", param);
                }),
            ),
        };
        out.field("user_provided_suffix", job.suffix.as_deref()).field("seed", request.seed.unwrap_or(0));
        out.field("estimated_finish", None::<u64>);
        out.field(
            "integrations",
            list(request.wandb.iter().map(|wandb| {
                object(move |out| {
                    out.field("type", "wandb");
                    out.field(
                        "wandb",
                        object(|out| {
                            out.field("project", &wandb.project).field("name", wandb.name.as_deref());
                            out.field("entity", None::<&str>).field("tags", list(std::iter::empty::<&str>()));
                        }),
                    );
                })
            })),
        );
        out.field("metadata", json::members(request.metadata.iter().map(|(key, value)| (key, value))));
        out.field(
            "method",
            object(|out| {
                out.field("type", "supervised");
                out.field(
                    "supervised",
                    object(|out| {
                        out.field("hyperparameters", object(|out| openai_hyperparameters(out, job, hyper)));
                    }),
                );
            }),
        );
        out.field("paused", job.status == JobStatus::Paused);
    }))
}

fn openai_hyperparameters(out: &mut Object<'_>, job: &Job, hyper: &Hyperparameters) {
    let mut field = |key: &str, value: Option<f64>| {
        match value {
            Some(value) if value.fract() == 0.0 => out.field(key, value as u64),
            Some(value) => out.field(key, value),
            None => out.field(key, "auto"),
        };
    };
    field("n_epochs", hyper.epochs.or(job.epochs.map(|epochs| epochs as f64)));
    field("batch_size", hyper.batch_size.map(|size| size as f64));
    field("learning_rate_multiplier", hyper.learning_rate_multiplier);
}

/// An event in OpenAI's shape.
pub fn event_json(job: &Job, event: &Event) -> String {
    let kind = if event.kind == EventKind::Metrics { "metrics" } else { "message" };
    text(object(|out| {
        out.field("object", "fine_tuning.job.event").field("id", &event_id(job, event));
        out.field("created_at", event.created_at).field("level", event.level.as_str());
        out.field("message", &event.message).field("type", kind);
        out.field("data", raw(event.data.as_deref().unwrap_or("{}")));
    }))
}

/// The id of an event: that of its job, and its number.
pub fn event_id(job: &Job, event: &Event) -> String {
    format!("ftevent-{}-{}", job.id, event.seq)
}

/// A checkpoint in OpenAI's shape; `model` answers as it.
pub fn checkpoint_json(job: &Job, event: &Event, model: &str) -> String {
    let data = parsed(event);
    text(object(|out| {
        out.field("object", "fine_tuning.job.checkpoint")
            .field("id", &format!("ftckpt-{}-{}", job.id, event.seq));
        out.field("created_at", event.created_at).field("fine_tuning_job_id", &job.id);
        out.field("fine_tuned_model_checkpoint", model);
        out.field("step_number", number(&data, "step").map_or(0, |step| step as u64));
        out.field("metrics", raw(event.data.as_deref().unwrap_or("{}")));
    }))
}

/// `step_metrics.csv`: OpenAI's columns of every step, from the metrics of a run.
pub fn metrics_csv(records: &[Record]) -> String {
    let mut csv = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n".to_owned();
    let evaluation = |step: u64| {
        records.iter().find_map(|record| match record {
            Record::Evaluation(evaluation) if evaluation.step == step => Some(evaluation),
            _ => None,
        })
    };
    for record in records {
        let Record::Step(step) = record else { continue };
        let valid = evaluation(step.step).map_or(",".to_owned(), |evaluation| {
            let accuracy = finite(evaluation.valid_token_accuracy);
            format!(
                "{:.5},{}",
                evaluation.valid_loss,
                accuracy.map_or(String::new(), |share| format!("{share:.5}"))
            )
        });
        csv.push_str(&format!("{},{:.5},,{valid}\n", step.step, step.loss));
    }
    csv
}
