//! `train`: a tiny model, from data to adapter, and everything that can be wrong on the way.

mod bad_input;
mod metric;
mod resume;
mod whole_tensors;

use std::fs;
use std::path::Path;
use std::process::Command;

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
