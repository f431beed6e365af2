//! Runs that go on after an interruption, or become longer.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{TOY, adapter, case, checkpoints, evaluations, losses, toy, train};
use crate::harness::{Case, at};

#[test]
fn resumed_run_is_bit_identical() {
    let case = case(&toy());
    let more = [
        "--steps",
        "12",
        "--save-every",
        "3",
        "--eval-every",
        "4",
        "--lora-dropout",
        "0.1",
        "--validation",
        "train.jsonl",
    ];
    train(&case, &more).ends(0);
    let (whole, steps, evaluated) = (adapter(&case, "run"), losses(&case, "run"), evaluations(&case, "run"));
    let last = fs::read(case.path("run/checkpoints/step-12/adapter_model.safetensors")).unwrap();
    let moments = fs::read(case.path("run/checkpoints/step-12/optimizer.safetensors")).unwrap();
    // A kill after step 11: the checkpoint of step 9 is the newest, and lines of later steps stand in the metrics.
    fs::remove_dir_all(case.path("run/checkpoints/step-12")).unwrap();
    fs::remove_dir_all(case.path("run/adapter")).unwrap();
    let metrics = case.read("run/metrics.jsonl");
    case.write("run/metrics.jsonl", &metrics[..metrics.len() - 200]);
    train(&case, &[&more[..], &["--resume"]].concat()).ends(0).prints("resuming after step 9 of 12");
    assert!(adapter(&case, "run") == whole);
    assert_eq!(losses(&case, "run"), steps);
    assert_eq!(evaluations(&case, "run"), evaluated);
    assert!(fs::read(case.path("run/checkpoints/step-12/adapter_model.safetensors")).unwrap() == last);
    assert!(fs::read(case.path("run/checkpoints/step-12/optimizer.safetensors")).unwrap() == moments);
    // Once more when everything is done: nothing changes.
    train(&case, &[&more[..], &["--resume"]].concat()).ends(0);
    assert!(adapter(&case, "run") == whole);
}

/// A base in 4 bits is another base: a run goes on with the one that it was started with, and answers with either.
#[test]
fn a_base_in_4_bits_is_part_of_the_plan() {
    let case = case(&toy());
    let more = ["--steps", "4", "--save-every", "2", "--load-in-4bit"];
    train(&case, &more).ends(0).prints("the CPU computes with the numbers of the 4-bit weights in bf16");
    assert!(case.read("run/plan.json").contains("\"load_in_4bit\": true"));
    let whole = adapter(&case, "run");
    train(&case, &[&more[..4], &["--resume"]].concat()).ends(2).prints("`load_in_4bit` was true");
    train(&case, &[&more[..], &["--resume"]].concat()).ends(0);
    assert!(adapter(&case, "run") == whole);
    train(&case, &[&more[..4], &["--force"]].concat()).ends(0);
    assert!(adapter(&case, "run") != whole);
    let ask =
        ["generate", "--model", "model", "--adapter", "run/adapter", "--prompt", "x", "--max-tokens", "4"];
    case.run(&ask).ends(0);
    case.run(&[&ask[..], &["--load-in-4bit"]].concat()).ends(0);
}

/// A plan of an earlier version lacks options that came later.
#[test]
fn a_run_of_an_earlier_version_resumes() {
    let case = case(&toy());
    train(&case, &["--steps", "4", "--save-every", "2"]).ends(0);
    let plan = case.read("run/plan.json");
    let earlier: String = plan
        .lines()
        .filter(|line| !line.contains("\"train_full\""))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_ne!(plan, earlier);
    case.write("run/plan.json", earlier);
    train(&case, &["--steps", "4", "--save-every", "2", "--resume"]).ends(0);
}

#[cfg(unix)]
#[test]
fn interrupted_run_saves_and_resumes_bit_identically() {
    for signal in ["INT", "TERM"] {
        let case = case(&toy());
        let more = ["--steps", "400", "--save-every", "100000", "--eval-every", "100000"];
        let mut running = case.command(&[&TOY[..], &more].concat()).stderr(Stdio::piped()).spawn().unwrap();
        wait_for(|| {
            fs::read_to_string(case.path("run/metrics.jsonl")).is_ok_and(|text| text.lines().count() > 20)
        });
        Command::new("kill").args([&format!("-{signal}"), &running.id().to_string()]).status().unwrap();
        assert_eq!(running.wait().unwrap().code(), Some(2));
        assert_eq!(checkpoints(&case, "run").len(), 1, "it was saved");
        train(&case, &[&more[..], &["--resume"]].concat()).ends(0).prints("resuming after step");
        let resumed = adapter(&case, "run");
        train(&case, &[&more[..], &["--force"]].concat()).ends(0);
        assert!(adapter(&case, "run") == resumed, "{signal}");
    }
}

#[cfg(unix)]
fn wait_for(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "it never happened");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Step, learning rate and tokens of every step.
fn schedule(case: &Case, run: &str) -> Vec<[String; 3]> {
    let lines = case.lines(&format!("{run}/metrics.jsonl"));
    let steps = lines.iter().filter(|line| line.get("loss").is_some());
    steps.map(|line| ["/step", "/learning_rate", "/tokens"].map(|key| at(line, key).to_string())).collect()
}

#[test]
fn a_resumed_run_becomes_longer() {
    let case = case(&toy());
    train(&case, &["--steps", "12"]).ends(0);
    let whole = schedule(&case, "run");
    train(&case, &["--steps", "5", "--force"]).ends(0);
    let short = schedule(&case, "run");
    train(&case, &["--steps", "12", "--resume"])
        .ends(0)
        .prints("the run had 5 steps: it continues with the learning rate of a run of 12 at the step reached")
        .prints("resuming after step 5 of 12");
    let longer = schedule(&case, "run");
    assert_eq!(longer.len(), 12);
    assert_eq!(longer[..5], short, "the steps that were taken");
    assert_eq!(longer[5..], whole[5..], "learning rates and batches of a run of the new length");
    assert_ne!(short[4], whole[4], "the shorter run had a lower learning rate at its end");
    train(&case, &["--steps", "5", "--resume"]).ends(2).prints("`steps` was 12, is 5");
    // Epochs as well, which also have their own order of samples.
    train(&case, &["--epochs", "1", "--force"]).ends(0);
    train(&case, &["--epochs", "3", "--resume"]).ends(0);
    let longer = schedule(&case, "run");
    train(&case, &["--epochs", "3", "--force"]).ends(0);
    let first = longer.len() / 3;
    assert_eq!(longer[first..], schedule(&case, "run")[first..]);
}
