//! The numbers of a set at a glance, its files, and how it was made.

use std::fmt::Write as _;

use pixtune_core::plan::SplitCounts;
use pixtune_core::quality::percent;
use pixtune_core::text::grouped;

use super::{SHOWN, View};
use crate::report::page::{Section, escape, escape_start};
use crate::report::room::Room;
use crate::survey::FileSide;

pub(in crate::report) fn overview(view: View<'_>, room: &mut Room) -> Section {
    let mut body = cards(view);
    for mismatch in view.source.mismatches.iter().take(20) {
        let _ =
            write!(body, "<p><span class=\"tag error\">files</span> {}</p>", escape_start(mismatch, SHOWN));
    }
    files(view, room, &mut body);
    options(view, room, &mut body);
    Section { id: "overview", title: "Overview", body }
}

fn cards(view: View<'_>) -> String {
    let View { source, found, spec, .. } = view;
    let (train, held_out) = (&found.train, &found.validation);
    let both = |take: fn(&SplitCounts) -> u64| take(train) + take(held_out);
    let mut cards = String::from("<div class=\"cards\">");
    let mut card = |value: String, what: &str, is_bad: bool| {
        let bad = if is_bad { " bad" } else { "" };
        let _ = write!(cards, "<div class=\"card{bad}\"><b>{value}</b><span>{}</span></div>", escape(what));
    };
    if !source.files.is_empty() {
        card(grouped(train.samples), "samples to train on", train.samples == 0);
        card(grouped(held_out.samples), "samples held out", false);
        let tokens = both(|side| side.tokens);
        card(grouped(tokens), "tokens", false);
        let trained = both(|side| side.trained_tokens);
        card(percent(trained as f64 / tokens.max(1) as f64), "of tokens are trained", false);
        let longest = train.lengths.max().max(held_out.lengths.max());
        let context = spec.context as u64;
        let what = format!("tokens in the longest sample, of {}", grouped(context));
        card(grouped(longest), &what, longest > context);
    }
    card(grouped(found.images.count), "images", false);
    if found.images.count > 0 {
        card(grouped(found.together.distinct_images), "different images", false);
    }
    card(grouped(found.refused()), "lines or images that cannot be used", found.refused() > 0);
    let rejected: u64 = found.rejected.values().map(|kept| kept.count).sum();
    if !source.rejected.is_empty() {
        card(grouped(rejected), "rows rejected by prepare", false);
    }
    cards.push_str("</div>");
    cards
}

fn files(view: View<'_>, room: &mut Room, body: &mut String) {
    let View { source, found, .. } = view;
    if source.files.is_empty() {
        return;
    }
    body.push_str("<div class=\"panel scroll\"><table><tr><th>file</th><th>side</th><th class=\"n\">lines</th><th class=\"n\">MB</th></tr>");
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
    room.list(body, (100, total), rows, |more| {
        format!("<tr><td class=\"more\" colspan=\"4\">… and {} more files</td></tr>", grouped(more))
    });
    body.push_str("</table></div>");
}

fn options(view: View<'_>, room: &mut Room, body: &mut String) {
    let Some(manifest) = &view.source.manifest else { return };
    let _ = write!(
        body,
        "<div class=\"panel\"><details><summary>Options of prepare {}</summary><div class=\"scroll\"><table>",
        escape_start(&manifest.version, 40)
    );
    let rows = manifest.plan.iter().map(|(key, value)| {
        format!(
            "<tr><td>{}</td><td><code>{}</code></td></tr>",
            escape_start(key, 60),
            escape_start(value, SHOWN)
        )
    });
    room.list(body, (60, manifest.plan.len() as u64), rows, |more| {
        format!("<tr><td class=\"more\" colspan=\"2\">… and {} more</td></tr>", grouped(more))
    });
    body.push_str("</table></div></details></div>");
}
