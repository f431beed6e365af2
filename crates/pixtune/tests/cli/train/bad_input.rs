//! What a run does not start with, or ends at.

use std::fs;

use super::{TOY, case, sample, toy, train};
use crate::harness::{Case, root};

#[test]
fn rejects_second_run_in_the_same_directory() {
    let case = case(&toy());
    fs::create_dir(case.path("run")).unwrap();
    let lock = fs::File::create(case.path("run/.lock")).unwrap();
    lock.lock().unwrap();
    train(&case, &["--steps", "2"]).ends(2).prints("another run is writing to `run`");
    drop(lock);
    train(&case, &["--steps", "2"]).ends(0);
    train(&case, &["--steps", "2"])
        .ends(2)
        .prints("`run` already exists")
        .prints("continue it with `--resume`");
    case.write("other/file", "mine");
    case.run(&[&TOY[..6], &["other", "--steps", "2", "--force"]].concat()).ends(2).prints("is not replaced");
}

#[test]
fn rejects_or_skips_sample_longer_than_the_batch() {
    let mut samples = toy();
    samples.insert(1, sample(None, "long", &"word ".repeat(60)));
    let case = case(&samples);
    train(&case, &["--steps", "2"])
        .ends(2)
        .prints("error[too-many-tokens]: train.jsonl:2")
        .prints("do not fit into a batch of 64")
        .prints("1 of 6 samples cannot be trained on");
    assert!(!case.path("run").exists(), "nothing is left behind");
    train(&case, &["--steps", "2", "--invalid-samples", "skip"]).ends(1).prints("train.jsonl:2");
}

#[test]
fn reports_samples_that_cannot_be_used() {
    let silent =
        r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","weight":0}]}"#;
    for (line, finding) in [
        (silent, "error[nothing-to-train]: train.jsonl:1 /messages"),
        ("{", "error[json-syntax]: train.jsonl:1"),
        ("{}", "error[missing-field]: train.jsonl:1"),
    ] {
        let case = case(&[format!("{line}\n")]);
        train(&case, &["--steps", "2"]).ends(2).prints(finding);
        train(&case, &["--steps", "2", "--invalid-samples", "skip"])
            .ends(2)
            .prints("no sample in `train.jsonl` can be trained on");
    }
}

#[test]
fn image_that_becomes_unreadable_ends_the_run_or_is_skipped() {
    let mut samples = toy();
    // A file that is whole by its structure: only decoding shows that its pixels are damaged.
    let mut damaged = fs::read(root().join("fixtures/images/noise_32x32.png")).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 64].fill(0);
    let damaged = pixtune_io::base64::data_uri("image/png", &damaged);
    samples.push(format!(
        r#"{{"messages":[{{"role":"user","content":[{{"type":"image_url","image_url":"{damaged}"}},{{"type":"text","text":"q"}}]}},{{"role":"assistant","content":"a"}}]}}"#
    ));
    let case = case(&samples);
    let more = ["--steps", "20", "--save-every", "100"];
    train(&case, &more)
        .ends(2)
        .prints("error[image-unreadable]: train.jsonl:6")
        .prints("invalid sample found during the run");
    train(&case, &[&more[..], &["--resume", "--invalid-samples", "skip"]].concat())
        .ends(1)
        .prints("train.jsonl:6");
}

#[test]
fn checks_validation_data() {
    let case = case(&toy());
    case.write("empty.jsonl", "");
    train(&case, &["--validation", "empty.jsonl"]).ends(2).prints("no sample in `empty.jsonl`");
    train(&case, &["--patience", "2"]).ends(2).prints("--patience needs validation data");
    train(&case, &["--validation", "none.jsonl"]).ends(2).prints("cannot read `none.jsonl`");
    train(&case, &["--steps", "2"]).ends(0).prints("no validation data");
}

#[test]
fn rejects_missing_or_mismatching_tokenizer() {
    let case = case(&toy());
    fs::rename(case.path("model/tekken.json"), case.path("tekken.json")).unwrap();
    train(&case, &["--steps", "2"]).ends(2).prints("`model` has no tekken.json").prints("--tokenizer FILE");
    train(&case, &["--steps", "2", "--tokenizer", "pixtral-12b"])
        .ends(2)
        .prints("has 131,072 tokens, but the model in `model` has a vocabulary of 400");
    case.write("broken.json", "{}");
    train(&case, &["--steps", "2", "--tokenizer", "broken.json"]).ends(2).prints("`broken.json`");
    train(&case, &["--steps", "2", "--tokenizer", "tekken.json"]).ends(0);
}

#[test]
fn rejects_data_prepared_for_another_model() {
    let case = case(&toy());
    case.write("data/train.jsonl", toy().concat());
    let manifest = |model: &str| format!(r#"{{"plan":{{"model":"{model}","tokenizer":null}},"outputs":[]}}"#);
    case.write("data/manifest.json", manifest("mistral-small-3.1"));
    let run = || case.run(&["train", "--model", "model", "--data", "data", "--out", "run", "--steps", "1"]);
    run()
        .ends(2)
        .prints("was written for mistral-small-3.1 (patches of 14 pixels merged 2x2")
        .prints("the model here has patches of 16 pixels merged 1x1 and sides up to 128");
    case.write("data/manifest.json", manifest("gpt-4o"));
    run().ends(2).prints("was written for `gpt-4o`");
    case.write("data/manifest.json", "[]");
    run().ends(2).prints("is not a manifest of `pixtune prepare`");
    case.write(
        "data/manifest.json",
        manifest("pixtral-12b").replace("[]", r#"[{"path":"train.jsonl","blake3":"00"}]"#),
    );
    run().ends(2).prints("sides up to 1024");
}

#[test]
fn rejects_checkpoint_that_does_not_match_its_configuration() {
    let case = case(&toy());
    let config = case.read("model/config.json");
    case.write(
        "model/config.json",
        config.replace("\"intermediate_size\": 96", "\"intermediate_size\": 100"),
    );
    train(&case, &["--steps", "2"]).ends(2).prints("does not match its configuration");
    case.write("model/config.json", "{");
    train(&case, &["--steps", "2"]).ends(2).prints("config.json");
    train(&case, &["--steps", "2", "--model", "none"]).ends(2);
}

#[test]
fn does_not_resume_a_different_run() {
    let case = case(&toy());
    train(&case, &["--steps", "2"]).ends(0);
    train(&case, &["--steps", "1", "--resume"]).ends(2).prints("`steps` was 2, is 1");
    train(&case, &["--steps", "3", "--resume", "--lora-dropout", "0.1"])
        .ends(2)
        .prints("`lora_dropout` was 0, is 0.1");
    case.write("train.jsonl", toy()[..3].concat());
    train(&case, &["--steps", "2", "--resume"]).ends(2).prints("`input train.jsonl` was");
    case.write("train.jsonl", toy().concat());
    case.write("run/checkpoints/step-2/state.json", "{}");
    train(&case, &["--steps", "2", "--resume"]).ends(2).prints("state.json` is damaged: it has no `step`");
}

#[test]
fn rejects_invalid_settings_before_reading() {
    let case = Case::new();
    for (more, message) in [
        (["--learning-rate", "0"], "--learning-rate must be a number above 0"),
        (["--learning-rate", "NaN"], "--learning-rate must be a number above 0"),
        (["--weight-decay", "-1"], "--weight-decay"),
        (["--epochs", "0"], "--epochs and --steps must be at least 1"),
        (["--warmup", "2.5"], "is neither a fraction"),
        (["--targets", "lm_head"], "is not a target"),
        (["--lora-rank", "0"], "the LoRA rank must be between 1 and 4096"),
        (["--batch-tokens", "0"], "--batch-tokens must be at least 1"),
        (["--eval-every", "0"], "--eval-every must be at least 1"),
    ] {
        let more = [more[0].to_owned() + "=" + more[1]];
        let args: Vec<&str> = ["train", "--model", "m", "--data", "d", "--out", "o", &more[0]].to_vec();
        case.run(&args).ends(2).prints(message);
    }
}

#[test]
fn impossible_requests_name_the_next_step() {
    let case = case(&toy());
    train(&case, &["--steps", "1", "--resume"])
        .ends(2)
        .prints("`run` has no run to resume")
        .prints("hint: start the run without `--resume`");
    assert!(!case.path("run").exists());
    case.write("file", "x");
    case.run(&[&TOY[..6], &["file", "--steps", "1"]].concat())
        .ends(2)
        .prints("`file` is a file, and the output of a run is a directory")
        .prints("choose another `--out`");
    case.write("llava.jsonl", fs::read(root().join("fixtures/fix/llava.jsonl")).unwrap());
    case.run(&["train", "--model", "model", "--data", "llava.jsonl", "--out", "other", "--steps", "1"])
        .ends(2)
        .prints("is converted with `pixtune fix FILE");
    case.write("tokenizer.json", r#"{"model": {"vocab": {}}}"#);
    train(&case, &["--steps", "1", "--tokenizer", "tokenizer.json"])
        .ends(2)
        .prints("this is a tokenizer in Hugging Face's format");
    case.write("tekken.json", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 99\n");
    train(&case, &["--steps", "1", "--tokenizer", "tekken.json"]).ends(2).prints("it is a Git LFS pointer");
    case.run(&["generate", "--model", "model", "--image", "https://example.org/a.png", "--prompt", "x"])
        .ends(2)
        .prints("is a URL, and --image takes a file: download it first");
    case.run(&["train", "--model", "mistralai/Pixtral-12B-2409", "--data", "train.jsonl", "--out", "other"])
        .ends(2)
        .prints("pixtune downloads nothing: run `hf download mistralai/Pixtral-12B-2409");
}

/// On a machine without CUDA, which the tests run on; a GPU trains instead.
#[test]
fn without_cuda_a_gpu_is_an_error_before_anything_is_written() {
    let case = case(&toy());
    train(&case, &["--steps", "2", "--device", "gpu"])
        .ends(2)
        .prints("use auto, cpu, cuda, or cuda and the index");
    if pixtune_cuda::missing_libraries().is_empty() {
        return;
    }
    train(&case, &["--steps", "2", "--device", "cuda:1"])
        .ends(2)
        .prints("error: no CUDA here: libcuda (the driver)")
        .prints("hint: install the NVIDIA driver");
    assert!(!case.path("run").exists(), "nothing is left behind");
    train(&case, &["--steps", "2", "--device", "auto"]).ends(0);
    for command in [&["generate", "--prompt", "x"][..], &["evaluate", "train.jsonl", "--out", "scores"]] {
        case.run(&[command, &["--model", "model", "--device", "cuda"]].concat())
            .ends(2)
            .prints("no CUDA here");
    }
    assert!(!case.path("scores").exists() && !case.path("scores.partial").exists(), "nothing is left behind");
}
