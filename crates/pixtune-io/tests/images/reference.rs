//! Every fixture decodes to the reference's pixels and to the model input made from them.
use std::io::Read as _;

use pixtune_core::spec::{MISTRAL_SMALL_3_1, PIXTRAL_12B};
use pixtune_io::image::{Limits, Loaded, ModelInput, Reading, Rgb, decode, inspect, model_input};
use sha2::{Digest, Sha256};

use super::{fixture, fixtures};

struct Case {
    name: String,
    sha256: String,
    shape: [usize; 3],
    tokens: usize,
    mean: [f64; 3],
    deviation: [f64; 3],
    min: [f64; 3],
    max: [f64; 3],
    npy: bool,
}

/// The text between a key and the next comma outside of brackets.
fn field<'a>(line: &'a str, key: &str) -> &'a str {
    let start = line.find(&format!("\"{key}\":")).unwrap() + key.len() + 3;
    let rest = &line[start..];
    let end = if rest.starts_with('[') { rest.find(']') } else { rest.find([',', '}']) };
    rest[..end.unwrap()].trim_matches(['"', '['])
}

fn numbers<T: std::str::FromStr<Err: std::fmt::Debug>>(line: &str, key: &str) -> [T; 3] {
    let numbers: Vec<T> = field(line, key).split(',').map(|number| number.parse().unwrap()).collect();
    numbers.try_into().ok().unwrap()
}

fn cases() -> Vec<Case> {
    let lines = std::fs::read_to_string(fixtures().join("reference.jsonl")).unwrap();
    let case = |line: &str| Case {
        name: field(line, "key").to_owned(),
        sha256: field(line, "rgb8_sha256").to_owned(),
        shape: numbers(line, "out_shape"),
        tokens: field(line, "n_tokens").parse().unwrap(),
        mean: numbers(line, "mean"),
        deviation: numbers(line, "std"),
        min: numbers(line, "min"),
        max: numbers(line, "max"),
        npy: line.contains("\"npy\""),
    };
    lines.lines().map(case).collect()
}

fn reference_rgb(name: &str) -> Rgb {
    let bytes = fixture(name);
    let header = inspect(&bytes, &Limits::default()).unwrap();
    decode(&bytes, &header, &Limits::default(), Reading::Reference).unwrap().rgb
}

#[test]
fn pixels_are_those_of_pillow() {
    for case in cases() {
        let rgb = reference_rgb(&case.name);
        let sha256: String = Sha256::digest(&rgb.pixels).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(sha256, case.sha256, "{}", case.name);
    }
}

fn input(bytes: Vec<u8>) -> ModelInput {
    let limits = Limits::default();
    model_input(&Loaded::new(bytes, &limits).unwrap(), &PIXTRAL_12B, &limits).unwrap()
}

/// JPEGs too: their decoder gives Pillow's pixels to the bit, so nothing is left of the difference between decoders.
#[test]
fn model_input_is_that_of_mistral_common() {
    for case in cases() {
        let input = input(fixture(&case.name));
        let [_, height, width] = case.shape;
        assert_eq!((input.grid.width as usize, input.grid.height as usize), (width, height), "{}", case.name);
        assert_eq!(input.grid.tokens(), case.tokens, "{}", case.name);
        assert_eq!(input.pixels.len(), 3 * height * width, "{}", case.name);
        for (channel, values) in input.pixels.chunks_exact(width * height).enumerate() {
            let average = |of: &dyn Fn(f64) -> f64| {
                values.iter().map(|&value| of(f64::from(value))).sum::<f64>() / values.len() as f64
            };
            let mean = average(&|value| value);
            let deviation = average(&|value| (value - mean).powi(2)).sqrt();
            let min = values.iter().copied().fold(f32::INFINITY, f32::min);
            let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert!((mean - case.mean[channel]).abs() < 1e-5, "mean of {}", case.name);
            assert!((deviation - case.deviation[channel]).abs() < 1e-5, "deviation of {}", case.name);
            assert!((f64::from(min) - case.min[channel]).abs() < 5e-6, "least of {}", case.name);
            assert!((f64::from(max) - case.max[channel]).abs() < 5e-6, "greatest of {}", case.name);
        }
        if case.npy {
            let expected = npy(&case.name);
            let differences = input.pixels.iter().zip(&expected).map(|(a, b)| (a - b).abs());
            let worst = differences.fold(0.0, f32::max);
            assert_eq!(input.pixels.len(), expected.len());
            assert!(worst < 5e-6, "{} differs by {worst}", case.name);
        }
    }
}

/// The same images for models that merge patches: other sizes, the same filter.
#[test]
fn merged_patches_get_the_pixels_of_mistral_common() {
    let file = fixtures().join("../vectors_family/image_pixels_p14_m2_1540.jsonl.gz");
    let mut lines = String::new();
    let file = std::fs::File::open(file).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut lines).unwrap();
    let mut compared = 0;
    for line in lines.lines() {
        let row = pixtune_core::json::parse(line).unwrap().value;
        let name = row.text("key").unwrap();
        // Two of the images are not among the fixtures.
        let Ok(bytes) = std::fs::read(fixtures().join(name)) else { continue };
        let limits = Limits::default();
        let input = model_input(&Loaded::new(bytes, &limits).unwrap(), &MISTRAL_SMALL_3_1, &limits).unwrap();
        let [_, height, width]: [usize; 3] = numbers(line, "out_shape");
        assert_eq!((input.grid.width as usize, input.grid.height as usize), (width, height), "{name}");
        assert_eq!(input.grid.tokens().to_string(), field(line, "n_tokens"), "{name}");
        for sample in row.get("samples").unwrap().as_array().unwrap() {
            let [channel, y, x, value]: [f64; 4] = sample
                .as_array()
                .unwrap()
                .iter()
                .map(|number| number.to_string().parse().unwrap())
                .collect::<Vec<f64>>()
                .try_into()
                .unwrap();
            let at = (channel as usize * height + y as usize) * width + x as usize;
            assert!((f64::from(input.pixels[at]) - value).abs() < 1e-4, "{name}: {sample}");
        }
        compared += 1;
    }
    assert!(compared >= 23, "{compared}");
}

/// Pillow turns a TIFF by itself, and so its sides are swapped before the grid is computed.
#[test]
fn the_grid_of_a_turned_tiff_is_that_of_the_upright_image() {
    let mut tiff = b"II*\0\x08\0\0\0\x08\0".to_vec();
    let strip_at = 8 + 2 + 8 * 12 + 4;
    for (tag, value) in
        [(256u16, 40u32), (257, 20), (258, 8), (262, 1), (273, strip_at), (274, 6), (278, 20), (279, 800)]
    {
        tiff.extend(tag.to_le_bytes());
        tiff.extend([4, 0, 1, 0, 0, 0]);
        tiff.extend(value.to_le_bytes());
    }
    tiff.extend([0; 4]);
    tiff.extend([200; 800]);
    let header = inspect(&tiff, &Limits::default()).unwrap();
    assert_eq!(((header.width, header.height), header.reference_size()), ((40, 20), (20, 40)));
    let grid = input(tiff).grid;
    assert_eq!((grid.columns, grid.rows), (2, 3));
}

/// Little-endian floats behind a header of numpy's format, version 1.
fn npy(name: &str) -> Vec<f32> {
    let bytes = std::fs::read(fixtures().join("npy").join(format!("{name}.npy"))).unwrap();
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[10 + header..].as_chunks().0.iter().map(|&float| f32::from_le_bytes(float)).collect()
}

/// The corrected reading makes an RGB key white, the reference ignores it.
#[test]
fn a_color_key_of_an_rgb_image() {
    let read = |name: &str, reading| {
        let bytes = fixture(name);
        let header = inspect(&bytes, &Limits::default()).unwrap();
        assert!(header.alpha);
        decode(&bytes, &header, &Limits::default(), reading).unwrap()
    };
    let corrected = read("rgb_trns_32x24.png", Reading::Corrected);
    let reference = read("rgb_trns_32x24.png", Reading::Reference);
    assert!(!corrected.opaque);
    assert!(reference.opaque);
    assert_ne!(corrected.rgb, reference.rgb);
    for (corrected, reference) in corrected.rgb.pixels.chunks(3).zip(reference.rgb.pixels.chunks(3)) {
        assert!(corrected == reference || corrected == [255; 3]);
    }
}
