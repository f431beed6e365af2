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
use pixtune_core::text::grouped;

use super::page::escape_start;
use super::view::View;
use crate::read::LinePlace;

pub(super) use duplicates::duplicates;
pub(super) use findings::{findings, rejected};
pub(super) use images::images;
pub(super) use overview::overview;
pub(super) use samples::samples;
pub(super) use split::split;
pub(super) use texts::texts;
pub(super) use tokens::tokens;
pub(super) use worst::worst;

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

/// A place as code, as a link where its sample is on the page, with its source.
fn place(view: View<'_>, place: LinePlace) -> String {
    let name = format!("<code>{}</code>", escape_start(&view.name(place), 80));
    let link = match view.shown.number(place) {
        Some(number) => format!("<a href=\"#sample{number}\">{name}</a>"),
        None => name,
    };
    match view.origin(place) {
        Some(origin) => {
            format!("{link} <span class=\"soft\">from <code>{}</code></span>", escape_start(&origin, 120))
        }
        None => link,
    }
}
