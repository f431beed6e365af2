//! EXIF orientation: the rotation and mirroring that auto-orient a stored image.

/// One of the eight EXIF orientations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Orientation(u8);

impl Orientation {
    /// Stored as it is seen.
    pub const UPRIGHT: Orientation = Orientation(1);

    /// From the tag's value; values other than 1 to 8 mean the normal orientation.
    pub fn from_exif(value: u32) -> Self {
        match u8::try_from(value) {
            Ok(value @ 1..=8) => Orientation(value),
            _ => Orientation::UPRIGHT,
        }
    }

    /// The EXIF value, 1 to 8.
    pub fn exif(self) -> u8 {
        self.0
    }

    /// Nothing to turn.
    pub fn is_normal(self) -> bool {
        self == Orientation::UPRIGHT
    }

    /// A quarter turn: width and height change places.
    pub fn swaps_sides(self) -> bool {
        self.0 >= 5
    }

    /// The size of the auto-oriented image.
    pub fn size(self, width: u32, height: u32) -> (u32, u32) {
        if self.swaps_sides() { (height, width) } else { (width, height) }
    }

    /// Whether the stored image is read from its right edge, for the rows or columns of the auto-oriented image.
    fn starts_right(self) -> bool {
        matches!(self.0, 2 | 3 | 7 | 8)
    }

    /// Whether the stored image is read from its bottom edge.
    fn starts_bottom(self) -> bool {
        matches!(self.0, 3 | 4 | 6 | 7)
    }
}

/// Auto-orients interleaved pixels or a single plane. `pixels` holds `width * height * channels` bytes.
pub fn orient(
    pixels: Vec<u8>,
    width: usize,
    height: usize,
    channels: usize,
    orientation: Orientation,
) -> Vec<u8> {
    if orientation.is_normal() {
        return pixels;
    }
    match channels {
        1 => turn::<1>(&pixels, width, height, orientation),
        3 => turn::<3>(&pixels, width, height, orientation),
        _ => turn::<4>(&pixels, width, height, orientation),
    }
}

/// Source rows read together: a quarter turn reads down columns, and a cache line should serve more than one.
const BLOCK: usize = 32;

fn turn<const N: usize>(pixels: &[u8], width: usize, height: usize, orientation: Orientation) -> Vec<u8> {
    let (source, _) = pixels.as_chunks::<N>();
    let mut upright = vec![[0; N]; source.len()];
    let (out_width, out_height) = if orientation.swaps_sides() { (height, width) } else { (width, height) };
    let column = |x: usize| if orientation.starts_right() { width - 1 - x } else { x };
    let row = |y: usize| if orientation.starts_bottom() { height - 1 - y } else { y };
    if orientation.swaps_sides() {
        for left in (0..out_width).step_by(BLOCK) {
            for y in 0..out_height {
                let right = (left + BLOCK).min(out_width);
                for x in left..right {
                    upright[y * out_width + x] = source[row(x) * width + column(y)];
                }
            }
        }
    } else {
        for y in 0..out_height {
            let from = &source[row(y) * width..][..width];
            for (x, pixel) in upright[y * out_width..][..out_width].iter_mut().enumerate() {
                *pixel = from[column(x)];
            }
        }
    }
    upright.into_flattened()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The image is `1 2 3 / 4 5 6`; the results were made with Pillow's `ImageOps.exif_transpose`.
    #[test]
    fn turns_as_exif_says() {
        let expected: [&[u8]; 8] = [
            &[1, 2, 3, 4, 5, 6],
            &[3, 2, 1, 6, 5, 4],
            &[6, 5, 4, 3, 2, 1],
            &[4, 5, 6, 1, 2, 3],
            &[1, 4, 2, 5, 3, 6],
            &[4, 1, 5, 2, 6, 3],
            &[6, 3, 5, 2, 4, 1],
            &[3, 6, 2, 5, 1, 4],
        ];
        for (value, expected) in (1..).zip(expected) {
            let orientation = Orientation::from_exif(value);
            assert_eq!(orient(vec![1, 2, 3, 4, 5, 6], 3, 2, 1, orientation), expected, "orientation {value}");
            let rgb: Vec<u8> = [1, 2, 3, 4, 5, 6].iter().flat_map(|&v| [v, v + 10, v + 20]).collect();
            let turned: Vec<u8> = expected.iter().flat_map(|&v| [v, v + 10, v + 20]).collect();
            assert_eq!(orient(rgb, 3, 2, 3, orientation), turned, "orientation {value}, three channels");
        }
    }

    #[test]
    fn values_outside_the_standard_are_upright() {
        for value in [0, 9, 65_535, 100_000] {
            assert!(Orientation::from_exif(value).is_normal());
        }
    }
}
