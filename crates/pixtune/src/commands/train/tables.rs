//! Plan, forecast and summary of a run, as tables for people and as JSON for machines.

use std::fmt::Write as _;

use pixtune_core::json::{self, fixed, list, object};
use pixtune_core::metrics::is_better;
use pixtune_core::text::{counted, counted_as, grouped};
use pixtune_train::directory::names;
use pixtune_train::dry_run::{Forecast, MeasuredStep};
use pixtune_train::plan::{DatasetSize, RunPlan};
use pixtune_train::state::RunState;
use pixtune_train::trainer::Summary;

use super::view::{View, duration};
use crate::args::TrainArgs;
use crate::ui::bytes;

/// Rows of a name and a text.
#[derive(Default)]
struct Table(String);

impl Table {
    fn row(&mut self, name: &str, text: &str) {
        let _ = writeln!(self.0, "{name:<16}{text}");
    }
}

/// What a run will do.
pub fn plan(plan: &RunPlan, trained_parameters: usize) -> String {
    plan_table(plan, trained_parameters).0
}

fn plan_table(plan: &RunPlan, trained_parameters: usize) -> Table {
    let RunPlan { settings, steps, steps_per_epoch, eval_every, packing, .. } = plan;
    let lora = &settings.lora;
    let parameters = counted(trained_parameters as u64, "trained parameter");
    let whole = if lora.whole.is_empty() { String::new() } else { format!(", whole {}", lora.whole) };
    let adapter = format!("rank {}, alpha {}, {}{whole}: {parameters}", lora.rank, lora.alpha, lora.targets);
    let epoch = format!("{}, {}", dataset(plan.train), counted(*steps_per_epoch, "step"));
    let validation = match plan.validation {
        None => "none".to_owned(),
        Some(size) => format!("{}, every {}", dataset(size), counted(*eval_every, "step")),
    };
    let batches = counted_as(u64::from(packing.accumulate), "batch", "batches");
    let run = format!(
        "{}, each of {batches} of up to {}",
        counted(*steps, "step"),
        counted(u64::from(packing.batch_tokens), "token"),
    );
    let warmup = counted(plan.schedule.warmup, "step");
    let rate = format!("{} after {warmup} of warmup, then cosine decay to 0", settings.learning_rate);
    let mut table = Table::default();
    table.row("adapter", &adapter);
    table.row("epoch", &epoch);
    table.row("validation", &validation);
    table.row("run", &run);
    table.row("learning rate", &rate);
    table
}

fn dataset(DatasetSize { samples, tokens, trained_tokens }: DatasetSize) -> String {
    let (samples, tokens) = (counted(samples, "sample"), counted(tokens, "token"));
    format!("{samples}, {tokens} ({} trained)", grouped(trained_tokens))
}

/// What `--dry-run` prints.
pub fn forecast(plan: &RunPlan, forecast: &Forecast) -> String {
    let mut table = plan_table(plan, forecast.trained_parameters);
    memory_rows(&mut table, forecast);
    for (index, MeasuredStep { tokens, seconds }) in forecast.steps.iter().enumerate() {
        let rate = *tokens as f64 / seconds.max(1e-9);
        let text = format!("{seconds:.2} s for {}, {rate:.0} tokens/s", counted(*tokens, "token"));
        table.row(&format!("measured {}", index + 1), &text);
    }
    if let Some((training, evaluation)) = total_seconds(plan, forecast) {
        let evaluation = match plan.validation {
            None => String::new(),
            Some(_) => format!(", and about {} of evaluation", duration(evaluation)),
        };
        table.row("total", &format!("about {} of training{evaluation}", duration(training)));
    }
    table.0
}

fn memory_rows(table: &mut Table, forecast: &Forecast) {
    let Forecast { memory, sample_bytes, .. } = forecast;
    let total = bytes(memory.total() + sample_bytes);
    let largest = counted(forecast.largest_batch, "token");
    table.row("memory", &format!("{total} for the largest batch, {largest}"));
    table.row("  weights", &bytes(memory.weights));
    table.row("  adapter", &format!("{}, including gradients and optimizer", bytes(memory.adapter)));
    let (recomputed, layers) = (memory.recomputed_layers, memory.layers);
    let recomputed = match recomputed {
        0 => "no layer is recomputed".to_owned(),
        _ => format!("recomputed layers: {recomputed} of {layers}"),
    };
    table.row("  activations", &format!("{}, {recomputed}", bytes(memory.saved)));
    table.row("  workspace", &bytes(memory.working));
    table.row("  samples", &format!("{}, loaded ahead or cached for the next epoch", bytes(*sample_bytes)));
}

/// Seconds of all steps, and of all evaluations: a forward pass takes at most a third of a step.
fn total_seconds(plan: &RunPlan, forecast: &Forecast) -> Option<(f64, f64)> {
    let epochs = plan.steps as f64 / plan.steps_per_epoch.max(1) as f64;
    let training = forecast.seconds(plan.train.tokens)? * epochs;
    let evaluations = plan.steps.div_ceil(plan.eval_every) + 1;
    let evaluated = plan.validation.unwrap_or_default().tokens;
    Some((training, forecast.seconds(evaluated)? / 3.0 * evaluations as f64))
}

/// [`forecast`] for machines.
pub fn forecast_json(plan: &RunPlan, forecast: &Forecast) -> String {
    let memory = &forecast.memory;
    let measured = |step: &MeasuredStep| {
        let MeasuredStep { tokens, seconds } = *step;
        object(move |measured| {
            measured.field("tokens", tokens).field("seconds", fixed(seconds, 4));
        })
    };
    let parts = object(|parts| {
        parts
            .field("weights", memory.weights)
            .field("adapter", memory.adapter)
            .field("activations", memory.saved)
            .field("in_work", memory.working)
            .field("samples", forecast.sample_bytes);
    });
    let line = json::text(object(|line| {
        line.field("trained_parameters", forecast.trained_parameters)
            .field("samples", plan.train.samples)
            .field("tokens", plan.train.tokens)
            .field("trained_tokens", plan.train.trained_tokens)
            .field("steps", plan.steps)
            .field("steps_per_epoch", plan.steps_per_epoch)
            .field("largest_batch", forecast.largest_batch)
            .field("memory", parts)
            .field("recomputed_layers", memory.recomputed_layers)
            .field("layers", memory.layers)
            .field("measured", list(forecast.steps.iter().map(measured)));
    }));
    line + "\n"
}

/// The result of a run.
pub fn summary(args: &TrainArgs, plan: &RunPlan, summary: &Summary, view: &View) -> String {
    let RunState { step, tokens, baseline, best, last_evaluation, baseline_score, best_score, .. } =
        summary.state;
    let mut table = Table::default();
    let early = if summary.stopped_early { ", stopped early: validation did not improve" } else { "" };
    let (steps, tokens) = (counted(plan.steps, "step"), counted(tokens, "token"));
    let time = duration(view.seconds());
    table.row("trained", &format!("{} of {steps}, {tokens}, {time}{early}", grouped(step)));
    if let (Some(first), Some(last)) = (view.first_loss(), summary.final_loss) {
        table.row("loss", &format!("{first:.4} → {last:.4}"));
    }
    if let (Some(best), Some(baseline)) = (best, baseline) {
        let last = match last_evaluation {
            Some(last) if last.step != best.step => format!(", {:.4} at the end", last.loss),
            _ => String::new(),
        };
        let text = format!("{baseline:.4} → {:.4} at step {}{last}", best.loss, grouped(best.step));
        table.row("validation", &text);
        if let (Some(before), Some(score), Some(metric)) = (baseline_score, best_score, plan.settings.metric)
        {
            table.row("score", &format!("{} {before:.4} → {score:.4} at the same step", metric.name()));
        }
        if !is_better((best_score, best.loss), (baseline_score, baseline)) {
            table.row("", "not better than without an adapter");
        }
    }
    let which = match best {
        Some(best) => format!("step {}, the best", grouped(best.step)),
        None => format!("step {}, the last", grouped(step)),
    };
    table.row("adapter", &format!("{} ({which})", args.out.join(names::ADAPTER).display()));
    table.row("report", &args.out.join(names::REPORT).display().to_string());
    table.0
}

/// [`summary`] for machines.
pub fn summary_json(summary: &Summary) -> String {
    let RunState { step, tokens, baseline, best, baseline_score, best_score, .. } = summary.state;
    let line = json::text(object(|line| {
        line.field("steps", step)
            .field("tokens", tokens)
            .field("loss", summary.final_loss)
            .field("valid_loss_before", baseline)
            .field("best_step", best.map(|best| best.step))
            .field("best_valid_loss", best.map(|best| best.loss))
            .field("valid_score_before", baseline_score)
            .field("best_valid_score", best_score)
            .field("stopped_early", summary.stopped_early)
            .field("left_out", summary.skipped);
    }));
    line + "\n"
}
