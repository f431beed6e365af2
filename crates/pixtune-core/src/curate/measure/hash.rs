//! The perceptual hash: signs of the 64 lowest frequencies of a small image.

use super::plane::{Luma, reduce};

/// Side of a thumbnail.
pub(super) const SIDE: usize = 32;

/// An image in 32 x 32 averages of luma, row by row, whatever its shape was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thumbnail {
    /// `32 * 32` averages.
    pub pixels: Vec<u8>,
}

impl Thumbnail {
    /// Averages a plane; each cell covers exactly its share of the pixels.
    pub(super) fn of(plane: Luma<'_>) -> Thumbnail {
        // What is left out at the borders by the coarse step is below a hundredth of a side.
        let coarse = reduce(plane, plane.width.min(plane.height) / (4 * SIDE));
        let plane = coarse.as_luma();
        let columns = shares(plane.width);
        let mut sums = vec![[0u32; SIDE]; plane.height];
        for (y, sums) in sums.iter_mut().enumerate() {
            let row = plane.row(y);
            for (cell, parts) in sums.iter_mut().zip(&columns) {
                *cell = parts.iter().map(|(x, weight)| u32::from(row[*x]) * weight).sum();
            }
        }
        // In units of a 32nd of a pixel a cell is `width` wide and `height` high.
        let area = (plane.width * plane.height) as u64;
        let mut pixels = Vec::with_capacity(SIDE * SIDE);
        for parts in shares(plane.height) {
            pixels.extend((0..SIDE).map(|x| {
                let sum: u64 =
                    parts.iter().map(|(y, weight)| u64::from(sums[*y][x]) * u64::from(*weight)).sum();
                ((sum + area / 2) / area) as u8
            }));
        }
        Thumbnail { pixels }
    }
}

/// For each of 32 cells the pixels it covers and how much of each, in 32nds.
fn shares(length: usize) -> Vec<Vec<(usize, u32)>> {
    let cell = |cell: usize| {
        let (from, to) = (cell * length, (cell + 1) * length);
        let share = |pixel: usize| {
            let (start, end) = (pixel * SIDE, (pixel + 1) * SIDE);
            (pixel, (to.min(end) - from.max(start)) as u32)
        };
        (from / SIDE..to.div_ceil(SIDE)).map(share).collect()
    };
    (0..SIDE).map(cell).collect()
}

/// `cos(k * pi / 64)` in units of 2^-14, for k from 0 to 64.
const COSINES: [i64; 65] = [
    16384, 16364, 16305, 16207, 16069, 15893, 15679, 15426, 15137, 14811, 14449, 14053, 13623, 13160, 12665,
    12140, 11585, 11003, 10394, 9760, 9102, 8423, 7723, 7005, 6270, 5520, 4756, 3981, 3196, 2404, 1606, 804,
    0, -804, -1606, -2404, -3196, -3981, -4756, -5520, -6270, -7005, -7723, -8423, -9102, -9760, -10394,
    -11003, -11585, -12140, -12665, -13160, -13623, -14053, -14449, -14811, -15137, -15426, -15679, -15893,
    -16069, -16207, -16305, -16364, -16384,
];

/// `cos(k * pi / 64)` for any k.
fn cosine(k: usize) -> i64 {
    let k = k % 128;
    COSINES[if k > 64 { 128 - k } else { k }]
}

/// How much a row or column of the thumbnail counts, in 256ths: the root of a Hann window. What stands at the borders
/// counts least, so that losing some of it changes the hash least.
const WINDOW: [i64; 32] = [
    24, 48, 72, 95, 117, 138, 158, 177, 193, 209, 222, 233, 242, 249, 253, 256, 256, 253, 249, 242, 233, 222,
    209, 193, 177, 158, 138, 117, 95, 72, 48, 24,
];

/// Frequencies below this one are computed along each side.
const FREQUENCIES: usize = 11;

/// A thumbnail whose variance is smaller, in squared steps of luma, has no hash: what is left of it is a scanner's shading.
const FLAT: u64 = 2;

/// A wave that starts bright by less counts as none, in 64ths of a step: in a symmetric image half of them are nothing,
/// and re-encoding moves them by a few 64ths.
const NOISE: i64 = 8;

/// The lowest frequencies of a thumbnail under its window, `[down][across]`, in 64ths of a luma step of amplitude.
fn frequencies(thumbnail: &Thumbnail) -> [[i64; FREQUENCIES]; FREQUENCIES] {
    let rows = || thumbnail.pixels.chunks_exact(SIDE).zip(WINDOW);
    let weighted = |(row, down): (&[u8], i64)| -> i64 {
        row.iter().zip(WINDOW).map(|(value, across)| i64::from(*value) * across * down).sum()
    };
    let weights = WINDOW.iter().sum::<i64>().pow(2);
    let mean = rows().map(weighted).sum::<i64>() * 64 / weights;
    let mut across = [[0i64; FREQUENCIES]; SIDE];
    for ((row, down), out) in rows().zip(&mut across) {
        let row: [i64; SIDE] = std::array::from_fn(|x| (i64::from(row[x]) * 64 - mean) * WINDOW[x] * down);
        for (frequency, out) in out.iter_mut().enumerate() {
            *out =
                row.iter().enumerate().map(|(x, value)| value * cosine((2 * x + 1) * frequency)).sum::<i64>()
                    >> 16;
        }
    }
    let mut both = [[0; FREQUENCIES]; FREQUENCIES];
    for (down, row) in both.iter_mut().enumerate() {
        for (frequency, out) in row.iter_mut().enumerate() {
            let wave = |y: usize| cosine((2 * y + 1) * down);
            let sum: i64 = across.iter().enumerate().map(|(y, row)| row[frequency] * wave(y)).sum();
            // A wave of one step sums to 16 * 16 without the window, which halves it each way at most;
            // the cosines count 2^14 each way.
            *out = sum >> (4 + 4 + 14 + 14);
        }
    }
    both
}

/// The perceptual hash of an auto-oriented thumbnail: a bit for each of the 64 lowest frequencies, set where the wave starts
/// bright. 0 for an image too flat to have one.
///
/// Signs do not change with brightness or contrast, and low frequencies hardly with scaling, re-encoding or the loss of
/// a narrow border. The hash of the mirrored image differs in every odd frequency across.
pub fn perceptual_hash(thumbnail: &Thumbnail) -> u64 {
    if is_flat(&thumbnail.pixels) {
        return 0;
    }
    let frequencies = frequencies(thumbnail);
    let bit =
        |(at, (down, across)): (usize, &(usize, usize))| u64::from(frequencies[*down][*across] > NOISE) << at;
    let hash = lowest().iter().enumerate().map(bit).sum::<u64>();
    hash.max(1)
}

fn is_flat(pixels: &[u8]) -> bool {
    let count = pixels.len() as u64;
    let sum: u64 = pixels.iter().map(|value| u64::from(*value)).sum();
    let squares: u64 = pixels.iter().map(|value| u64::from(*value).pow(2)).sum();
    count * squares - sum * sum < FLAT * count * count
}

/// The 64 frequencies, from the lowest up; the constant one is not among them.
fn lowest() -> Vec<(usize, usize)> {
    let mut all: Vec<(usize, usize)> =
        (0..FREQUENCIES).flat_map(|down| (0..FREQUENCIES).map(move |across| (down, across))).collect();
    all.sort_by_key(|(down, across)| (down * down + across * across, *down));
    all[1..65].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thumbnail(width: usize, height: usize, value: impl Fn(f64, f64) -> f64) -> Thumbnail {
        let at = |index: usize| {
            let (x, y) = (index % width, index / width);
            value((x as f64 + 0.5) / width as f64, (y as f64 + 0.5) / height as f64)
        };
        let samples: Vec<u8> = (0..width * height).map(|index| at(index).clamp(0.0, 255.0) as u8).collect();
        Thumbnail::of(Luma { samples: &samples, width, height, stride: width })
    }

    fn scene(x: f64, y: f64) -> f64 {
        let blob = |cx: f64, cy: f64, r: f64| (-((x - cx).powi(2) + (y - cy).powi(2)) / (r * r)).exp();
        60.0 + 90.0 * blob(0.3, 0.2, 0.2) + 70.0 * blob(0.8, 0.7, 0.15) - 50.0 * blob(0.6, 0.1, 0.1)
            + 40.0 * x
    }

    #[test]
    fn a_cell_is_the_mean_of_what_it_covers() {
        let one = thumbnail(1, 1, |_, _| 200.0);
        assert_eq!(one.pixels, vec![200; 1024]);
        let steps = thumbnail(32, 64, |x, _| (x * 32.0).floor() * 8.0);
        assert!(steps.pixels.iter().enumerate().all(|(at, value)| usize::from(*value) == at % 32 * 8));
        let between = thumbnail(48, 48, |x, _| if x < 0.5 { 0.0 } else { 240.0 });
        assert_eq!(between.pixels[15..17], [0, 240]);
    }

    #[test]
    fn size_brightness_and_narrow_borders_hardly_matter_and_mirrors_do() {
        let hash = |width, height, value: &dyn Fn(f64, f64) -> f64| {
            perceptual_hash(&thumbnail(width, height, value))
        };
        let original = hash(640, 480, &scene);
        let apart = |other: u64| (original ^ other).count_ones();
        assert!(apart(hash(511, 389, &scene)) <= 1);
        assert!(apart(hash(640, 480, &|x, y| 1.2 * scene(x, y) + 10.0)) <= 2);
        assert!(apart(hash(640, 480, &|x, y| scene(0.02 + 0.97 * x, 0.01 + 0.97 * y))) <= 10);
        assert!(apart(hash(640, 480, &|x, y| scene(1.0 - x, y))) >= 16);
    }
}
