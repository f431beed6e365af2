//! Planes of luma and their averages.

use std::ops::Range;

/// One byte per pixel, with optional padding at the end of each row.
#[derive(Debug, Clone, Copy)]
pub struct Luma<'a> {
    /// At least `stride * (height - 1) + width` bytes.
    pub samples: &'a [u8],
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Bytes from one row to the next.
    pub stride: usize,
}

impl<'a> Luma<'a> {
    /// The pixels of a row.
    pub fn row(&self, y: usize) -> &'a [u8] {
        &self.samples[y * self.stride..][..self.width]
    }
}

/// A downscaled plane, or the plane itself if it was small enough.
#[derive(Debug)]
pub enum Reduced<'a> {
    /// The plane as it was.
    Same(Luma<'a>),
    /// Its averages.
    Smaller {
        /// Rows without padding.
        samples: Vec<u8>,
        /// Pixels in a row.
        width: usize,
        /// Rows.
        height: usize,
    },
}

impl Reduced<'_> {
    /// The pixels.
    pub fn as_luma(&self) -> Luma<'_> {
        match self {
            Reduced::Same(luma) => *luma,
            Reduced::Smaller { samples, width, height } => {
                Luma { samples, width: *width, height: *height, stride: *width }
            }
        }
    }
}

/// Averages squares of `factor` pixels. What does not fill a square at the right and lower border is left out, unless
/// a side is smaller than a square: then all of it is one.
pub fn reduce(luma: Luma<'_>, factor: usize) -> Reduced<'_> {
    if factor <= 1 {
        return Reduced::Same(luma);
    }
    let (wide, high) = (factor.min(luma.width), factor.min(luma.height));
    let (width, height) = (luma.width / wide, luma.height / high);
    let mut samples = Vec::with_capacity(width * height);
    let mut sums = vec![0u16; width * wide];
    for y in 0..height {
        let rows = y * high..(y + 1) * high;
        // The usual factors get code of their own: with a divisor that is known a loop becomes vectors.
        match (wide, high) {
            (2, 2) => halve(luma.row(rows.start), luma.row(rows.start + 1), &mut samples),
            // The sum of so many values fits into 16 bits.
            (_, ..=257) => {
                sum_rows(luma, rows, &mut sums);
                match (wide, high) {
                    (3, 3) => means::<3>(&sums, &mut samples),
                    (4, 4) => means::<4>(&sums, &mut samples),
                    _ => samples.extend(sums.chunks_exact(wide).map(|square| mean(square, wide * high))),
                }
            }
            _ => {
                samples.extend((0..width).map(|x| square_mean(luma, rows.clone(), x * wide..(x + 1) * wide)));
            }
        }
    }
    Reduced::Smaller { samples, width, height }
}

/// Means of two by two.
fn halve(one: &[u8], other: &[u8], out: &mut Vec<u8>) {
    let pairs = one.as_chunks::<2>().0.iter().zip(other.as_chunks::<2>().0);
    out.extend(pairs.map(|(one, other)| {
        let (one, other) = (u16::from_le_bytes(*one), u16::from_le_bytes(*other));
        (((one & 255) + (one >> 8) + (other & 255) + (other >> 8) + 2) >> 2) as u8
    }));
}

fn means<const SIDE: usize>(sums: &[u16], out: &mut Vec<u8>) {
    let area = (SIDE * SIDE) as u16;
    // Four by four times 255 is well within 16 bits.
    let mean = |square: &[u16; SIDE]| ((square.iter().sum::<u16>() + area / 2) / area) as u8;
    out.extend(sums.as_chunks::<SIDE>().0.iter().map(mean));
}

fn sum_rows(luma: Luma<'_>, rows: Range<usize>, sums: &mut [u16]) {
    sums.fill(0);
    for y in rows {
        sums.iter_mut().zip(luma.row(y)).for_each(|(sum, value)| *sum += u16::from(*value));
    }
}

fn mean(sums: &[u16], area: usize) -> u8 {
    let sum: u32 = sums.iter().map(|sum| u32::from(*sum)).sum();
    ((sum as usize + area / 2) / area) as u8
}

/// Of a square that is too high for sums of 16 bits.
fn square_mean(luma: Luma<'_>, rows: Range<usize>, columns: Range<usize>) -> u8 {
    let area = (rows.len() * columns.len()) as u64;
    let row_sum = |y: usize| luma.row(y)[columns.clone()].iter().map(|value| u64::from(*value)).sum::<u64>();
    let sum: u64 = rows.map(row_sum).sum();
    ((sum + area / 2) / area) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_become_their_rounded_mean() {
        let samples: Vec<u8> = (0..35).collect();
        let luma = Luma { samples: &samples, width: 6, height: 5, stride: 7 };
        let reduced = reduce(luma, 2);
        let smaller = reduced.as_luma();
        assert_eq!((smaller.width, smaller.height), (3, 2));
        assert_eq!(smaller.row(0), [4, 6, 8]);
        assert_eq!(smaller.row(1), [18, 20, 22]);
    }

    #[test]
    fn every_factor_gives_the_plain_mean() {
        let samples: Vec<u8> = (0..64 * 64).map(|at| (at * 31 % 251) as u8).collect();
        let luma = Luma { samples: &samples, width: 64, height: 64, stride: 64 };
        for factor in 2..9 {
            let reduced = reduce(luma, factor);
            let smaller = reduced.as_luma();
            for (y, x) in (0..smaller.height).flat_map(|y| (0..smaller.width).map(move |x| (y, x))) {
                let square = (0..factor * factor)
                    .map(|at| u32::from(luma.row(y * factor + at / factor)[x * factor + at % factor]));
                let area = (factor * factor) as u32;
                assert_eq!(u32::from(smaller.row(y)[x]), (square.sum::<u32>() + area / 2) / area);
            }
        }
    }

    #[test]
    fn a_high_square_is_summed_as_well() {
        let samples = vec![255; 300 * 600];
        let reduced = reduce(Luma { samples: &samples, width: 300, height: 600, stride: 300 }, 300);
        assert_eq!(reduced.as_luma().samples, [255, 255]);
    }

    #[test]
    fn a_line_stays_a_line() {
        let samples = vec![9; 3000];
        let luma = Luma { samples: &samples, width: 3000, height: 1, stride: 3000 };
        let reduced = reduce(luma, 3);
        assert_eq!((reduced.as_luma().width, reduced.as_luma().height), (1000, 1));
    }
}
