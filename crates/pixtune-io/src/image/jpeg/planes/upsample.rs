//! Component rows at the width of the image, with the filters of libjpeg's `jdsample.c`.
//!
//! Factors of two are interpolated with weights 3:1 ("fancy upsampling"), with a rounding bias that alternates from
//! sample to sample; all other factors repeat samples.

use super::Plane;

/// Makes rows of a plane as wide as the image.
pub(super) struct Upsampler<'a> {
    plane: &'a Plane,
    filter: Filter,
    /// Weighted sums of two rows, for [`Filter::Fancy2x2`].
    sums: Vec<u16>,
    wide: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filter {
    None,
    Fancy2x1,
    Fancy1x2,
    Fancy2x2,
    Repeat,
}

impl<'a> Upsampler<'a> {
    pub(super) fn new(plane: &'a Plane) -> Self {
        let filter = match plane.ratio {
            (1, 1) => Filter::None,
            (1, 2) => Filter::Fancy1x2,
            (2, 1) if plane.width > 2 => Filter::Fancy2x1,
            (2, 2) if plane.width > 2 => Filter::Fancy2x2,
            _ => Filter::Repeat,
        };
        let wide = plane.width * usize::from(plane.ratio.0);
        Self { plane, filter, sums: vec![0; plane.width], wide: vec![0; wide] }
    }

    /// Row `y` of the image, at least as wide as the image.
    #[inline(always)]
    pub(super) fn row(&mut self, y: usize) -> &[u8] {
        let source = y / usize::from(self.plane.ratio.1);
        let near = self.plane.row(source);
        let plane = self.plane;
        let far = || far_row(plane, y);
        match self.filter {
            Filter::None => return near,
            Filter::Fancy2x1 => double_2x1(near, &mut self.wide),
            Filter::Fancy1x2 => {
                let bias = 1 + (y as u16 & 1);
                for ((out, &near), &far) in self.wide.iter_mut().zip(near).zip(far()) {
                    *out = ((3 * u16::from(near) + u16::from(far) + bias) >> 2) as u8;
                }
            }
            Filter::Fancy2x2 => {
                for ((sum, &near), &far) in self.sums.iter_mut().zip(near).zip(far()) {
                    *sum = 3 * u16::from(near) + u16::from(far);
                }
                double_2x2(&self.sums, &mut self.wide);
            }
            Filter::Repeat => {
                let times = usize::from(self.plane.ratio.0);
                self.wide.chunks_exact_mut(times).zip(near).for_each(|(out, &sample)| out.fill(sample));
            }
        }
        &self.wide
    }
}

/// The other of the two rows between which row `y` of the image lies.
fn far_row(plane: &Plane, y: usize) -> &[u8] {
    let (source, last) = (y / 2, plane.height - 1);
    plane.row(if y.is_multiple_of(2) { source.saturating_sub(1) } else { last.min(source + 1) })
}

/// Doubles a row of three samples or more.
#[inline(always)]
fn double_2x1(samples: &[u8], out: &mut [u8]) {
    let last = samples.len() - 1;
    for (pair, three) in out[2..2 * last].chunks_exact_mut(2).zip(samples.windows(3)) {
        let near = 3 * u16::from(three[1]);
        pair[0] = ((near + u16::from(three[0]) + 1) >> 2) as u8;
        pair[1] = ((near + u16::from(three[2]) + 2) >> 2) as u8;
    }
    out[0] = samples[0];
    out[1] = ((3 * u16::from(samples[0]) + u16::from(samples[1]) + 2) >> 2) as u8;
    out[2 * last] = ((3 * u16::from(samples[last]) + u16::from(samples[last - 1]) + 1) >> 2) as u8;
    out[2 * last + 1] = samples[last];
}

/// Doubles a row of three sums or more; a sum is four times a sample.
#[inline(always)]
fn double_2x2(sums: &[u16], out: &mut [u8]) {
    let last = sums.len() - 1;
    for (pair, three) in out[2..2 * last].chunks_exact_mut(2).zip(sums.windows(3)) {
        let near = 3 * three[1];
        pair[0] = ((near + three[0] + 8) >> 4) as u8;
        pair[1] = ((near + three[2] + 7) >> 4) as u8;
    }
    out[0] = ((4 * sums[0] + 8) >> 4) as u8;
    out[1] = ((3 * sums[0] + sums[1] + 7) >> 4) as u8;
    out[2 * last] = ((3 * sums[last] + sums[last - 1] + 8) >> 4) as u8;
    out[2 * last + 1] = ((4 * sums[last] + 7) >> 4) as u8;
}
