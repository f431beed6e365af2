//! Measurements of an image: perceptual hash, brightness, sharpness, structure.
//!
//! Everything is computed in integers from a luma plane, so that results are the same on every machine. The plane is first
//! downscaled by an integer factor until its longer side is at most [`WORKING_SIDE`] pixels: about the model's resolution, at
//! a cost far below that of decoding.

mod hash;
mod plane;
mod tiles;
mod verify;

pub use hash::{Thumbnail, perceptual_hash};
pub use plane::{Luma, Reduced, reduce};
pub use verify::{UNEXPLAINED, looks_same};

/// The longer side of the plane that brightness, entropy and sharpness are measured on, in pixels.
pub const WORKING_SIDE: usize = 1024;

/// The shares of pixels, in per mille, at which [`ImageFacts::brightness`] is given.
pub const BRIGHTNESS_AT: [u16; 7] = [1, 10, 50, 500, 950, 990, 999];

/// The measurements of one image. The default means that it was not measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImageFacts {
    /// Hash of the auto-oriented pixels: equal for files that encode the same image differently. Odd for the planes of a
    /// JPEG, even for RGB. 0: not measured.
    pub pixels: u64,
    /// Perceptual hash: close in Hamming distance for images that look the same. 0: too flat for a hash.
    pub phash: u64,
    /// Width in pixels, auto-oriented.
    pub width: u32,
    /// Height in pixels, auto-oriented.
    pub height: u32,
    /// Percentiles of the luma, 0 to 255: see [`BRIGHTNESS_AT`].
    pub brightness: [u8; 7],
    /// Every pixel is visibly gray.
    pub grayscale: bool,
    /// Shannon entropy of the luma histogram in hundredths of a bit, 0 to 800.
    pub entropy: u16,
    /// Width of the sharpest edges in hundredths of a pixel of [`ImageFacts::working_side`]; 0: it has no edges.
    pub edge_width: u16,
    /// Share of the 16 x 16 tiles with structure, in per mille.
    pub structure: u16,
    /// Mean blue and red chroma (128: gray) of the upper left, upper right, lower left and lower right quarter.
    pub chroma: [[u8; 2]; 4],
}

impl ImageFacts {
    /// Whether the image was decoded and measured.
    pub fn is_measured(&self) -> bool {
        self.pixels != 0
    }

    /// Whether it is identified by the planes of a JPEG.
    pub fn is_of_planes(&self) -> bool {
        self.pixels % 2 == 1
    }

    /// The longer side of the plane that was measured.
    pub fn working_side(&self) -> u32 {
        let side = self.width.max(self.height);
        side / side.div_ceil(WORKING_SIDE as u32).max(1)
    }

    /// The shorter side divided by the longer, 0 to 1.
    pub fn aspect(&self) -> f64 {
        f64::from(self.width.min(self.height)) / f64::from(self.width.max(self.height).max(1))
    }

    /// The percentile of the luma at this many per mille, 0 to 1; one of [`BRIGHTNESS_AT`].
    pub fn brightness_at(&self, per_mille: u16) -> f64 {
        let index = BRIGHTNESS_AT.iter().position(|at| *at == per_mille);
        f64::from(self.brightness[index.expect("a share that is measured")]) / 255.0
    }
}

/// The measurements of a plane, independent of orientation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// See [`ImageFacts::brightness`].
    pub brightness: [u8; 7],
    /// See [`ImageFacts::entropy`].
    pub entropy: u16,
    /// See [`ImageFacts::edge_width`].
    pub edge_width: u16,
    /// See [`ImageFacts::structure`].
    pub structure: u16,
    /// The image in 32 x 32, in the orientation of the plane.
    pub thumbnail: Thumbnail,
}

/// Measures a plane of luma.
pub fn measure(luma: Luma<'_>) -> Measured {
    let factor = luma.width.max(luma.height).div_ceil(WORKING_SIDE).max(1);
    let working = reduce(luma, factor);
    let plane = working.as_luma();
    let histogram = histogram(plane);
    let tiles = tiles::measure(plane);
    Measured {
        brightness: percentiles(&histogram),
        entropy: entropy(&histogram),
        edge_width: tiles.edge_width,
        structure: tiles.structure,
        thumbnail: Thumbnail::of(plane),
    }
}

fn histogram(plane: Luma<'_>) -> [u32; 256] {
    // Several tables, because equal neighbors would wait for each other's count.
    let mut tables = [[0u32; 256]; 4];
    for y in 0..plane.height {
        let (fours, rest) = plane.row(y).as_chunks::<4>();
        for four in fours {
            for (table, value) in tables.iter_mut().zip(four) {
                table[usize::from(*value)] += 1;
            }
        }
        rest.iter().for_each(|value| tables[0][usize::from(*value)] += 1);
    }
    std::array::from_fn(|value| tables.iter().map(|table| table[value]).sum())
}

fn percentiles(histogram: &[u32; 256]) -> [u8; 7] {
    let total: u64 = histogram.iter().map(|count| u64::from(*count)).sum();
    BRIGHTNESS_AT.map(|per_mille| {
        let wanted = (total * u64::from(per_mille)).div_ceil(1000).max(1);
        let mut seen = 0;
        let value = histogram.iter().position(|count| {
            seen += u64::from(*count);
            seen >= wanted
        });
        value.unwrap_or(0) as u8
    })
}

fn entropy(histogram: &[u32; 256]) -> u16 {
    let total: f64 = histogram.iter().map(|count| f64::from(*count)).sum();
    let term = |count: &u32| {
        let share = f64::from(*count) / total;
        -share * share.log2()
    };
    let bits: f64 = histogram.iter().filter(|count| **count > 0).map(term).sum();
    (bits * 100.0).round() as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(width: usize, height: usize, value: impl Fn(usize, usize) -> u8) -> Vec<u8> {
        (0..width * height).map(|at| value(at % width, at / width)).collect()
    }

    fn measured(width: usize, height: usize, value: impl Fn(usize, usize) -> u8) -> Measured {
        let samples = plane(width, height, value);
        measure(Luma { samples: &samples, width, height, stride: width })
    }

    #[test]
    fn facts_have_the_documented_size() {
        assert_eq!(size_of::<ImageFacts>(), 48);
    }

    #[test]
    fn flat_images_have_measurements_and_no_hash() {
        for (width, height) in [(1, 1), (1, 3000), (3000, 1), (17, 5), (2048, 1300)] {
            let flat = measured(width, height, |_, _| 77);
            assert_eq!(flat.brightness, [77; 7]);
            assert_eq!((flat.entropy, flat.edge_width, flat.structure), (0, 0, 0));
            assert_eq!(perceptual_hash(&flat.thumbnail), 0);
        }
    }

    #[test]
    fn brightness_and_entropy_match_the_histogram() {
        let halves = measured(100, 100, |x, _| if x < 50 { 10 } else { 200 });
        assert_eq!(halves.brightness, [10, 10, 10, 10, 200, 200, 200]);
        assert_eq!(halves.entropy, 100);
        let ramp = measured(256, 64, |x, _| x as u8);
        assert_eq!((ramp.entropy, ramp.brightness[3]), (800, 127));
    }
}
