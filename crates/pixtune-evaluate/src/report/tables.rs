//! The numbers of a report.

use std::fmt::Write as _;

use pixtune_core::score::{LabelReport, Level, Tally};
use pixtune_core::text::{counted, grouped};
use pixtune_io::report::page::{Section, escape, escape_short, prose};

use super::Found;
use crate::contest::Standing;
use crate::evaluation::Evaluation;

/// The levels of strictness, as people read them.
const LEVELS: [&str; 4] =
    ["the whole answer is right", "only the final answer in it", "only a reference anywhere in it", "wrong"];

/// Scores at every level of strictness, of the model and whom it is compared with.
pub(super) fn scores(found: Found<'_>) -> Section {
    let Evaluation { standing, compared, metric, .. } = found.evaluation;
    let mut body = String::new();
    if let Some(because) = metric.because {
        let _ = write!(
            body,
            "<p class=\"note\">The metric was chosen because {}; <code>--metric</code> sets another.</p>",
            escape(because)
        );
    }
    for standing in [Some(standing), compared.as_ref()].into_iter().flatten() {
        let _ = write!(body, "<div class=\"panel\"><h3>{}</h3>", escape_short(&standing.name, 120));
        let total = sum(standing);
        ladder(&total, &mut body);
        body.push_str("<div class=\"scroll\"><table><tr><th>score</th><th class=\"n\">mean</th></tr>");
        for (name, score) in metric.scorer.named(total.level_scores()) {
            let _ = write!(
                body,
                "<tr><td><code>{name}</code></td><td class=\"n\">{}</td></tr>",
                score.map_or("none".to_owned(), |score| format!("{score:.4}"))
            );
        }
        let _ = write!(
            body,
            "</table></div><p class=\"note\">{} without a final answer that could be found, {} empty, {} ended at the token limit</p></div>",
            counted(total.unparsed, "answer"),
            grouped(total.empty),
            grouped(total.cut)
        );
    }
    Section { id: "scores", title: "Scores", body }
}

/// The sums over all phrasings.
fn sum(standing: &Standing) -> Tally {
    standing.phrasings.iter().fold(Tally::default(), |sum, (_, tally)| sum.joined(tally))
}

/// The levels as one bar.
fn ladder(tally: &Tally, body: &mut String) {
    body.push_str("<div class=\"stack\">");
    for (level, class) in Level::ALL.into_iter().zip(["bg-b", "bg-a", "bg-c", ""]) {
        let share = tally.share(level).unwrap_or(0.0);
        if share > 0.0 && !class.is_empty() {
            let _ = write!(body, "<i class=\"{class}\" style=\"width:{:.2}%\"></i>", 100.0 * share);
        }
    }
    body.push_str("</div><p class=\"note\">");
    for ((level, what), key) in Level::ALL.into_iter().zip(LEVELS).zip(["b", "a", "c", ""]) {
        let square =
            if key.is_empty() { String::new() } else { format!("<span class=\"key {key}\"></span>") };
        let _ = write!(
            body,
            "<span class=\"part\">{square}{what}: {} ({:.1} %)</span> ",
            grouped(tally.levels[level as usize]),
            100.0 * tally.share(level).unwrap_or(0.0)
        );
    }
    body.push_str("</p>");
}

/// The phrasings, if there are several.
pub(super) fn phrasings(found: Found<'_>) -> Option<Section> {
    let Evaluation { standing, compared, .. } = found.evaluation;
    if standing.phrasings.len() < 2 {
        return None;
    }
    let mut body = String::new();
    for standing in [Some(standing), compared.as_ref()].into_iter().flatten() {
        let _ = write!(
            body,
            "<div class=\"panel\"><h3>{}</h3><div class=\"scroll\"><table><tr><th>phrasing</th><th class=\"n\">score</th><th class=\"n\">right</th><th class=\"n\">strict</th><th class=\"n\">parsed only</th><th class=\"n\">anywhere only</th><th class=\"n\">failed</th></tr>",
            escape_short(&standing.name, 120)
        );
        for (template, tally) in &standing.phrasings {
            let _ = write!(
                body,
                "<tr><td class=\"phrasing\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>",
                escape_short(template, 300).replace('\n', "<br>"),
                tally.score().map_or("none".to_owned(), |score| format!("{score:.3}")),
                grouped(tally.right)
            );
            for count in [&tally.levels[..3], &[tally.failed]].concat() {
                let _ = write!(body, "<td class=\"n\">{}</td>", grouped(count));
            }
            body.push_str("</tr>");
        }
        body.push_str("</table></div>");
        if let (Some(score), Some(sample)) = (standing.score(), standing.sample_spread) {
            let _ = write!(
                body,
                "<p class=\"note\">mean {:.3}, {:.3} to {:.3}, spread {:.3} · scores of one sample are {:.3} apart on average · {} between right and wrong</p>",
                score.mean,
                score.min,
                score.max,
                score.width(),
                sample.mean,
                pixtune_core::text::counted_as(standing.flips, "sample changes", "samples change")
            );
        }
        body.push_str("</div>");
    }
    Some(Section { id: "phrasings", title: "Phrasings", body })
}

/// The two models side by side.
pub(super) fn comparison(found: Found<'_>) -> Option<Section> {
    let Evaluation { standing, compared, comparison, .. } = found.evaluation;
    let (Some(base), Some(comparison)) = (compared, comparison) else { return None };
    let score = |standing: &Standing| standing.score().map_or(0.0, |spread| spread.mean);
    let row = |name: &str, value: String| format!("<tr><td>{name}</td><td class=\"n\">{value}</td></tr>");
    let mut body = String::from("<div class=\"panel scroll\"><table>");
    body += &row(&escape_short(&standing.name, 120), format!("{:.4}", score(standing)));
    body += &row(&escape_short(&base.name, 120), format!("{:.4}", score(base)));
    body += &row("difference", format!("{:+.4}", comparison.difference));
    let interval = comparison.interval;
    body += &row("95 % interval", format!("{:+.4} to {:+.4}", interval.low, interval.high));
    body += &row("only the first is right (wins)", grouped(comparison.wins));
    body += &row("only the second is right (losses)", grouped(comparison.losses));
    body += &row("p-value of McNemar’s exact test", escape(&comparison.p_text()));
    let _ = write!(
        body,
        "</table></div><p class=\"note\">{} that both answered; paired bootstrap with {} resamples, seed {}</p>",
        counted(comparison.samples, "sample"),
        grouped(comparison.rounds),
        found.plan.seed
    );
    Some(Section { id: "comparison", title: "Comparison", body })
}

/// The confusion matrix.
pub(super) fn labels(found: Found<'_>) -> Option<Section> {
    let Evaluation { standing, compared, .. } = found.evaluation;
    let mut body = String::new();
    for standing in [Some(standing), compared.as_ref()].into_iter().flatten() {
        if let Some(report) = &standing.labels {
            let _ = write!(body, "<div class=\"panel\"><h3>{}</h3>", escape_short(&standing.name, 120));
            confusion(report, &mut body);
            body.push_str("</div>");
        }
    }
    if body.is_empty() { None } else { Some(Section { id: "labels", title: "Labels", body }) }
}

fn confusion(report: &LabelReport, body: &mut String) {
    let labels: Vec<&String> = report.labels.keys().collect();
    body.push_str("<div class=\"scroll\"><table class=\"confusion\"><tr><th>label</th>");
    for label in &labels {
        let _ = write!(body, "<th class=\"n\">{}</th>", escape_short(label, 24));
    }
    body.push_str("<th class=\"n\">other</th><th class=\"n\">recall</th><th class=\"n\">precision</th></tr>");
    for (label, row) in &report.labels {
        let _ = write!(body, "<tr><td>{}</td>", escape_short(label, 48));
        for predicted in labels.iter().map(|label| Some((*label).clone())).chain([None]) {
            let count = report.confusion.get(&(label.clone(), predicted.clone())).copied().unwrap_or(0);
            let class = match (count, predicted.as_ref() == Some(label)) {
                (0, _) => " soft",
                (_, true) => " hit",
                (_, false) => " miss",
            };
            let _ = write!(body, "<td class=\"n{class}\">{}</td>", grouped(count as u64));
        }
        let _ = write!(
            body,
            "<td class=\"n\">{:.2}</td><td class=\"n\">{:.2}</td></tr>",
            row.recall(),
            row.precision()
        );
    }
    let _ = write!(
        body,
        "</table></div><p class=\"note\">Rows are references, columns are answers. Accuracy {:.3}, macro F1 {:.3}.</p>",
        report.accuracy(),
        report.macro_f1()
    );
}

/// The answers that could not be had.
pub(super) fn failures(found: Found<'_>) -> Option<Section> {
    const SHOWN: usize = 20;
    let Evaluation { standing, compared, failures, .. } = found.evaluation;
    if failures.is_empty() {
        return None;
    }
    let mut body = String::from("<div class=\"panel\">");
    for standing in [Some(standing), compared.as_ref()].into_iter().flatten() {
        for (kind, count) in &standing.failures.kinds {
            let _ = write!(
                body,
                "<p><span class=\"tag error\">{}</span> {}, {}</p>",
                escape(kind),
                counted(*count, "answer"),
                escape_short(&standing.name, 120)
            );
        }
    }
    body.push_str("<ul class=\"locations\">");
    for finding in failures.iter().take(SHOWN) {
        let _ = write!(
            body,
            "<li><code>{}:{}</code> {}</li>",
            escape_short(&finding.file, 80),
            finding.line,
            prose(&shortened(&finding.finding.message))
        );
    }
    body.push_str("</ul></div>");
    Some(Section { id: "failures", title: "Failures", body })
}

/// The beginning of a message, some of which contain a page of text.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
