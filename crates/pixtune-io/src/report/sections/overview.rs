//! The numbers of a dataset at a glance, its files, and how it was prepared.

use std::fmt::Write as _;

use pixtune_core::plan::SplitCounts;
use pixtune_core::quality::percent;
use pixtune_core::text::grouped;

use super::{SHOWN, View};
use crate::report::budget::SizeBudget;
use crate::report::page::{Section, escape, escape_start};
use crate::survey::FileSide;

pub(in crate::report) fn overview(view: View<'_>, budget: &mut SizeBudget) -> Section {
    let mut body = tiles(view);
    for mismatch in view.source.mismatches.iter().take(20) {
        let _ =
            write!(body, "<p><span class=\"tag error\">files</span> {}</p>", escape_start(mismatch, SHOWN));
    }
    files(view, budget, &mut body);
    options(view, budget, &mut body);
    Section { id: "overview", title: "Overview", body }
}

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
        tile(grouped(train.samples), "training samples", train.samples == 0);
        tile(grouped(validation.samples), "validation samples", false);
        let tokens = both(|side| side.tokens);
        tile(grouped(tokens), "tokens", false);
        let trained = both(|side| side.trained_tokens);
        tile(percent(trained as f64 / tokens.max(1) as f64), "of tokens count in the loss", false);
        let longest = train.lengths.max().max(validation.lengths.max());
        let context = spec.context as u64;
        let what = format!("tokens in the longest sample, of {}", grouped(context));
        tile(grouped(longest), &what, longest > context);
    }
    tile(grouped(found.images.count), "images", false);
    if found.images.count > 0 {
        tile(grouped(found.together.distinct_images), "different images", false);
    }
    tile(grouped(found.refused()), "invalid samples or images", found.refused() > 0);
    let rejected: u64 = found.rejected.values().map(|kept| kept.count).sum();
    if !source.rejected.is_empty() {
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
