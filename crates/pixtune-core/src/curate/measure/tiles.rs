//! Sharpness and structure, tile by tile.
//!
//! A tile's edge width is its range of luma divided by its steepest step from one pixel to the next: an edge that rises
//! by 100 and never by more than 20 a pixel is five pixels wide. Unlike the variance of a Laplacian this does not depend
//! on contrast, and it estimates the blur in pixels.

use super::plane::Luma;

/// Side of a tile in pixels.
const TILE: usize = 16;

/// Range of luma from which a tile has something to see in it: above the noise of a camera, below faint pencil.
const SOMETHING: u8 = 16;

/// Range of luma from which a tile's steepest step is that of an edge and not of noise.
const EDGE: u8 = 40;

/// The sharpest tenth of the tiles with edges decides: a portrait before a soft background is sharp.
const SHARPEST: usize = 10;

pub(super) struct Tiles {
    /// Hundredths of a pixel; 0 without edges.
    pub(super) edge_width: u16,
    /// Per mille.
    pub(super) structure: u16,
}

/// The lowest, the highest and the steepest of a column of a tile.
struct Columns {
    lowest: Vec<u8>,
    highest: Vec<u8>,
    steepest: Vec<u8>,
}

pub(super) fn measure(plane: Luma<'_>) -> Tiles {
    let width = plane.width;
    let mut columns = Columns { lowest: vec![0; width], highest: vec![0; width], steepest: vec![0; width] };
    let (mut tiles, mut with_something, mut widths) = (0, 0, Vec::new());
    for top in (0..plane.height).step_by(TILE) {
        columns.look(plane, top..(top + TILE).min(plane.height));
        for left in (0..width).step_by(TILE) {
            let (range, step) = columns.tile(left..(left + TILE).min(width));
            tiles += 1;
            // In enlarged pixel art the edges are between tiles, which only the step to the next tile shows.
            with_something += usize::from(range.max(step) >= SOMETHING);
            if range >= EDGE {
                widths.push(u16::from(range) * 100 / u16::from(step.max(1)));
            }
        }
    }
    let edge_width = match widths.len() {
        0 => 0,
        count => *widths.select_nth_unstable(count / SHARPEST).1,
    };
    Tiles { edge_width, structure: (with_something * 1000 / tiles.max(1)) as u16 }
}

impl Columns {
    fn look(&mut self, plane: Luma<'_>, rows: std::ops::Range<usize>) {
        self.lowest.fill(u8::MAX);
        self.highest.fill(0);
        self.steepest.fill(0);
        for y in rows {
            let row = plane.row(y);
            self.lowest.iter_mut().zip(row).for_each(|(lowest, value)| *lowest = (*lowest).min(*value));
            self.highest.iter_mut().zip(row).for_each(|(highest, value)| *highest = (*highest).max(*value));
            steepen(&mut self.steepest, row, &row[1..]);
            if y + 1 < plane.height {
                steepen(&mut self.steepest, row, plane.row(y + 1));
            }
        }
    }

    fn tile(&self, columns: std::ops::Range<usize>) -> (u8, u8) {
        let highest = self.highest[columns.clone()].iter().max().copied().unwrap_or(0);
        let lowest = self.lowest[columns.clone()].iter().min().copied().unwrap_or(0);
        let steepest = self.steepest[columns].iter().max().copied().unwrap_or(0);
        (highest.saturating_sub(lowest), steepest)
    }
}

fn steepen(steepest: &mut [u8], one: &[u8], next: &[u8]) {
    let pairs = one.iter().zip(next);
    steepest.iter_mut().zip(pairs).for_each(|(most, (one, next))| *most = (*most).max(one.abs_diff(*next)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge_width(rise: usize) -> u16 {
        let value = |x: usize| (20 + 200 * (x % 48).saturating_sub(16).min(rise) / rise) as u8;
        let samples: Vec<u8> = (0..480 * 64).map(|at| value(at % 480)).collect();
        measure(Luma { samples: &samples, width: 480, height: 64, stride: 480 }).edge_width
    }

    #[test]
    fn edges_are_as_wide_as_they_rise() {
        assert_eq!(edge_width(1), 100);
        assert!((180..=220).contains(&edge_width(2)), "{}", edge_width(2));
        assert!((700..=850).contains(&edge_width(8)), "{}", edge_width(8));
    }

    #[test]
    fn edges_between_tiles_are_seen() {
        let value = |at: usize| if (at % 64 / 16 + at / 64 / 16).is_multiple_of(2) { 10 } else { 240 };
        let samples: Vec<u8> = (0..64 * 64).map(value).collect();
        let tiles = measure(Luma { samples: &samples, width: 64, height: 64, stride: 64 });
        assert_eq!((tiles.edge_width, tiles.structure), (0, 937));
    }

    #[test]
    fn a_image_smaller_than_a_tile_is_one_tile() {
        let samples = [0, 255];
        let tiles = measure(Luma { samples: &samples, width: 2, height: 1, stride: 2 });
        assert_eq!((tiles.edge_width, tiles.structure), (100, 1000));
    }
}
