//! Invalid samples, findings about the dataset, and rows that `prepare` rejected.

use std::fmt::Write as _;

use pixtune_core::quality::{Example, Kept};
use pixtune_core::text::grouped;

use super::{SHOWN, View};
use crate::report::budget::SizeBudget;
use crate::report::page::{Section, escape_start, prose};

/// So many places of one finding are listed.
const PLACES: usize = 12;

pub(in crate::report) fn findings(view: View<'_>, budget: &mut SizeBudget) -> Section {
    let found = view.found;
    let seen = found.observations();
    let mut body = String::from("<div class=\"panel\">");
    if seen.is_empty() && found.refused.is_empty() {
        body.push_str("<p><span class=\"tag ok\">fine</span> There are no findings.</p>");
    }
    for (rule, kept) in &found.refused {
        let _ = write!(
            body,
            "<details><summary><span class=\"tag error\">{rule}</span> {} invalid</summary>",
            grouped(kept.count)
        );
        places(view, kept.count, &kept.first, budget, &mut body);
        body.push_str("</details>");
    }
    for seen in &seen {
        let _ = write!(
            body,
            "<details><summary><span class=\"tag {}\">{}</span> {}</summary><p class=\"soft\">{}</p><p class=\"soft\">{}</p>",
            seen.rule.severity.as_str(),
            seen.rule.id,
            escape_start(&seen.message, SHOWN),
            prose(seen.rule.why),
            prose(seen.hint)
        );
        places(view, seen.count, &seen.examples, budget, &mut body);
        body.push_str("</details>");
    }
    body.push_str("</div>");
    Section { id: "findings", title: "Findings", body }
}

fn places(view: View<'_>, count: u64, examples: &[Example], budget: &mut SizeBudget, out: &mut String) {
    // Some findings are about the dataset as a whole and have no location.
    if examples.is_empty() {
        return;
    }
    out.push_str("<ul class=\"locations\">");
    let rows = examples.iter().map(|Example { place, text }| {
        let name = if place.file == u32::MAX { "" } else { view.found.file_name(view.source, place.file) };
        let place = match name {
            "" => String::new(),
            name if view.source.files.is_empty() => format!("<code>{}</code> ", escape_start(name, 80)),
            name => format!("<code>{}:{}</code> ", escape_start(name, 80), place.line),
        };
        format!("<li>{place}{}</li>", escape_start(text, SHOWN))
    });
    budget.list(out, (PLACES, count), rows, more);
    out.push_str("</ul>");
}

fn more(count: u64) -> String {
    format!(
        "<li class=\"more\">… and {} more; <code>pixtune stats --examples</code> lists them</li>",
        grouped(count)
    )
}

pub(in crate::report) fn rejected(view: View<'_>, budget: &mut SizeBudget) -> Section {
    let mut rules: Vec<(&String, &Kept)> = view.found.rejected.iter().collect();
    rules.sort_by_key(|(rule, kept)| (std::cmp::Reverse(kept.count), rule.as_str()));
    let total: u64 = rules.iter().map(|(_, kept)| kept.count).sum();
    let mut body = String::from("<div class=\"panel\">");
    if rules.is_empty() {
        body.push_str("<p><span class=\"tag ok\">none</span> No row was rejected.</p>");
    } else {
        let shown: Vec<(&str, u64)> =
            rules.iter().take(20).map(|(rule, kept)| (rule.as_str(), kept.count)).collect();
        body.push_str(&crate::report::chart::ranked("rejected", &shown, total));
    }
    let number = rules.len();
    for (rule, kept) in rules.into_iter().take(100) {
        let _ = write!(
            body,
            "<details><summary><span class=\"tag error\">{}</span> {}</summary><ul class=\"locations\">",
            escape_start(rule, 60),
            grouped(kept.count)
        );
        let rows =
            kept.first.iter().map(|example| format!("<li>{}</li>", escape_start(&example.text, SHOWN)));
        budget.list(&mut body, (PLACES, kept.count), rows, |count| {
            format!("<li class=\"more\">… and {} more in rejected.jsonl</li>", grouped(count))
        });
        body.push_str("</ul></details>");
    }
    if number > 100 {
        let _ = write!(body, "<p class=\"more\">… and {} more rules</p>", number - 100);
    }
    body.push_str("</div>");
    Section { id: "rejected", title: "Rejected rows", body }
}
