//! `run`: the stages of a project, each once, and what is said when one of them cannot go on.

use std::fs;

use crate::harness::{Case, root};
use crate::snapshots;
use crate::train::case;

const PROJECT: &str = r#"# A model of 300,000 weights learns two answers.
out = "tuned"
model = "model"

[prepare]
inputs = ["data.csv"]
validation = 1

[check]
verify = "full"

[report]

[train]
steps = 6
learning-rate = 1e-2
batch-tokens = 512

[export]
to = "hf-dataset"

[evaluate]
metric = "exact"
max-tokens = 8

[deploy]
for = "vllm"
"#;

/// A project beside its data and its model.
fn project() -> Case {
    let case = case(&[]);
    case.write("photos/sky.png", fs::read(root().join("fixtures/images/grad_64x48.png")).unwrap());
    case.write(
        "data.csv",
        "image,prompt,completion\nphotos/sky.png,What is it?,a gradient\n,What is it then?,a street\n,Say it.,hello\n",
    );
    case.write("project.toml", PROJECT);
    case
}

/// The stages that a run began, by its notes.
fn began(printed: &str) -> Vec<&str> {
    let names = printed.lines().filter_map(|line| line.split_once(": pixtune ").map(|(name, _)| name));
    names.collect()
}

#[test]
fn every_stage_runs_once() {
    let case = project();
    let first = case.run(&["run"]).ends(0);
    assert_eq!(
        began(&first.stderr),
        ["prepare", "check", "report", "train", "export", "evaluate", "deploy"],
        "{}",
        first.stderr
    );
    for written in [
        "prepared/train.jsonl",
        "report.html",
        "run/adapter",
        "export/README.md",
        "scores/scores.json",
        "served",
    ] {
        assert!(case.path("tuned").join(written).exists(), "{written}");
    }
    let summary = case.read("tuned/summary.html");
    for text in
        ["2 training, 1 validation, 0 rejected", "step 6, loss ", "exact ", "href=\"scores/report.html\""]
    {
        assert!(summary.contains(text), "{text}");
    }
    assert!(summary.contains("pixtune deploy model tuned/run/adapter --out=tuned/served --for=vllm"));
    let adapter = fs::read(case.path("tuned/run/adapter/adapter_model.safetensors")).unwrap();
    let again = case.run(&["run", "project.toml"]).ends(0);
    assert_eq!(began(&again.stderr), [""; 0]);
    assert_eq!(again.stderr.matches("done before").count(), 7, "{}", again.stderr);
    assert_eq!(fs::read(case.path("tuned/run/adapter/adapter_model.safetensors")).unwrap(), adapter);
}

#[test]
fn a_changed_stage_is_not_replaced_without_a_word() {
    let case = project();
    case.run(&["run", "--until", "train"]).ends(0);
    assert!(!case.path("tuned/scores").exists());
    case.write("project.toml", PROJECT.replace("steps = 6", "steps = 7"));
    let changed = case.run(&["run", "--until", "train"]).ends(2);
    changed
        .prints("[train] or what it reads has changed since `tuned/run` was written")
        .prints("`pixtune run project.toml --from train` replaces it and what follows from it");
    let replaced = case.run(&["run", "--from", "train", "--until", "train"]).ends(0);
    assert_eq!(began(&replaced.stderr), ["train"]);
    assert!(case.read("tuned/run/metrics.jsonl").contains("\"step\":7"));
    // Other data changes all that follows.
    case.write("data.csv", case.read("data.csv") + ",And this?,other\n");
    case.run(&["run"]).ends(2).prints("`tuned/prepared` exists already").prints("--from prepare");
}

#[test]
fn findings_end_a_run_where_no_one_would_go_on() {
    let case = project();
    case.write("project.toml", PROJECT.replace("verify = \"full\"", "severity = \"too-few-samples=error\""));
    let ended = case.run(&["run"]).ends(1).prints("no later stage ran");
    assert_eq!(began(&ended.stderr), ["prepare", "check"]);
    assert!(case.read("tuned/summary.html").contains("<td>not run</td>"));
    case.write(
        "project.toml",
        PROJECT.replace("verify = \"full\"", "severity = \"too-few-samples=error\"\nexit-zero = true"),
    );
    case.run(&["run", "--until", "report"]).ends(0);
}

#[test]
fn a_killed_stage_is_continued() {
    let case = project();
    case.run(&["run", "--until", "check"]).ends(0);
    // As a kill during `train` leaves it: begun, with a checkpoint.
    case.run(&["run", "--until", "train"]).ends(0);
    let log = case.read("tuned/stages.jsonl");
    let ended = log.lines().rfind(|line| line.contains("\"train\"") && line.contains("\"code\"")).unwrap();
    case.write("tuned/stages.jsonl", log.replace(&format!("{ended}\n"), ""));
    let resumed = case.run(&["run", "--until", "train"]).ends(0);
    assert_eq!(began(&resumed.stderr), ["train"]);
}

#[test]
fn a_project_that_cannot_run_is_refused_before_it_begins() {
    for (from, to, message) in [
        ("[train]", "[trian]", "project.toml:14: `trian` is not a key; did you mean `train`?"),
        ("out = \"tuned\"", "", "project.toml:1: `out` is missing"),
        ("inputs = [\"data.csv\"]", "", "[prepare] needs `inputs`"),
        ("model = \"model\"", "", "[train] needs `model` at the top of the file"),
        ("steps = 6", "out = \"elsewhere\"", "project.toml:15: `out` is set by the project itself"),
    ] {
        let case = project();
        case.write("project.toml", PROJECT.replacen(from, to, 1));
        case.run(&["run"]).ends(2).prints(message);
        assert!(!case.path("tuned").exists(), "{message}");
    }
    let case = project();
    case.run(&["run", "missing.toml"]).ends(2).prints("cannot read `missing.toml`");
    // An option is judged by its command.
    case.write("project.toml", PROJECT.replace("steps = 6", "stpes = 6"));
    let failed = case.run(&["run"]).ends(2);
    failed.prints("'--steps'").prints("the stage train of `project.toml` ended with exit code 2");
    case.write("project.toml", "out = \"tuned\"\n[prepare]\ninputs = \"data.csv\"\n");
    case.run(&["run", "--from", "deploy"]).ends(2).prints("has no [deploy]; it has prepare");
}

#[test]
fn paths_are_those_of_the_file() {
    let case = project();
    let plan = case.run(&["run", "--show-plan"]).ends(0);
    snapshots::check("run-plan.txt", &plan.stdout);
    fs::create_dir(case.path("elsewhere")).unwrap();
    let program = env!("CARGO_BIN_EXE_pixtune");
    case.shell(&format!("cd elsewhere && {program} run ../project.toml --until check")).ends(0);
    assert!(case.path("tuned/prepared/manifest.json").exists());
}
