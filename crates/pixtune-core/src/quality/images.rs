//! Statistics of the images of a dataset: sizes, formats, tokens, and how many the model downscales.

use std::collections::BTreeMap;

use super::Histogram;
use crate::spec::ModelSpec;
use crate::target::ImageFormat;
use crate::tokens::grid;

/// Images by format, size and tokens.
#[derive(Debug, Clone, Default)]
pub struct ImageSurvey {
    /// How many.
    pub count: u64,
    /// By format.
    pub formats: BTreeMap<ImageFormat, u64>,
    /// Widths in pixels.
    pub widths: Histogram,
    /// Heights in pixels.
    pub heights: Histogram,
    /// The longer sides in pixels.
    pub longer_sides: Histogram,
    /// Bytes of the files.
    pub bytes: Histogram,
    /// Tokens per image.
    pub tokens: Histogram,
    /// Pixels of all images.
    pub pixels: u128,
    /// Images that the model's preprocessing downscales.
    pub shrunk: u64,
    /// Images per cell of half an octave in width and height; cell `k` ends at the side `2^(k/2)`, which it includes.
    pub size_map: BTreeMap<(u8, u8), u64>,
}

impl ImageSurvey {
    /// Counts an image.
    pub fn add(&mut self, spec: &ModelSpec, format: ImageFormat, (width, height): (u32, u32), bytes: u64) {
        let grid = grid(spec, width, height);
        self.count += 1;
        *self.formats.entry(format).or_default() += 1;
        self.widths.add(u64::from(width));
        self.heights.add(u64::from(height));
        self.longer_sides.add(u64::from(width.max(height)));
        self.bytes.add(bytes);
        self.tokens.add(grid.tokens() as u64);
        self.pixels += u128::from(width) * u128::from(height);
        self.shrunk += u64::from(grid.shrunk);
        *self.size_map.entry((half_octave(width), half_octave(height))).or_default() += 1;
    }
}

/// Twice the base-2 logarithm, rounded up, in integers so that every machine agrees: a side that is exactly a limit is in the
/// cell that ends there.
fn half_octave(side: u32) -> u8 {
    let side = u64::from(side.max(1));
    let square = side * side;
    square.ilog2() as u8 + u8::from(!square.is_power_of_two())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::PIXTRAL_12B;

    #[test]
    fn images_are_counted_as_the_model_sees_them() {
        let mut survey = ImageSurvey::default();
        survey.add(&PIXTRAL_12B, ImageFormat::Jpeg, (2048, 1024), 1000);
        survey.add(&PIXTRAL_12B, ImageFormat::Png, (1, 1), 70);
        assert_eq!((survey.count, survey.shrunk, survey.tokens.max()), (2, 1, 64 * 32 + 32));
        assert_eq!(survey.size_map.keys().copied().collect::<Vec<_>>(), [(0, 0), (22, 20)]);
        assert_eq!([1, 2, 1023, 1024, 1448, 1449, u32::MAX].map(half_octave), [0, 2, 20, 20, 21, 22, 64]);
    }
}
