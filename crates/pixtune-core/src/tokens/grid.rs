//! The patch grid of an image, and its tokens.

use crate::spec::ModelSpec;

/// The grid of an image: one `[IMG]` per cell, one `[IMG_BREAK]` or `[IMG_END]` per row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Width in pixels that the image is resized to: a multiple of the cell width.
    pub width: u32,
    /// Height in pixels that the image is resized to.
    pub height: u32,
    /// Cells per row.
    pub columns: u32,
    /// Rows.
    pub rows: u32,
    /// Patches on a side of a cell.
    pub merge: u32,
    /// Whether the image is downscaled.
    pub shrunk: bool,
}

impl Grid {
    /// Tokens of the image, breaks and end included.
    pub fn tokens(&self) -> usize {
        self.rows as usize * (self.columns as usize + 1)
    }
}

/// The grid of an image of this size; a side of 0 counts as one pixel.
///
/// As mistral-common 1.13.1 computes it (`image.py`): in double precision, rounding half to even, never below one.
pub fn grid(spec: &ModelSpec, width: u32, height: u32) -> Grid {
    let ratio = ratio(spec, width, height);
    let side = |side: u32| {
        if ratio > 1.0 { ((f64::from(side) / ratio).round_ties_even() as u32).max(1) } else { side }
    };
    let cell = spec.patch * spec.merge;
    let cells = |side: u32| side.max(1).div_ceil(cell);
    let (columns, rows) = (cells(side(width)), cells(side(height)));
    Grid { width: columns * cell, height: rows * cell, columns, rows, merge: spec.merge, shrunk: ratio > 1.0 }
}

/// Whether the image is so elongated that its short side is resized to 0 before it is rounded up to a pixel; mistral-common
/// before 1.13 fails on such images.
pub fn too_thin(spec: &ModelSpec, width: u32, height: u32) -> bool {
    let ratio = ratio(spec, width, height);
    ratio > 1.0 && (f64::from(width.min(height)) / ratio).round_ties_even() < 1.0
}

fn ratio(spec: &ModelSpec, width: u32, height: u32) -> f64 {
    let max_side = f64::from(spec.max_side);
    (f64::from(height) / max_side).max(f64::from(width) / max_side)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{MISTRAL_SMALL_3_1, PIXTRAL_12B};

    #[track_caller]
    fn check(spec: &ModelSpec, (width, height): (u32, u32), tokens: usize) {
        assert_eq!(grid(spec, width, height).tokens(), tokens);
    }

    #[test]
    fn counts_match_mistral_common() {
        check(&PIXTRAL_12B, (512, 512), 1056);
        check(&PIXTRAL_12B, (1024, 1024), 4160);
        check(&PIXTRAL_12B, (1, 1), 2);
        check(&PIXTRAL_12B, (1, 4096), 128);
        check(&PIXTRAL_12B, (100_000, 1), 65);
        check(&PIXTRAL_12B, (u32::MAX, u32::MAX), 4160);
        check(&MISTRAL_SMALL_3_1, (1540, 1540), 3080);
    }

    #[test]
    fn only_a_vanishing_side_is_too_thin() {
        assert!(too_thin(&PIXTRAL_12B, 1, 100_000));
        assert!(too_thin(&PIXTRAL_12B, 4096, 2), "half a pixel rounds to none");
        assert!(!too_thin(&PIXTRAL_12B, 4096, 3));
        assert!(!too_thin(&PIXTRAL_12B, 1, 1024));
    }
}
