//! The scores of images, with the thresholds and the worst of each kind.

use std::fmt::Write as _;

use pixtune_core::text::counted_as;

use super::View;
use crate::report::chart::scores;
use crate::report::fetch::{Fetch, Showing};
use crate::report::page::{Section, prose};
use crate::report::room::{Room, Shelf};
use crate::survey::Issue;

pub(in crate::report) fn worst(view: View<'_>, fetch: &mut Fetch<'_>) -> Option<Section> {
    let issues = &view.found.issues;
    if issues.measured == 0 {
        return None;
    }
    let measured = counted_as(issues.measured, "image was", "images were");
    let mut body = format!(
        "<p class=\"note\">{measured} measured. Each has a score from 0 (bad) to 1 for every kind of issue; below the threshold it is a finding. The lowest scores are shown, also where nothing is wrong with them.</p><div class=\"two\">"
    );
    let number = issues.kinds.iter().map(|kind| kind.worst.len()).sum();
    let bytes = Room::image_share(Shelf::Worst, number);
    for kind in &issues.kinds {
        body.push_str("<div class=\"panel\">");
        one(kind, bytes, fetch, &mut body);
        body.push_str("</div>");
    }
    body.push_str("</div>");
    Some(Section { id: "worst", title: "Worst images", body })
}

fn one(kind: &Issue, bytes: usize, fetch: &mut Fetch<'_>, body: &mut String) {
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
        let showing = Showing { shelf: Shelf::Worst, side: 160, bytes, below: &below, about: &about };
        shown.push_str(&fetch.image(worst.place, showing));
    }
    match shown.is_empty() {
        true => body.push_str("<p class=\"note\">Every image has the full score.</p>"),
        false => {
            let _ = write!(body, "<div class=\"grid small\">{shown}</div>");
        }
    }
}
