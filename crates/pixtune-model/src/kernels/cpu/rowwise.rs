//! Operations on single rows: norms, rotary positions, patches.

use super::simd::{LANES, sum_lanes};
use crate::kernels::{PatchGrid, Rotation, Write};
use crate::simd::vectorized;

vectorized! {
    /// Mean of squares.
    pub(super) fn mean_square(x: &[f32]) -> f32 {
        let (chunks, rest) = x.as_chunks::<LANES>();
        let mut sums = [0.0f32; LANES];
        for chunk in chunks {
            for lane in 0..LANES {
                sums[lane] += chunk[lane] * chunk[lane];
            }
        }
        (sum_lanes(sums) + rest.iter().map(|x| x * x).sum::<f32>()) / x.len() as f32
    }
}

vectorized! {
    pub(super) fn rms_norm(epsilon: f32, x: &[f32], weight: &[f32], out: &mut [f32]) {
        let inverse = 1.0 / (mean_square(x) + epsilon).sqrt();
        for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
            *out = weight * (x * inverse);
        }
    }
}

vectorized! {
    /// With `r = 1 / sqrt(mean(x^2) + e)` and `g = dy * w`: `dx = r g - x r^3 mean(g x)`.
    fn rms_norm_gradient(epsilon: f32, x: &[f32], weight: &[f32], dy: &[f32], dx: &mut [f32]) {
        let inverse = 1.0 / (mean_square(x) + epsilon).sqrt();
        let mut sums = [0.0f32; LANES];
        let (x_chunks, x_rest) = x.as_chunks::<LANES>();
        let (w_chunks, w_rest) = weight.as_chunks::<LANES>();
        let (g_chunks, g_rest) = dy.as_chunks::<LANES>();
        for ((x, w), g) in x_chunks.iter().zip(w_chunks).zip(g_chunks) {
            for lane in 0..LANES {
                sums[lane] += x[lane] * (w[lane] * g[lane]);
            }
        }
        let rest: f32 = x_rest.iter().zip(w_rest).zip(g_rest).map(|((x, w), g)| x * (w * g)).sum();
        let pull = (sum_lanes(sums) + rest) / x.len() as f32 * inverse * inverse * inverse;
        for (((dx, x), weight), dy) in dx.iter_mut().zip(x).zip(weight).zip(dy) {
            *dx += weight * dy * inverse - x * pull;
        }
    }
}

pub(super) fn rms_norm_backward(
    epsilon: f32,
    (x, weight, dy): (&[f32], &[f32], &[f32]),
    dx: &mut [f32],
    write: Write,
) {
    if write == Write::Set {
        dx.fill(0.0);
    }
    rms_norm_gradient(epsilon, x, weight, dy, dx);
}

vectorized! {
    /// One row of all heads.
    pub(super) fn rope(cosines: &[f32], sines: &[f32], x: &mut [f32], rotation: Rotation) {
        let half = cosines.len();
        let sign = if rotation == Rotation::Forward { 1.0 } else { -1.0 };
        for head in x.chunks_exact_mut(2 * half) {
            let (low, high) = head.split_at_mut(half);
            for (((low, high), cosine), sine) in low.iter_mut().zip(high).zip(cosines).zip(sines) {
                let sine = sign * sine;
                (*low, *high) = (*low * cosine - *high * sine, *high * cosine + *low * sine);
            }
        }
    }
}

/// One patch: `[channels, side, side]`, the order of the patch convolution's weight.
pub(super) fn patch(grid: &PatchGrid, index: usize, out: &mut [f32]) {
    let (row, column) = (index / grid.columns, index % grid.columns);
    let (width, side) = (grid.columns * grid.side, grid.side);
    let area = width * grid.rows * side;
    for (line, out) in out.chunks_exact_mut(side).enumerate() {
        let (channel, y) = (line / side, line % side);
        let start = channel * area + (row * side + y) * width + column * side;
        out.copy_from_slice(&grid.pixels[start..start + side]);
    }
}
