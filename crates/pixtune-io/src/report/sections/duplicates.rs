//! Duplicates, near-duplicates and conflicting labels.

use std::collections::HashSet;
use std::fmt::Write as _;

use pixtune_core::curate::minhash::SIMILAR;
use pixtune_core::curate::near::DISTANCE;
use pixtune_core::text::{counted_as, grouped};

use super::{View, place};
use crate::report::budget::{ImageArea, SizeBudget};
use crate::report::embed::{Embedder, Showing};
use crate::report::page::{Section, escape_start};
use crate::report::turns::Turns;
use crate::survey::{ImagePlace, NearDuplicates, NearGroup, NearImageGroup, NearTextGroup, Pairs};

/// So many groups, members of each (images and texts), and pairs of a kind are shown.
const GROUPS: usize = 8;
const MEMBERS: usize = 6;
const TEXTS: usize = 4;
const PAIRS: usize = 8;

pub(in crate::report) fn duplicates(view: View<'_>, embedder: &mut Embedder<'_>) -> Section {
    let together = &view.found.together;
    let repeated = if view.source.files.is_empty() { "identical files" } else { "duplicate samples" };
    let kinds = [
        (&together.contradictions, "samples with the same images and prompt but conflicting labels"),
        (&together.shared_samples, "samples in both splits"),
        (&together.shared_images, "images in both splits"),
        (&together.repeated, repeated),
    ];
    let images: usize =
        together.near.first.iter().take(GROUPS).map(|group| group.members.len().min(MEMBERS)).sum();
    let pairs: usize = kinds.iter().map(|(pairs, _)| 2 * pairs.first.len().min(PAIRS)).sum();
    let texts: usize =
        together.near_texts.first.iter().take(GROUPS).map(|group| group.members.len().min(TEXTS)).sum();
    let bytes = SizeBudget::image_share(ImageArea::Duplicates, images + pairs + texts);
    let mut body = String::new();
    near(view, bytes, embedder, &mut body);
    near_texts(view, bytes, embedder, &mut body);
    for (pairs, what) in kinds {
        if pairs.count > 0 {
            let _ = write!(body, "<div class=\"panel\"><h3>{} {what}</h3>", grouped(pairs.count));
            listed(view, pairs, bytes, embedder, &mut body);
            body.push_str("</div>");
        }
    }
    if body.is_empty() {
        body.push_str("<div class=\"panel\"><p><span class=\"tag ok\">none</span> No duplicates and no conflicting labels.</p></div>");
    }
    Section { id: "duplicates", title: "Duplicates and conflicts", body }
}

fn near(view: View<'_>, bytes: usize, embedder: &mut Embedder<'_>, body: &mut String) {
    let near = &view.found.together.near;
    let note = format!(
        "The same image re-encoded, resized, brightened or cropped a little: perceptual hashes that differ in at most {DISTANCE} of 64 bits, confirmed by comparing pixels. Distances are to the first image of a group."
    );
    let heading = format!(
        "{} of near-duplicate images, {} in total",
        counted_as(near.groups, "group", "groups"),
        counted_as(near.members, "image", "images")
    );
    panel(near, "near", (&heading, &note), body, |group, body| members(group, bytes, embedder, body));
}

fn near_texts(view: View<'_>, bytes: usize, embedder: &mut Embedder<'_>, body: &mut String) {
    let near = &view.found.together.near_texts;
    let note = format!(
        "Prompt and response share about {:.0} % of their sequences of three words, and so do the responses alone. Similarities are to the first text of a group; words that are not in it are marked.",
        SIMILAR * 100.0
    );
    let heading = format!(
        "{} of near-duplicate texts, {} in total",
        counted_as(near.groups, "group", "groups"),
        counted_as(near.members, "text", "texts")
    );
    panel(near, "near-texts", (&heading, &note), body, |group, body| {
        texts(view, group, bytes, embedder, body);
    });
}

/// Groups below a heading and a note, with the number of leaks and of groups that are not shown.
fn panel<Member>(
    near: &NearDuplicates<Member>,
    chart: &str,
    (heading, note): (&str, &str),
    body: &mut String,
    mut show: impl FnMut(&NearGroup<Member>, &mut String),
) {
    if near.groups == 0 {
        return;
    }
    let _ = write!(
        body,
        "<div class=\"panel\" data-chart=\"{chart}\"><h3>{heading}</h3><p class=\"note\">{note}</p>"
    );
    if near.across > 0 {
        let _ = write!(
            body,
            "<p><span class=\"tag error\">leak</span> {} in both splits</p>",
            counted_as(near.across, "group is", "groups are")
        );
    }
    for group in near.first.iter().take(GROUPS) {
        body.push_str("<div class=\"group\">");
        if group.across {
            body.push_str("<p><span class=\"tag error\">in both splits</span></p>");
        }
        show(group, body);
        body.push_str("</div>");
    }
    if near.groups > GROUPS as u64 {
        let more = counted_as(near.groups - GROUPS as u64, "more group", "more groups");
        let _ = write!(body, "<p class=\"more\">… and {more}</p>");
    }
    body.push_str("</div>");
}

fn members(group: &NearImageGroup, bytes: usize, embedder: &mut Embedder<'_>, body: &mut String) {
    body.push_str("<div class=\"grid\">");
    for (index, member) in group.members.iter().take(MEMBERS).enumerate() {
        let label = match index {
            0 => "the first".to_owned(),
            _ if member.same_pixels => "the same pixels".to_owned(),
            _ => format!("distance {}", member.distance),
        };
        let below = format!("<b>{label}</b><br>{} × {}", member.size.0, member.size.1);
        let showing = Showing { area: ImageArea::Duplicates, side: 160, bytes, below: &below, about: &label };
        body.push_str(&embedder.image(member.place, showing));
    }
    body.push_str("</div>");
    more_of_group(group, MEMBERS, body);
}

fn texts(
    view: View<'_>,
    group: &NearTextGroup,
    bytes: usize,
    embedder: &mut Embedder<'_>,
    body: &mut String,
) {
    let showing = Showing { area: ImageArea::Duplicates, side: 120, bytes, below: "", about: "" };
    let said = |line, embedder: &Embedder<'_>| {
        embedder.sample(line, |sample, _| Some(Turns::last_of(sample).to_string())).unwrap_or_default()
    };
    let mut first = String::new();
    body.push_str("<div class=\"texts\">");
    for (index, member) in group.members.iter().take(TEXTS).enumerate() {
        let line = member.place;
        let shown = embedder.image(ImagePlace { line, index: 0 }, showing);
        let text = said(line, embedder);
        let label = match (index, member.same_images) {
            (0, _) => "the first".to_owned(),
            (_, true) => format!("{} % the same", member.similarity),
            (_, false) => format!("{} % the same, other images", member.similarity),
        };
        let marked = if index == 0 { escape_start(&text, SHOWN) } else { what_is_new(&first, &text) };
        let _ = write!(
            body,
            "<div><p><b>{label}</b> {}</p>{shown}<p class=\"soft\">{marked}</p></div>",
            place(view, line)
        );
        if index == 0 {
            first = text;
        }
    }
    body.push_str("</div>");
    more_of_group(group, TEXTS, body);
}

fn more_of_group<Member>(group: &NearGroup<Member>, shown: usize, body: &mut String) {
    if group.count > shown as u64 {
        let more = grouped(group.count - shown as u64);
        let _ = write!(body, "<p class=\"more\">… and {more} more in this group</p>");
    }
}

/// So many characters of a text are shown.
const SHOWN: usize = 400;

/// A text from a little before the first word that the other lacks, with such words marked. Long texts differ far behind
/// their beginning.
fn what_is_new(first: &str, text: &str) -> String {
    let known: HashSet<&str> = first.split_whitespace().collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    let new = words.iter().position(|word| !known.contains(word)).unwrap_or(0);
    let mut out = String::new();
    let mut left = SHOWN;
    let from = if words[..new].iter().map(|word| word.len() + 1).sum::<usize>() < SHOWN / 2 {
        0
    } else {
        out.push_str("… ");
        new - new.min(12)
    };
    for word in &words[from..] {
        let escaped = escape_start(word, left.min(80));
        match known.contains(word) {
            true => out.push_str(&escaped),
            false => {
                let _ = write!(out, "<mark>{escaped}</mark>");
            }
        }
        out.push(' ');
        left = left.saturating_sub(word.chars().count().min(80) + 1);
        if left == 0 {
            out.push('…');
            break;
        }
    }
    out
}

fn listed(view: View<'_>, pairs: &Pairs, bytes: usize, embedder: &mut Embedder<'_>, body: &mut String) {
    let showing = Showing { area: ImageArea::Duplicates, side: 160, bytes, below: "", about: "" };
    for (one, other) in pairs.first.iter().take(PAIRS) {
        body.push_str("<div class=\"pair\">");
        for line in [*one, *other] {
            let shown = embedder.image(ImagePlace { line, index: 0 }, showing);
            let said = embedder
                .sample(line, |sample, _| Some(Turns::last_of(sample).to_string()))
                .unwrap_or_default();
            let _ = write!(
                body,
                "<div>{shown}<p class=\"soft\">{} {}</p></div>",
                place(view, line),
                escape_start(&said, 240)
            );
        }
        body.push_str("</div>");
    }
    if pairs.count > PAIRS as u64 {
        let _ = write!(body, "<p class=\"more\">… and {} more</p>", grouped(pairs.count - PAIRS as u64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_a_text_adds_are_marked_also_far_behind() {
        assert_eq!(what_is_new("a cat sat", "a <b> cat"), "a <mark>&lt;b&gt;</mark> cat ");
        let long = "word ".repeat(1000);
        let label = what_is_new(&long, &(long.clone() + "else"));
        assert_eq!(label, format!("… {}<mark>else</mark> ", "word ".repeat(12)));
        assert!(what_is_new("", &long).chars().count() < 3000);
        assert_eq!(what_is_new("", ""), "");
    }
}
