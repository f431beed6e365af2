//! `report.html`: the curves of a run in one self-contained file.

use std::fmt::Write as _;
use std::io;

use pixtune_core::text::grouped;
use pixtune_io::report::chart::{Curve, Series};
use pixtune_io::report::page::{Page, Section, escape};

use crate::directory::{Directory, names};
use crate::error::TrainError;
use crate::metrics::History;
use crate::settings::{Input, Plan};

/// More points than pixels show nothing more.
const POINTS: usize = 800;

/// Writes the report of a run that has ended, or of what there is of it.
pub fn write(directory: &Directory, plan: &Plan) -> Result<(), TrainError> {
    let path = directory.join(names::METRICS);
    let history = match History::read(&path, POINTS) {
        Ok(history) => history,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(TrainError::Write { path, source }),
    };
    directory.write(names::REPORT, html(plan, &history).as_bytes())
}

/// The page. The same run gives the same bytes.
pub fn html(plan: &Plan, history: &History) -> String {
    let best = history.evaluations.iter().filter(|(step, ..)| *step > 0).copied();
    let best = best.reduce(|best, next| if next.1 < best.1 { next } else { best });
    let taken = history.losses.last().map_or(0, |(step, _)| *step);
    let page = Page {
        title: format!("Training of an adapter for {}", plan.model.display()),
        lead: format!(
            "{} of {} steps, {} tokens",
            grouped(taken),
            grouped(plan.steps),
            grouped(history.tokens)
        ),
        foot: format!("pixtune {}", env!("CARGO_PKG_VERSION")),
        sections: vec![curves(plan, history, best), numbers(plan, history, best)],
    };
    page.html()
}

fn curves(plan: &Plan, history: &History, best: Option<(u64, f64, f64)>) -> Section {
    let validation: Vec<(u64, f64)> =
        history.evaluations.iter().map(|&(step, loss, _)| (step, loss)).collect();
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
        curve("loss", "loss", &losses, best.map(|(step, loss, _)| (step, loss)), 300),
        curve("learning-rate", "learning rate", &rates, None, 90)
    );
    Section { id: "curves", title: "Curves", body }
}

fn numbers(plan: &Plan, history: &History, best: Option<(u64, f64, f64)>) -> Section {
    let mut body = String::from("<div class=\"panel scroll\"><table>");
    let mut row = |name: &str, value: &str| {
        let _ = write!(body, "<tr><td>{}</td><td>{}</td></tr>", escape(name), escape(value));
    };
    if let (Some(first), Some(last)) = (history.losses.first(), history.losses.last()) {
        row(
            "training loss",
            &format!("{:.4} at step {}, {:.4} at step {}", first.1, first.0, last.1, last.0),
        );
    }
    if let Some((step, loss, accuracy)) = best {
        let tokens = format!("{:.1} % of the trained tokens are the most likely one", 100.0 * accuracy);
        row("best validation loss", &format!("{loss:.4} at step {step}; {tokens}"));
    }
    if let Some((_, loss, _)) = history.evaluations.iter().find(|(step, ..)| *step == 0) {
        row("before training", &format!("{loss:.4}"));
    }
    for (name, value) in plan.choices() {
        let value = match value.as_str() {
            "null" => "none",
            "true" => "yes",
            "false" => "no",
            value => value.trim_matches('"'),
        };
        row(&name.replace('_', " "), value);
    }
    for Input { path, bytes, blake3 } in &plan.inputs {
        let hash = blake3.as_ref().map_or(String::new(), |hash| format!(", BLAKE3 {hash}"));
        row(path, &format!("{} bytes{hash}", grouped(*bytes)));
    }
    body.push_str("</table></div>");
    Section { id: "run", title: "The run", body }
}
