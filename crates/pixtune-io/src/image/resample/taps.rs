//! Which source pixels make an output pixel along one axis, and with which weights.

/// A resampling kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Filter {
    /// The model's own: cubic convolution with a = -0.75 over four pixels, whatever the scale.
    Cubic,
    /// Lanczos with three lobes, widened when shrinking so that nothing aliases.
    Lanczos,
}

/// A table of weights for one axis; every output pixel has the same number of taps.
#[derive(Debug)]
pub(super) struct Taps {
    count: usize,
    margin: usize,
    starts: Vec<isize>,
    weights: Vec<f32>,
}

impl Taps {
    pub(super) fn new(source: usize, target: usize, filter: Filter) -> Self {
        match filter {
            Filter::Cubic => Taps::cubic(source, target),
            Filter::Lanczos => Taps::lanczos(source, target),
        }
    }

    /// The first source pixel, which may lie outside by [`Taps::margin`], and the weights from there on.
    pub(super) fn of(&self, output: usize) -> (isize, &[f32]) {
        (self.starts[output], &self.weights[output * self.count..][..self.count])
    }

    /// How far taps may reach over either edge.
    pub(super) fn margin(&self) -> usize {
        self.margin
    }

    /// The starts and weights of all outputs, when there are four taps each.
    pub(super) fn fours(&self) -> Option<(&[isize], &[[f32; 4]])> {
        (self.count == 4).then(|| (&*self.starts, self.weights.as_chunks().0))
    }

    /// As `cv2.resize` of OpenCV 5.0 has them (read out of it with images of one bright pixel): positions and
    /// weights in double precision, then rounded to floats.
    fn cubic(source: usize, target: usize) -> Self {
        let scale = source as f64 / target as f64;
        let mut taps = Taps { count: 4, margin: 2, starts: Vec::new(), weights: Vec::new() };
        for output in 0..target {
            let position = (output as f64 + 0.5) * scale - 0.5;
            let left = position.floor();
            taps.starts.push(left as isize - 1);
            taps.weights.extend(cubic(position - left).map(|weight| weight as f32));
        }
        taps
    }

    /// As Pillow's `LANCZOS`: the window is cut at the edges and its weights add up to one.
    fn lanczos(source: usize, target: usize) -> Self {
        let scale = source as f64 / target as f64;
        let stretch = scale.max(1.0);
        let support = 3.0 * stretch;
        let count = (support.ceil() as usize * 2 + 1).next_multiple_of(4).min(source);
        let mut taps = Taps { count, margin: 0, starts: Vec::new(), weights: Vec::new() };
        for output in 0..target {
            let center = (output as f64 + 0.5) * scale;
            let first = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(source);
            // All outputs have as many taps; where the window is smaller, zeros fill it up inside the image.
            let start = first.min(source - count);
            let weight = |index: usize| {
                let inside = (first..end).contains(&index);
                if inside { lanczos((index as f64 - center + 0.5) / stretch) } else { 0.0 }
            };
            let sum: f64 = (start..start + count).map(weight).sum();
            taps.starts.push(start as isize);
            taps.weights.extend((start..start + count).map(|index| (weight(index) / sum) as f32));
        }
        taps
    }
}

/// Keys' cubic convolution for a position `x` between the second and the third of four pixels.
fn cubic(x: f64) -> [f64; 4] {
    const A: f64 = -0.75;
    let outer = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let inner = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let [first, second, third] = [outer(x + 1.0), inner(x), inner(1.0 - x)];
    [first, second, third, 1.0 - first - second - third]
}

fn lanczos(x: f64) -> f64 {
    if x.abs() < 3.0 { sinc(x) * sinc(x / 3.0) } else { 0.0 }
}

/// `sin(pi x) / (pi x)` with a sine of our own: the system's may differ in the last bit from machine to machine.
fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let nearest = x.round();
    let sign = if nearest as i64 % 2 == 0 { 1.0 } else { -1.0 };
    let angle = (x - nearest) * std::f64::consts::PI;
    let square = angle * angle;
    // Taylor's series, exact to 1e-16 for angles up to pi / 2.
    let series = (1..=11).rev().fold(1.0, |sum, k| {
        let k = 2.0 * f64::from(k);
        1.0 - square / (k * (k + 1.0)) * sum
    });
    sign * angle * series / (x * std::f64::consts::PI)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sinc_is_the_usual_one() {
        for step in -600..=600 {
            let x = f64::from(step) / 200.0;
            let angle = x * std::f64::consts::PI;
            let expected = if step == 0 { 1.0 } else { angle.sin() / angle };
            assert!((sinc(x) - expected).abs() < 1e-15, "{x}");
        }
    }

    #[test]
    fn weights_add_up_to_one() {
        for filter in [Filter::Cubic, Filter::Lanczos] {
            for (source, target) in [(1600, 1024), (7, 16), (1, 16), (3, 2), (4000, 1), (50, 64)] {
                let taps = Taps::new(source, target, filter);
                for output in 0..target {
                    let (start, weights) = taps.of(output);
                    assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                    let margin = taps.margin() as isize;
                    assert!(start >= -margin, "{filter:?} {source} {target}: {start}");
                    assert!(start + weights.len() as isize <= source as isize + margin);
                }
            }
        }
    }
}
