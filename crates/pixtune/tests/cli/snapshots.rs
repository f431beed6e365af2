//! Snapshots of texts for people; `UPDATE_SNAPSHOTS=1 cargo test` updates them.

use std::fs;
use std::path::Path;

use crate::harness::{Case, root};

#[track_caller]
pub fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, kept, "{name} changed; UPDATE_SNAPSHOTS=1 updates it");
}

#[test]
fn help_texts_match() {
    let case = Case::new();
    check("help.txt", &case.run(&["--help"]).ends(0).stdout);
    check("tokens-help.txt", &case.run(&["tokens", "--help"]).ends(0).stdout);
    check("prepare-help.txt", &case.run(&["prepare", "--help"]).ends(0).stdout);
    check("check-help.txt", &case.run(&["check", "--help"]).ends(0).stdout);
    check("train-help.txt", &case.run(&["train", "--help"]).ends(0).stdout);
    check("evaluate-help.txt", &case.run(&["evaluate", "--help"]).ends(0).stdout);
    check("fix-help.txt", &case.run(&["fix", "--help"]).ends(0).stdout);
    check("convert-help.txt", &case.run(&["convert", "--help"]).ends(0).stdout);
    check("generate-help.txt", &case.run(&["generate", "--help"]).ends(0).stdout);
    check("rules-help.txt", &case.run(&["rules", "--help"]).ends(0).stdout);
    check("stats-help.txt", &case.run(&["stats", "--help"]).ends(0).stdout);
    check("run-help.txt", &case.run(&["run", "--help"]).ends(0).stdout);
    check("report-help.txt", &case.run(&["report", "--help"]).ends(0).stdout);
    check("serve-help.txt", &case.run(&["serve", "--help"]).ends(0).stdout);
    check("jobs-create-help.txt", &case.run(&["jobs", "create", "--help"]).ends(0).stdout);
    check("plan-help.txt", &case.run(&["plan", "--help"]).ends(0).stdout);
}

#[test]
fn output_for_the_messy_example_matches() {
    let case = Case::new();
    copy(&root().join("examples"), &case.path("examples"));
    let run = case.run(&["prepare", "examples/messy/dataset.csv", "--out", "prepared"]).ends(1);
    check("prepare-messy.txt", &format!("{}\n{}", run.stderr, run.stdout));
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, quoted) = readme.split_once("```text\nerror[").unwrap();
    let (finding, _) = quoted.split_once("```").unwrap();
    assert!(run.stderr.contains(finding), "README.md quotes a finding that reads differently:\n{finding}");
    check("prepare-messy-rejected.jsonl", &case.read("prepared/rejected.jsonl"));
    check("prepare-messy-manifest.json", &case.read("prepared/manifest.json"));
}

#[test]
fn output_for_the_example_matches() {
    let case = Case::new();
    copy(&root().join("examples"), &case.path("examples"));
    let run = case.run(&["prepare", "examples/visual-qa/dataset.csv", "--out", "prepared"]).ends(0);
    check("prepare-visual-qa.txt", &format!("{}\n{}", run.stderr, run.stdout));
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(
        readme.contains(&run.stdout),
        "README.md has a different closing table than this:\n{}",
        run.stdout
    );
}

#[test]
fn token_counts_of_the_example_match() {
    let case = Case::new();
    let dataset = root().join("examples/visual-qa/dataset.csv");
    case.run(&["prepare", dataset.to_str().unwrap(), "--out", "prepared"]).ends(0);
    check("tokens-visual-qa.txt", &case.run(&["tokens", "prepared/train.jsonl"]).ends(0).stdout);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { fs::copy(&path, &target).map(|_| ()).unwrap() }
    }
}
