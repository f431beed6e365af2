//! Whether two thumbnails show the same image, up to brightness, contrast and narrow cut-off borders.
//!
//! A perceptual hash knows the coarse layout, and two forms with one layout are two images. So pairs that it
//! proposes are compared cell by cell, after the one has been laid over the other.

use super::hash::{SIDE, Thumbnail};

/// The share of one image's contrast that the other may leave unexplained. Copies at JPEG quality 30 leave 0.01, at a
/// quarter of the size 0.13 at most, with 3 % cut off every side 0.02 in the median and 0.29 at most; pages of one
/// template leave 0.36 and more. (Measured on 110 images from documentation, screenshots and charts among them.)
pub const UNEXPLAINED: f32 = 0.25;

/// Borders that may be cut off one side, as shares of it.
const CUTS: [f32; 4] = [0.0, 0.015, 0.03, 0.045];

type Cells = [[f32; SIDE]; SIDE];

/// Where the mirrored image leaves less than this share of what the image itself leaves unexplained, the other is
/// mirrored: a title page is nearly symmetric, and its mirror image is another page all the same.
const MIRRORED: f32 = 0.5;

/// Whether one is the other, re-encoded, scaled, brightened or cut a little, and not mirrored.
pub fn looks_same(one: &Thumbnail, other: &Thumbnail) -> bool {
    let (one, other) = (cells(one), cells(other));
    let direct = unexplained(&one, &other);
    if unexplained(&mirrored(&one), &other) < MIRRORED * direct {
        return false;
    }
    let (one_turned, other_turned) = (transposed(&one), transposed(&other));
    direct <= UNEXPLAINED
        || is_cut_from(&one, &one_turned, &other, &other_turned)
        || is_cut_from(&other, &other_turned, &one, &one_turned)
}

/// Whether the second is the first with borders cut off: columns are laid over each other first, then rows, then
/// columns once more.
fn is_cut_from(whole: &Cells, whole_turned: &Cells, part: &Cells, part_turned: &Cells) -> bool {
    let mut columns = best_cut(whole, part);
    for _ in 0..2 {
        // Turned, rows are columns.
        let cut = transposed(&cut_columns(whole, columns));
        let rows = best_cut(&cut, part_turned);
        if unexplained(&cut_columns(&cut, rows), part_turned) <= UNEXPLAINED {
            return true;
        }
        columns = best_cut(&transposed(&cut_columns(whole_turned, rows)), part);
    }
    false
}

/// The cuts left and right that bring the whole closest to the part.
fn best_cut(whole: &Cells, part: &Cells) -> (f32, f32) {
    let all = CUTS.iter().flat_map(|left| CUTS.iter().map(move |right| (*left, *right)));
    let mut best = ((0.0, 0.0), f32::INFINITY);
    for cut in all {
        let left = unexplained(&cut_columns(whole, cut), part);
        if left < best.1 {
            best = (cut, left);
        }
    }
    best.0
}

/// The image without its outer columns, stretched to its old width; each cell is the mean of what it covers.
fn cut_columns(cells: &Cells, (left, right): (f32, f32)) -> Cells {
    let width = 1.0 - left - right;
    let mut parts = [(0, 0.0, 0.0); SIDE];
    for (x, part) in parts.iter_mut().enumerate() {
        let from = left * SIDE as f32 + x as f32 * width;
        let first = (from as usize).min(SIDE - 1);
        // A cell is at most as wide as before, so it covers at most two.
        let in_first = (first as f32 + 1.0 - from).min(width);
        *part = (first, in_first / width, 1.0 - in_first / width);
    }
    std::array::from_fn(|y| {
        let row = &cells[y];
        std::array::from_fn(|x| {
            let (first, one, two) = parts[x];
            row[first] * one + row[(first + 1).min(SIDE - 1)] * two
        })
    })
}

/// The share of the second's variance that no brightness and contrast of the first explains; 1 for flat ones.
fn unexplained(one: &Cells, other: &Cells) -> f32 {
    let mean = |cells: &Cells| cells.as_flattened().iter().sum::<f32>() / (SIDE * SIDE) as f32;
    let (one_mean, other_mean) = (mean(one), mean(other));
    let (mut one_one, mut other_other, mut both) = (0.0, 0.0, 0.0);
    for (one, other) in one.as_flattened().iter().zip(other.as_flattened()) {
        let (one, other) = (one - one_mean, other - other_mean);
        one_one += one * one;
        other_other += other * other;
        both += one * other;
    }
    if both <= 0.0 || one_one <= 0.0 || other_other <= 0.0 {
        return 1.0;
    }
    1.0 - both * both / (one_one * other_other)
}

fn cells(thumbnail: &Thumbnail) -> Cells {
    let mut cells = [[0.0; SIDE]; SIDE];
    for (cell, value) in cells.as_flattened_mut().iter_mut().zip(&thumbnail.pixels) {
        *cell = f32::from(*value);
    }
    cells
}

fn mirrored(cells: &Cells) -> Cells {
    cells.map(|mut row| {
        row.reverse();
        row
    })
}

fn transposed(cells: &Cells) -> Cells {
    std::array::from_fn(|y| std::array::from_fn(|x| cells[x][y]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thumbnail(value: impl Fn(f64, f64) -> f64) -> Thumbnail {
        let fine = 16 * SIDE;
        let at = |index: usize| ((index % fine) as f64 / fine as f64, (index / fine) as f64 / fine as f64);
        let samples: Vec<u8> = (0..fine * fine).map(|index| value(at(index).0, at(index).1) as u8).collect();
        let luma = super::super::Luma { samples: &samples, width: fine, height: fine, stride: fine };
        Thumbnail::of(luma)
    }

    /// A page with lines of text; where there is a word depends on `text`.
    fn page(text: u64) -> impl Fn(f64, f64) -> f64 {
        move |x, y| {
            let (line, word) = ((y * 24.0) as u64, (x * 9.0) as u64);
            let ink = twox_hash::XxHash3_64::oneshot(&(line * 100 + word + text * 10_000).to_le_bytes()) % 3;
            let head = y < 0.15 && x < 0.4;
            if head {
                90.0
            } else if (y * 24.0).fract() < 0.5 {
                255.0 - 60.0 * ink as f64
            } else {
                250.0
            }
        }
    }

    #[test]
    fn brightness_and_borders_do_not_matter_and_what_is_written_does() {
        let one = thumbnail(page(1));
        assert!(looks_same(&one, &thumbnail(|x, y| 20.0 + 0.7 * page(1)(x, y))));
        assert!(looks_same(&one, &thumbnail(|x, y| page(1)(0.03 + 0.94 * x, 0.03 + 0.94 * y))));
        assert!(looks_same(&thumbnail(|x, y| page(1)(0.03 + 0.97 * x, 0.97 * y)), &one));
        assert!(!looks_same(&one, &thumbnail(page(2))));
        assert!(!looks_same(&one, &thumbnail(|x, y| page(1)(1.0 - x, y))));
        assert!(!looks_same(&one, &thumbnail(|x, y| 255.0 - page(1)(x, y))));
    }

    #[test]
    fn a_title_page_is_not_its_mirror_image() {
        // A centred block, and a small mark on the left.
        let title = |x: f64, y: f64| {
            let block = (0.3..0.7).contains(&x) && (0.2..0.4).contains(&y);
            let mark = (0.1..0.2).contains(&x) && (0.8..0.9).contains(&y);
            if block || mark { 30.0 } else { 240.0 }
        };
        let one = thumbnail(title);
        assert!(looks_same(&one, &thumbnail(|x, y| title(0.02 + 0.96 * x, 0.02 + 0.96 * y))));
        assert!(looks_same(&one, &thumbnail(|x, y| 0.8 * title(x, y))));
        assert!(!looks_same(&one, &thumbnail(|x, y| title(1.0 - x, y))));
    }

    #[test]
    fn flat_images_look_like_nothing() {
        let flat = thumbnail(|_, _| 200.0);
        assert!(!looks_same(&flat, &flat));
    }
}
