//! Planes of luma and their averages.

/// One byte a pixel, with room for padding at the end of each row.
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

/// A plane made smaller, or the plane itself where nothing had to be done.
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
    let mut sums = vec![0u32; width * wide];
    let area = (wide * high) as u32;
    for y in 0..height {
        sum_rows(luma, y * high..(y + 1) * high, &mut sums);
        // The usual factors get code of their own: a sum over a known number of neighbours is several times as fast.
        match wide {
            2 => means::<2>(&sums, area, &mut samples),
            3 => means::<3>(&sums, area, &mut samples),
            4 => means::<4>(&sums, area, &mut samples),
            _ => samples.extend(sums.chunks_exact(wide).map(|square| mean(square.iter().sum(), area))),
        }
    }
    Reduced::Smaller { samples, width, height }
}

fn means<const WIDE: usize>(sums: &[u32], area: u32, out: &mut Vec<u8>) {
    out.extend(sums.as_chunks::<WIDE>().0.iter().map(|square| mean(square.iter().sum(), area)));
}

fn mean(sum: u32, area: u32) -> u8 {
    ((sum + area / 2) / area) as u8
}

fn sum_rows(luma: Luma<'_>, rows: std::ops::Range<usize>, sums: &mut [u32]) {
    sums.fill(0);
    for y in rows {
        sums.iter_mut().zip(luma.row(y)).for_each(|(sum, value)| *sum += u32::from(*value));
    }
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
    fn a_line_stays_a_line() {
        let samples = vec![9; 3000];
        let luma = Luma { samples: &samples, width: 3000, height: 1, stride: 3000 };
        let reduced = reduce(luma, 3);
        assert_eq!((reduced.as_luma().width, reduced.as_luma().height), (1000, 1));
    }
}
