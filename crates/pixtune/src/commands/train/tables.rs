//! What a run says of itself: its plan, its forecast and its end, for people and for machines.

use std::fmt::Write as _;

use pixtune_core::text::{counted, grouped};
use pixtune_train::directory::names;
use pixtune_train::dry_run::Forecast;
use pixtune_train::progress::Progress;
use pixtune_train::settings::Plan;
use pixtune_train::trainer::Summary;

use super::view::{View, duration};
use crate::args::TrainArgs;
use crate::ui::bytes;

/// The columns of a table of figures: a name and what it is.
fn row(out: &mut String, name: &str, value: &str) {
    let _ = writeln!(out, "{name:<16}{value}");
}

/// What a run is going to do.
pub fn plan(plan: &Plan, trained_parameters: usize) -> String {
    let mut out = String::new();
    let Plan { settings, steps, steps_per_epoch, eval_every, packing, .. } = plan;
    let lora = &settings.lora;
    let set = |[samples, tokens, trained]: [u64; 3], steps: String| {
        let (samples, tokens, trained) = (counted(samples, "sample"), grouped(tokens), grouped(trained));
        format!("{samples}, {tokens} tokens ({trained} trained), {steps}")
    };
    let parameters = grouped(trained_parameters as u64);
    let adapter = format!(
        "rank {}, alpha {}, {}: {parameters} trained parameters",
        lora.rank, lora.alpha, lora.targets
    );
    row(&mut out, "adapter", &adapter);
    row(&mut out, "an epoch", &set(plan.train, counted(*steps_per_epoch, "step")));
    let held_out = match plan.validation {
        [0, ..] => "none".to_owned(),
        sizes => set(sizes, format!("every {}", counted(*eval_every, "step"))),
    };
    row(&mut out, "validation", &held_out);
    let batches = match packing.accumulate {
        1 => "1 batch".to_owned(),
        many => format!("{} batches", grouped(u64::from(many))),
    };
    let run = format!(
        "{}, each of {batches} of {} tokens at most",
        counted(*steps, "step"),
        grouped(u64::from(packing.batch_tokens)),
    );
    row(&mut out, "the run", &run);
    let warmup = counted(plan.schedule.warmup, "step");
    let rate = format!("{} after {warmup} of warm-up, then half a cosine to 0", settings.learning_rate);
    row(&mut out, "learning rate", &rate);
    out
}

/// The answer to `--dry-run`.
pub fn forecast(plan: &Plan, forecast: &Forecast) -> String {
    let mut out = self::plan(plan, forecast.trained_parameters);
    let memory = &forecast.memory;
    let total = memory.total() + forecast.waiting;
    let largest = grouped(forecast.largest_batch);
    row(&mut out, "memory", &format!("{} for the largest batch, {largest} tokens", bytes(total)));
    row(&mut out, "  weights", &bytes(memory.weights));
    row(&mut out, "  adapter", &format!("{}, gradients and optimizer included", bytes(memory.adapter)));
    let layers = memory.layers;
    let recomputed = match memory.recomputed_layers {
        0 => format!("{}, nothing is computed again", bytes(memory.saved)),
        again => format!("{}, {again} of {layers} layers are computed again", bytes(memory.saved)),
    };
    row(&mut out, "  activations", &recomputed);
    row(&mut out, "  in work", &bytes(memory.working));
    row(&mut out, "  samples", &format!("{}, waiting or kept for the next epoch", bytes(forecast.waiting)));
    for (index, step) in forecast.steps.iter().enumerate() {
        let name = format!("measured {}", index + 1);
        let rate = step.tokens as f64 / step.seconds.max(1e-9);
        let seconds =
            format!("{:.2} s for {} tokens, {rate:.0} tokens/s", step.seconds, grouped(step.tokens));
        row(&mut out, &name, &seconds);
    }
    if let Some((seconds, evaluating)) = whole_run(plan, forecast) {
        let evaluating = if plan.validation[0] == 0 {
            String::new()
        } else {
            format!(", and about {} of evaluation", duration(evaluating))
        };
        row(&mut out, "in all", &format!("about {} of training{evaluating}", duration(seconds)));
    }
    out
}

/// Seconds of all steps, and of all evaluations: a forward pass is a third of a step or less.
fn whole_run(plan: &Plan, forecast: &Forecast) -> Option<(f64, f64)> {
    let epochs = plan.steps as f64 / plan.steps_per_epoch.max(1) as f64;
    let training = forecast.seconds(plan.train[1])? * epochs;
    let evaluations = plan.steps.div_ceil(plan.eval_every) + 1;
    Some((training, forecast.seconds(plan.validation[1])? / 3.0 * evaluations as f64))
}

pub fn forecast_json(plan: &Plan, forecast: &Forecast) -> String {
    let memory = &forecast.memory;
    let steps: Vec<String> = forecast
        .steps
        .iter()
        .map(|step| format!("{{\"tokens\":{},\"seconds\":{:.4}}}", step.tokens, step.seconds))
        .collect();
    let [samples, tokens, trained] = plan.train;
    format!(
        "{{\"trained_parameters\":{},\"samples\":{samples},\"tokens\":{tokens},\"trained_tokens\":{trained},\
         \"steps\":{},\"steps_per_epoch\":{},\"largest_batch\":{},\"memory\":{{\"weights\":{},\"adapter\":{},\
         \"activations\":{},\"in_work\":{},\"samples\":{}}},\"recomputed_layers\":{},\"layers\":{},\"measured\":[{}]}}\n",
        forecast.trained_parameters,
        plan.steps,
        plan.steps_per_epoch,
        forecast.largest_batch,
        memory.weights,
        memory.adapter,
        memory.saved,
        memory.working,
        forecast.waiting,
        memory.recomputed_layers,
        memory.layers,
        steps.join(","),
    )
}

/// How a run ended.
pub fn closing(args: &TrainArgs, plan: &Plan, summary: &Summary, ui: &View) -> String {
    let mut out = String::new();
    let Progress { step, tokens, baseline, best, last_evaluation, .. } = summary.progress;
    let early = if summary.stopped_early { ", ended early: validation got no better" } else { "" };
    let time = duration(ui.seconds());
    row(
        &mut out,
        "trained",
        &format!(
            "{} of {}, {} tokens, {time}{early}",
            counted(step, "step"),
            grouped(plan.steps),
            grouped(tokens)
        ),
    );
    if let (Some(first), Some(last)) = (ui.first_loss(), summary.final_loss) {
        row(&mut out, "loss", &format!("{first:.4} → {last:.4}"));
    }
    if let (Some((at, loss)), Some(before)) = (best, baseline) {
        let last = match last_evaluation {
            Some((last, loss)) if last != at => format!(", {loss:.4} at the end"),
            _ => String::new(),
        };
        let text = format!("{before:.4} → {loss:.4} at step {}{last}", grouped(at));
        row(&mut out, "validation", &text);
        if loss >= before {
            out.push_str("                no better than without an adapter\n");
        }
    }
    let which = match best {
        Some((at, _)) => format!("of step {}, the best", grouped(at)),
        None => format!("of step {}, the last", grouped(step)),
    };
    row(&mut out, "adapter", &format!("{} ({which})", args.out.join(names::ADAPTER).display()));
    row(&mut out, "report", &args.out.join(names::REPORT).display().to_string());
    out
}

pub fn summary_json(summary: &Summary) -> String {
    let number = |number: Option<f64>| number.map_or("null".to_owned(), |number| number.to_string());
    let Progress { step, tokens, baseline, best, .. } = summary.progress;
    format!(
        "{{\"steps\":{step},\"tokens\":{tokens},\"loss\":{},\"valid_loss_before\":{},\"best_step\":{},\
         \"best_valid_loss\":{},\"stopped_early\":{},\"left_out\":{}}}\n",
        number(summary.final_loss),
        number(baseline),
        best.map_or("null".to_owned(), |(step, _)| step.to_string()),
        number(best.map(|(_, loss)| loss)),
        summary.stopped_early,
        summary.left_out,
    )
}
