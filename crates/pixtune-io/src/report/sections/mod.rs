//! The sections of a report on a dataset.

mod duplicates;
mod findings;
mod images;
mod overview;
mod samples;
mod split;
mod texts;
mod tokens;
mod worst;

use pixtune_core::quality::Histogram;
use pixtune_core::spec::ModelSpec;
use pixtune_core::text::grouped;

use super::page::escape_start;
use crate::read::LinePlace;
use crate::survey::{Source, Survey};

pub(super) use duplicates::duplicates;
pub(super) use findings::{findings, rejected};
pub(super) use images::images;
pub(super) use overview::overview;
pub(super) use samples::samples;
pub(super) use split::split;
pub(super) use texts::texts;
pub(super) use tokens::tokens;
pub(super) use worst::worst;

/// What sections are made from.
#[derive(Clone, Copy)]
pub(super) struct View<'v> {
    pub(super) source: &'v Source,
    pub(super) found: &'v Survey,
    pub(super) spec: &'v ModelSpec,
    /// Why the counts are an estimate, if they are.
    pub(super) estimate: Option<&'v str>,
}

/// So much of a text is shown.
const SHOWN: usize = 240;

/// A spread as a line below a chart.
fn spread(values: &Histogram, unit: &str) -> String {
    if values.count() == 0 {
        return String::new();
    }
    if values.min() == values.max() {
        return format!("<p class=\"note\">{} {unit}, all equal</p>", grouped(values.min()));
    }
    format!(
        "<p class=\"note\">{} to {} {unit} · mean {} · median {} · 95% up to {}</p>",
        grouped(values.min()),
        grouped(values.max()),
        grouped(values.mean().round() as u64),
        grouped(values.quantile(0.5)),
        grouped(values.quantile(0.95))
    )
}

/// A place in a file as code.
fn place(view: View<'_>, place: LinePlace) -> String {
    let name = view.found.file_name(view.source, place.file);
    let name = escape_start(name, 80);
    if view.source.files.is_empty() {
        format!("<code>{name}</code>")
    } else {
        format!("<code>{name}:{}</code>", place.line)
    }
}
