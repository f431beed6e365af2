//! What stands twice, what looks the same, and what contradicts.

use std::borrow::Cow;
use std::fmt::Write as _;

use pixtune_core::curate::near::DISTANCE;
use pixtune_core::sample::Message;
use pixtune_core::strict::BorrowedSample;

use super::{View, counted, place};
use crate::report::chart::grouped;
use crate::report::fetch::{Fetch, Showing};
use crate::report::page::{Section, escape_start};
use crate::report::room::{Room, Shelf};
use crate::survey::{NearGroup, Pairs, PicturePlace};

/// So many groups, members of each, and pairs of a kind are shown.
const GROUPS: usize = 8;
const MEMBERS: usize = 6;
const PAIRS: usize = 8;

pub(in crate::report) fn alike(view: View<'_>, fetch: &mut Fetch<'_>) -> Section {
    let together = &view.found.together;
    let repeated = if view.source.files.is_empty() {
        "files with the bytes of another"
    } else {
        "samples that stand twice"
    };
    let kinds = [
        (&together.contradictions, "samples with the pictures and prompt of another and another answer"),
        (&together.shared_samples, "samples on both sides of the split"),
        (&together.shared_pictures, "pictures on both sides of the split"),
        (&together.repeated, repeated),
    ];
    let pictures: usize =
        together.near.first.iter().take(GROUPS).map(|group| group.members.len().min(MEMBERS)).sum();
    let pairs: usize = kinds.iter().map(|(pairs, _)| 2 * pairs.first.len().min(PAIRS)).sum();
    let bytes = Room::picture_share(Shelf::Alike, pictures + pairs);
    let mut body = String::new();
    near(view, bytes, fetch, &mut body);
    for (pairs, what) in kinds {
        if pairs.count > 0 {
            let _ = write!(body, "<div class=\"panel\"><h3>{} {what}</h3>", grouped(pairs.count));
            listed(view, pairs, bytes, fetch, &mut body);
            body.push_str("</div>");
        }
    }
    if body.is_empty() {
        body.push_str("<div class=\"panel\"><p><span class=\"tag ok\">none</span> Nothing stands twice, and nothing contradicts.</p></div>");
    }
    Section { id: "alike", title: "Duplicates and conflicts", body }
}

fn near(view: View<'_>, bytes: usize, fetch: &mut Fetch<'_>, body: &mut String) {
    let near = &view.found.together.near;
    if near.groups == 0 {
        return;
    }
    let _ = write!(
        body,
        "<div class=\"panel\" data-chart=\"near\"><h3>{} of different files that show the same, {} in all</h3>\
         <p class=\"note\">The same picture encoded, scaled, brightened or cut a little: perceptual hashes that differ in at most {DISTANCE} of 64 bits, and a look at the pixels. Distances are from the first of a group.</p>",
        counted(near.groups, "group", "groups"),
        counted(near.pictures, "picture", "pictures")
    );
    if near.across > 0 {
        let _ = write!(
            body,
            "<p><span class=\"tag error\">leak</span> {} on both sides of the split</p>",
            counted(near.across, "group stands", "groups stand")
        );
    }
    for group in near.first.iter().take(GROUPS) {
        members(group, bytes, fetch, body);
    }
    if near.groups > GROUPS as u64 {
        let _ =
            write!(body, "<p class=\"more\">… and {} more groups</p>", grouped(near.groups - GROUPS as u64));
    }
    body.push_str("</div>");
}

fn members(group: &NearGroup, bytes: usize, fetch: &mut Fetch<'_>, body: &mut String) {
    body.push_str("<div class=\"group\">");
    if group.across {
        body.push_str("<p><span class=\"tag error\">on both sides</span></p>");
    }
    body.push_str("<div class=\"grid\">");
    for (index, member) in group.members.iter().take(MEMBERS).enumerate() {
        let told = match index {
            0 => "the first".to_owned(),
            _ if member.same_pixels => "the same pixels".to_owned(),
            _ => format!("distance {}", member.distance),
        };
        let below = format!("<b>{told}</b><br>{} × {}", member.size.0, member.size.1);
        let showing = Showing { shelf: Shelf::Alike, side: 160, bytes, below: &below, about: &told };
        body.push_str(&fetch.picture(member.place, showing));
    }
    body.push_str("</div>");
    if group.count > MEMBERS as u64 {
        let _ = write!(
            body,
            "<p class=\"more\">… and {} more of this group</p>",
            grouped(group.count - MEMBERS as u64)
        );
    }
    body.push_str("</div>");
}

fn listed(view: View<'_>, pairs: &Pairs, bytes: usize, fetch: &mut Fetch<'_>, body: &mut String) {
    let showing = Showing { shelf: Shelf::Alike, side: 160, bytes, below: "", about: "" };
    for (one, other) in pairs.first.iter().take(PAIRS) {
        body.push_str("<div class=\"pair\">");
        for line in [*one, *other] {
            let shown = fetch.picture(PicturePlace { line, index: 0 }, showing);
            let said = fetch.sample(line, |sample, _| Some(last_turns(sample))).unwrap_or_default();
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

/// The last prompt and answer of a conversation, as text.
pub(super) fn last_turns(sample: &BorrowedSample<'_>) -> String {
    let mut prompt = Cow::Borrowed("");
    let mut answer = Cow::Borrowed("");
    for message in &sample.messages {
        match message {
            Message::User(content) => prompt = pixtune_core::quality::plain(content),
            Message::Assistant(assistant) => {
                answer = assistant.content.as_ref().map(pixtune_core::quality::plain).unwrap_or_default();
            }
            _ => {}
        }
    }
    format!("{} → {}", prompt.trim(), answer.trim())
}
