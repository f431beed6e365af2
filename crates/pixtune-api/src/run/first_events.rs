//! The events that a job begins with.

use std::path::PathBuf;

use pixtune_core::text::counted;

use crate::request::job::JobRequest;
use crate::store::{EventKind, Job, JobStatus, Level, NewEvent};

/// The events that a job begins with.
pub fn first_events(job: &Job, request: &JobRequest, invalid: u64) -> Vec<NewEvent> {
    let files: Vec<&str> = request.training.iter().map(|(id, _)| id.as_str()).collect();
    let validating = match &request.validation[..] {
        [] => format!("Validating training file: {}", files.join(", ")),
        validation => format!(
            "Validating training file: {} and validation file: {}",
            files.join(", "),
            validation.join(", ")
        ),
    };
    let mut events = vec![
        NewEvent::message(Level::Info, format!("Created fine-tuning job: {}", job.id)),
        NewEvent::message(Level::Info, validating),
    ];
    events.extend(request.notes.iter().map(|note| NewEvent::message(Level::Warn, note.clone())));
    if invalid > 0 && job.error.is_none() {
        let message = format!("{} cannot be trained on and will be skipped", counted(invalid, "sample"));
        events.push(NewEvent::message(Level::Warn, message));
    }
    if let Some(wandb) = &request.wandb {
        let message = format!(
            "Weights & Biases is not contacted from here: the run's metrics are written for `wandb sync --sync-tensorboard -p {} {}`",
            wandb.project,
            PathBuf::from("jobs").join(&job.id).join("run/tensorboard").display()
        );
        events.push(NewEvent::message(Level::Warn, message));
    }
    match &job.error {
        Some((_, message)) => {
            events.push(NewEvent::status("FAILED_VALIDATION"));
            events.push(NewEvent {
                kind: EventKind::Message,
                level: Level::Error,
                message: message.clone(),
                data: None,
            });
        }
        None => {
            let to = if job.status == JobStatus::Validated { "VALIDATED" } else { "QUEUED" };
            events.push(NewEvent::status(to));
            events.push(NewEvent::message(Level::Info, "Files validated, moving job to queued state"));
        }
    }
    events
}
