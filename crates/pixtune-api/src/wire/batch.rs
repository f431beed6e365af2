//! Batches, in the shape of either API.

use pixtune_core::json::{list, object, raw, text};

use crate::store::{Batch, BatchStatus};
use crate::vendor::Vendor;

/// The only endpoint of requests.
pub const ENDPOINT: &str = "/v1/chat/completions";

/// A batch. `outputs` are its answers, where they are asked for with it.
pub fn batch_json(batch: &Batch, outputs: Option<&[String]>) -> String {
    match batch.vendor {
        Vendor::Mistral => mistral(batch, outputs),
        Vendor::OpenAi => openai(batch),
    }
}

fn mistral(batch: &Batch, outputs: Option<&[String]>) -> String {
    let status = match batch.status {
        BatchStatus::Queued => "QUEUED",
        BatchStatus::Running => "RUNNING",
        BatchStatus::Cancelling => "CANCELLATION_REQUESTED",
        BatchStatus::Succeeded => "SUCCESS",
        BatchStatus::Failed => "FAILED",
        BatchStatus::Expired => "TIMEOUT_EXCEEDED",
        BatchStatus::Cancelled => "CANCELLED",
    };
    text(object(|out| {
        out.field("id", &batch.id).field("object", "batch").field("input_files", list(batch.inputs.iter()));
        out.field("metadata", raw(&batch.metadata))
            .field("endpoint", ENDPOINT)
            .field("model", batch.model.as_deref());
        out.field("agent_id", None::<&str>).field("output_file", batch.output_file.as_deref());
        out.field("error_file", batch.error_file.as_deref());
        out.field(
            "errors",
            list(batch.error.iter().map(|(line, message)| {
                object(move |error| {
                    let message =
                        line.map_or_else(|| message.clone(), |line| format!("line {line}: {message}"));
                    error.field("message", &message).field("count", 1u64);
                })
            })),
        );
        out.field("outputs", outputs.map(|outputs| list(outputs.iter().map(|line| raw(line)))));
        out.field("status", status).field("created_at", batch.created_at);
        out.field("total_requests", batch.total).field("completed_requests", batch.succeeded + batch.failed);
        out.field("succeeded_requests", batch.succeeded).field("failed_requests", batch.failed);
        out.field("started_at", batch.started_at).field("completed_at", batch.finished_at);
    }))
}

fn openai(batch: &Batch) -> String {
    let status = match batch.status {
        BatchStatus::Queued => "validating",
        BatchStatus::Running => "in_progress",
        BatchStatus::Cancelling => "cancelling",
        BatchStatus::Succeeded => "completed",
        BatchStatus::Failed => "failed",
        BatchStatus::Expired => "expired",
        BatchStatus::Cancelled => "cancelled",
    };
    let ended = |status: BatchStatus| batch.finished_at.filter(|_| batch.status == status);
    text(object(|out| {
        out.field("id", &batch.id).field("object", "batch").field("endpoint", ENDPOINT);
        match &batch.error {
            None => out.field("errors", None::<&str>),
            Some((line, message)) => out.field(
                "errors",
                object(|errors| {
                    let error = object(|error| {
                        error.field("code", "invalid_request").field("line", *line);
                        error.field("message", message).field("param", None::<&str>);
                    });
                    errors.field("object", "list").field("data", list([error]));
                }),
            ),
        };
        out.field("input_file_id", batch.inputs.first().map_or("", String::as_str));
        out.field("completion_window", "24h").field("status", status);
        out.field("output_file_id", batch.output_file.as_deref());
        out.field("error_file_id", batch.error_file.as_deref());
        out.field("created_at", batch.created_at).field("in_progress_at", batch.started_at);
        out.field("expires_at", batch.expires_at).field("finalizing_at", ended(BatchStatus::Succeeded));
        out.field("completed_at", ended(BatchStatus::Succeeded))
            .field("failed_at", ended(BatchStatus::Failed));
        out.field("expired_at", ended(BatchStatus::Expired)).field("cancelling_at", batch.cancelled_at);
        out.field("cancelled_at", ended(BatchStatus::Cancelled));
        out.field(
            "request_counts",
            object(|counts| {
                counts.field("total", batch.total).field("completed", batch.succeeded);
                counts.field("failed", batch.failed);
            }),
        );
        out.field("metadata", raw(&batch.metadata)).field("model", batch.model.as_deref());
    }))
}
