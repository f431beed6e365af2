use super::horizontal::mix_along;
use super::*;

/// Noise that is the same everywhere: the top bits of a multiplicative generator.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn plane(pixels: &[u8], width: usize, height: usize, channels: usize) -> Plane<'_> {
    Plane { pixels, width, height, stride: width * channels, channels }
}

const FILTERS: [Filter; 2] = [Filter::Cubic, Filter::Lanczos];

#[test]
fn the_same_size_changes_nothing() {
    let pixels = noise(37 * 23 * 3);
    for filter in FILTERS {
        assert_eq!(resample(plane(&pixels, 37, 23, 3), 37, 23, filter), pixels);
    }
}

#[test]
fn one_color_stays_that_color() {
    for filter in FILTERS {
        for (width, height) in [(16, 16), (64, 48), (200, 1), (1, 99), (300, 260)] {
            let resampled = resample(plane(&[77; 150 * 100], 150, 100, 1), width, height, filter);
            assert!(resampled.iter().all(|&v| v == 77), "{filter:?} to {width}x{height}");
        }
    }
}

#[test]
fn one_pixel_can_be_stretched() {
    let stretched = resample(plane(&[1, 2, 3], 1, 1, 3), 16, 16, Filter::Cubic);
    assert!(stretched.as_chunks().0.iter().all(|pixel| *pixel == [1, 2, 3]));
}

#[test]
fn padding_of_rows_is_not_read() {
    let (width, height, stride) = (50, 40, 64);
    let padded = noise(stride * height);
    let tight: Vec<u8> = padded.chunks(stride).flat_map(|row| &row[..width]).copied().collect();
    let from_padded = Plane { pixels: &padded, width, height, stride, channels: 1 };
    for filter in FILTERS {
        let expected = resample(plane(&tight, width, height, 1), 32, 16, filter);
        assert_eq!(resample(from_padded, 32, 16, filter), expected);
    }
}

#[test]
fn planes_give_what_interleaved_pixels_give() {
    let rgb = noise(120 * 90 * 3);
    let together = resample(plane(&rgb, 120, 90, 3), 80, 64, Filter::Cubic);
    for channel in 0..3 {
        let alone: Vec<u8> = rgb.iter().skip(channel).step_by(3).copied().collect();
        let alone = resample(plane(&alone, 120, 90, 1), 80, 64, Filter::Cubic);
        let of_together: Vec<u8> = together.iter().skip(channel).step_by(3).copied().collect();
        assert_eq!(alone, of_together);
    }
}

/// The vector code must not differ in a single bit, or the output would depend on the machine.
#[test]
fn vector_code_equals_portable_code() {
    for channels in [1, 3] {
        for (source, target) in [(1600, 1024), (100, 37), (37, 100), (5, 16), (1, 16), (33, 8)] {
            let taps = Taps::new(source, target, Filter::Cubic);
            let mut row = Row::new(source, channels, taps.margin());
            let values = noise(source * channels);
            for (to, &value) in row.middle().iter_mut().zip(&values) {
                *to = f32::from(value) * 1.007;
            }
            row.replicate_edges();
            let (mut here, mut portable) =
                (vec![0.0; target * channels + SLACK], vec![0.0; target * channels + SLACK]);
            mix_along(&row, &taps, &mut here);
            horizontal::portable(&row, &taps, &mut portable);
            let used = target * channels;
            assert_eq!(here[..used], portable[..used], "{channels} channels, {source} to {target}");
        }
    }
}

#[test]
fn floats_and_bytes_agree() {
    let pixels = noise(90 * 70 * 3);
    let rgb = Rgb { width: 90, height: 70, pixels };
    let bytes = resample(Plane::from(&rgb), 64, 48, Filter::Cubic);
    let floats = model_pixels(&rgb, 64, 48);
    for (index, &byte) in bytes.iter().enumerate() {
        let (pixel, channel) = (index / 3, index % 3);
        let clamped = floats[channel * 64 * 48 + pixel];
        let value = (clamped * DEVIATION[channel] + MEAN[channel]) * 255.0;
        assert!((value.clamp(0.0, 255.0) - f32::from(byte)).abs() < 0.501);
    }
}
