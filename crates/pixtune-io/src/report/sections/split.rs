//! How similar the two splits are, and what they share.

use std::fmt::Write as _;

use pixtune_core::plan::SplitCounts;
use pixtune_core::quality::percent;
use pixtune_core::text::{counted_as, grouped};

use super::View;
use crate::report::page::Section;

pub(in crate::report) fn split(view: View<'_>) -> Section {
    let found = view.found;
    let (train, validation) = (&found.train, &found.validation);
    if validation.samples == 0 {
        return Section {
            id: "split",
            title: "Split",
            body: "<div class=\"panel\"><p class=\"note\">There is no validation split: overfitting cannot be detected.</p></div>".into(),
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
            value(validation)
        );
    };
    let each = |value: u64, side: &SplitCounts| format!("{:.2}", value as f64 / side.samples.max(1) as f64);
    row("samples", &|side| grouped(side.samples));
    row("share of samples", &|side| percent(side.samples as f64 / found.samples().max(1) as f64));
    row("share of tokens", &|side| {
        percent(side.tokens as f64 / (train.tokens + validation.tokens).max(1) as f64)
    });
    row("tokens per sample, median", &|side| grouped(side.lengths.quantile(0.5)));
    row("tokens per sample, 95 %", &|side| grouped(side.lengths.quantile(0.95)));
    row("trained tokens per sample", &|side| each(side.trained_tokens, side));
    row("images per sample", &|side| each(side.images, side));
    row("samples with a system prompt", &|side| {
        percent(side.with_system as f64 / side.samples.max(1) as f64)
    });
    row("MB", &|side| format!("{:.2}", side.bytes as f64 / 1e6));
    body.push_str("</table></div>");
    let together = &found.together;
    let mut tag = |count: u64, one: &str, many: &str| {
        let (class, word) = if count == 0 { ("ok", "none") } else { ("error", "leak") };
        let shared = counted_as(count, one, many);
        let _ = write!(body, "<p><span class=\"tag {class}\">{word}</span> {shared} in both splits</p>");
    };
    tag(together.shared_samples.count, "sample is", "samples are");
    tag(together.shared_images.count, "image file is", "image files are");
    tag(together.near.across, "group of near-duplicate images is", "groups of near-duplicate images are");
    tag(together.near_texts.across, "group of near-duplicate texts is", "groups of near-duplicate texts are");
    body.push_str("</div>");
    Section { id: "split", title: "Split", body }
}
