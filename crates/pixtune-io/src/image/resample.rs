//! Resampling: the model's own (cubic without antialiasing) and Lanczos for those who prefer it.
//!
//! Both are separable and run as one code path over a table of weights (`Taps`) per axis: for every output row the few
//! source rows it needs are mixed into one row of floats, then that row is mixed along its length. The order
//! of the additions is fixed and no operation is fused, so every machine gives the same bytes.
mod horizontal;
mod taps;
mod vertical;

pub use taps::Filter;

use super::raster::Rgb;
use horizontal::{Row, SLACK, mix_along};
use taps::Taps;
use vertical::{mix_rows, round_to_bytes};

/// Interleaved bytes with optional padding at the end of each row: an image, or one plane of a JPEG.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    /// At least `stride * (height - 1) + width * channels` bytes.
    pub pixels: &'a [u8],
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Bytes per pixel, 1 to 4.
    pub channels: usize,
}

impl<'a> Plane<'a> {
    fn row(&self, y: usize) -> &'a [u8] {
        &self.pixels[y * self.stride..][..self.width * self.channels]
    }
}

impl<'a> From<&'a Rgb> for Plane<'a> {
    fn from(rgb: &'a Rgb) -> Self {
        Plane {
            pixels: &rgb.pixels,
            width: rgb.width,
            height: rgb.height,
            stride: 3 * rgb.width,
            channels: 3,
        }
    }
}

/// Resamples to `width` by `height`, each value rounded to the nearest byte; rows without padding.
pub fn resample(plane: Plane, width: usize, height: usize, filter: Filter) -> Vec<u8> {
    let line = width * plane.channels;
    let mut resampled = vec![0; line * height];
    each_row(plane, width, height, filter, |y, values| {
        round_to_bytes(values, &mut resampled[y * line..][..line]);
    });
    resampled
}

/// Calls `use_row` with every output row, as floats that may overshoot 0 to 255.
fn each_row(
    plane: Plane,
    width: usize,
    height: usize,
    filter: Filter,
    mut use_row: impl FnMut(usize, &[f32]),
) {
    let down = Taps::new(plane.height, height, filter);
    let along = Taps::new(plane.width, width, filter);
    let mut mixed = Row::new(plane.width, plane.channels, along.margin());
    let line = width * plane.channels;
    let mut output = vec![0.0; line + SLACK];
    for y in 0..height {
        let (first, weights) = down.of(y);
        let last = plane.height as isize - 1;
        let row = |index: usize| plane.row((first + index as isize).clamp(0, last) as usize);
        mix_rows(row, weights, mixed.middle());
        mixed.replicate_edges();
        mix_along(&mixed, &along, &mut output);
        use_row(y, &output[..line]);
    }
}

/// The mean and deviation of the channels that Pixtral's vision encoder was trained with (mistral-common
/// 1.13.1, `image.py`, from CLIP).
const MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const DEVIATION: [f32; 3] = [0.268_629_55, 0.261_302_6, 0.275_777_1];

fn normalize(value: f32, channel: usize) -> f32 {
    (value / 255.0 - MEAN[channel]) / DEVIATION[channel]
}

/// What the model is fed: the image stretched to `width` by `height` (its grid in pixels) and normalized,
/// channel after channel. Overshoot of the cubic is kept, as in the reference.
pub fn model_pixels(rgb: &Rgb, width: usize, height: usize) -> Vec<f32> {
    let area = width * height;
    let mut pixels = vec![0.0; 3 * area];
    if (rgb.width, rgb.height) == (width, height) {
        for channel in 0..3 {
            let table: [f32; 256] = std::array::from_fn(|v| normalize(v as f32, channel));
            let values = rgb.pixels.as_chunks::<3>().0.iter().map(|pixel| table[usize::from(pixel[channel])]);
            pixels[channel * area..][..area].iter_mut().zip(values).for_each(|(to, value)| *to = value);
        }
        return pixels;
    }
    each_row(Plane::from(rgb), width, height, Filter::Cubic, |y, values| {
        for channel in 0..3 {
            let row = &mut pixels[channel * area + y * width..][..width];
            for (to, pixel) in row.iter_mut().zip(values.as_chunks::<3>().0) {
                *to = normalize(pixel[channel], channel);
            }
        }
    });
    pixels
}

#[cfg(test)]
mod tests;
