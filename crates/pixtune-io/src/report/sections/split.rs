//! Whether both sides of the split are alike, and whether they share anything.

use std::fmt::Write as _;

use pixtune_core::plan::SplitCounts;
use pixtune_core::quality::percent;
use pixtune_core::text::{counted_as, grouped};

use super::View;
use crate::report::page::Section;

pub(in crate::report) fn split(view: View<'_>) -> Section {
    let found = view.found;
    let (train, held_out) = (&found.train, &found.validation);
    if held_out.samples == 0 {
        return Section {
            id: "split",
            title: "Split",
            body: "<div class=\"panel\"><p class=\"note\">Nothing is held out: overfitting will not show.</p></div>".into(),
        };
    }
    let mut body = String::from(
        "<div class=\"panel\"><div class=\"scroll\" data-chart=\"split\"><table><tr><th></th><th class=\"n\">train</th><th class=\"n\">validation</th></tr>",
    );
    let mut row = |name: &str, value: &dyn Fn(&SplitCounts) -> String| {
        let _ = write!(
            body,
            "<tr><td>{name}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            value(train),
            value(held_out)
        );
    };
    let each = |value: u64, side: &SplitCounts| format!("{:.2}", value as f64 / side.samples.max(1) as f64);
    row("samples", &|side| grouped(side.samples));
    row("share of samples", &|side| percent(side.samples as f64 / found.samples().max(1) as f64));
    row("share of tokens", &|side| {
        percent(side.tokens as f64 / (train.tokens + held_out.tokens).max(1) as f64)
    });
    row("tokens a sample, median", &|side| grouped(side.lengths.quantile(0.5)));
    row("tokens a sample, 95 %", &|side| grouped(side.lengths.quantile(0.95)));
    row("trained tokens a sample", &|side| each(side.trained_tokens, side));
    row("images a sample", &|side| each(side.images, side));
    row("samples with a system prompt", &|side| {
        percent(side.with_system as f64 / side.samples.max(1) as f64)
    });
    row("MB", &|side| format!("{:.2}", side.bytes as f64 / 1e6));
    body.push_str("</table></div>");
    let together = &found.together;
    let mut tag = |count: u64, one: &str, many: &str| {
        let (class, word) = if count == 0 { ("ok", "none") } else { ("error", "leak") };
        let told = counted_as(count, one, many);
        let _ = write!(body, "<p><span class=\"tag {class}\">{word}</span> {told} on both sides</p>");
    };
    tag(together.shared_samples.count, "sample stands", "samples stand");
    tag(together.shared_images.count, "image file stands", "image files stand");
    tag(
        together.near.across,
        "group of images that show the same stands",
        "groups of images that show the same stand",
    );
    tag(
        together.near_texts.across,
        "group of texts that nearly say the same stands",
        "groups of texts that nearly say the same stand",
    );
    body.push_str("</div>");
    Section { id: "split", title: "Split", body }
}
