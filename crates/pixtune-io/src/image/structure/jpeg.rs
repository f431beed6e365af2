//! JPEG: the segments before the first scan as JpegImagePlugin reads them, all markers as our codec does.
use super::Structure;
use super::tags::{check_tags, has_short_resolution};
use crate::image::error::ImageError;
use crate::image::exif::Tags;
use crate::image::faults::Faults;
use crate::image::{jpeg, jpeg_file};
use crate::numbers::{take, u16_be, u32_be};
use crate::sniff::Format::Jpeg;

pub(super) fn check(bytes: &[u8]) -> Result<Structure, ImageError> {
    let (_, end) = jpeg::walk(bytes).map_err(jpeg_file::error)?;
    Ok(Structure::new(Jpeg, end, segments(bytes)))
}

/// The same of a beginning that reaches the first scan: whether nothing in it stops a reader, and whether other images may
/// follow the end of this one.
pub(in crate::image) fn check_head(head: &[u8]) -> bool {
    let Faults { refused, doubtful } = segments(head);
    refused.is_none() && doubtful.is_none() && memchr::memmem::find(head, b"MPF\0").is_none()
}

/// Follows the loop of `JpegImageFile._open` up to the first scan.
fn segments(bytes: &[u8]) -> Faults {
    let mut faults = Faults::default();
    // The parts of a color profile up to the frame.
    let mut profile: Vec<&[u8]> = Vec::new();
    let mut oriented = false;
    let mut at = 2;
    while let Some(prefix) = bytes.get(at) {
        if *prefix != 0xff {
            at += 1;
            continue;
        }
        let Some(&marker) = bytes.get(at + 1) else { break };
        match marker {
            0xff => at += 1,
            // Restarts, SOI, EOI and reserved markers stand alone here.
            0x00 | 0xc8 | 0xd0..=0xd9 | 0xf0..=0xfd => at += 2,
            0x01..=0xbf => {
                faults.refuse(format!("it has the marker `FF{marker:02X}` before its pixels"));
                break;
            }
            _ => {
                let length = u16_be(bytes, at + 2).map_or(0, usize::from);
                let Some(body) = take(bytes, at + 4, length.saturating_sub(2)) else {
                    faults.refuse("a segment before its pixels is cut off");
                    break;
                };
                segment(marker, body, (&mut profile, &mut oriented), &mut faults);
                if marker == 0xda {
                    break;
                }
                at += 4 + body.len();
            }
        }
    }
    faults
}

fn segment<'a>(
    marker: u8,
    body: &'a [u8],
    (profile, oriented): (&mut Vec<&'a [u8]>, &mut bool),
    faults: &mut Faults,
) {
    match marker {
        0xe0 => {
            faults.refuse_if(body.starts_with(b"JFIF") && body.len() < 7, "its JFIF segment is too short");
        }
        0xee => {
            faults.refuse_if(body.starts_with(b"Adobe") && body.len() < 7, "its Adobe segment is too short");
        }
        0xe1 if body.starts_with(b"Exif\0\0") => {
            faults.refuse_if(has_short_resolution(body), "the resolution in its EXIF data is not a number");
            if !std::mem::replace(oriented, true) {
                check_tags(body, faults);
            }
        }
        0xe2 if body.starts_with(b"ICC_PROFILE\0") => profile.push(body),
        0xe2 if body.starts_with(b"MPF\0") => {
            faults.refuse_if(has_short_index(&body[4..]), "its index of further images is cut off");
        }
        0xed if body.starts_with(b"Photoshop 3.0\0") => {
            faults.refuse_if(ends_in_resource(body), "its Photoshop segment is cut off");
        }
        0xdb => faults.refuse_if(!holds_whole_tables(body), "its quantization tables are cut off"),
        0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
            let first = profile.iter().min();
            faults.refuse_if(first.is_some_and(|part| part.len() < 14), "its color profile is cut off");
            profile.clear();
        }
        _ => {}
    }
}

fn holds_whole_tables(mut body: &[u8]) -> bool {
    while let Some((head, rest)) = body.split_first() {
        let Some(rest) = rest.get(if head >> 4 == 0 { 64 } else { 128 }..) else { return false };
        body = rest;
    }
    true
}

/// Photoshop's resources, of which one ends between its number and its name: Pillow looks for the length of the name.
fn ends_in_resource(body: &[u8]) -> bool {
    const RESOLUTION: u16 = 0x03ed;
    let even = |at: usize| at.saturating_add(at & 1);
    let mut at = 14;
    while take(body, at, 4) == Some(b"8BIM") {
        let resource = at + 4;
        if u16_be(body, resource).is_none() {
            return false;
        }
        let Some(&name) = body.get(at + 6) else { return true };
        let size = even(at + 7 + usize::from(name));
        let Some(length) = u32_be(body, size) else { return false };
        at = size.saturating_add(4).saturating_add(length as usize);
        // The resolution is read at once, and the search ends where it is too short.
        let data = at.min(body.len()).saturating_sub(size + 4);
        if u16_be(body, resource) == Some(RESOLUTION) && data < 14 {
            return false;
        }
        at = even(at);
    }
    false
}

/// An index of images (CIPA DC-007) that declares more images than it lists.
fn has_short_index(index: &[u8]) -> bool {
    const COUNT: u16 = 0xb001;
    const LIST: u16 = 0xb002;
    let fields = || {
        let tags = Tags::open(index)?;
        let directory = tags.first()?;
        let count = tags.number(directory, COUNT)?;
        Some((count as usize, tags.field(directory, LIST)?))
    };
    fields().is_some_and(|(count, (kind, list))| {
        // Entries of another format end the search before the list does.
        let whole = list.as_chunks::<16>().0.iter().take(count);
        let is_jpeg = |entry: &[u8; 16]| {
            let attributes = if index.starts_with(b"MM") { entry[0] } else { entry[3] };
            attributes & 7 == 0
        };
        matches!(kind, 1 | 7) && whole.clone().all(is_jpeg) && whole.len() < count
    })
}
