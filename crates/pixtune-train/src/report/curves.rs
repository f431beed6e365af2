//! The curves of one run or of several.

use std::fmt::Write as _;

use pixtune_io::report::chart::{Curve, Series};
use pixtune_io::report::page::escape;

use crate::metrics::{History, StepValues};

/// A run and what it is called on the page; the only run of a page needs no name.
#[derive(Clone, Copy)]
pub(super) struct NamedRun<'r> {
    pub(super) name: &'r str,
    pub(super) history: &'r History,
}

/// What is drawn over the steps.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    TrainingLoss,
    ValidationLoss,
    Accuracy,
    Score,
    GradientNorm,
    LearningRate,
    Throughput,
    Memory,
}

impl Kind {
    /// The name of the chart, its heading, and the title of its upward axis.
    fn texts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Kind::TrainingLoss => ("training-loss", "Training loss", "mean cross-entropy per trained token"),
            Kind::ValidationLoss => {
                ("validation-loss", "Validation loss", "mean cross-entropy per trained token")
            }
            Kind::Accuracy => {
                ("accuracy", "Token accuracy", "% of the trained tokens of the validation split")
            }
            Kind::Score => ("score", "Score", "mean score of the validation samples that were answered"),
            Kind::GradientNorm => ("gradient-norm", "Gradient norm", "norm of all gradients before clipping"),
            Kind::LearningRate => ("learning-rate", "Learning rate", "learning rate"),
            Kind::Throughput => ("throughput", "Throughput", "tokens per second, images included"),
            Kind::Memory => ("memory", "Memory", "GB, the maximum so far"),
        }
    }

    fn values(self, history: &History) -> StepValues {
        let evaluations = |value: fn(&pixtune_core::metrics::EvaluationRecord) -> f64| {
            history.evaluations.iter().map(|evaluation| (evaluation.step, value(evaluation))).collect()
        };
        match self {
            Kind::TrainingLoss => history.curve(|point| point.loss),
            Kind::ValidationLoss => evaluations(|evaluation| evaluation.valid_loss),
            Kind::Accuracy => evaluations(|evaluation| 100.0 * evaluation.valid_token_accuracy),
            Kind::Score => {
                let scored = history.evaluations.iter();
                scored.filter_map(|evaluation| Some((evaluation.step, evaluation.valid_score?))).collect()
            }
            Kind::GradientNorm => history.curve(|point| point.grad_norm),
            Kind::LearningRate => history.curve(|point| point.learning_rate),
            Kind::Throughput => {
                let measured = history.points.iter().filter(|point| point.tokens_per_second() > 0.0);
                measured.map(|point| (point.step, point.tokens_per_second())).collect()
            }
            Kind::Memory => {
                let known = history.points.iter().filter(|point| point.peak_memory_bytes > 0);
                known.map(|point| (point.step, point.peak_memory_bytes as f64 / 1e9)).collect()
            }
        }
    }

    /// Whether there are few points, each of which counts.
    fn dots(self) -> bool {
        matches!(self, Kind::ValidationLoss | Kind::Accuracy | Kind::Score)
    }
}

/// A panel with one kind of values of all runs; nothing where no run has any.
pub(super) fn panel(kind: Kind, runs: &[NamedRun<'_>], steps: u64, clip: Option<f64>, height: u32) -> String {
    let (name, heading, about) = kind.texts();
    // Other trainers do not log everything.
    let known = |run: &NamedRun<'_>| {
        let values = kind.values(run.history).into_iter();
        values.filter(|(_, value)| value.is_finite()).collect()
    };
    let values: Vec<StepValues> = runs.iter().map(known).collect();
    if values.iter().all(Vec::is_empty) {
        return String::new();
    }
    let series: Vec<Series<'_>> = runs
        .iter()
        .zip(&values)
        .map(|(run, points)| Series {
            name: if run.name.is_empty() { heading } else { run.name },
            points,
            // A line of one point would not be seen.
            dots: kind.dots() || points.len() == 1,
        })
        .collect();
    let chart = Curve { name, about, series: &series, circled: None, steps, height }.html();
    let note = clip.map_or(String::new(), |clip| {
        let clipped = values.iter().flatten().filter(|(_, norm)| *norm > clip).count();
        let share =
            pixtune_core::quality::percent(clipped as f64 / values.iter().flatten().count().max(1) as f64);
        format!("<p class=\"note\">Clipped above {clip}: {share} of the points.</p>")
    });
    format!("<div class=\"panel\"><h3>{heading}</h3>{chart}{note}{}</div>", key(runs))
}

/// Training and validation loss of one run.
pub(super) fn losses(history: &History, steps: u64, best: Option<(u64, f64)>) -> String {
    let (train, validation) = (Kind::TrainingLoss.values(history), Kind::ValidationLoss.values(history));
    let series = [
        Series { name: "training", points: &train, dots: false },
        Series { name: "validation", points: &validation, dots: true },
    ];
    let (_, _, about) = Kind::TrainingLoss.texts();
    let chart = Curve { name: "loss", about, series: &series, circled: best, steps, height: 300 }.html();
    let key = match validation.is_empty() {
        true => "<span class=\"key k0\"></span>training",
        false => {
            "<span class=\"key k0\"></span>training<span class=\"key k1\"></span>validation, the best one circled"
        }
    };
    format!("<div class=\"panel\"><h3>Loss</h3>{chart}<p class=\"note\">{key}</p></div>")
}

/// Which color is which run.
fn key(runs: &[NamedRun<'_>]) -> String {
    if runs.len() < 2 {
        return String::new();
    }
    let mut out = String::from("<p class=\"note\">");
    for (index, run) in runs.iter().enumerate() {
        let _ = write!(
            out,
            "<span class=\"part\"><span class=\"key k{}\"></span>{}</span>",
            index % 6,
            escape(run.name)
        );
    }
    out.push_str("</p>");
    out
}
