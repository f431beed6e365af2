//! Milliseconds per call of the image operations, best of many, on one thread:
//! `cargo bench -p pixtune-io --bench image`.
use std::hint::black_box;
use std::time::{Duration, Instant};

use pixtune_io::image::Rgb;
use pixtune_io::image::resample::{Filter, Plane, model_pixels, resample};

fn best<T>(name: &str, mut call: impl FnMut() -> T) {
    let mut best = Duration::MAX;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(1) {
        let start = Instant::now();
        black_box(call());
        best = best.min(start.elapsed());
    }
    println!("{name:44} {:8.3} ms", best.as_secs_f64() * 1e3);
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn main() {
    let rgb = Rgb { width: 1600, height: 1200, pixels: noise(1600 * 1200 * 3) };
    let gray = noise(1600 * 1200);
    let plane = Plane { pixels: &gray, width: 1600, height: 1200, stride: 1600, channels: 1 };
    let half = Plane { pixels: &gray, width: 800, height: 600, stride: 800, channels: 1 };
    best("cubic 1600x1200 to 1024x768, three channels", || {
        resample(Plane::from(&rgb), 1024, 768, Filter::Cubic)
    });
    best("cubic 1600x1200 to 1024x768, one plane", || resample(plane, 1024, 768, Filter::Cubic));
    best("cubic 800x600 to 512x384, one plane", || resample(half, 512, 384, Filter::Cubic));
    best("lanczos 1600x1200 to 1024x768, three channels", || {
        resample(Plane::from(&rgb), 1024, 768, Filter::Lanczos)
    });
    best("lanczos 1600x1200 to 1024x768, one plane", || resample(plane, 1024, 768, Filter::Lanczos));
    best("model input 1600x1200 to 1024x768", || model_pixels(&rgb, 1024, 768));
    let small = Rgb { width: 1024, height: 768, pixels: noise(1024 * 768 * 3) };
    best("model input 1024x768, not resampled", || model_pixels(&small, 1024, 768));
}
