//! EXIF data as Pillow reads it: what it stops at.
use crate::image::exif::{Tags, strip_prefix};
use crate::image::faults::Faults;

/// Blocks that do not start as a TIFF file stop a loader that auto-orients.
pub(super) fn check_tags(block: &[u8], faults: &mut Faults) {
    let block = strip_prefix(block);
    if !block.is_empty() && !starts_like_tiff(block) {
        faults.doubt("its EXIF data does not start as EXIF data does");
    }
}

fn starts_like_tiff(block: &[u8]) -> bool {
    block.len() >= 8 && Tags::open(block).is_some()
}

/// A resolution of which Pillow looks for a second value that is not there, as it does for bytes and texts.
pub(super) fn has_short_resolution(block: &[u8]) -> bool {
    const RESOLUTION: u16 = 0x011a;
    const UNIT: u16 = 0x0128;
    let Some(tags) = Tags::open(strip_prefix(block)) else { return false };
    let Some(directory) = tags.first().filter(|&directory| tags.field(directory, UNIT).is_some()) else {
        return false;
    };
    match tags.field(directory, RESOLUTION) {
        Some((1 | 7, data)) => data.len() == 1,
        Some((2, data)) => matches!(data.strip_suffix(b"\0").unwrap_or(data), [b'0'..=b'9']),
        _ => false,
    }
}
