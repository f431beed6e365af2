//! Several runs on one page.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use pixtune_core::json::{self, Value};
use pixtune_core::text::{counted, grouped};
use pixtune_io::report::page::{Page, Section, escape, escape_short};

use super::curves::{Kind, NamedRun, panel};
use super::logs::Log;
use super::{POINTS, duration, shown};
use crate::directory::names;
use crate::error::TrainError;
use crate::metrics::History;

/// A run that is compared.
#[derive(Debug, Clone)]
pub struct ComparedRun {
    name: String,
    history: History,
    /// The options of `plan.json`.
    options: Vec<(String, String)>,
}

impl ComparedRun {
    /// Whether there is a run in this directory: of `train`, or of a trainer whose log is known.
    pub fn is_run(directory: &Path) -> bool {
        ComparedRun::is_own(directory) || Log::of(directory).is_some()
    }

    fn is_own(directory: &Path) -> bool {
        [names::METRICS, names::PLAN].iter().all(|name| directory.join(name).is_file())
    }

    /// Reads the run in a directory, which may still go on.
    pub fn read(directory: &Path) -> Result<ComparedRun, TrainError> {
        if !ComparedRun::is_own(directory)
            && let Some(log) = Log::of(directory)
        {
            let damaged = |error: io::Error| TrainError::Damaged {
                path: directory.to_owned(),
                reason: error.to_string(),
            };
            let (history, options) = log.read().map_err(damaged)?;
            return Ok(ComparedRun { name: directory.display().to_string(), history, options });
        }
        let path = directory.join(names::METRICS);
        let damaged = |path: &Path, reason: String| TrainError::Damaged { path: path.to_owned(), reason };
        let history = History::read(&path, POINTS).map_err(|error| damaged(&path, error.to_string()))?;
        let path = directory.join(names::PLAN);
        let text = fs::read_to_string(&path).map_err(|error| damaged(&path, error.to_string()))?;
        let plan = json::parse(&text).map_err(|error| damaged(&path, error.to_string()))?.value;
        let options = plan.get("plan").and_then(Value::as_object);
        let options = options.ok_or_else(|| damaged(&path, "it has no `plan`".to_owned()))?;
        Ok(ComparedRun {
            name: directory.display().to_string(),
            history,
            options: options.iter().map(|(name, value)| (name.to_string(), shown(value))).collect(),
        })
    }

    fn option(&self, name: &str) -> &str {
        self.options.iter().find(|(known, _)| known == name).map_or("–", |(_, value)| value)
    }

    fn last_step(&self) -> u64 {
        let evaluated = self.history.evaluations.last().map_or(0, |evaluation| evaluation.step);
        self.history.points.last().map_or(0, |point| point.step).max(evaluated)
    }
}

/// The page about several runs.
pub fn compare(runs: &[ComparedRun]) -> String {
    let page = Page {
        title: match runs {
            [run] => format!("Training run {}", run.name),
            _ => format!("{} compared", counted(runs.len() as u64, "training run")),
        },
        lead: runs.iter().map(|run| run.name.as_str()).collect::<Vec<_>>().join(", "),
        foot: format!("pixtune {}", env!("CARGO_PKG_VERSION")),
        sections: vec![table(runs), curves(runs), options(runs)],
    };
    page.html()
}

fn table(runs: &[ComparedRun]) -> Section {
    let best = |run: &ComparedRun| run.history.best().map(|best| best.valid_loss);
    let lowest = runs.iter().filter_map(best).fold(f64::INFINITY, f64::min);
    let mut body = String::from(
        "<div class=\"panel scroll\"><table data-chart=\"runs\"><tr><th>run</th><th class=\"n\">steps</th><th class=\"n\">training loss</th><th class=\"n\">best validation loss</th><th class=\"n\">at step</th><th class=\"n\">token accuracy</th><th class=\"n\">tokens</th><th class=\"n\">time</th></tr>",
    );
    for run in runs {
        let history = &run.history;
        let evaluated = history.best();
        let number = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.4}"));
        let is_lowest = runs.len() > 1 && evaluated.is_some_and(|best| best.valid_loss <= lowest);
        let _ = write!(
            body,
            "<tr><td>{}{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escape_short(&run.name, 120),
            if is_lowest { " <span class=\"tag ok\">lowest validation loss</span>" } else { "" },
            grouped(run.last_step()),
            number(history.points.last().map(|point| point.loss)),
            number(evaluated.map(|best| best.valid_loss)),
            evaluated.map_or("–".to_owned(), |best| grouped(best.step)),
            accuracy(evaluated.map_or(f64::NAN, |best| best.valid_token_accuracy)),
            known(history.tokens > 0, grouped(history.tokens)),
            known(history.seconds > 0.0, duration(history.seconds))
        );
    }
    body.push_str("</table></div>");
    Section { id: "runs", title: "Runs", body }
}

fn accuracy(share: f64) -> String {
    known(share.is_finite(), format!("{:.1} %", 100.0 * share))
}

/// A dash for what a trainer does not log.
fn known(is_known: bool, text: String) -> String {
    if is_known { text } else { "–".to_owned() }
}

fn curves(runs: &[ComparedRun]) -> Section {
    let steps = runs.iter().map(ComparedRun::last_step).max().unwrap_or(0);
    let named: Vec<NamedRun<'_>> =
        runs.iter().map(|run| NamedRun { name: &run.name, history: &run.history }).collect();
    let one = |kind, height| panel(kind, &named, steps, None, height);
    let body = format!(
        "{}{}<div class=\"two\">{}{}{}{}{}</div>",
        one(Kind::ValidationLoss, 260),
        one(Kind::TrainingLoss, 260),
        one(Kind::Accuracy, 190),
        one(Kind::GradientNorm, 190),
        one(Kind::LearningRate, 190),
        one(Kind::Throughput, 190),
        one(Kind::Memory, 190)
    );
    Section { id: "curves", title: "Curves", body }
}

/// The options in which runs differ; of inputs, the hash.
fn options(runs: &[ComparedRun]) -> Section {
    let mut all: Vec<&str> = Vec::new();
    for (name, _) in runs.iter().flat_map(|run| &run.options) {
        if !all.contains(&name.as_str()) {
            all.push(name);
        }
    }
    let differs = |name: &str| runs.iter().any(|run| run.option(name) != runs[0].option(name));
    let listed: Vec<&str> = all.into_iter().filter(|name| runs.len() < 2 || differs(name)).collect();
    if listed.is_empty() {
        let body = "<div class=\"panel\"><p class=\"note\">All options and inputs are the same.</p></div>";
        return Section { id: "options", title: "Options that differ", body: body.to_owned() };
    }
    let mut body = String::from("<div class=\"panel scroll\"><table><tr><th>option</th>");
    for run in runs {
        let _ = write!(body, "<th>{}</th>", escape_short(&run.name, 80));
    }
    body.push_str("</tr>");
    for name in listed {
        let _ = write!(body, "<tr><td>{}</td>", escape(&name.replace('_', " ")));
        for run in runs {
            let _ = write!(body, "<td>{}</td>", escape_short(run.option(name), 80));
        }
        body.push_str("</tr>");
    }
    body.push_str("</table></div>");
    let title = if runs.len() < 2 { "Options" } else { "Options that differ" };
    Section { id: "options", title, body }
}
