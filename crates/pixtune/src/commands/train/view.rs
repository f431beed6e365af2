//! The progress of a training run on the terminal.

use std::time::{Duration, Instant};

use pixtune_core::diagnostic::Diagnostic;
use pixtune_core::metrics::{EvaluationRecord, StepRecord};
use pixtune_core::text::grouped;
use pixtune_io::prepare::Watch as _;
use pixtune_train::data::Indexing;
use pixtune_train::plan::RunPlan;
use pixtune_train::state::{Overfitting, RunState};
use pixtune_train::trainer::Observer;

use crate::ui::{Format, Ui, Verbosity};

/// A progress bar on a terminal; elsewhere a line now and then.
pub struct View {
    ui: Ui,
    start: Instant,
    first_step: u64,
    tokens: u64,
    losses: Vec<f64>,
    first_loss: Option<f64>,
    valid_loss: Option<f64>,
    /// The metric of the run.
    metric: Option<String>,
    last_line: Instant,
    /// Steps between lines, if that was set.
    log_every: Option<u64>,
}

/// Without a progress bar, steps are printed at this interval, and after so many of them.
const LINE_EVERY: Duration = Duration::from_secs(30);
const STEPS_PER_LINE: u64 = 10;
/// Characters of the loss curve beside the bar.
const CURVE_WIDTH: usize = 8;

impl View {
    pub fn new(format: Format, verbosity: Verbosity, log_every: Option<u64>) -> View {
        let now = Instant::now();
        View {
            ui: Ui::new(format, verbosity),
            start: now,
            first_step: 0,
            tokens: 0,
            losses: Vec::new(),
            first_loss: None,
            valid_loss: None,
            metric: None,
            last_line: now,
            log_every,
        }
    }

    pub fn note(&self, text: &str) {
        self.ui.note(text);
    }

    /// Starts the progress bar, at the state of a resumed run.
    pub fn begin(&mut self, plan: &RunPlan, state: &RunState) {
        self.ui.start_bar("{bar:10} {pos}/{len}  {wide_msg}", plan.steps, state.step);
        self.start = Instant::now();
        self.last_line = self.start;
        self.first_step = state.step;
        self.metric = plan.settings.metric.map(|metric| metric.name());
        self.valid_loss = state.last_evaluation.map(|last| last.loss);
    }

    pub fn end(&mut self) {
        self.ui.end();
    }

    /// Whether a line about a step is printed: the first and the last one, and some in between.
    fn line_is_due(&self, step: u64, steps: u64, has_bar: bool) -> bool {
        let is_marked = |every: u64| step.is_multiple_of(every) || step == 1 || step == steps;
        match self.log_every {
            Some(every) => is_marked(every),
            None => !has_bar && (is_marked(STEPS_PER_LINE) || self.last_line.elapsed() >= LINE_EVERY),
        }
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
        self.ui.moved("indexing", bytes, of);
    }
}

impl Observer for View {
    fn finding(&mut self, diagnostic: &Diagnostic) {
        Indexing::finding(self, diagnostic);
    }

    fn step(&mut self, record: &StepRecord, plan: &RunPlan) {
        self.first_loss.get_or_insert(record.loss);
        self.tokens += record.tokens;
        self.losses.push(record.loss);
        if self.losses.len() > 2000 {
            // Each character of the curve is a mean of many by now: merging neighbors keeps memory flat.
            self.losses =
                self.losses.chunks(2).map(|pair| pair.iter().sum::<f64>() / pair.len() as f64).collect();
        }
        let seconds = self.seconds().max(1e-9);
        let steps = record.step - self.first_step;
        let left = seconds / steps.max(1) as f64 * plan.steps.saturating_sub(record.step) as f64;
        let rate = self.tokens as f64 / seconds;
        let valid = self.valid_loss.map_or(String::new(), |loss| format!(" valid {loss:.3}"));
        // The bar and this text fit 80 columns.
        let text = format!(
            "{} left  loss {:.3} {}{valid}  {} tok/s",
            duration(left),
            record.loss,
            sparkline(&self.losses, CURVE_WIDTH),
            grouped(rate as u64),
        );
        let has_bar = self.ui.advance(record.step, &text);
        if self.line_is_due(record.step, plan.steps, has_bar) {
            self.last_line = Instant::now();
            self.ui.note(&format!(
                "step {} of {}  loss {:.4}  learning rate {:.2e}  gradient norm {:.3}  {} tokens/s  {} left",
                grouped(record.step),
                grouped(plan.steps),
                record.loss,
                record.learning_rate,
                record.grad_norm,
                grouped(rate as u64),
                duration(left)
            ));
        }
    }

    fn evaluating(&mut self, done: usize, total: usize) {
        self.ui.set_text(&format!("evaluating: batch {done} of {total}"));
    }

    fn evaluation(&mut self, record: &EvaluationRecord, best: bool) {
        self.valid_loss = Some(record.valid_loss);
        self.ui.set_text("");
        let best = if best { "  (best so far)" } else { "" };
        let score = match (&self.metric, record.valid_score) {
            (Some(metric), Some(score)) => format!("  {metric} {score:.4}"),
            _ => String::new(),
        };
        self.note(&format!(
            "step {}  validation loss {:.4}  token accuracy {:.1} %{score}{best}",
            grouped(record.step),
            record.valid_loss,
            100.0 * record.valid_token_accuracy
        ));
    }

    fn recomputing(&mut self, step: u64) {
        self.note(&format!(
            "warning: out of GPU memory in step {}: it is repeated, and from now on the activations of all layers are recomputed; \
             the result is the same, and steps are slower",
            grouped(step)
        ));
    }

    fn overfitting(&mut self, Overfitting { best, now, train_before, train_now }: &Overfitting) {
        self.note(&format!(
            "warning: overfitting: the validation loss rose from {:.4} (step {}) to {:.4} (step {}), although the training \
             loss fell from {train_before:.4} to {train_now:.4}\n  hint: the adapter of step {} is kept; --patience stops \
             such a run early, and more varied data helps against it",
            best.loss, best.step, now.loss, now.step, best.step
        ));
    }
}

/// The values as a curve of `width` characters, scaled to their range.
fn sparkline(values: &[f64], width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let per_bar = values.len().div_ceil(width).max(1);
    let means: Vec<f64> =
        values.chunks(per_bar).map(|part| part.iter().sum::<f64>() / part.len() as f64).collect();
    let low = means.iter().copied().fold(f64::INFINITY, f64::min);
    let high = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let bar = |mean: &f64| {
        let height = if high > low { (mean - low) / (high - low) } else { 0.0 };
        BARS[((height * 7.0).round() as usize).min(7)]
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
    fn sparklines_and_durations_are_readable() {
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
