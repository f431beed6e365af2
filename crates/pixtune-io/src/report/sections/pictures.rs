//! Sizes, tokens and formats of pictures, and a choice of them.

use std::fmt::Write as _;

use super::{View, counted, spread};
use crate::report::chart::{Limit, histogram, ranked, size_map};
use crate::report::fetch::{Fetch, Showing};
use crate::report::page::Section;
use crate::report::room::{Room, Shelf};
use crate::survey::PicturePlace;

pub(in crate::report) fn pictures(
    view: View<'_>,
    gallery: &[PicturePlace],
    fetch: &mut Fetch<'_>,
) -> Section {
    let (pictures, spec) = (&view.found.pictures, view.spec);
    if pictures.count == 0 {
        let body = "<div class=\"panel\"><p class=\"note\">There is no picture: the samples are text alone.</p></div>";
        return Section { id: "pictures", title: "Pictures", body: body.into() };
    }
    let mut formats: Vec<(String, u64)> =
        pictures.formats.iter().map(|(format, count)| (format.to_string(), *count)).collect();
    formats.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), name.clone()));
    let seen = Limit { at: u64::from(spec.max_side), label: "the model sees" };
    let mut body = format!(
        "<div class=\"two\"><div class=\"panel\"><h3>Longer side in pixels</h3>{}{}</div>\
         <div class=\"panel\"><h3>Tokens a picture</h3>{}{}</div>\
         <div class=\"panel\"><h3>Width and height in pixels</h3>{}<p class=\"note\">The stronger, the more pictures.</p></div>\
         <div class=\"panel\"><h3>Formats</h3>{}<h3>Bytes</h3>{}</div></div>",
        histogram("sides", &[&pictures.longer_sides], "pixels", Some(seen)),
        spread(&pictures.longer_sides, "pixels"),
        histogram("picture-tokens", &[&pictures.tokens], "tokens", None),
        spread(&pictures.tokens, "tokens"),
        size_map("sizes", &pictures.size_map),
        ranked("formats", &formats, pictures.count),
        spread(&pictures.bytes, "bytes")
    );
    if pictures.shrunk > 0 {
        let _ = write!(
            body,
            "<p class=\"note\">{} larger than the {} pixels that the model sees and will be shrunk.</p>",
            counted(pictures.shrunk, "picture is", "pictures are"),
            spec.max_side
        );
    }
    let bytes = Room::picture_share(Shelf::Gallery, gallery.len());
    let showing = Showing { shelf: Shelf::Gallery, side: 320, bytes, below: "", about: "" };
    let mut shown = String::new();
    for place in gallery {
        shown.push_str(&fetch.picture(*place, showing));
    }
    if !shown.is_empty() {
        let _ = write!(
            body,
            "<h3>A choice of them</h3><p class=\"note\">Different pictures, by chance. A click or Enter shows the patches that the model reads; arrows go on.</p><div class=\"grid\" data-chart=\"gallery\">{shown}</div>"
        );
    }
    Section { id: "pictures", title: "Pictures", body }
}
