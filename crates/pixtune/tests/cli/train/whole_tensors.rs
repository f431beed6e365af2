//! `train --train-full`: parts of the model trained as whole tensors beside LoRA, from training to a merged model.

use std::fs;

use super::{adapter, case, evaluations, float, toy, train};
use crate::harness::Case;

const FULL: [&str; 6] =
    ["--train-full", "projector,vision", "--lora-rank", "4", "--validation", "train.jsonl"];

/// The loss before the first step of a run with this model.
fn loss_of(case: &Case, model: &str, more: &[&str]) -> f64 {
    let options = ["--model", model, "--steps", "1", "--force", "--validation", "train.jsonl"];
    let args = ["train", "--data", "train.jsonl", "--out", "probe", "--batch-tokens", "64", "--threads=1"];
    case.run(&[&args[..], &options, more].concat()).ends(0);
    let (step, loss) = evaluations(case, "probe").swap_remove(0);
    assert_eq!(step, "0");
    float(&loss)
}

#[test]
fn whole_tensors_resume_to_the_same_bits() {
    let case = case(&toy());
    let more = [&FULL[..], &["--steps", "6", "--save-every", "3", "--eval-every", "3"]].concat();
    train(&case, &more).ends(0).prints("whole vision+projector");
    let whole = adapter(&case, "run");
    fs::remove_dir_all(case.path("run/checkpoints/step-6")).unwrap();
    fs::remove_dir_all(case.path("run/adapter")).unwrap();
    train(&case, &[&more[..], &["--resume"]].concat()).ends(0).prints("resuming after step 3 of 6");
    assert!(adapter(&case, "run") == whole);
    let args = ["--lora-rank", "4", "--validation", "train.jsonl", "--steps", "6", "--save-every", "3"];
    let other = [&args[..], &["--eval-every", "3", "--resume", "--train-full", "projector"]].concat();
    train(&case, &other).ends(2).prints("train_full");
}

#[test]
fn whole_tensors_are_saved_merged_and_continued() {
    let case = case(&toy());
    let run = train(&case, &[&FULL[..], &["--steps", "8", "--eval-every", "8"]].concat()).ends(0);
    assert!(run.stderr.contains("whole vision+projector"), "{}", run.stderr);
    let (step, trained) = evaluations(&case, "run").pop().unwrap();
    assert_eq!(step, "8");
    let before = loss_of(&case, "model", &[]);
    assert!(float(&trained) < before - 0.05, "{trained} {before}");
    assert_eq!(loss_of(&case, "model", &["--init-adapter", "run/adapter"]), float(&trained));

    case.run(&["adapter", "merge", "model", "run/adapter", "merged", "--dtype", "f32", "--verify"]).ends(0);
    case.write("merged/tekken.json", fs::read(case.path("model/tekken.json")).unwrap());
    let merged = loss_of(&case, "merged", &[]);
    assert!((merged - float(&trained)).abs() < 1e-4, "{merged} {trained}");
    let native = ["adapter", "merge", "model", "run/adapter", "native", "--to", "mistral", "--dtype", "f32"];
    case.run(&native).ends(0);
    let native = loss_of(&case, "native", &[]);
    assert!((native - float(&trained)).abs() < 1e-4, "{native} {trained}");
}

#[test]
fn whole_tensors_are_applied_by_transformers_and_rejected_by_vllm() {
    let case = case(&toy());
    train(&case, &["--train-full", "projector", "--steps", "2"]).ends(0);
    let check =
        |server: &str| case.run(&["adapter", "check", "run/adapter", "--base", "model", "--server", server]);
    let applied = check("transformers").ends(0).stdout;
    assert!(applied.contains("23 of 23 modules applied"), "{applied}");
    let rejected = check("vllm-hf").ends(1).stdout;
    assert!(rejected.contains("modules_to_save (multi_modal_projector)"), "{rejected}");
    let convert =
        ["adapter", "convert", "run/adapter", "served", "--to", "vllm-consolidated", "--base", "model"];
    case.run(&convert).ends(2).prints("takes no whole tensors");
}

#[test]
fn contradictions_are_refused() {
    let case = case(&toy());
    for (more, message) in [
        (&["--train-full", "text"][..], "`text` cannot be trained as a whole"),
        (&["--train-full", "projector", "--targets", "all"], "remove it from the targets"),
        (&["--train-full", "projector", "--init-adapter", "x"], "cannot be used with"),
    ] {
        train(&case, more).ends(2).prints(message);
        assert!(!case.path("run").exists());
    }
}
