//! What can be seen of a training run while it goes on: lines, the report, example responses, events for TensorBoard.

use std::fs;

use crate::harness::{at, text};
use crate::train::{case, toy, train};

#[test]
fn lines_about_steps_are_printed_where_there_is_no_terminal() {
    let case = case(&toy());
    let steps = |stderr: &str| -> Vec<String> {
        let lines = stderr.lines().filter(|line| line.contains(" tokens/s "));
        lines.map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
    };
    let run = train(&case, &["--steps", "22"]).ends(0);
    assert_eq!(steps(&run.stderr), ["1", "10", "20", "22"]);
    let run = train(&case, &["--steps", "7", "--log-every", "3", "--force"]).ends(0);
    assert_eq!(steps(&run.stderr), ["1", "3", "6", "7"]);
    let run = train(&case, &["--steps", "3", "--log-every", "1", "--force", "--quiet"]).ends(0);
    assert_eq!(run.stderr, "");
}

#[test]
fn the_model_answers_samples_at_every_evaluation() {
    let case = case(&toy());
    let more = ["--validation", "train.jsonl", "--eval-every", "20", "--samples", "2"];
    train(&case, &[&more[..], &["--steps", "60"]].concat()).ends(0);
    let records = case.lines("run/samples.jsonl");
    let steps: Vec<String> = records.iter().map(|record| at(record, "/step").to_string()).collect();
    assert_eq!(steps, ["0", "0", "20", "20", "40", "40", "60", "60"]);
    let last = &records[records.len() - 2];
    assert_eq!(
        ["/prompt", "/reference", "/response"].map(|key| text(last, key)),
        ["what is it", "a gradient", "a gradient"]
    );
    let report = case.read("run/report.html");
    assert!(report.contains("Example responses") && report.contains("before training"));
    train(&case, &["--steps", "1", "--samples", "2", "--force"])
        .ends(2)
        .prints("--samples needs validation data");
}

#[test]
fn the_report_shows_what_was_measured() {
    let case = case(&toy());
    let more = ["--validation", "train.jsonl", "--eval-every", "5", "--steps", "10"];
    train(&case, &more).ends(0);
    let whole = case.read("run/report.html");
    for text in ["Token accuracy", "Gradient norm", "tokens per second", "10 of 10 steps", "data-values="] {
        assert!(whole.contains(text), "{text}");
    }
}

#[test]
fn events_for_tensorboard_are_rewritten_when_a_run_is_resumed() {
    let case = case(&toy());
    let events = || fs::read(case.path("run/tensorboard/events.out.tfevents.0.pixtune")).unwrap();
    train(&case, &["--steps", "8", "--tensorboard"]).ends(0);
    let first = events();
    let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(
        has(&first, "brain.Event:2") && has(&first, "train/loss") && has(&first, "train/tokens_per_second")
    );
    train(&case, &["--steps", "8", "--tensorboard", "--resume"]).ends(0);
    assert_eq!(events().len(), first.len());
}

#[test]
fn runs_are_compared_on_one_page() {
    let case = case(&toy());
    let more = ["--steps", "4", "--validation", "train.jsonl"];
    train(&case, &more).ends(0);
    fs::rename(case.path("run"), case.path("first")).unwrap();
    train(&case, &[&more[..], &["--lora-rank", "4"]].concat()).ends(0);
    let run = case.run(&["report", "first", "run"]).ends(0);
    assert!(run.stdout.starts_with("written         report.html"), "{}", run.stdout);
    let page = case.read("report.html");
    for text in
        ["2 training runs compared", "lowest validation loss", "lora rank", "data-chart=\"validation-loss\""]
    {
        assert!(page.contains(text), "{text}");
    }
    assert!(
        !page.contains("weight decay") && !page.contains("NaN"),
        "options that are the same are not listed"
    );
    case.run(&["report", "first", "train.jsonl", "--force"])
        .ends(2)
        .prints("`train.jsonl` is not a training run");
    case.run(&["report", "run", "--force"]).ends(0);
    assert!(case.read("report.html").contains("weight decay"));
}
