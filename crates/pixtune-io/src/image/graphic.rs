//! Photo or graphic: which of JPEG and PNG suits an image.
use super::encode_png::palette_of;
use super::raster::Rgb;

/// Share of pixels equal to their left neighbor from which an image counts as a graphic. Measured on the 135
/// images of the real pack at most 1024 pixels large: above it PNG is at most 3.8 times, in the median 1.1
/// times as large as JPEG at quality 85, below it at least 2.4 times (photos 4 to 8 times), and every photo
/// lies below 0.5.
const GRAPHIC: f64 = 0.8;

/// So few colors that PNG stores them in half a byte, however they are scattered.
const FEW_COLORS: usize = 16;

/// Every so many rows are looked at.
const STEP: usize = 4;

/// Charts, screenshots, text and drawings: flat areas with sharp edges, which PNG stores well and JPEG smears.
pub fn is_graphic(rgb: &Rgb) -> bool {
    flat_share(rgb) >= GRAPHIC || palette_of(rgb, FEW_COLORS).is_some()
}

fn flat_share(rgb: &Rgb) -> f64 {
    let rows = || rgb.pixels.chunks_exact((3 * rgb.width).max(1)).step_by(STEP);
    let pairs = rows().count() * (rgb.width - 1);
    let flat: usize = rows().map(flat_pixels).sum();
    flat as f64 / pairs.max(1) as f64
}

fn flat_pixels(row: &[u8]) -> usize {
    let pixels = row.as_chunks::<3>().0;
    pixels.iter().zip(&pixels[1..]).map(|(left, right)| usize::from(left == right)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(color: impl Fn(usize, usize) -> [u8; 3]) -> Rgb {
        let (width, height) = (64, 64);
        let pixels = (0..width * height).flat_map(|at| color(at % width, at / width)).collect();
        Rgb { width, height, pixels }
    }

    #[test]
    fn flat_areas_and_few_colors_are_graphic() {
        assert!(is_graphic(&image(|x, y| [(x / 16 * 50) as u8, (y / 16 * 50) as u8, 0])));
        assert!(is_graphic(&image(|x, y| [((x ^ y) & 1) as u8 * 255; 3])));
        assert!(!is_graphic(&image(|x, y| [(x * 4) as u8, (y * 4) as u8, (x + y) as u8])));
    }

    #[test]
    fn one_pixel_is_a_graphic() {
        assert!(is_graphic(&Rgb { width: 1, height: 1, pixels: vec![1, 2, 3] }));
    }
}
