//! The result of an evaluation on a terminal.

use std::fmt::Write as _;

use super::judge;
use pixtune_core::score::Tally;
use pixtune_core::text::{counted, counted_as, grouped};
use pixtune_evaluate::{EvaluatePlan, Evaluation, Standing};

/// The longest name in a table that fits a terminal.
const NAME: usize = 28;

/// The table.
pub fn text(plan: &EvaluatePlan, evaluation: &Evaluation) -> String {
    let Evaluation { files, samples, invalid, metric, standing, compared, comparison, .. } = evaluation;
    let mut out = String::new();
    let because = metric.because.map_or(String::new(), |because| format!(", because {because}"));
    line(&mut out, "metric", &format!("{}{because}", metric.name()));
    line(&mut out, "scored on", evaluation.scored_part());
    let unusable = match invalid {
        0 => String::new(),
        count => {
            format!(", and {}", counted_as(*count, "row that cannot be used", "rows that cannot be used"))
        }
    };
    line(&mut out, "samples", &format!("{} of {}{unusable}", grouped(*samples), files.join(", ")));
    out.push('\n');
    let all: Vec<&Standing> = [Some(standing), compared.as_ref()].into_iter().flatten().collect();
    let rows = all.iter().map(|standing| {
        let total = standing.phrasings.iter().fold(Tally::default(), |sum, (_, tally)| sum.joined(tally));
        (standing.name.as_str(), standing.score().map(|spread| spread.mean), total)
    });
    scores(&mut out, "model", rows);
    for standing in &all {
        notes(&mut out, standing);
        if standing.phrasings.len() > 1 {
            let _ = writeln!(out, "\n{}", short(&standing.name, 60));
            let rows = standing
                .phrasings
                .iter()
                .map(|(template, tally)| (template.as_str(), tally.score(), tally.clone()));
            scores(&mut out, "phrasing", rows);
        }
    }
    if let Some(found) = comparison {
        out.push('\n');
        let interval = found.interval;
        line(
            &mut out,
            "difference",
            &format!("{:+.3}, 95 % interval {:+.3} to {:+.3}", found.difference, interval.low, interval.high),
        );
        let (wins, losses) =
            (counted_as(found.wins, "win", "wins"), counted_as(found.losses, "loss", "losses"));
        line(&mut out, "", &format!("{wins}, {losses}, McNemar p {}", found.p_text()));
    }
    judge::lines(evaluation).iter().for_each(|(name, value)| line(&mut out, name, value));
    for (threshold, reached) in &evaluation.thresholds {
        let verdict = if *reached < threshold.least { "missed" } else { "reached" };
        line(
            &mut out,
            "threshold",
            &format!("{verdict}: {} is {reached:.3}, required {}", threshold.name, threshold.least),
        );
    }
    out.push('\n');
    line(&mut out, "written", &plan.out.join("report.html").display().to_string());
    out
}

fn line(out: &mut String, name: &str, value: &str) {
    let _ = writeln!(out, "{name:<12}{value}");
}

fn scores<'r>(out: &mut String, first: &str, rows: impl Iterator<Item = (&'r str, Option<f64>, Tally)>) {
    let _ = writeln!(
        out,
        "{first:<NAME$}  {:>6}  {:>9}  {:>9}  {:>7}  {:>8}  {:>7}  {:>6}",
        "score", "right", "strict", "parsed", "anywhere", "wrong", "failed"
    );
    for (name, score, tally) in rows {
        let score = score.map_or("none".to_owned(), |score| format!("{score:.3}"));
        let [strict, parsed, anywhere, wrong] = tally.levels.map(grouped);
        let _ = writeln!(
            out,
            "{:<NAME$}  {score:>6}  {:>9}  {strict:>9}  {parsed:>7}  {anywhere:>8}  {wrong:>7}  {:>6}",
            short(name, NAME),
            grouped(tally.right),
            grouped(tally.failed)
        );
    }
}

/// What a score alone hides.
fn notes(out: &mut String, standing: &Standing) {
    let mut note = |text: String| {
        let _ = writeln!(out, "  {}: {text}", short(&standing.name, NAME));
    };
    let (empty, cut) = (standing.count(|tally| tally.empty), standing.count(|tally| tally.cut));
    if empty > 0 {
        note(counted_as(empty, "answer is empty", "answers are empty"));
    }
    if cut > 0 {
        note(format!("{} at --max-tokens", counted_as(cut, "answer ended", "answers ended")));
    }
    let kinds: Vec<String> =
        standing.failures.kinds.iter().map(|(kind, count)| format!("{} {kind}", grouped(*count))).collect();
    if !kinds.is_empty() {
        let score = standing.score_with_failures();
        note(format!("failed: {}; the score is {score:.3} if they count as wrong", kinds.join(", ")));
    }
    if let Some(found) = &standing.judgement {
        judge::notes(found).into_iter().for_each(&mut note);
    }
    if standing.flips > 0 {
        note(format!(
            "{} between right and wrong with the phrasing",
            counted_as(standing.flips, "sample changes", "samples change")
        ));
    }
    if let Some(spread) = standing.score().filter(|_| standing.phrasings.len() > 1) {
        note(format!(
            "over {}: mean {:.3}, {:.3} to {:.3}",
            counted(standing.phrasings.len() as u64, "phrasing"),
            spread.mean,
            spread.min,
            spread.max
        ));
    }
}

/// A name on one line, its end where it is too long: paths differ there.
fn short(name: &str, most: usize) -> String {
    let visible = |c: char| if c.is_control() { '␤' } else { c };
    let name: String = name.chars().map(visible).collect();
    let length = name.chars().count();
    if length <= most {
        return name;
    }
    format!("…{}", name.chars().skip(length + 1 - most).collect::<String>())
}
