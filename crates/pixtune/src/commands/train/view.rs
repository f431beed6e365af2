//! What people see of a training run.

use std::time::{Duration, Instant};

use pixtune_core::diagnostic::Diagnostic;
use pixtune_core::text::grouped;
use pixtune_io::prepare::Watch as _;
use pixtune_train::data::Indexing;
use pixtune_train::metrics::{EvaluationRecord, StepRecord};
use pixtune_train::progress::{Overfitting, Progress};
use pixtune_train::settings::Plan;
use pixtune_train::trainer::Watch;

use crate::ui::{Format, Ui};

/// A bar where someone can see it; elsewhere a line now and then.
pub struct View {
    ui: Ui,
    start: Instant,
    began_at: u64,
    tokens: u64,
    losses: Vec<f64>,
    first_loss: Option<f64>,
    valid: Option<f64>,
    told: Instant,
}

/// Where nobody watches a bar, a step is told so often at most.
const TELL_EVERY: Duration = Duration::from_secs(30);
/// Bars of the curve of losses.
const CURVE: usize = 12;

impl View {
    pub fn new(format: Format, quiet: bool) -> View {
        let now = Instant::now();
        View {
            ui: Ui::new(format, quiet),
            start: now,
            began_at: 0,
            tokens: 0,
            losses: Vec::new(),
            first_loss: None,
            valid: None,
            told: now,
        }
    }

    pub fn note(&self, text: &str) {
        self.ui.note(text);
    }

    /// Training starts, at this place.
    pub fn begin(&mut self, plan: &Plan, progress: &Progress) {
        self.ui.start_bar("{bar:10} {pos}/{len}  {msg}", plan.steps, progress.step);
        self.start = Instant::now();
        self.told = self.start;
        self.began_at = progress.step;
        self.valid = progress.last_evaluation.map(|(_, loss)| loss);
    }

    pub fn end(&mut self) {
        self.ui.end();
    }

    /// Seconds since training started.
    pub fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    pub fn first_loss(&self) -> Option<f64> {
        self.first_loss
    }
}

impl Indexing for View {
    fn finding(&mut self, diagnostic: &Diagnostic) {
        self.ui.finding(diagnostic);
    }

    fn read(&mut self, bytes: u64, of: u64) {
        self.ui.moved("reading the data:", bytes, of);
    }
}

impl Watch for View {
    fn finding(&mut self, diagnostic: &Diagnostic) {
        Indexing::finding(self, diagnostic);
    }

    fn step(&mut self, record: &StepRecord, plan: &Plan) {
        self.first_loss.get_or_insert(record.loss);
        self.tokens += record.tokens;
        self.losses.push(record.loss);
        if self.losses.len() > 2000 {
            // A bar is a mean of many by now; keep their number small, however long the run is.
            self.losses =
                self.losses.chunks(2).map(|pair| pair.iter().sum::<f64>() / pair.len() as f64).collect();
        }
        let seconds = self.seconds().max(1e-9);
        let taken = record.step - self.began_at;
        let left = seconds / taken.max(1) as f64 * plan.steps.saturating_sub(record.step) as f64;
        let rate = self.tokens as f64 / seconds;
        let valid = self.valid.map_or(String::new(), |loss| format!("  valid {loss:.3}"));
        let text = format!(
            "{} left  loss {:.3} {}{valid}  {} tokens/s",
            duration(left),
            record.loss,
            sparkline(&self.losses, CURVE),
            grouped(rate as u64),
        );
        if !self.ui.advance(record.step, &text) && self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            self.ui.note(&format!("step {} of {}  {text}", grouped(record.step), grouped(plan.steps)));
        }
    }

    fn evaluating(&mut self, done: usize, of: usize) {
        self.ui.set_text(&format!("evaluating: batch {done} of {of}"));
    }

    fn evaluation(&mut self, record: &EvaluationRecord, best: bool) {
        self.valid = Some(record.valid_loss);
        self.ui.set_text("");
        let best = if best { "  best so far" } else { "" };
        self.note(&format!(
            "step {}  validation loss {:.4}  {:.1} % of tokens right{best}",
            grouped(record.step),
            record.valid_loss,
            100.0 * record.valid_token_accuracy
        ));
    }

    fn overfitting(&mut self, Overfitting { best, now, train }: &Overfitting) {
        self.note(&format!(
            "warning: overfitting: validation rose from {:.4} (step {}) to {:.4} (step {}) while training fell from {:.4} to \
             {:.4}\n  hint: the adapter of step {} is kept; --patience ends such a run, more or more varied data helps",
            best.1, best.0, now.1, now.0, train.0, train.1, best.0
        ));
    }

    fn saved(&mut self, _step: u64) {}
}

/// The shape of the last values: the lowest is the lowest bar, the highest the highest.
fn sparkline(values: &[f64], width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let per_bar = values.len().div_ceil(width).max(1);
    let means: Vec<f64> =
        values.chunks(per_bar).map(|part| part.iter().sum::<f64>() / part.len() as f64).collect();
    let low = means.iter().copied().fold(f64::INFINITY, f64::min);
    let high = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let bar = |mean: &f64| {
        let share = if high > low { (mean - low) / (high - low) } else { 0.0 };
        BARS[((share * 7.0).round() as usize).min(7)]
    };
    means.iter().map(bar).collect()
}

/// `45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`.
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round().min(1e15) as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..600 => format!("{} min {} s", seconds / 60, seconds % 60),
        600..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_and_times_can_be_read() {
        assert_eq!(sparkline(&[4.0, 3.0, 2.0, 1.0], 20), "█▆▃▁");
        assert_eq!(sparkline(&[1.0; 3], 20), "▁▁▁");
        assert_eq!(sparkline(&[], 20), "");
        assert_eq!(sparkline(&(0..100).map(f64::from).collect::<Vec<_>>(), 20).chars().count(), 20);
        assert_eq!(
            [0.4, 59.0, 61.0, 700.0, 7_300.0, 200_000.0].map(duration),
            ["0 s", "59 s", "1 min 1 s", "11 min", "2 h 1 min", "2 d 7 h"]
        );
    }
}
