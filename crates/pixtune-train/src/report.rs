//! `report.html`: the curves of a run in one self-contained file.

use std::fmt::Write as _;
use std::io;

use pixtune_core::json::Value;
use pixtune_core::metrics::EvaluationRecord;
use pixtune_core::text::{counted, grouped};
use pixtune_io::report::chart::{Curve, Series};
use pixtune_io::report::page::{Page, Section, escape};

use crate::directory::{RunDirectory, names};
use crate::error::TrainError;
use crate::metrics::{History, StepValues};
use crate::plan::{Input, RunPlan};

/// More points than pixels would show nothing more.
const POINTS: usize = 800;

/// Writes the report of a run that has ended, complete or not.
pub fn write(directory: &RunDirectory, plan: &RunPlan) -> Result<(), TrainError> {
    let path = directory.join(names::METRICS);
    let history = match History::read(&path, POINTS) {
        Ok(history) => history,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(TrainError::Write { path, source }),
    };
    directory.write(names::REPORT, html(plan, &history).as_bytes())
}

/// The page. The same run gives the same bytes.
pub fn html(plan: &RunPlan, history: &History) -> String {
    let taken = history.losses.last().map_or(0, |(step, _)| *step);
    let steps = counted(plan.steps, "step");
    let page = Page {
        title: format!("Training of an adapter for {}", plan.model.display()),
        lead: format!("{} of {steps}, {}", grouped(taken), counted(history.tokens, "token")),
        foot: format!("pixtune {}", env!("CARGO_PKG_VERSION")),
        sections: vec![curves(plan, history), run(plan, history)],
    };
    page.html()
}

/// The first of the evaluations with the lowest loss; the one before training does not count.
fn best(history: &History) -> Option<&EvaluationRecord> {
    let after_training = history.evaluations.iter().filter(|evaluation| evaluation.step > 0);
    after_training.reduce(|best, next| if next.valid_loss < best.valid_loss { next } else { best })
}

fn curves(plan: &RunPlan, history: &History) -> Section {
    let point = |evaluation: &EvaluationRecord| (evaluation.step, evaluation.valid_loss);
    let validation: StepValues = history.evaluations.iter().map(point).collect();
    let curve = |name, about, series: &[Series<'_>], circled, height| {
        Curve { name, about, series, circled, steps: plan.steps, height }.html()
    };
    let losses =
        [Series { points: &history.losses, dots: false }, Series { points: &validation, dots: true }];
    let rates = [Series { points: &history.learning_rates, dots: false }];
    let key = match validation.is_empty() {
        true => "<span class=\"key a\"></span>training",
        false => {
            "<span class=\"key a\"></span>training<span class=\"key b\"></span>validation, the best one circled"
        }
    };
    let body = format!(
        "<div class=\"panel\"><h3>Loss</h3>{}<p class=\"note\">{key}</p></div><div class=\"panel\"><h3>Learning rate</h3>{}</div>",
        curve("loss", "loss", &losses, best(history).map(point), 300),
        curve("learning-rate", "learning rate", &rates, None, 90)
    );
    Section { id: "curves", title: "Curves", body }
}

fn run(plan: &RunPlan, history: &History) -> Section {
    let options = plan.options().into_iter().map(|(name, value)| (name.replace('_', " "), shown(&value)));
    let inputs = plan.inputs.iter().map(|input| (input.path.clone(), fingerprint(input)));
    let rows = results(history).into_iter().chain(options).chain(inputs);
    let mut body = String::from("<div class=\"panel scroll\"><table>");
    for (name, value) in rows {
        let _ = write!(body, "<tr><td>{}</td><td>{}</td></tr>", escape(&name), escape(&value));
    }
    body.push_str("</table></div>");
    Section { id: "run", title: "The run", body }
}

/// The losses at the beginning, at the best evaluation and at the end.
fn results(history: &History) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
    if let (Some(first), Some(last)) = (history.losses.first(), history.losses.last()) {
        let (first_step, last_step) = (first.0, last.0);
        row(
            "training loss",
            format!("{:.4} at step {first_step}, {:.4} at step {last_step}", first.1, last.1),
        );
    }
    if let Some(EvaluationRecord { step, valid_loss, valid_token_accuracy, .. }) = best(history) {
        let accuracy = format!("token accuracy {:.1} %", 100.0 * valid_token_accuracy);
        row("best validation loss", format!("{valid_loss:.4} at step {step}, {accuracy}"));
    }
    if let Some(baseline) = history.evaluations.iter().find(|evaluation| evaluation.step == 0) {
        row("validation loss before training", format!("{:.4}", baseline.valid_loss));
    }
    rows
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
