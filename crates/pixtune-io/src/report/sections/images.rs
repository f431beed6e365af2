//! Sizes, tokens and formats of images, and a choice of them.

use std::fmt::Write as _;

use pixtune_core::text::counted_as;

use super::{View, spread};
use crate::report::budget::{ImageArea, SizeBudget};
use crate::report::chart::{Counted, Limit, histogram, ranked, size_map};
use crate::report::embed::{Embedder, Showing};
use crate::report::page::Section;
use crate::survey::ImagePlace;

pub(in crate::report) fn images(
    view: View<'_>,
    gallery: &[ImagePlace],
    embedder: &mut Embedder<'_>,
) -> Section {
    let (images, spec) = (&view.found.images, view.spec);
    if images.count == 0 {
        let body =
            "<div class=\"panel\"><p class=\"note\">There is no image: the samples are text alone.</p></div>";
        return Section { id: "images", title: "Images", body: body.into() };
    }
    let mut formats: Vec<(String, u64)> =
        images.formats.iter().map(|(format, count)| (format.to_string(), *count)).collect();
    formats.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), name.clone()));
    let seen = Limit { at: u64::from(spec.max_side), label: "the model sees up to" };
    let mut body = format!(
        "<div class=\"two\"><div class=\"panel\"><h3>Longer side in pixels</h3>{}{}</div>\
         <div class=\"panel\"><h3>Tokens per image</h3>{}{}</div>\
         <div class=\"panel\"><h3>Width and height in pixels</h3>{}<p class=\"note\">The stronger, the more images.</p></div>\
         <div class=\"panel\"><h3>Formats</h3>{}<h3>Bytes</h3>{}</div></div>",
        histogram("sides", &[&images.longer_sides], Counted { unit: "pixels", what: "images" }, Some(seen)),
        spread(&images.longer_sides, "pixels"),
        histogram("image-tokens", &[&images.tokens], Counted { unit: "tokens", what: "images" }, None),
        spread(&images.tokens, "tokens"),
        size_map("sizes", &images.size_map),
        ranked("formats", &formats, images.count),
        spread(&images.bytes, "bytes")
    );
    if images.shrunk > 0 {
        let _ = write!(
            body,
            "<p class=\"note\">{} larger than the {} pixels that the model sees and will be downscaled.</p>",
            counted_as(images.shrunk, "image is", "images are"),
            spec.max_side
        );
    }
    let bytes = SizeBudget::image_share(ImageArea::Gallery, gallery.len());
    let showing = Showing { area: ImageArea::Gallery, side: 320, bytes, below: "", about: "" };
    let mut shown = String::new();
    for place in gallery {
        shown.push_str(&embedder.image(*place, showing));
    }
    if !shown.is_empty() {
        let _ = write!(
            body,
            "<h3>A random selection</h3><p class=\"note\">Different images. A click or Enter shows the patches that the model reads, with prompt and response; arrow keys select the next.</p><div class=\"grid\" data-chart=\"gallery\">{shown}</div>"
        );
    }
    Section { id: "images", title: "Images", body }
}
