//! Decoded images as component planes.

mod upsample;

use self::upsample::Upsampler;
use super::color::{cmyk_to_rgb, ycc_row_to_rgb, ycc_to_rgb};

/// What the components of an image mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Color {
    /// One component: luma.
    #[default]
    Gray,
    /// Luma and two color differences, as JFIF defines them.
    YCbCr,
    /// Red, green and blue as they are.
    Rgb,
    /// Four inks, stored inverted as Adobe does.
    Cmyk,
    /// Luma and color differences of three inks, and black.
    Ycck,
}

/// The samples of one component.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plane {
    /// Samples in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// From one row to the next; what lies behind `width` is padding.
    pub stride: usize,
    /// How many image pixels a sample is wide and high.
    pub ratio: (u8, u8),
    /// Rows of samples; there may be padding rows behind `height`.
    pub samples: Vec<u8>,
}

impl Plane {
    /// The samples of row `y`, without padding.
    pub fn row(&self, y: usize) -> &[u8] {
        &self.samples[y * self.stride..][..self.width]
    }

    /// The rows from top to bottom, without padding.
    pub fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.samples.chunks(self.stride.max(1)).take(self.height).map(|row| &row[..self.width])
    }
}

/// A decoded image: one plane for each component, each at its own size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Planes {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// What the planes mean.
    pub color: Color,
    /// One plane for each component.
    pub planes: Vec<Plane>,
}

impl Planes {
    /// The image as interleaved RGB, byte for byte what Pillow's `convert("RGB")` gives.
    pub fn to_rgb(&self) -> Vec<u8> {
        let mut rgb = vec![0; self.width * self.height * 3];
        let mut sources: Vec<Upsampler<'_>> = self.planes.iter().map(Upsampler::new).collect();
        for (y, out) in rgb.chunks_exact_mut((self.width * 3).max(1)).enumerate() {
            let out = out.as_chunks_mut::<3>().0;
            match (self.color, &mut sources[..]) {
                (Color::Gray, [luma]) => {
                    out.iter_mut().zip(luma.row(y)).for_each(|(out, &luma)| *out = [luma; 3]);
                }
                (Color::Rgb, [first, second, third]) => {
                    let rows = first.row(y).iter().zip(second.row(y)).zip(third.row(y));
                    out.iter_mut().zip(rows).for_each(|(out, ((&r, &g), &b))| *out = [r, g, b]);
                }
                (_, [first, second, third]) => ycc_row_to_rgb(first.row(y), second.row(y), third.row(y), out),
                (color, [first, second, third, black]) => {
                    let rows = first.row(y).iter().zip(second.row(y)).zip(third.row(y)).zip(black.row(y));
                    for (out, (((&a, &b), &c), &k)) in out.iter_mut().zip(rows) {
                        // Inks are stored inverted. Inverting libjpeg's YCCK to CMYK leaves the three of YCC.
                        let [a, b, c] = match color {
                            Color::Ycck => ycc_to_rgb(a, b, c),
                            _ => [255 - a, 255 - b, 255 - c],
                        };
                        *out = cmyk_to_rgb([a, b, c, 255 - k]);
                    }
                }
                _ => {}
            }
        }
        rgb
    }
}
