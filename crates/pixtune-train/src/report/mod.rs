//! `report.html`: the curves of a run in one self-contained file, and several runs on one page.

mod compare;
mod curves;
mod logs;
mod responses;

use std::fmt::Write as _;
use std::io;

use pixtune_core::json::Value;
use pixtune_core::metrics::EvaluationRecord;
use pixtune_core::text::{counted, grouped};
use pixtune_io::report::page::{Page, Section, escape};

use crate::directory::{RunDirectory, names};
use crate::error::TrainError;
use crate::examples::{self, ExampleRecord};
use crate::metrics::History;
use crate::plan::{Input, RunPlan};

pub use compare::{ComparedRun, compare};

/// More points than pixels would show nothing more.
const POINTS: usize = 800;

/// Writes the report of a run, while it goes on and when it has ended.
pub fn write(directory: &RunDirectory, plan: &RunPlan) -> Result<(), TrainError> {
    let path = directory.join(names::METRICS);
    let history = match History::read(&path, POINTS) {
        Ok(history) => history,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(TrainError::Write { path, source }),
    };
    let failed = |source| TrainError::Write { path: directory.join(names::SAMPLES), source };
    let examples = examples::read(directory.path()).map_err(failed)?;
    directory.write(names::REPORT, html(plan, &history, &examples).as_bytes())
}

/// The page. The same run gives the same bytes.
pub fn html(plan: &RunPlan, history: &History, examples: &[ExampleRecord]) -> String {
    let taken = history.points.last().map_or(0, |point| point.step);
    let steps = counted(plan.steps, "step");
    let mut sections = vec![result(plan, history), curves(plan, history)];
    sections.extend(responses::section(examples));
    sections.push(run(plan));
    let page = Page {
        title: format!("Training of an adapter for {}", plan.model.display()),
        lead: format!("{} of {steps}, {}", grouped(taken), counted(history.tokens, "token")),
        foot: format!("pixtune {}", env!("CARGO_PKG_VERSION")),
        sections,
    };
    page.html()
}

/// How the run went, in a sentence and as tiles.
fn result(plan: &RunPlan, history: &History) -> Section {
    let taken = history.points.last().map_or(0, |point| point.step);
    let baseline = history.evaluations.iter().find(|evaluation| evaluation.step == 0);
    let (class, sentence) = match (history.best(), baseline) {
        (Some(best), Some(baseline)) if best.is_better_than(baseline) => (
            "ready",
            format!(
                "<b>Better</b> than without an adapter: {} at step {}",
                changes(plan, baseline, best),
                grouped(best.step)
            ),
        ),
        (Some(best), Some(baseline)) => (
            "broken",
            format!("<b>Not better</b> than without an adapter: {} at best", changes(plan, baseline, best)),
        ),
        (Some(best), None) => {
            ("", format!("Best validation loss {:.4} at step {}", best.valid_loss, grouped(best.step)))
        }
        (None, _) if plan.validation.is_none() => {
            ("", "No validation data: whether the adapter generalizes is not known".to_owned())
        }
        (None, _) => ("", "Not evaluated yet".to_owned()),
    };
    let mut body = format!(
        "<div class=\"panel verdict {class}\"><p class=\"first\">{sentence}</p></div><div class=\"tiles\">"
    );
    let mut tile = |value: String, what: String| {
        let _ = write!(body, "<div class=\"tile\"><b>{value}</b><span>{}</span></div>", escape(&what));
    };
    tile(grouped(taken), format!("of {} done", counted(plan.steps, "step")));
    if let (Some(first), Some(last)) = (history.points.first(), history.points.last()) {
        tile(format!("{:.4}", last.loss), format!("training loss, {:.4} at step {}", first.loss, first.step));
    }
    if let Some(EvaluationRecord { step, valid_token_accuracy, valid_score, .. }) = history.best() {
        if let (Some(score), Some(metric)) = (valid_score, plan.settings.metric) {
            tile(format!("{score:.4}"), format!("{} at step {}", metric.name(), grouped(*step)));
        }
        tile(
            format!("{:.1} %", 100.0 * valid_token_accuracy),
            format!("token accuracy at step {}", grouped(*step)),
        );
    }
    if history.seconds > 0.0 && !history.points.is_empty() {
        tile(duration(history.seconds), format!("for {}", counted(history.tokens, "token")));
    }
    if let Some(peak) =
        history.points.iter().map(|point| point.peak_memory_bytes).max().filter(|peak| *peak > 0)
    {
        tile(memory(peak), "peak memory".to_owned());
    }
    body.push_str("</div>");
    Section { id: "result", title: "Result", body }
}

/// Score and loss before training and at the best evaluation.
fn changes(plan: &RunPlan, baseline: &EvaluationRecord, best: &EvaluationRecord) -> String {
    let loss = format!("validation loss {:.4} → {:.4}", baseline.valid_loss, best.valid_loss);
    match (plan.settings.metric, baseline.valid_score, best.valid_score) {
        (Some(metric), Some(before), Some(now)) => {
            format!("{} {before:.4} → {now:.4}, {loss}", escape(&metric.name()))
        }
        _ => loss,
    }
}

fn memory(bytes: u64) -> String {
    match bytes {
        0..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

fn duration(seconds: f64) -> String {
    match seconds {
        _ if seconds < 60.0 => format!("{seconds:.0} s"),
        _ if seconds < 5400.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

fn curves(plan: &RunPlan, history: &History) -> Section {
    let best = history.best().map(|best| (best.step, best.valid_loss));
    let all = [curves::NamedRun { name: "", history }];
    let accuracy = match history.evaluations.len() {
        0 => String::new(),
        _ => curves::panel(curves::Kind::Accuracy, &all, plan.steps, None, 190),
    };
    let score = curves::panel(curves::Kind::Score, &all, plan.steps, None, 190);
    let body = format!(
        "{}<div class=\"two\">{score}{accuracy}{}{}{}{}</div>",
        curves::losses(history, plan.steps, best),
        curves::panel(curves::Kind::GradientNorm, &all, plan.steps, Some(plan.settings.max_grad_norm), 190),
        curves::panel(curves::Kind::LearningRate, &all, plan.steps, None, 190),
        curves::panel(curves::Kind::Throughput, &all, plan.steps, None, 190),
        curves::panel(curves::Kind::Memory, &all, plan.steps, None, 190),
    );
    Section { id: "curves", title: "Curves", body }
}

fn run(plan: &RunPlan) -> Section {
    let options = plan.options().into_iter().map(|(name, value)| (name.replace('_', " "), shown(&value)));
    let inputs = plan.inputs.iter().map(|input| (input.path.clone(), fingerprint(input)));
    let mut body = String::from("<div class=\"panel scroll\"><table class=\"facts\">");
    for (name, value) in options.chain(inputs) {
        let _ = write!(body, "<tr><td>{}</td><td>{}</td></tr>", escape(&name), escape(&value));
    }
    body.push_str("</table></div>");
    Section { id: "run", title: "The run", body }
}

fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.to_string(),
        value => value.to_string(),
    }
}

fn fingerprint(Input { bytes, blake3, .. }: &Input) -> String {
    let hash = blake3.as_ref().map_or(String::new(), |hash| format!(", BLAKE3 {hash}"));
    format!("{}{hash}", counted(*bytes, "byte"))
}
