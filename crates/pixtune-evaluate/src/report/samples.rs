//! Samples with their images, prompts, references and answers, and buttons that show one kind of them.

use std::fmt::Write as _;

use pixtune_core::json::{self, Value};
use pixtune_core::text::{counted, grouped};
use pixtune_io::image::{Limits, load};
use pixtune_io::report::page::{Section, escape, escape_short, escape_start};
use pixtune_io::report::{SmallImage, small_image};

use super::Found;
use super::picks::{Picks, Reason};
use crate::error::EvaluateError;
use crate::written::read_lines;

/// Bytes of all results without their images, and of the images: with the frame less than 5 MB.
const TEXT_BUDGET: usize = 1_600_000;
const IMAGE_BUDGET: usize = 2_600_000;
/// Bytes of one image.
const IMAGE_BYTES: usize = 40_000;
/// The longer side of an image in pixels.
const SIDE: u32 = 420;
/// Images of one sample.
const MOST_IMAGES: usize = 4;
/// Characters of a text that are shown.
const SHOWN: usize = 800;

pub(super) fn samples(found: Found<'_>) -> Result<Section, EvaluateError> {
    let picks = Picks::of(found.outcomes, found.base);
    let mut images = IMAGE_BUDGET;
    let mut results = String::new();
    let (mut shown, mut counts) = (0u64, [0u64; Reason::ALL.len()]);
    for (index, reasons) in &picks.samples {
        let result = result(found, *index, reasons, &mut images)?;
        if results.len() + result.len() > TEXT_BUDGET + IMAGE_BUDGET - images {
            break;
        }
        results.push_str(&result);
        shown += 1;
        reasons.iter().for_each(|reason| counts[*reason as usize] += 1);
    }
    let mut body = format!(
        "<p class=\"note\">{} of {}: some of each kind, the lowest scores first.</p><div class=\"filters\" role=\"group\" aria-label=\"Kinds of samples\"><button type=\"button\" data-filter=\"\" aria-pressed=\"true\">All shown ({})</button>",
        grouped(shown),
        counted(found.outcomes.len() as u64, "sample"),
        grouped(shown)
    );
    for (reason, count) in Reason::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0) {
        let total = picks.totals.get(&reason).copied().unwrap_or(count);
        let of = if total > count { format!(" of {}", grouped(total)) } else { String::new() };
        let _ = write!(
            body,
            "<button type=\"button\" data-filter=\"{}\" aria-pressed=\"false\">{} ({}{of})</button>",
            reason.id(),
            escape(reason.label()),
            grouped(count)
        );
    }
    let _ = write!(body, "</div><div class=\"results\">{results}</div>");
    Ok(Section { id: "samples", title: "Samples", body })
}

fn result(
    found: Found<'_>,
    index: usize,
    reasons: &[Reason],
    budget: &mut usize,
) -> Result<String, EvaluateError> {
    let outcome = &found.outcomes[index];
    let standing = &found.evaluation.standing;
    let texts = read_lines(&found.files[0], outcome.offset, standing.phrasings.len())?;
    let Some(first) = texts.first().and_then(|text| parse(text)) else { return Ok(String::new()) };
    let id = first.text("id").unwrap_or_default();
    let kinds: Vec<&str> = reasons.iter().map(|reason| reason.id()).collect();
    let mut out = format!(
        "<article class=\"result panel\" data-kinds=\"{}\"><h3><code>{}</code>",
        kinds.join(" "),
        escape_short(id, 100)
    );
    for reason in reasons {
        let class = match reason {
            Reason::Loss | Reason::Wrong | Reason::Failed => " error",
            Reason::Win | Reason::Right => " ok",
            _ => "",
        };
        let _ = write!(out, "<span class=\"tag{class}\">{}</span>", escape(reason.tag()));
    }
    out.push_str("</h3>");
    let pictures = pictures(found, index, id, budget)?;
    let with = if pictures.is_empty() { "" } else { " with" };
    let _ = write!(out, "<div class=\"sides{with}\">{pictures}<dl>");
    text(&mut out, "prompt", first.text("prompt").unwrap_or_default(), "");
    let references: Vec<&str> = first
        .get("references")
        .and_then(Value::as_array)
        .map(|list| list.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    text(&mut out, "reference", &references.join(" · "), "");
    let name = if found.base.is_some() { escape_short(&standing.name, 60) } else { "answer".to_owned() };
    answers(&mut out, &name, &texts);
    if let (Some(base), Some(compared)) = (found.base, &found.evaluation.compared) {
        let texts = read_lines(&found.files[1], base[index].offset, compared.phrasings.len())?;
        answers(&mut out, &escape_short(&compared.name, 60), &texts);
    }
    out.push_str("</dl></div></article>");
    Ok(out)
}

/// The answers of one model: all of them where the phrasings disagree, else the first.
fn answers(out: &mut String, name: &str, texts: &[String]) {
    let values: Vec<Value<'_>> = texts.iter().filter_map(|text| parse(text)).collect();
    let is_right = |value: &Value<'_>| matches!(value.get("right"), Some(Value::Bool(true)));
    let agree = values.windows(2).all(|pair| is_right(&pair[0]) == is_right(&pair[1]));
    let shown = if agree { 1 } else { values.len().min(8) };
    for (number, value) in values.iter().take(shown).enumerate() {
        let title = if shown > 1 { format!("{name}, phrasing {}", number + 1) } else { name.to_owned() };
        let failure = value.get("failure").filter(|failure| !matches!(failure, Value::Null));
        match (value.text("answer"), failure) {
            (Some(answer), None) => {
                let (class, verdict) = if is_right(value) { ("good", "right") } else { ("bad", "wrong") };
                text(out, &format!("{title} · {verdict}"), answer, class);
            }
            (_, failure) => {
                let message = failure.and_then(|failure| failure.text("message")).unwrap_or("no answer");
                text(out, &format!("{title} · failed"), message, "bad");
            }
        }
    }
}

fn text(out: &mut String, title: &str, text: &str, class: &str) {
    let shown = if text.trim().is_empty() {
        "<span class=\"more\">empty</span>".to_owned()
    } else {
        escape_start(text, SHOWN)
    };
    let _ = write!(out, "<div class=\"{class}\"><dt>{title}</dt><dd>{shown}</dd></div>");
}

/// The first images of a sample, as far as the budget goes.
fn pictures(found: Found<'_>, index: usize, id: &str, budget: &mut usize) -> Result<String, EvaluateError> {
    let entry = found.dataset.entries[index];
    let limits = Limits::default();
    let images = found.dataset.sample(entry, |sample| {
        let resolver = found.dataset.resolver(entry);
        let small = |loaded| small_image(&loaded, &limits, SIDE, IMAGE_BYTES);
        let images = sample.images.iter().take(MOST_IMAGES);
        images.filter_map(|image| small(load(&image.source, &resolver, &limits).ok()?)).collect::<Vec<_>>()
    })?;
    let mut out = String::new();
    for SmallImage { uri, size } in images {
        if uri.len() > *budget {
            break;
        }
        *budget -= uri.len();
        let name = escape_short(id, 100);
        let _ = write!(
            out,
            "<button class=\"pic\" type=\"button\" data-about=\"{name}\"><img loading=\"lazy\" alt=\"{name}\" src=\"{uri}\"><span>{} × {}</span></button>",
            size.0, size.1
        );
    }
    Ok(if out.is_empty() { out } else { format!("<div class=\"grid\">{out}</div>") })
}

fn parse(text: &str) -> Option<Value<'_>> {
    json::parse(text).ok().map(|parsed| parsed.value)
}
