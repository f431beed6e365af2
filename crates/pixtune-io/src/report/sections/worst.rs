//! The scores of images, with the thresholds and the worst of each kind.

use std::fmt::Write as _;

use pixtune_core::text::counted_as;

use super::View;
use crate::report::budget::{ImageArea, SizeBudget};
use crate::report::chart::scores;
use crate::report::embed::{Embedder, Showing};
use crate::report::page::{Section, prose};
use crate::survey::Issue;

pub(in crate::report) fn worst(view: View<'_>, embedder: &mut Embedder<'_>) -> Option<Section> {
    let issues = &view.found.issues;
    if issues.measured == 0 {
        return None;
    }
    let measured = counted_as(issues.measured, "image was", "images were");
    let mut body = format!(
        "<p class=\"note\">{measured} measured. Each has a score from 0 (bad) to 1 per issue; a score below the threshold is a finding. The images with the lowest scores are shown, whether or not they are findings.</p><div class=\"two\">"
    );
    let number = issues.kinds.iter().map(|kind| kind.worst.len()).sum();
    let bytes = SizeBudget::image_share(ImageArea::Worst, number);
    for kind in &issues.kinds {
        body.push_str("<div class=\"panel\">");
        one(kind, bytes, embedder, &mut body);
        body.push_str("</div>");
    }
    body.push_str("</div>");
    Some(Section { id: "worst", title: "Worst images", body })
}

fn one(kind: &Issue, bytes: usize, embedder: &mut Embedder<'_>, body: &mut String) {
    let (class, count) = match kind.broken.count {
        0 => ("ok", "none".to_owned()),
        count => (kind.rule.severity.as_str(), counted_as(count, "image", "images")),
    };
    let _ = write!(
        body,
        "<h3>{} <span class=\"tag {class}\">{count}</span></h3><p class=\"note\">{}</p>{}",
        kind.rule.id,
        prose(kind.rule.why),
        scores(&format!("score-{}", kind.rule.id), &kind.scores, kind.threshold, "bad below")
    );
    let mut shown = String::new();
    for worst in &kind.worst {
        let is_bad = worst.score < kind.threshold;
        let below = format!("<b{}>{:.2}</b>", if is_bad { " class=\"bad\"" } else { "" }, worst.score);
        let about = format!("{} {:.3}, bad below {:.3}", kind.rule.id, worst.score, kind.threshold);
        let showing = Showing { area: ImageArea::Worst, side: 160, bytes, below: &below, about: &about };
        shown.push_str(&embedder.image(worst.place, showing));
    }
    match shown.is_empty() {
        true => body.push_str("<p class=\"note\">Every image has the best score.</p>"),
        false => {
            let _ = write!(body, "<div class=\"grid small\">{shown}</div>");
        }
    }
}
