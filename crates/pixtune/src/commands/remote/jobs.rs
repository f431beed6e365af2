//! `pixtune jobs`.

use std::path::Path;
use std::thread;
use std::time::Duration;

use pixtune_api::Client;
use pixtune_core::json::{self, Value, list, object};

use super::files::{PART, upload};
use super::{client, print_list, print_object, segment, text};
use crate::Outcome;
use crate::args::{JobsArgs, JobsCommand, JobsCreateArgs};
use crate::error::Error;
use crate::ui::{self, Format, Verbosity};

/// How often a job is asked for.
const INTERVAL: Duration = Duration::from_secs(1);

/// Runs the subcommand.
pub fn run(args: &JobsArgs, verbosity: Verbosity) -> Result<Outcome, Error> {
    let client = client(&args.endpoint)?;
    let format = args.endpoint.format;
    let change = |id: &str, what: &str| -> Result<Outcome, Error> {
        print_state(&client.post(&format!("/fine_tuning/jobs/{}/{what}", segment(id)), "")?, format)?;
        Ok(Outcome::Fine)
    };
    match &args.command {
        JobsCommand::Create(args) => create(&client, args, format, verbosity),
        JobsCommand::List => {
            let jobs = client.get("/fine_tuning/jobs?page_size=1000")?;
            print_list(&jobs, &["id", "status", "model", "suffix", "fine_tuned_model"], format)?;
            Ok(Outcome::Fine)
        }
        JobsCommand::Show { id } => {
            print_object(&client.get(&format!("/fine_tuning/jobs/{}", segment(id)))?, format)?;
            Ok(Outcome::Fine)
        }
        JobsCommand::Watch { id } => watch(&client, id, format),
        JobsCommand::Start { id } => change(id, "start"),
        JobsCommand::Cancel { id } => change(id, "cancel"),
        JobsCommand::Pause { id } => change(id, "pause"),
        JobsCommand::Resume { id } => change(id, "resume"),
    }
}

fn print_state(job: &Value<'static>, format: Format) -> Result<(), Error> {
    match format {
        Format::Json => print_object(job, format),
        Format::Human => ui::put(&format!("{}  {}\n", text(job, "id"), text(job, "status"))),
    }
}

/// The ids of files: those that are paths are uploaded.
fn ids(client: &Client, names: &[String], verbosity: Verbosity) -> Result<Vec<String>, Error> {
    let mut ids = Vec::new();
    for name in names {
        match Path::new(name).is_file() {
            true => ids.extend(
                upload(client, Path::new(name), "fine-tune", (None, PART), verbosity)?
                    .iter()
                    .map(|file| text(file, "id")),
            ),
            false => ids.push(name.clone()),
        }
    }
    Ok(ids)
}

fn create(
    client: &Client,
    args: &JobsCreateArgs,
    format: Format,
    verbosity: Verbosity,
) -> Result<Outcome, Error> {
    let training = ids(client, &args.training_file, verbosity)?;
    let validation = ids(client, &args.validation_file, verbosity)?;
    let body = json::text(object(|out| {
        out.field("model", &args.model);
        out.field(
            "training_files",
            list(training.iter().map(|id| {
                object(move |file| {
                    file.field("file_id", id);
                })
            })),
        );
        if !validation.is_empty() {
            out.field("validation_files", list(validation.iter()));
        }
        out.optional("suffix", args.suffix.as_deref());
        out.optional("invalid_sample_skip_percentage", args.skip_invalid);
        out.field("auto_start", true);
        out.field(
            "hyperparameters",
            object(|hyper| {
                hyper.optional("training_steps", args.steps).optional("epochs", args.epochs);
                hyper.optional("learning_rate", args.learning_rate);
            }),
        );
    }));
    if args.dry_run {
        print_object(&client.post("/fine_tuning/jobs?dry_run=true", &body)?, format)?;
        return Ok(Outcome::Fine);
    }
    let job = client.post("/fine_tuning/jobs", &body)?;
    print_state(&job, format)?;
    match args.watch {
        true => watch(client, &text(&job, "id"), format),
        false => Ok(outcome(&job)),
    }
}

/// A job that failed is a finding.
fn outcome(job: &Value<'static>) -> Outcome {
    let status = text(job, "status");
    let is_bad =
        matches!(status.as_str(), "FAILED" | "FAILED_VALIDATION" | "CANCELLED" | "failed" | "cancelled");
    Outcome::of(is_bad, || {
        let message = job.get("error").map_or_else(|| text(job, "message"), |error| text(error, "message"));
        format!(
            "the job is {}{}",
            status.to_lowercase().replace('_', " "),
            if message.is_empty() { message } else { format!(": {message}") }
        )
    })
}

/// Prints new events until the job has ended.
fn watch(client: &Client, id: &str, format: Format) -> Result<Outcome, Error> {
    let path = format!("/fine_tuning/jobs/{}", segment(id));
    let mut shown = 0;
    loop {
        let job = client.get(&path)?;
        let status = text(&job, "status");
        let ended = matches!(
            status.as_str(),
            "SUCCESS" | "FAILED" | "FAILED_VALIDATION" | "CANCELLED" | "succeeded" | "failed" | "cancelled"
        );
        let events = events(client, &path, &job)?;
        for event in events.iter().skip(shown) {
            match format {
                Format::Json => ui::put(&json::line(event))?,
                Format::Human => ui::put(&format!("{}\n", words(event)))?,
            }
        }
        shown = shown.max(events.len());
        if ended {
            let tuned = text(&job, "fine_tuned_model");
            if format == Format::Human && !tuned.is_empty() {
                ui::put(&format!("model  {tuned}\n"))?;
            }
            return Ok(outcome(&job));
        }
        thread::sleep(INTERVAL);
    }
}

/// Every event of a job, the oldest first: from the server's list with the metrics of steps, or, where there is none, from the job.
fn events(client: &Client, path: &str, job: &Value<'static>) -> Result<Vec<Value<'static>>, Error> {
    let list = match client.get(&format!("{path}/events?limit=10000")) {
        Ok(list) => list.get("data").and_then(Value::as_array).map(<[_]>::to_vec),
        // Mistral's API has no such list.
        Err(pixtune_api::ClientError::Refused { status: 404 | 405, .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let mut events =
        list.or_else(|| job.get("events").and_then(Value::as_array).map(<[_]>::to_vec)).unwrap_or_default();
    events.reverse();
    Ok(events)
}

/// An event as a line.
fn words(event: &Value<'static>) -> String {
    let data = event.get("data");
    let nested = |key: &str| data.map_or_else(String::new, |data| text(data, key));
    [text(event, "message"), nested("message"), nested("status"), text(event, "name")]
        .into_iter()
        .find(|text| !text.is_empty())
        .unwrap_or_default()
}
