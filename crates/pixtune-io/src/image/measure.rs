//! Measures images: from decoded pixels to [`ImageFacts`].

use std::hash::Hasher as _;

use pixtune_core::curate::ImageFacts;
use pixtune_core::curate::measure::{Luma, Measured, Thumbnail, measure, perceptual_hash};
use twox_hash::XxHash3_64;

use super::jpeg::{Color, Planes};
use super::jpeg_file::with_planes;
use super::{Format, ImageError, Limits, Loaded, Orientation, Reading, Rgb, decode, orient, share};

/// Color of less than this many steps of chroma, or of difference between channels, counts as gray: JPEG's own
/// rounding makes as much.
const GREY: u8 = 6;

/// What was measured of an image, and what two images are compared by more closely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measure {
    /// The numbers.
    pub facts: ImageFacts,
    /// The auto-oriented image in 32 x 32.
    pub thumbnail: Thumbnail,
}

/// Measures an image. An animation cannot be measured: it is an error.
pub fn measure_image(image: &Loaded, limits: &Limits) -> Result<Measure, ImageError> {
    let Loaded { bytes, header } = image;
    let _share = share(bytes, header);
    match header.format {
        Format::Jpeg => with_planes(bytes, limits, |found| planes(found, header.orientation)),
        _ => Ok(rgb(&decode(bytes, header, limits, Reading::Corrected)?.rgb)),
    }
}

/// Measures a decoded JPEG that still has to be turned by `orientation`.
pub fn planes(planes: &Planes, orientation: Orientation) -> Measure {
    match (planes.color, &planes.planes[..]) {
        (Color::Gray | Color::YCbCr, [luma, chroma @ ..]) => {
            let measured = measure(Luma {
                samples: &luma.samples,
                width: planes.width,
                height: planes.height,
                stride: luma.stride,
            });
            let grayscale = chroma.iter().all(|plane| plane.rows().all(is_gray));
            let mut means = [[128; 2]; 4];
            for (at, plane) in chroma.iter().enumerate() {
                for (quarter, mean) in
                    quarters(plane.width, plane.height, |y| plane.row(y)).iter().enumerate()
                {
                    means[quarter][at] = *mean;
                }
            }
            let size = (planes.width, planes.height);
            facts(
                measured,
                pixel_hash(planes, orientation) | 1,
                size,
                orientation,
                Chroma { grayscale, means },
            )
        }
        _ => {
            let size = (planes.width, planes.height);
            let pixels = orient(planes.to_rgb(), size.0, size.1, 3, orientation);
            let (width, height) = if orientation.swaps_sides() { (size.1, size.0) } else { size };
            rgb(&Rgb { width, height, pixels })
        }
    }
}

/// Measures an auto-oriented RGB image.
pub fn rgb(rgb: &Rgb) -> Measure {
    let Rgb { width, height, pixels } = rgb;
    let samples = luma_of(pixels);
    let measured = measure(Luma { samples: &samples, width: *width, height: *height, stride: *width });
    let grayscale = pixels.as_chunks::<3>().0.iter().all(|rgb| {
        let [r, g, b] = *rgb;
        r.max(g).max(b) - r.min(g).min(b) < GREY
    });
    let chroma = Chroma { grayscale, means: rgb_quarters(rgb) };
    facts(measured, color_hash(rgb), (*width, *height), Orientation::UPRIGHT, chroma)
}

/// Of size and colors, even and never 0.
fn color_hash(rgb: &Rgb) -> u64 {
    let mut hash = XxHash3_64::new();
    hash.write(&[rgb.width.to_le_bytes(), rgb.height.to_le_bytes()].concat());
    hash.write(&rgb.pixels);
    (hash.finish() & !1).max(2)
}

/// The hash by which the pixels in a file are known where they are compared with those of another format.
pub(crate) fn by_colors(image: &Loaded, limits: &Limits) -> Result<u64, ImageError> {
    let _share = share(&image.bytes, &image.header);
    Ok(color_hash(&decode(&image.bytes, &image.header, limits, Reading::Corrected)?.rgb))
}

struct Chroma {
    grayscale: bool,
    /// Of the quarters as they are stored.
    means: [[u8; 2]; 4],
}

fn facts(
    measured: Measured,
    pixels: u64,
    (width, height): (usize, usize),
    orientation: Orientation,
    chroma: Chroma,
) -> Measure {
    let Measured { brightness, entropy, edge_width, structure, thumbnail } = measured;
    let upright = Thumbnail { pixels: orient(thumbnail.pixels, 32, 32, 1, orientation) };
    let (width, height) = orientation.size(width as u32, height as u32);
    let quarters = orient(vec![0, 1, 2, 3], 2, 2, 1, orientation);
    let facts = ImageFacts {
        pixels,
        phash: perceptual_hash(&upright),
        width,
        height,
        brightness,
        grayscale: chroma.grayscale,
        entropy,
        edge_width,
        structure,
        chroma: std::array::from_fn(|at| chroma.means[usize::from(quarters[at])]),
    };
    Measure { facts, thumbnail: upright }
}

fn is_gray(row: &[u8]) -> bool {
    // Without an early end the loop over a row is vectorised.
    row.iter().fold(0, |most: u8, value| most.max(value.abs_diff(128))) < GREY
}

/// Of the planes, the colors they stand for and the way they are turned: the same for files that differ in their
/// metadata, their tables of codes or the order of their scans.
fn pixel_hash(planes: &Planes, orientation: Orientation) -> u64 {
    let mut hash = XxHash3_64::new();
    hash.write(&[planes.color as u8, orientation.exif(), planes.planes.len() as u8]);
    for plane in &planes.planes {
        hash.write(&[plane.width.to_le_bytes(), plane.height.to_le_bytes()].concat());
        plane.rows().for_each(|row| hash.write(row));
    }
    hash.finish()
}

/// Rounded means of the four quarters of a plane; a side of one pixel belongs to both halves.
fn quarters<'p>(width: usize, height: usize, row: impl Fn(usize) -> &'p [u8]) -> [u8; 4] {
    let halves = |length: usize| [0..length.div_ceil(2), length / 2..length];
    let mut means = [0; 4];
    for (at, (rows, columns)) in halves(height)
        .into_iter()
        .flat_map(|rows| halves(width).map(|columns| (rows.clone(), columns)))
        .enumerate()
    {
        let sum: u64 = rows.clone().map(|y| sum(&row(y)[columns.clone()])).sum();
        let count = (rows.len() * columns.len()) as u64;
        means[at] = ((sum + count / 2) / count.max(1)) as u8;
    }
    means
}

fn sum(values: &[u8]) -> u64 {
    values
        .chunks(1 << 16)
        .map(|values| u64::from(values.iter().map(|value| u32::from(*value)).sum::<u32>()))
        .sum()
}

/// Chroma is linear in red, green and blue, so that of a quarter is that of its mean color.
fn rgb_quarters(rgb: &Rgb) -> [[u8; 2]; 4] {
    let halves = |length: usize| [0..length.div_ceil(2), length / 2..length];
    let mut means = [[128; 2]; 4];
    let mut at = 0;
    for rows in halves(rgb.height) {
        for columns in halves(rgb.width) {
            let mut sums = [0u64; 3];
            for y in rows.clone() {
                let row = &rgb.pixels[3 * y * rgb.width..][..3 * rgb.width];
                let pixels = row[3 * columns.start..3 * columns.end].as_chunks::<3>().0;
                let row = pixels.iter().fold([0u32; 3], |sums, rgb| {
                    [0, 1, 2].map(|channel| sums[channel] + u32::from(rgb[channel]))
                });
                sums = [0, 1, 2].map(|channel| sums[channel] + u64::from(row[channel]));
            }
            let count = (rows.len() * columns.len()).max(1) as f64;
            let [red, green, blue] = sums.map(|sum| sum as f64 / count);
            // JFIF 1.02, page 3.
            let clamp = |chroma: f64| chroma.round().clamp(0.0, 255.0) as u8;
            means[at] = [
                clamp(128.0 - 0.168_736 * red - 0.331_264 * green + 0.5 * blue),
                clamp(128.0 + 0.5 * red - 0.418_688 * green - 0.081_312 * blue),
            ];
            at += 1;
        }
    }
    means
}

/// Luma as JFIF defines it, in integers.
fn luma_of(pixels: &[u8]) -> Vec<u8> {
    let luma = |rgb: &[u8; 3]| {
        let [red, green, blue] = rgb.map(u32::from);
        ((19_595 * red + 38_470 * green + 7_471 * blue + 32_768) >> 16) as u8
    };
    pixels.as_chunks::<3>().0.iter().map(luma).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::encode_png;
    use crate::image::jpeg::{Subsampling, encode_rgb};

    fn scene(width: usize, height: usize) -> Rgb {
        let pixel = |at: usize| {
            let (x, y) = (at % width * 255 / width, at / width * 255 / height);
            [x as u8, (if (x / 40 + y / 60) % 3 == 0 { 220 } else { 60 }) as u8, y as u8]
        };
        Rgb { width, height, pixels: (0..width * height).flat_map(pixel).collect() }
    }

    fn measured(bytes: &[u8]) -> ImageFacts {
        let limits = Limits::default();
        let image = Loaded::new(bytes.to_vec(), &limits).unwrap();
        measure_image(&image, &limits).unwrap().facts
    }

    fn jpeg(rgb: &Rgb, quality: u8) -> Vec<u8> {
        let mut out = Vec::new();
        encode_rgb(&rgb.pixels, (rgb.width, rgb.height), quality, Subsampling::Quarter, &mut out).unwrap();
        out
    }

    #[test]
    fn a_jpeg_measures_like_the_image_it_was_made_of() {
        let scene = scene(300, 200);
        let (png, jpeg) = (measured(&encode_png(&scene)), measured(&jpeg(&scene, 90)));
        assert_eq!((png.width, png.height, png.grayscale), (300, 200, false));
        assert!((png.phash ^ jpeg.phash).count_ones() <= 2);
        assert!(png.entropy.abs_diff(jpeg.entropy) < 60 && png.edge_width.abs_diff(jpeg.edge_width) < 60);
        for (png, jpeg) in png.chroma.as_flattened().iter().zip(jpeg.chroma.as_flattened()) {
            assert!(png.abs_diff(*jpeg) <= 2);
        }
        assert_ne!(png.pixels, jpeg.pixels);
    }

    #[test]
    fn a_turned_jpeg_is_measured_as_it_is_seen() {
        let scene = scene(304, 208);
        let limits = crate::image::jpeg::Limits::default();
        let stored = crate::image::jpeg::decode(&jpeg(&scene, 95), &limits).unwrap();
        for value in 1..=8 {
            let orientation = Orientation::from_exif(value);
            let pixels = orient(stored.to_rgb(), 304, 208, 3, orientation);
            let (width, height) = orientation.size(304, 208);
            let upright = rgb(&Rgb { width: width as usize, height: height as usize, pixels }).facts;
            let turned = planes(&stored, orientation).facts;
            assert_eq!((turned.width, turned.height), (upright.width, upright.height));
            assert!((turned.phash ^ upright.phash).count_ones() <= 2, "{value}");
            for (one, other) in turned.chroma.as_flattened().iter().zip(upright.chroma.as_flattened()) {
                assert!(one.abs_diff(*other) <= 2, "{value}");
            }
        }
    }

    #[test]
    fn gray_is_gray_in_every_format_and_one_pixel_is_a_image() {
        let gray = Rgb { width: 1, height: 1, pixels: vec![9; 3] };
        for facts in [measured(&encode_png(&gray)), measured(&jpeg(&gray, 50))] {
            assert!(facts.grayscale && facts.is_measured());
            assert_eq!((facts.phash, facts.chroma), (0, [[128; 2]; 4]));
        }
    }
}
