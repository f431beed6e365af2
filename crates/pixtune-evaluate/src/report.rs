//! `report.html`: the verdict first, then the numbers, then samples with their images and answers.

mod judge;
mod picks;
mod samples;
mod tables;

use std::path::PathBuf;

use pixtune_core::text::{counted, grouped};
use pixtune_io::report::page::{Page, Section, escape, escape_short};

use crate::contest::Outcome;
use crate::data::Dataset;
use crate::error::EvaluateError;
use crate::evaluation::{Evaluation, counted_part};
use crate::plan::EvaluatePlan;

/// What a report is made from.
#[derive(Clone, Copy)]
pub(crate) struct Found<'f> {
    pub(crate) plan: &'f EvaluatePlan,
    pub(crate) evaluation: &'f Evaluation,
    pub(crate) dataset: &'f Dataset,
    pub(crate) outcomes: &'f [Outcome],
    /// The outcomes of whom the model is compared with.
    pub(crate) base: Option<&'f [Outcome]>,
    /// The files of their answers.
    pub(crate) files: &'f [PathBuf; 2],
}

/// The page. The same answers give the same bytes.
pub(crate) fn page(found: Found<'_>) -> Result<String, EvaluateError> {
    let Evaluation { files, metric, standing, .. } = found.evaluation;
    let mut sections = vec![verdict(found), tables::scores(found)];
    sections.extend(tables::phrasings(found));
    sections.extend(tables::comparison(found));
    sections.extend(judge::judges(found));
    sections.extend(tables::labels(found));
    sections.extend(tables::failures(found));
    sections.push(samples::samples(found)?);
    let names: Vec<&str> = files.iter().take(3).map(String::as_str).collect();
    let more = if files.len() > 3 { ", …" } else { "" };
    let page = Page {
        title: format!("Evaluation of {}", standing.name),
        lead: format!(
            "{} of {}{more}, metric {}, scored on {}",
            counted(found.evaluation.samples, "sample"),
            names.join(", "),
            metric.name(),
            counted_part(metric.scorer, standing)
        ),
        foot: format!("pixtune {}. Images are downscaled.", env!("CARGO_PKG_VERSION")),
        sections,
    };
    Ok(page.html())
}

/// Sentences that answer what people ask first, then the numbers as tiles.
fn verdict(found: Found<'_>) -> Section {
    let mut body = String::from("<div class=\"panel verdict\">");
    for (index, sentence) in sentences(found).iter().enumerate() {
        let tag = if index == 0 { "p class=\"first\"" } else { "p" };
        body.push_str(&format!("<{tag}>{sentence}</p>"));
    }
    body.push_str("</div>");
    body.push_str(&tiles(found));
    Section { id: "verdict", title: "Verdict", body }
}

fn sentences(found: Found<'_>) -> Vec<String> {
    let Evaluation { standing, comparison, compared, metric, .. } = found.evaluation;
    let (scored, failed) = (standing.count(|tally| tally.scored), standing.count(|tally| tally.failed));
    let name = escape_short(&standing.name, 120);
    let score = standing.score().map_or(0.0, |spread| spread.mean);
    let mut out = vec![format!(
        "<b>{name}</b> has {} of {} right: {} {score:.3}.",
        grouped(standing.count(|tally| tally.right)),
        counted(scored, "answer"),
        escape(&metric.name())
    )];
    if let (Some(found), Some(base)) = (comparison, compared) {
        let direction = if found.difference >= 0.0 { "better" } else { "worse" };
        let sure = match found.is_sure() {
            true => "The interval does not contain 0.",
            false => "The interval contains 0, so the samples do not show a difference.",
        };
        out.push(format!(
            "That is {:.3} {direction} than <b>{}</b>, with a 95 % interval from {:+.3} to {:+.3}. {sure}",
            found.difference.abs(),
            escape_short(&base.name, 120),
            found.interval.low,
            found.interval.high
        ));
    }
    if let (Some(pairs), Some(base)) = (&found.evaluation.pairs, compared) {
        out.push(format!(
            "The judge prefers its answer to that of <b>{}</b> in {} of {}, and the other in {}.",
            escape_short(&base.name, 120),
            grouped(pairs.tally.wins),
            counted(pairs.tally.pairs(), "pair"),
            grouped(pairs.tally.losses)
        ));
    }
    let loose = standing.count(|tally| tally.loose);
    if loose > 0 {
        out.push(format!(
            "{} right only at a looser level: the content is right and the form is not what the prompt asks for.",
            pixtune_core::text::counted_as(loose, "more answer is", "more answers are")
        ));
    }
    if let Some(spread) = standing.score().filter(|_| standing.phrasings.len() > 1) {
        out.push(format!(
            "Over {} the score lies between {:.3} and {:.3}; {} between right and wrong.",
            counted(standing.phrasings.len() as u64, "phrasing"),
            spread.min,
            spread.max,
            pixtune_core::text::counted_as(standing.flips, "sample changes", "samples change")
        ));
    }
    if failed > 0 {
        out.push(format!(
            "<span class=\"tag error\">failed</span> {} not be had and not be scored. Counted as wrong, the score is {:.3}.",
            pixtune_core::text::counted_as(failed, "answer could", "answers could"),
            standing.score_with_failures()
        ));
    }
    if found.evaluation.invalid > 0 {
        out.push(format!(
            "<span class=\"tag error\">invalid</span> {} not be used.",
            pixtune_core::text::counted_as(found.evaluation.invalid, "row could", "rows could")
        ));
    }
    for (threshold, reached) in found.evaluation.missed() {
        out.push(format!(
            "<span class=\"tag error\">missed</span> {} is {reached:.3}, and {} is required.",
            escape(&threshold.name),
            threshold.least
        ));
    }
    out
}

fn tiles(found: Found<'_>) -> String {
    let Evaluation { standing, metric, comparison, .. } = found.evaluation;
    let mut out = String::from("<div class=\"tiles\">");
    let mut tile = |value: String, what: &str, is_bad: bool| {
        let bad = if is_bad { " bad" } else { "" };
        out.push_str(&format!("<div class=\"tile{bad}\"><b>{value}</b><span>{}</span></div>", escape(what)));
    };
    let score = standing.score().map_or(0.0, |spread| spread.mean);
    tile(format!("{score:.3}"), &metric.name(), found.evaluation.missed().next().is_some());
    let scored = standing.count(|tally| tally.scored);
    tile(grouped(standing.count(|tally| tally.right)), &format!("right of {}", grouped(scored)), false);
    if let Some(found) = comparison {
        tile(format!("{:+.3}", found.difference), "difference to the other model", found.interval.high < 0.0);
    }
    if standing.phrasings.len() > 1 {
        tile(grouped(standing.flips), "samples change with the phrasing", false);
    }
    let empty = standing.count(|tally| tally.empty);
    tile(grouped(empty), "empty answers", empty > 0);
    let cut = standing.count(|tally| tally.cut);
    tile(grouped(cut), "answers ended at the token limit", cut > 0);
    let failed = standing.count(|tally| tally.failed);
    tile(grouped(failed), "failed answers", failed > 0);
    out + "</div>"
}
