//! Samples and images of the dataset, reread for the page; images become small JPEGs.

use std::fmt::Write as _;
use std::path::Path;

use pixtune_core::strict::BorrowedSample;
use pixtune_core::text::{counted, grouped};
use pixtune_core::tokens::{Grid, grid};

use super::budget::{ImageArea, SizeBudget};
use super::page::{escape, escape_short, escape_start};
use super::turns::Turns;
use super::view::View;
use crate::base64::data_uri;
use crate::image::jpeg::{Subsampling, encode_rgb};
use crate::image::resample::{Filter, Plane, resample};
use crate::image::{Limits, Loaded, Reading, Rgb, decode};
use crate::read::LinePlace;
use crate::survey::{ImagePlace, reread_image, reread_sample};

/// So many characters of a prompt or response are shown with an image.
const TEXT: usize = 300;

/// An image for the page.
pub(super) struct Thumbnail {
    /// The data URI.
    pub(super) uri: String,
    /// Width and height of the original as the reference measures them.
    pub(super) size: (u32, u32),
    /// What the model cuts it into.
    pub(super) grid: Grid,
}

/// Rereads samples and images, and embeds images within the size budget.
pub(super) struct Embedder<'s> {
    pub(super) view: View<'s>,
    pub(super) budget: SizeBudget,
}

/// How an image is shown.
#[derive(Clone, Copy)]
pub(super) struct Showing<'t> {
    pub(super) area: ImageArea,
    /// The longer side in pixels.
    pub(super) side: u32,
    /// How many bytes it may take.
    pub(super) bytes: usize,
    /// The caption, as HTML; its size by default.
    pub(super) below: &'t str,
    /// A further note for the enlarged view.
    pub(super) about: &'t str,
}

impl Embedder<'_> {
    /// Does something with the sample of a line; `None` where the file has changed since the survey.
    pub(super) fn sample<T>(
        &self,
        place: LinePlace,
        look: impl FnOnce(&BorrowedSample<'_>, &Path) -> Option<T>,
    ) -> Option<T> {
        reread_sample(self.view.source, self.view.found, place, look)
    }

    /// An image that opens large, with its patches; nothing where it cannot be read again or there is no budget.
    pub(super) fn image(&mut self, place: ImagePlace, showing: Showing<'_>) -> String {
        let View { source, found, .. } = self.view;
        let Some(image) = reread_image(source, found, place) else { return String::new() };
        let Some(Thumbnail { uri, size, grid }) = self.small(&image, showing.side, showing.bytes) else {
            return String::new();
        };
        let name = self.view.name(place.line);
        let about = format!(
            " · {} × {} pixels · {} × {} patches, {}{}{}",
            grouped(u64::from(size.0)),
            grouped(u64::from(size.1)),
            grid.columns,
            grid.rows,
            counted(grid.tokens() as u64, "token"),
            if grid.shrunk { ", downscaled by the model" } else { "" },
            if showing.about.is_empty() { String::new() } else { format!(" · {}", showing.about) }
        );
        let size = format!("{} × {}", size.0, size.1);
        let sample = self.sample_attributes(place.line);
        let html = format!(
            "<button class=\"pic\" type=\"button\" data-columns=\"{}\" data-rows=\"{}\" data-about=\"{}{}\"{sample}><img loading=\"lazy\" alt=\"{}\" src=\"{uri}\"><span>{}<br>{}</span></button>",
            grid.columns,
            grid.rows,
            escape_short(&name, 120),
            escape(&about),
            escape_short(&name, 120),
            if showing.below.is_empty() { &size } else { showing.below },
            escape_start(&name, 60)
        );
        if self.budget.take_image(showing.area, html.len()) { html } else { String::new() }
    }

    /// What the enlarged view shows of the sample of an image: prompt, response, source, and the link to it.
    fn sample_attributes(&self, line: LinePlace) -> String {
        let mut out = String::new();
        let turns = self.sample(line, |sample, _| Some(Turns::last_of(sample)));
        let number = self.view.shown.number(line).map(|number| format!("sample{number}"));
        let (prompt, response) = turns.map(|turns| (turns.prompt, turns.response)).unzip();
        let values = [
            ("prompt", prompt),
            ("response", response),
            ("source", self.view.origin(line)),
            ("sample", number),
        ];
        for (key, value) in values {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                let _ = write!(out, " data-{key}=\"{}\"", escape_short(&value, TEXT));
            }
        }
        out
    }

    /// The image in these bytes, small.
    pub(super) fn small(&self, image: &Loaded, side: u32, most: usize) -> Option<Thumbnail> {
        let SmallImage { uri, size } = small_image(image, &self.view.found.limits, side, most)?;
        Some(Thumbnail { uri, size, grid: grid(self.view.spec, size.0, size.1) })
    }
}

/// An image as a small JPEG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmallImage {
    /// The data URI.
    pub uri: String,
    /// Width and height of the original as the reference measures them.
    pub size: (u32, u32),
}

/// The image in these bytes as the reference reads it: so the model sees it. It is made rougher, then smaller, until it
/// takes no more than `most` bytes. `None` where it cannot be decoded.
pub fn small_image(image: &Loaded, limits: &Limits, side: u32, most: usize) -> Option<SmallImage> {
    let Loaded { bytes, header } = image;
    let rgb = decode(bytes, header, limits, Reading::Reference).ok()?.rgb;
    let size = (rgb.width as u32, rgb.height as u32);
    let mut small = shrink(rgb, side as usize);
    loop {
        for quality in [75, 50, 30] {
            let uri = jpeg_uri(&small, quality)?;
            if uri.len() <= most || small.width.max(small.height) <= 16 {
                return Some(SmallImage { uri, size });
            }
        }
        let half = small.width.max(small.height) / 2;
        small = shrink(small, half);
    }
}

fn shrink(rgb: Rgb, side: usize) -> Rgb {
    let longer = rgb.width.max(rgb.height);
    if longer <= side {
        return rgb;
    }
    let scaled = |length: usize| (length * side / longer).max(1);
    let (width, height) = (scaled(rgb.width), scaled(rgb.height));
    let pixels = resample(Plane::from(&rgb), width, height, Filter::Lanczos);
    Rgb { width, height, pixels }
}

fn jpeg_uri(rgb: &Rgb, quality: u8) -> Option<String> {
    let mut jpeg = Vec::new();
    encode_rgb(&rgb.pixels, (rgb.width, rgb.height), quality, Subsampling::Quarter, &mut jpeg).ok()?;
    Some(data_uri("image/jpeg", &jpeg))
}
