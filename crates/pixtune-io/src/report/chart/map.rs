//! Images by width and height.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use pixtune_core::text::grouped;

use super::{Frame, NOTHING, SIDE};

/// A map of sizes: each field half an octave wide and high, up to and including the side at its right and upper edge; the
/// stronger, the more images.
pub fn size_map(name: &str, map: &BTreeMap<(u8, u8), u64>) -> String {
    let most = map.values().copied().max().unwrap_or(0);
    if most == 0 {
        return NOTHING.to_owned();
    }
    let (left, columns) = bounds(map.keys().map(|key| key.0));
    let (low, rows) = bounds(map.keys().map(|key| key.1));
    let (wide, high) = (SIDE / f64::from(columns), SIDE / f64::from(rows));
    let pixels = |edge: u8| 2f64.powf(f64::from(edge) / 2.0);
    // A field is named by its upper edge.
    let sides = |field: u8| match field {
        0 => "1".to_owned(),
        _ => format!("{:.0} to {:.0}", pixels(field - 1).floor() + 1.0, pixels(field).floor()),
    };
    let mut drawing = String::new();
    for ((width, height), count) in map {
        let strength = 0.2 + 0.8 * (*count as f64).ln_1p() / (most as f64).ln_1p();
        let _ = write!(
            drawing,
            "<rect class=\"a\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill-opacity=\"{strength:.2}\"><title>{} × {} pixels: {count}</title></rect>",
            (f64::from(width - left) + 0.04) * wide,
            SIDE - (f64::from(height - low) + 0.96) * high,
            wide * 0.92,
            high * 0.92,
            sides(*width),
            sides(*height)
        );
    }
    // Labels at whole octaves; the lower edge of the first field is the upper edge of the one before it.
    let labels = |first: u8, fields: u8| -> Vec<(f64, String)> {
        let apart = (fields / 2 / 6 + 1) * 2;
        (first.saturating_sub(1)..first + fields)
            .filter(|edge| edge.is_multiple_of(apart))
            .map(|edge| {
                (f64::from(edge + 1 - first) / f64::from(fields), grouped(pixels(edge).round() as u64))
            })
            .collect()
    };
    let frame = Frame {
        name,
        about: "images by width and height".to_owned(),
        height: 190,
        rows: labels(low, rows),
        columns: labels(left, columns),
        axes: ["height in pixels", "width in pixels"],
        values: None,
        limit: None,
        drawing,
    };
    frame.html()
}

/// The smallest of some fields, and how many lie from there to the largest.
fn bounds(fields: impl Iterator<Item = u8> + Clone) -> (u8, u8) {
    let low = fields.clone().min().unwrap_or(0);
    (low, fields.max().unwrap_or(0) - low + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_size_and_the_farthest_sizes_are_drawn() {
        assert!(size_map("m", &BTreeMap::new()).contains("nothing"));
        let one = size_map("m", &BTreeMap::from([((20, 18), 3)]));
        assert!(one.contains("725 to 1024 × 363 to 512 pixels: 3") && !one.contains("NaN"), "{one}");
        let far = size_map("m", &BTreeMap::from([((0, 0), 1), ((64, 64), 9)]));
        assert!(far.matches("<span").count() < 30 && !far.contains("NaN"), "{far}");
    }
}
