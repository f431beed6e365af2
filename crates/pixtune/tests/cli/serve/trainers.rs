//! Jobs that other trainers run: commands, and stand-ins for the commands of known trainers.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::jobs::{has_event, long_job, steps, wait_for_event};
use super::{Server, served};
use crate::harness::{Case, finish};

/// A directory with the tiny model, its toy data, and `adapter`, which trainers that only pretend give to every run.
fn trained() -> (Case, Vec<String>) {
    let (case, samples) = served();
    let args =
        ["train", "--model", "model", "--data", "train.jsonl", "--out", "once", "--steps", "1", "--quiet"];
    case.run(&args).ends(0);
    fs::rename(case.path("once/adapter"), case.path("adapter")).unwrap();
    (case, samples)
}

/// A program in `bin` of the directory.
fn program(case: &Case, name: &str, script: &str) {
    let path = format!("bin/{name}");
    case.write(&path, format!("#!/bin/sh\nset -eu\nadapter='{}'\n{script}", case.path("adapter").display()));
    fs::set_permissions(case.path(&path), fs::Permissions::from_mode(0o755)).unwrap();
}

/// The path of programs with `bin` in front.
fn path(case: &Case) -> [(&'static str, String); 1] {
    let path = std::env::var("PATH").unwrap_or_default();
    [("PATH", format!("{}:{path}", case.path("bin").display()))]
}

/// A command that trains, in name, as many steps as it is given: `trainer OUT STEPS RESUME`.
const TRAINER: &str = r#"
out=$1 steps=$2 resume=$3
ls data/train-00000-of-00001.parquet README.md
mkdir -p "$out/checkpoints"
step=${resume##*step-}
step=${step:-0}
while [ "$step" -lt "$steps" ]; do
    step=$((step + 1))
    echo "{\"step\":$step,\"loss\":$step.5}" >>"$out/metrics.jsonl"
    cp -r "$adapter" "$out/checkpoints/new"
    mv "$out/checkpoints/new" "$out/checkpoints/step-$step"
    sleep 0.05
done
cp -r "$adapter" "$out/adapter"
"#;

/// A stand-in for `trl sft --config sft.yaml`, which writes what transformers writes.
const TRL: &str = r#"
[ "$1 $2 $3" = "sft --config sft.yaml" ]
[ -d data ] && [ -f chat_template.jinja ]
value() { sed -n "s/^$1: \([^ ]*\).*/\1/p" sft.yaml; }
steps=$(value max_steps) save=$(value save_steps)
step=0
[ $# -gt 3 ] && step=${5##*checkpoint-} && ls "output/checkpoint-$step/trainer_state.json"
log=
i=0
while [ "$i" -lt "$steps" ]; do
    i=$((i + 1))
    log="$log{\"step\":$i,\"loss\":$i.25,\"learning_rate\":0.001},"
    [ "$i" -le "$step" ] && continue
    sleep 0.02
    [ $((i % save)) -eq 0 ] || [ "$i" -eq "$steps" ] || continue
    mkdir -p "output/checkpoint-$i"
    cp "$adapter"/* "output/checkpoint-$i/"
    log="$log{\"step\":$i,\"eval_loss\":2.5,\"eval_mean_token_accuracy\":0.5},"
    echo "{\"global_step\":$i,\"max_steps\":$steps,\"log_history\":[${log%,}]}" >"output/checkpoint-$i/trainer_state.json"
done
cp "$adapter"/* output/
"#;

#[test]
fn a_command_trains_jobs() {
    let (case, samples) = trained();
    program(&case, "trainer", TRAINER);
    let command = "trainer {out} {steps} {resume}";
    let server = Server::start_with(&case, &["--trainer", command], &path(&case));
    let path = long_job(&server, &samples, 4);
    let done = server.wait(&path, |status| !matches!(status, "queued" | "running" | "validating_files"));
    assert_eq!(done.text("status"), "succeeded", "{}{}", done.body, server.get(&format!("{path}/log")).body);
    let events = server.get(&format!("{path}/events?limit=1000"));
    assert_eq!(steps(&events), (1..=20).collect::<Vec<u64>>());
    assert!(has_event(&server, &path, "Step 20/20: training loss=20.50"));
    assert!(has_event(&server, &path, "Checkpoint created at step 20"));
    let chat = format!(
        r#"{{"model":"{}","messages":[{{"role":"user","content":"a"}}],"max_tokens":2}}"#,
        done.text("fine_tuned_model")
    );
    assert_eq!(server.post("/openai/v1/chat/completions", &chat).status, 200);
    let csv = server.get(&format!("/openai/v1/files/{}/content?encoding=plain", done.text("result_files.0")));
    assert!(csv.body.contains("20,20.50000,,,\n"), "{}", csv.body);
    let report = server.get(&format!("{path}/report"));
    assert!(report.body.contains("<html"), "{}", report.body);
}

#[test]
fn a_known_trainer_is_paused_and_continues_from_its_checkpoint() {
    let (case, samples) = trained();
    program(&case, "trl", TRL);
    let server = Server::start_with(&case, &["--trainer", "trl"], &path(&case));
    let path = long_job(&server, &samples, 80);
    wait_for_event(&server, &path, "Checkpoint created at step 20");
    assert_eq!(server.post(&format!("{path}/pause"), "").status, 200);
    server.wait(&path, |status| status == "queued");
    assert_eq!(server.post(&format!("{path}/resume"), "").status, 200);
    let done = server.wait(&path, |status| !matches!(status, "queued" | "running"));
    assert_eq!(done.text("status"), "succeeded", "{}{}", done.body, server.get(&format!("{path}/log")).body);
    let events = server.get(&format!("{path}/events?limit=10000"));
    assert_eq!(steps(&events), (1..=400).collect::<Vec<u64>>());
    assert!(has_event(&server, &path, "Step 400/400: training loss=400.25, validation loss=2.50"));
    let log = server.get(&format!("{path}/log")).body;
    assert!(log.contains("continues from the checkpoint of step "), "{log}");
    assert!(log.contains("output/checkpoint-"), "{log}");
}

#[test]
fn a_trainer_survives_the_server_and_is_cancelled() {
    let (case, samples) = trained();
    program(&case, "trl", TRL);
    let variables = path(&case);
    let server = Server::start_with(&case, &["--trainer", "trl"], &variables);
    let path = long_job(&server, &samples, 20_000);
    let id = path.rsplit('/').next().unwrap().to_owned();
    let yaml = case.path(&format!("data/jobs/{id}/export/sft.yaml"));
    wait_for_event(&server, &path, "Fine-tuning job started");
    while !yaml.exists() {
        thread::sleep(Duration::from_millis(20));
    }
    let text = fs::read_to_string(&yaml).unwrap();
    for line in
        ["max_steps: 100000\n", "save_steps: 5000\n", "use_cpu: true\n", "gradient_accumulation_steps: 1\n"]
    {
        assert!(text.contains(line), "{line}{text}");
    }
    server.kill();
    let server = Server::start_with(&case, &["--trainer", "trl"], &variables);
    assert_eq!(server.post(&format!("{path}/cancel"), "").text("status"), "cancelled");
    wait_for_event(&server, &path, "The job was cancelled");
    let group = fs::read_to_string(case.path(&format!("data/jobs/{id}/exit.pid"))).unwrap();
    let has_processes =
        || Command::new("kill").args(["-0", "--", &format!("-{}", group.trim())]).status().unwrap().success();
    let start = Instant::now();
    while has_processes() {
        assert!(start.elapsed() < Duration::from_secs(60), "processes of the job are left");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_error_of_a_trainer_is_that_of_the_job() {
    let (case, samples) = trained();
    program(
        &case,
        "trl",
        "echo 'Traceback (most recent call last):' >&2\necho 'ValueError: no such thing' >&2\nexit 3\n",
    );
    let server = Server::start_with(&case, &["--trainer", "trl"], &path(&case));
    let path = long_job(&server, &samples, 1);
    let failed = server.wait(&path, |status| !matches!(status, "queued" | "running"));
    assert_eq!(failed.text("status"), "failed");
    assert_eq!(
        failed.text("error.message"),
        "`trl sft --config sft.yaml` failed with exit code 3: ValueError: no such thing; hint: the log of the job has the whole \
         output of the trainer"
    );
}

#[test]
fn a_trainer_without_an_adapter_fails_the_job() {
    let (case, samples) = trained();
    program(&case, "trainer", "echo '{\"step\":1,\"loss\":1}' >\"$1/metrics.jsonl\"\n");
    let server = Server::start_with(&case, &["--trainer", "mkdir -p {out} && trainer {out}"], &path(&case));
    let path = long_job(&server, &samples, 1);
    let failed = server.wait(&path, |status| !matches!(status, "queued" | "running"));
    assert!(
        failed.text("error.message").starts_with("the trainer ended without an adapter"),
        "{}",
        failed.body
    );
}

#[test]
fn each_gpu_runs_a_job_of_its_own() {
    let (case, samples) = trained();
    // Each waits for the other one: both run at the same time.
    let script = r#"
touch "$2/on-$CUDA_VISIBLE_DEVICES"
while ! [ -f "$2/on-0" ] || ! [ -f "$2/on-1" ]; do sleep 0.05; done
mkdir -p "$1"
echo '{"step":1,"loss":1}' >"$1/metrics.jsonl"
cp -r "$adapter" "$1/adapter"
"#;
    program(&case, "trainer", script);
    let command = format!("trainer {{out}} '{}'", case.path(".").display());
    let server = Server::start_with(&case, &["--trainer", &command, "--gpus", "2"], &path(&case));
    for path in [long_job(&server, &samples, 1), long_job(&server, &samples, 1)] {
        let done = server.wait(&path, |status| !matches!(status, "queued" | "running"));
        assert_eq!(done.text("status"), "succeeded", "{}", done.body);
    }
    assert!(server.get("/v1/pixtune/system").body.contains(r#""slots":["0","1"]"#));
}

#[test]
fn trainers_that_cannot_train_are_refused_at_the_start() {
    let (case, _) = served();
    let refused = |more: &[&str]| {
        let args =
            [&["serve", "--data-dir", "data", "--listen", "127.0.0.1:0", "--models", "model"], more].concat();
        let mut command = case.command(&args);
        command.env("PATH", "/nowhere");
        finish(command).ends(2).stderr
    };
    let unknown = refused(&["--trainer", "axoltl"]);
    assert!(unknown.contains("`axoltl` is neither a trainer (trl,"), "{unknown}");
    let missing = refused(&["--trainer", "trl"]);
    assert!(missing.contains("`trl`, which trains with `--trainer trl`, is not installed"), "{missing}");
    let placeholder = refused(&["--trainer", "t {out} {lr}"]);
    assert!(placeholder.contains("`{lr}` is not a placeholder"), "{placeholder}");
    let layout = refused(&["--trainer", "t {out}", "--trainer-layout", "x"]);
    assert!(layout.contains("`x` is not a layout"), "{layout}");
    let gpus = refused(&["--gpus", "2"]);
    assert!(gpus.contains("`--gpus` needs `--trainer`"), "{gpus}");
}
