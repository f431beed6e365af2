//! The verdict and what to do first, the numbers of a dataset at a glance, its files, and how it was prepared.

use std::fmt::Write as _;

use pixtune_core::plan::SplitCounts;
use pixtune_core::quality::percent;
use pixtune_core::text::grouped;

use super::{SHOWN, View};
use crate::report::actions::{self, Action, Verdict};
use crate::report::budget::SizeBudget;
use crate::report::page::{Section, escape, escape_start, prose};
use crate::survey::FileSide;

pub(in crate::report) fn overview(view: View<'_>, budget: &mut SizeBudget) -> Section {
    let mut body = verdict(view);
    body.push_str(&tiles(view));
    for mismatch in view.source.mismatches.iter().take(20) {
        let _ =
            write!(body, "<p><span class=\"tag error\">files</span> {}</p>", escape_start(mismatch, SHOWN));
    }
    files(view, budget, &mut body);
    options(view, budget, &mut body);
    Section { id: "overview", title: "Overview", body }
}

/// Whether training can start, and what to do first.
fn verdict(view: View<'_>) -> String {
    let Verdict { is_ready, reasons } = actions::verdict(view.source, view.found, view.problems);
    let (class, word) = if is_ready { ("ready", "Ready") } else { ("broken", "Fix these first") };
    let mut out = format!(
        "<div class=\"panel verdict {class}\" data-chart=\"verdict\"><p class=\"first\"><b>{word}</b>"
    );
    if !reasons.is_empty() {
        let _ = write!(out, ": {}", prose(&reasons.join("; ")));
    }
    out.push_str("</p>");
    let actions = actions::actions(view.source, view.found, view.problems);
    if !actions.is_empty() {
        out.push_str("<ol class=\"actions\">");
        for Action { what, about, command } in actions {
            let _ = write!(out, "<li>{}", prose(&what));
            if let Some(about) = about {
                let _ = write!(out, " <a href=\"#{about}\">details</a>");
            }
            if let Some(command) = command {
                let _ = write!(
                    out,
                    "<div class=\"command\"><pre><code>{}</code></pre><button type=\"button\" class=\"copy\" aria-label=\"copy the command\">copy</button></div>",
                    escape(&command)
                );
            }
            out.push_str("</li>");
        }
        out.push_str("</ol>");
    }
    out.push_str("</div>");
    out
}

/// The numbers that decide how long training takes and whether samples fit.
fn tiles(view: View<'_>) -> String {
    let View { source, found, spec, .. } = view;
    let (train, validation) = (&found.train, &found.validation);
    let both = |take: fn(&SplitCounts) -> u64| take(train) + take(validation);
    let mut tiles = String::from("<div class=\"tiles\">");
    let mut tile = |value: String, what: &str, is_bad: bool| {
        let bad = if is_bad { " bad" } else { "" };
        let _ = write!(tiles, "<div class=\"tile{bad}\"><b>{value}</b><span>{}</span></div>", escape(what));
    };
    if !source.files.is_empty() {
        let what = match validation.samples {
            0 => "samples, none for validation".to_owned(),
            some => format!("training samples, {} for validation", grouped(some)),
        };
        tile(grouped(train.samples), &what, train.samples == 0);
        let tokens = both(|side| side.tokens);
        let trained = both(|side| side.trained_tokens);
        let what = format!("tokens, {} of them trained", percent(trained as f64 / tokens.max(1) as f64));
        tile(grouped(tokens), &what, false);
        let longest = train.lengths.max().max(validation.lengths.max());
        let context = spec.context as u64;
        let what = format!("tokens in the longest sample, of {}", grouped(context));
        tile(grouped(longest), &what, longest > context);
    }
    let what = match found.images.count {
        0 => "images".to_owned(),
        _ => format!("images, {} different", grouped(found.together.distinct_images)),
    };
    tile(grouped(found.images.count), &what, false);
    if found.refused() > 0 {
        tile(grouped(found.refused()), "samples or images not counted", found.has_errors());
    }
    let rejected: u64 = found.rejected.values().map(|kept| kept.count).sum();
    if rejected > 0 {
        tile(grouped(rejected), "rows rejected by prepare", false);
    }
    tiles.push_str("</div>");
    tiles
}

fn files(view: View<'_>, budget: &mut SizeBudget, body: &mut String) {
    let View { source, found, .. } = view;
    if source.files.is_empty() {
        return;
    }
    body.push_str("<div class=\"panel scroll\"><table><tr><th>file</th><th>split</th><th class=\"n\">lines</th><th class=\"n\">MB</th></tr>");
    let rows = source.files.iter().zip(&found.lines).map(|(file, lines)| {
        let side = if file.side == FileSide::Train { "train" } else { "validation" };
        format!(
            "<tr><td>{}</td><td>{side}</td><td class=\"n\">{}</td><td class=\"n\">{:.2}</td></tr>",
            escape_start(&file.name, 120),
            grouped(*lines),
            file.bytes as f64 / 1e6
        )
    });
    let total = source.files.len() as u64;
    budget.list(body, (100, total), rows, |more| {
        format!("<tr><td class=\"more\" colspan=\"4\">… and {} more files</td></tr>", grouped(more))
    });
    body.push_str("</table></div>");
}

fn options(view: View<'_>, budget: &mut SizeBudget, body: &mut String) {
    let Some(manifest) = &view.source.manifest else { return };
    let _ = write!(
        body,
        "<div class=\"panel\"><details><summary>Options of prepare {}</summary><div class=\"scroll\"><table>",
        escape_start(&manifest.version, 40)
    );
    let options = manifest.options();
    let rows = options.iter().map(|(key, value)| {
        format!(
            "<tr><td>{}</td><td><code>{}</code></td></tr>",
            escape_start(key, 60),
            escape_start(value, SHOWN)
        )
    });
    budget.list(body, (60, options.len() as u64), rows, |more| {
        format!("<tr><td class=\"more\" colspan=\"2\">… and {} more</td></tr>", grouped(more))
    });
    body.push_str("</table></div></details></div>");
}
