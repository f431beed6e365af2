//! Jobs: pausing, cancelling, and servers that end at any moment.

use std::fs;
use std::thread;
use std::time::Duration;

use super::{Reply, Server, served};

/// Creates a job that takes many steps; returns its path.
pub fn long_job(server: &Server, samples: &[String], epochs: u64) -> String {
    let file = server.training_file("/openai/v1/files", "train.jsonl", samples);
    let body = format!(
        r#"{{"model":"tiny","training_file":"{file}","hyperparameters":{{"n_epochs":{epochs},"batch_size":1}}}}"#
    );
    let created = server.post("/openai/v1/fine_tuning/jobs", &body);
    assert_eq!(created.status, 200, "{}", created.body);
    format!("/openai/v1/fine_tuning/jobs/{}", created.text("id"))
}

pub fn has_event(server: &Server, path: &str, start: &str) -> bool {
    server.get(&format!("{path}/events?limit=1000")).body.contains(&format!(r#""message":"{start}"#))
}

pub fn wait_for_event(server: &Server, path: &str, start: &str) {
    for _ in 0..3000 {
        if has_event(server, path, start) {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("no event `{start}`: {}", server.get(path).body);
}

/// The steps of the metrics events, the oldest first.
pub fn steps(reply: &Reply) -> Vec<u64> {
    let value = reply.json();
    let events = value.get("data").unwrap().as_array().unwrap();
    let metrics = events.iter().rev().filter(|event| event.text("type") == Some("metrics"));
    metrics
        .map(|event| {
            pixtune_core::json::text(event.get("data").unwrap().get("step").unwrap()).parse().unwrap()
        })
        .collect()
}

#[test]
fn a_paused_job_continues_where_it_was() {
    let (case, samples) = served();
    let server = Server::start(&case, &[]);
    let path = long_job(&server, &samples, 200);
    wait_for_event(&server, &path, "Step 3/");
    assert_eq!(server.post(&format!("{path}/pause"), "").status, 200);
    let paused = server.wait(&path, |status| status == "queued");
    assert_eq!(paused.text("paused"), "true");
    assert_eq!(server.post(&format!("{path}/pause"), "").status, 409);
    assert_eq!(server.post(&format!("{path}/resume"), "").status, 200);
    let done = server.wait(&path, |status| !matches!(status, "queued" | "running"));
    assert_eq!(done.text("status"), "succeeded", "{}", done.body);
    let steps = steps(&server.get(&format!("{path}/events?limit=10000")));
    assert_eq!(steps, (1..=*steps.last().unwrap()).collect::<Vec<u64>>());
    assert!(has_event(&server, &path, "Fine-tuning job continues"));
}

#[test]
fn running_and_waiting_jobs_are_cancelled() {
    let (case, samples) = served();
    let server = Server::start(&case, &[]);
    let path = long_job(&server, &samples, 100_000);
    let waiting = long_job(&server, &samples, 100_000);
    wait_for_event(&server, &path, "Step 1/");
    assert_eq!(server.get(&waiting).text("status"), "queued");
    assert_eq!(server.post(&format!("{waiting}/cancel"), "").text("status"), "cancelled");
    assert_eq!(server.post(&format!("{path}/cancel"), "").text("status"), "cancelled");
    wait_for_event(&server, &path, "The job was cancelled");
    assert_eq!(server.post(&format!("{path}/cancel"), "").status, 200);
    assert_eq!(server.post(&format!("{path}/resume"), "").status, 409);
}

#[test]
fn a_job_survives_the_server_and_is_run_once() {
    let (case, samples) = served();
    let server = Server::start(&case, &[]);
    let path = long_job(&server, &samples, 40);
    wait_for_event(&server, &path, "Step 2/");
    server.kill();
    // The training process goes on; the next server follows it.
    let server = Server::start(&case, &[]);
    let done = server.wait(&path, |status| !matches!(status, "queued" | "running"));
    assert_eq!(done.text("status"), "succeeded", "{}", done.body);
    let events = server.get(&format!("{path}/events?limit=10000"));
    let steps = steps(&events);
    assert_eq!(steps, (1..=*steps.last().unwrap()).collect::<Vec<u64>>());
    assert_eq!(events.body.matches("Fine-tuning job started").count(), 1);
    assert!(!events.body.contains("Fine-tuning job continues"));
}

#[test]
fn a_killed_training_process_is_started_again() {
    let (case, samples) = served();
    let server = Server::start(&case, &[]);
    let path = long_job(&server, &samples, 200);
    wait_for_event(&server, &path, "Step 8/");
    let id = path.rsplit('/').next().unwrap().to_owned();
    server.kill();
    let pid = fs::read_to_string(case.path(&format!("data/jobs/{id}/exit.pid"))).unwrap();
    std::process::Command::new("kill").args(["-KILL", "--", &format!("-{}", pid.trim())]).status().unwrap();
    let server = Server::start(&case, &[]);
    let done = server.wait(&path, |status| !matches!(status, "queued" | "running"));
    assert_eq!(done.text("status"), "succeeded", "{}", done.body);
    assert!(has_event(&server, &path, "the training process was killed; attempt 2 of 5 follows"));
    let steps = steps(&server.get(&format!("{path}/events?limit=10000")));
    assert_eq!(steps, (1..=*steps.last().unwrap()).collect::<Vec<u64>>());
}

#[test]
fn jobs_that_cannot_be_trained_say_why() {
    let (case, mut samples) = served();
    samples[1] = r#"{"messages":[{"role":"user","content":"x"}]}"#.to_owned() + "\n";
    let server = Server::start(&case, &[]);
    let file = server.training_file("/mistral/v1/files", "train.jsonl", &samples);
    assert_eq!(server.get(&format!("/mistral/v1/files/{file}")).text("invalid_samples"), "1");
    let job = |more: &str| {
        let body = format!(
            r#"{{"model":"tiny","training_files":["{file}"],"hyperparameters":{{"training_steps":2}}{more}}}"#
        );
        server.post("/mistral/v1/fine_tuning/jobs", &body)
    };
    let refused = job("");
    assert_eq!(refused.text("status"), "FAILED_VALIDATION");
    assert!(
        refused.text("message").contains("1 of 5 samples in `train.jsonl` cannot be trained on: line 2:"),
        "{}",
        refused.body
    );
    let skipped = job(r#","invalid_sample_skip_percentage":0.2"#);
    let path = format!("/mistral/v1/fine_tuning/jobs/{}", skipped.text("id"));
    let done = server.wait(&path, |status| !matches!(status, "QUEUED" | "RUNNING"));
    assert_eq!(done.text("status"), "SUCCESS", "{}", done.body);
    assert!(done.body.contains("1 sample cannot be trained on and will be skipped"));
}
