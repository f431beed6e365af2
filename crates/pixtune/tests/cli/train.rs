//! `train`: a tiny model, from data to adapter, and everything that can be wrong on the way.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pixtune_core::json::Value;

use crate::harness::{Case, Run, at, finish, root, text};
use crate::snapshots;

/// A directory with the tiny model and its tokenizer in `model`, and samples in `train.jsonl`.
pub fn case(samples: &[String]) -> Case {
    let case = Case::new();
    for file in ["config.json", "model.safetensors"] {
        case.write(
            &format!("model/{file}"),
            fs::read(root().join("fixtures/tiny_pixtral/hf_bf16").join(file)).unwrap(),
        );
    }
    case.write("model/tekken.json", fs::read(root().join("fixtures/tiny_tekken/tekken.json")).unwrap());
    case.write("train.jsonl", samples.concat());
    case
}

/// A line of an image, a question and an answer.
fn sample(image: Option<&str>, question: &str, answer: &str) -> String {
    let image = image.map_or(String::new(), |name| {
        let mut coded = Vec::new();
        let bytes = fs::read(root().join("fixtures/images").join(name)).unwrap();
        pixtune_io::base64::encode(&bytes, &mut coded);
        let coded = String::from_utf8(coded).unwrap();
        format!(r#"{{"type":"image_url","image_url":"data:image/png;base64,{coded}"}},"#)
    });
    format!(
        r#"{{"messages":[{{"role":"user","content":[{image}{{"type":"text","text":"{question}"}}]}},{{"role":"assistant","content":"{answer}"}}]}}"#
    ) + "\n"
}

pub fn toy() -> Vec<String> {
    vec![
        sample(Some("grad_64x48.png"), "what is it", "a gradient"),
        sample(Some("noise_32x32.png"), "what is it", "noise"),
        sample(None, "say hello", "hello there"),
        sample(None, "the end", "of the line"),
        sample(None, "and then", "on and on"),
    ]
}

/// Options that suit the toy.
const TOY: [&str; 12] = [
    "train",
    "--model",
    "model",
    "--data",
    "train.jsonl",
    "--out",
    "run",
    "--learning-rate",
    "1e-2",
    "--batch-tokens",
    "64",
    "--threads=1",
];

pub fn train(case: &Case, more: &[&str]) -> Run {
    case.run(&[&TOY, more].concat())
}

/// The bytes of an adapter.
fn adapter(case: &Case, run: &str) -> Vec<u8> {
    fs::read(case.path(run).join("adapter/adapter_model.safetensors")).unwrap()
}

/// Step and loss of every step, as written.
fn losses(case: &Case, run: &str) -> Vec<(String, String)> {
    let lines = case.lines(&format!("{run}/metrics.jsonl"));
    let steps = lines.iter().filter(|line| line.get("loss").is_some());
    steps.map(|line| (at(line, "/step").to_string(), at(line, "/loss").to_string())).collect()
}

fn evaluations(case: &Case, run: &str) -> Vec<(String, String)> {
    let lines = case.lines(&format!("{run}/metrics.jsonl"));
    let lines = lines.iter().filter(|line| line.get("valid_loss").is_some());
    lines.map(|line| (at(line, "/step").to_string(), at(line, "/valid_loss").to_string())).collect()
}

fn float(text: &str) -> f64 {
    text.parse().unwrap()
}

fn checkpoints(case: &Case, run: &str) -> Vec<String> {
    let entries = fs::read_dir(case.path(run).join("checkpoints")).into_iter().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn overfits_toy_dataset() {
    let case = case(&toy());
    let run = train(&case, &["--steps", "120", "--validation", "train.jsonl"]).ends(0).prints("best so far");
    assert!(run.stdout.contains("run/adapter (step "), "{}", run.stdout);
    let (_, last) = losses(&case, "run").pop().unwrap();
    assert!(float(&last) < 0.05, "{last}");
    let (_, valid) = evaluations(&case, "run").pop().unwrap();
    assert!(float(&valid) < 0.05, "{valid}");
    case.fixture("gradient.png", "grad_64x48.png");
    case.fixture("noise.png", "noise_32x32.png");
    let ask = |prompt: &str, image: &[&str]| {
        let ask = ["generate", "--model", "model", "--adapter", "run/adapter", "--prompt", prompt];
        case.run(&[&ask, image].concat()).ends(0).stdout
    };
    assert_eq!(ask("what is it", &["--image", "gradient.png"]), "a gradient\n");
    assert_eq!(ask("what is it", &["--image", "noise.png"]), "noise\n");
    assert_eq!(ask("say hello", &[]), "hello there\n");
}

#[test]
fn run_directory_has_documented_files() {
    let case = case(&toy());
    train(&case, &["--steps", "6", "--save-every", "2", "--eval-every", "3", "--validation", "train.jsonl"])
        .ends(0);
    for file in ["adapter/adapter_config.json", "plan.json", "report.html", "metrics.jsonl"] {
        assert!(case.path("run").join(file).is_file(), "{file}");
    }
    assert_eq!(checkpoints(&case, "run"), ["step-4", "step-6"]);
    for file in ["adapter_model.safetensors", "optimizer.safetensors", "state.json"] {
        assert!(case.path("run/checkpoints/step-6").join(file).is_file(), "{file}");
    }
    let steps: Vec<String> = evaluations(&case, "run").into_iter().map(|(step, _)| step).collect();
    assert_eq!(steps, ["0", "3", "6"]);
    let metrics = case.lines("run/metrics.jsonl");
    for key in ["step", "loss", "learning_rate", "grad_norm", "tokens", "seconds"] {
        assert!(metrics[1].get(key).is_some(), "{key}");
    }
    let plan = pixtune_core::json::parse(&case.read("run/plan.json")).unwrap().value.into_owned();
    assert_eq!(at(&plan, "/plan/steps").to_string(), "6");
    assert_eq!(text(&plan, "/plan/targets"), "text");
    let report = case.read("run/report.html");
    assert!(report.contains("<svg") && report.contains("prefers-color-scheme") && !report.contains("://"));
}

#[test]
fn training_is_deterministic_on_any_number_of_threads() {
    let case = case(&toy());
    let more = ["--steps", "8", "--lora-dropout", "0.1", "--accumulate", "2"];
    train(&case, &more).ends(0);
    let first = adapter(&case, "run");
    train(&case, &[&more[..], &["--force"]].concat()).ends(0);
    assert!(adapter(&case, "run") == first);
    case.run(&[&TOY[..11], &more, &["--force", "--threads=2"]].concat()).ends(0);
    assert!(adapter(&case, "run") == first, "two threads");
    let other = [&more[..], &["--force", "--seed", "1"]].concat();
    train(&case, &other).ends(0);
    assert!(adapter(&case, "run") != first);
}

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

#[cfg(unix)]
#[test]
fn full_disk_keeps_the_last_checkpoint() {
    let case = case(&toy());
    train(&case, &["--steps", "4", "--save-every", "2"]).ends(0);
    // The disk is full from here on: no file may grow beyond 100 kB, and the adapter has 215.
    fs::remove_dir_all(case.path("run/checkpoints/step-4")).unwrap();
    let program = env!("CARGO_BIN_EXE_pixtune");
    let line = format!(
        "trap '' XFSZ; ulimit -f 100; exec {program} {} --steps 4 --save-every 2 --resume",
        TOY.join(" ")
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]).current_dir(case.path(""));
    finish(shell).ends(2).prints("cannot write").prints("free disk space and run again with `--resume`");
    assert_eq!(checkpoints(&case, "run"), ["step-2"], "nothing half-written is left");
    train(&case, &["--steps", "4", "--save-every", "2", "--resume"])
        .ends(0)
        .prints("resuming after step 2 of 4");
}

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
fn stops_at_a_loss_that_is_not_finite() {
    let case = case(&toy());
    let run = case.run(
        &[
            &TOY[..7],
            &["--learning-rate", "1e30", "--batch-tokens", "64", "--steps", "50", "--save-every", "1"],
        ]
        .concat(),
    );
    let run = run.ends(2).prints(" failed: the ").prints("try a lower `--learning-rate`");
    run.prints("warning: --learning-rate 1e30 will probably destroy the model");
    assert!(!case.read("run/metrics.jsonl").contains("NaN"));
}

#[test]
fn stops_when_nothing_is_learned_and_keeps_the_last_sound_adapter() {
    let case = case(&toy());
    let bad = |more: &[&str]| {
        let rate = [
            "--learning-rate",
            "100",
            "--batch-tokens",
            "128",
            "--steps",
            "30",
            "--warmup",
            "0.5",
            "--force",
        ];
        case.run(&[&TOY[..7], &rate, more].concat())
            .ends(2)
            .prints("training was stopped: for 3 steps, from step ")
    };
    let run = bad(&["--save-every", "1", "--keep-checkpoints", "30"])
        .prints("every gradient is zero")
        .prints("warning: --learning-rate 1e2 will probably destroy the model");
    let (_, kept) = run.stderr.split_once("the adapter of step ").unwrap();
    let step = kept.split(' ').next().unwrap();
    let tensors =
        |directory: &str| fs::read(case.path(&format!("{directory}/adapter_model.safetensors"))).unwrap();
    assert_eq!(tensors("run/adapter"), tensors(&format!("run/checkpoints/step-{step}")));
    bad(&["--save-every", "30"]).prints("no adapter is kept");
    assert!(!case.path("run/adapter").exists());
    let short =
        ["--learning-rate", "100", "--batch-tokens", "128", "--steps", "4", "--warmup", "0", "--force"];
    case.run(&[&TOY[..7], &short].concat()).ends(2).prints("every gradient is zero");
    case.run(&[&TOY[..7], &["--learning-rate", "1e-9", "--steps", "1", "--force"]].concat())
        .ends(0)
        .prints("warning: --learning-rate 1e-9 will probably change nothing");
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
fn patience_ends_the_run_and_keeps_the_best_adapter() {
    let mut samples = toy();
    let held_out = samples.split_off(3);
    let case = case(&samples);
    // Overfitting needs 20 samples to be reported.
    case.write("valid.jsonl", held_out.concat().repeat(10));
    let more = ["--validation", "valid.jsonl", "--steps", "400", "--eval-every", "5", "--patience", "6"];
    let run = train(&case, &more).ends(0).prints("warning: overfitting: the validation loss rose from");
    assert!(run.stdout.contains("stopped early: validation did not improve"), "{}", run.stdout);
    let valid: Vec<f64> = evaluations(&case, "run").iter().skip(1).map(|(_, loss)| float(loss)).collect();
    let best = valid.iter().copied().fold(f64::INFINITY, f64::min);
    let best_step = 5 * (1 + valid.iter().position(|loss| *loss == best).unwrap());
    assert!(run.stdout.contains(&format!("(step {best_step}, the best)")), "{}", run.stdout);
    assert_eq!(valid.len(), best_step / 5 + 6);
    case.write("valid.jsonl", held_out.concat());
    let run = train(&case, &[&more[..], &["--force"]].concat()).ends(0);
    assert!(!run.stderr.contains("overfitting"), "{}", run.stderr);
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

#[test]
fn a_run_starts_with_an_adapter_of_any_dialect() {
    let case = case(&toy());
    let validation = ["--validation", "train.jsonl"];
    let targets = ["--targets", "all", "--lora-rank", "4", "--lora-alpha", "8"];
    train(&case, &[&["--steps", "6"][..], &validation, &targets].concat()).ends(0);
    let (step, loss) = evaluations(&case, "run").pop().unwrap();
    assert_eq!(step, "6");
    fs::rename(case.path("run/adapter"), case.path("peft")).unwrap();
    for to in ["mistral", "vllm-consolidated", "peft-legacy"] {
        let convert = ["adapter", "convert", "peft", to, "--to", to, "--base", "model", "--dtype", "f32"];
        case.run(&convert).ends(0);
    }
    for from in ["peft", "mistral", "vllm-consolidated", "peft-legacy"] {
        let more = ["--steps", "1", "--force", "--init-adapter", from];
        train(&case, &[&more[..], &validation].concat()).ends(0);
        assert_eq!(evaluations(&case, "run")[0], ("0".to_owned(), loss.clone()), "{from}");
    }
    let more = ["--init-adapter", "peft", "--lora-rank", "8"];
    train(&case, &more).ends(2).prints("cannot be used with");
    case.write("other/adapter_config.json", case.read("peft/adapter_config.json"));
    train(&case, &["--init-adapter", "other", "--force"]).ends(2).prints("`other` contains no adapter");
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
fn dry_run_prints_the_plan_and_writes_nothing() {
    let case = case(&toy());
    let run = train(&case, &["--dry-run", "--epochs", "4"]).ends(0);
    assert!(!case.path("run").exists());
    snapshots::check("train-dry-run.txt", &without_times(&run.stdout));
    let run = train(&case, &["--dry-run", "--format", "json", "--activation-memory", "100kB"]).ends(0);
    let plan: Value<'static> = pixtune_core::json::parse(&run.stdout).unwrap().value.into_owned();
    assert_eq!(at(&plan, "/trained_parameters").to_string(), "53760");
    assert_eq!(at(&plan, "/recomputed_layers").to_string(), "2");
    assert_eq!(at(&plan, "/measured").as_array().unwrap().len(), 2);
}

/// The table without the times of this machine.
fn without_times(table: &str) -> String {
    let kept = |line: &&str| !line.starts_with("measured") && !line.starts_with("total");
    table.lines().filter(kept).map(|line| format!("{line}\n")).collect()
}

#[test]
fn closing_table_matches_snapshot() {
    let case = case(&toy());
    let run = train(&case, &["--steps", "20", "--validation", "train.jsonl", "--eval-every", "10"]).ends(0);
    snapshots::check("train.txt", &without_measurements(&format!("{}\n{}", run.stderr, run.stdout)));
    let report = case.read("run/report.html");
    snapshots::check("train-report.txt", &without_measurements(&words(&without_clock(&report))));
    let quiet = train(&case, &["--steps", "2", "--force", "--quiet"]).ends(0);
    assert_eq!(quiet.stderr, "");
    assert!(Path::new(&case.path("run/report.html")).exists());
}

/// Losses, shares and seconds differ from machine to machine in their last digits; what stands around them does not.
fn without_measurements(text: &str) -> String {
    let word = |word: &str| match word.trim_end_matches([';', ',']).parse::<f64>() {
        Ok(_) if word.contains('.') => "#".to_owned() + &word[word.trim_end_matches([';', ',']).len()..],
        _ => word.to_owned(),
    };
    let line = |line: &str| {
        let words: Vec<String> = line.split(' ').map(word).collect();
        let line = words.join(" ");
        // Speed and time of a step.
        if let Some((before, _)) = line.split_once("  gradient norm ").filter(|_| line.ends_with(" left")) {
            return format!("{before}  gradient norm # # tokens/s  # left\n");
        }
        match line.rsplit_once(", ") {
            Some((before, time)) if line.starts_with("trained") && time.ends_with(" s") => {
                format!("{before}, # s\n")
            }
            _ => line + "\n",
        }
    };
    text.lines().map(line).collect()
}

/// A page without what the clock and the memory of a machine decide: two charts and two tiles.
fn without_clock(page: &str) -> String {
    let mut page = page.to_owned();
    for chart in ["throughput", "memory"] {
        let start = page.find(&format!("data-chart=\"{chart}\"")).unwrap();
        let end = start + page[start..].find("</figure>").unwrap();
        page.replace_range(start..end, ">");
    }
    for what in ["<span>for ", "<span>peak memory"] {
        if let Some(end) = page.find(what) {
            let start = page[..end].rfind("<b>").unwrap();
            page.replace_range(start..end, "<b>#</b>");
        }
    }
    page
}

/// The words of a page, a line for each element.
fn words(page: &str) -> String {
    let body = page.split_once("<body>").map_or(page, |(_, body)| body);
    let body = body.split_once("<script>").map_or(body, |(body, _)| body);
    let texts = body.split('<').filter_map(|part| part.split_once('>')).map(|(_, text)| text.trim());
    texts.filter(|text| !text.is_empty()).map(|text| format!("{text}\n")).collect()
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
