//! Our JPEG codec against Pillow's results, and against files that mean harm.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use pixtune_io::image::jpeg::{
    Color, Decoder, EncodeError, JpegError, Limits, Plane, Planes, Subsampling, Unsupported, check_structure,
    decode, encode_planes, encode_rgb, read_header,
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::PathBuf;

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/jpeg")
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(directory().join(name)).expect("a fixture")
}

/// The rows of one of the tables that `generate.py` writes.
fn table(name: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(directory().join(name)).expect("a table");
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decoded(file: &[u8]) -> Result<Planes, JpegError> {
    decode(file, &Limits::default())
}

/// `pattern` of `fixtures/jpeg/generate.py`.
fn pattern(width: usize, height: usize) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(width * height * 3);
    for y in 0..height as u32 {
        for x in 0..width as u32 {
            for c in 0..3 {
                let slope = (x * (3 + c) + y * (5 - c) + 40 * c) >> 1;
                let edge = if (x + 2 * y) % 61 < 20 { 90 * c } else { 30 };
                let noise = (x.wrapping_mul(2_654_435_761).wrapping_add(y * 40_503 + c * 977) >> 7) % 251;
                rgb.push(if x < 24 && y < 12 { noise } else { (slope + edge) % 256 } as u8);
            }
        }
    }
    rgb
}

fn gray(samples: Vec<u8>, width: usize, height: usize) -> Planes {
    let plane = Plane { width, height, stride: width, ratio: (1, 1), samples };
    Planes { width, height, color: Color::Gray, planes: vec![plane] }
}

#[test]
fn pixels_are_those_of_pillow() {
    let rows = table("decoded.tsv");
    assert!(rows.len() > 100);
    for row in rows {
        let planes = decoded(&fixture(&row[0])).unwrap_or_else(|error| panic!("{}: {error}", row[0]));
        let mode = match planes.color {
            Color::Gray => "L",
            Color::YCbCr | Color::Rgb => "RGB",
            Color::Cmyk | Color::Ycck => "CMYK",
        };
        let found = [row[0].clone(), planes.width.to_string(), planes.height.to_string(), mode.to_owned()];
        assert_eq!(found, row[..4]);
        assert_eq!(sum(&planes.to_rgb()), row[4], "{}", row[0]);
    }
}

#[test]
fn written_files_are_those_of_pillow() {
    let rows = table("encoded.tsv");
    assert!(rows.len() > 200);
    for row in rows {
        let (width, height) = (row[0].parse().unwrap(), row[1].parse().unwrap());
        let quality = row[2].parse().unwrap();
        let rgb = pattern(width, height);
        let mut file = Vec::new();
        let size = (width, height);
        match row[3].as_str() {
            "gray" => {
                let green = rgb.chunks(3).map(|pixel| pixel[1]).collect();
                encode_planes(&gray(green, width, height), quality, &mut file).unwrap();
            }
            "444" => encode_rgb(&rgb, size, quality, Subsampling::None, &mut file).unwrap(),
            "422" => encode_rgb(&rgb, size, quality, Subsampling::Half, &mut file).unwrap(),
            _ => encode_rgb(&rgb, size, quality, Subsampling::Quarter, &mut file).unwrap(),
        }
        assert_eq!(sum(&file), row[4], "{row:?}");
    }
}

#[test]
fn headers_agree_with_the_planes() {
    for row in table("decoded.tsv") {
        let file = fixture(&row[0]);
        let (header, planes) = (read_header(&file).unwrap(), decoded(&file).unwrap());
        assert_eq!(check_structure(&file).unwrap(), header, "{}", row[0]);
        assert_eq!((header.width as usize, header.height as usize), (planes.width, planes.height));
        assert_eq!(header.color, planes.color);
        assert_eq!(header.progressive, row[0].contains("prog"));
        let ratios: Vec<_> = planes.planes.iter().map(|plane| plane.ratio).collect();
        assert_eq!(header.subsampling, ratios);
    }
}

#[test]
fn planes_have_their_own_sizes() {
    let planes = decoded(&fixture("420-17x33.jpg")).unwrap();
    let sizes: Vec<_> = planes.planes.iter().map(|plane| (plane.width, plane.height)).collect();
    assert_eq!(sizes, [(17, 33), (9, 17), (9, 17)]);
    let rows: Vec<_> = planes.planes[1].rows().collect();
    assert_eq!((rows.len(), rows[16]), (17, planes.planes[1].row(16)));
}

#[test]
fn every_truncation_is_an_error() {
    for name in
        ["420-17x33.jpg", "restart-blocks.jpg", "progressive-17x33.jpg", "three-scans.jpg", "cmyk.jpg"]
    {
        let file = fixture(name);
        for length in 0..file.len() {
            assert!(decoded(&file[..length]).is_err(), "{name}: {length} of {}", file.len());
            assert!(check_structure(&file[..length]).is_err(), "{name}: {length} of {}", file.len());
        }
    }
}

#[test]
fn a_file_without_its_end_is_truncated() {
    let file = fixture("420-50x38.jpg");
    let length = file.len() - 200;
    assert_eq!(decoded(&file[..length]), Err(JpegError::Truncated { length }));
    // The marker alone does not make it whole.
    let closed = [&file[..length], &[0xff, 0xd9]].concat();
    assert!(matches!(decoded(&closed), Err(JpegError::Corrupt { .. })));
}

#[test]
fn a_file_without_scans_is_an_error_also_after_a_whole_one() {
    let whole = fixture("420-16x16.jpg");
    let scan = whole.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
    let empty = [&whole[..scan], &[0xff, 0xd9]].concat();
    let (mut decoder, mut planes) = (Decoder::default(), Planes::default());
    decoder.decode_into(&whole, &Limits::default(), &mut planes).unwrap();
    let after = decoder.decode_into(&empty, &Limits::default(), &mut planes);
    assert!(matches!(after, Err(JpegError::Corrupt { .. })), "{after:?}");
    assert_eq!(decoded(&empty).unwrap_err(), after.unwrap_err());
}

#[test]
fn missing_progressive_scans_are_an_error() {
    let file = fixture("progressive-50x38.jpg");
    let scans: Vec<usize> = (0..file.len() - 1).filter(|&at| file[at..at + 2] == [0xff, 0xda]).collect();
    let start = [&file[..scans[3]], &[0xff, 0xd9]].concat();
    assert_eq!(decoded(&start), Err(JpegError::Incomplete));
}

/// The file with a byte `offset` bytes behind the start of its frame marker replaced.
fn with_frame_byte(name: &str, offset: usize, byte: u8) -> Vec<u8> {
    let mut file = fixture(name);
    let frame = file.windows(2).position(|pair| pair == [0xff, 0xc0]).expect("a baseline frame");
    file[frame + offset] = byte;
    file
}

#[test]
fn other_kinds_of_jpeg_are_refused_by_name() {
    let refused = |offset, byte| match decoded(&with_frame_byte("420-16x16.jpg", offset, byte)) {
        Err(JpegError::Unsupported(reason)) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(1, 0xc9), Unsupported::Arithmetic);
    assert_eq!(refused(1, 0xc3), Unsupported::Lossless);
    assert_eq!(refused(1, 0xc5), Unsupported::Hierarchical);
    assert_eq!(refused(4, 12), Unsupported::Precision(12));
    assert_eq!(refused(9, 2), Unsupported::Components(2));
    assert_eq!(refused(6, 0), Unsupported::HeightInDnl);
    assert_eq!(refused(14, 0x31), Unsupported::FractionalSampling);
}

#[test]
fn limits_are_checked_before_anything_is_allocated() {
    let mut file = fixture("420-16x16.jpg");
    let frame = file.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    file[frame + 5..frame + 9].fill(0xff);
    let expected =
        JpegError::TooLarge { width: 65535, height: 65535, max_pixels: Limits::default().max_pixels };
    assert_eq!(decoded(&file), Err(expected));
    assert_eq!(read_header(&file).unwrap().width, 65535);
}

/// An 8x8 gray progressive file of `scans` scans after the first, each of one bit of one coefficient.
fn many_scans(scans: usize) -> Vec<u8> {
    let mut file = vec![0xff, 0xd8, 0xff, 0xdb, 0, 67, 0];
    file.extend_from_slice(&[1; 64]);
    file.extend_from_slice(&[0xff, 0xc2, 0, 11, 8, 0, 8, 0, 8, 1, 1, 0x11, 0]);
    // The first codes of Annex K: progressive files have no codes of their own accord.
    file.extend_from_slice(&[0xff, 0xc4, 0, 41, 0x00, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    file.extend_from_slice(&[0x10, 0, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 0]);
    let mut scan = |first: u8, bits: u8, data: u8| {
        file.extend_from_slice(&[0xff, 0xda, 0, 8, 1, 1, 0, first, first, bits, data]);
    };
    // No difference, and the end of the block, in the codes of Annex K.
    scan(0, 0x00, 0b0011_1111);
    let bands = (1..64).map(|k| (k, 0x01)).chain((1..64).map(|k| (k, 0x10)));
    bands.take(scans).for_each(|(k, bits)| scan(k, bits, 0b1010_1111));
    file.extend_from_slice(&[0xff, 0xd9]);
    file
}

#[test]
fn progressive_files_without_codes_are_refused() {
    let mut file = many_scans(63);
    let codes = file.windows(2).position(|pair| pair == [0xff, 0xc4]).unwrap();
    file.drain(codes..codes + 43);
    assert!(matches!(decoded(&file), Err(JpegError::Corrupt { .. })));
}

#[test]
fn more_scans_than_any_encoder_writes_are_refused() {
    assert_eq!(decoded(&many_scans(63)), Err(JpegError::Incomplete));
    assert_eq!(decoded(&many_scans(126)), Err(JpegError::TooManyScans { limit: 100 }));
}

#[test]
fn damaged_files_never_panic() {
    // A small linear congruential generator keeps the mutations the same on every run.
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let limits = Limits { max_pixels: 1 << 20 };
    for row in table("decoded.tsv").iter().filter(|row| !row[0].starts_with("vector")) {
        let file = fixture(&row[0]);
        for _ in 0..60 {
            let mut damaged = file.clone();
            for _ in 0..=random(8) {
                let at = random(damaged.len());
                match random(4) {
                    0 => damaged[at] = random(256) as u8,
                    1 => damaged[at] ^= 1 << random(8),
                    2 => _ = damaged.remove(at),
                    _ => damaged.insert(at, random(256) as u8),
                }
            }
            _ = read_header(&damaged);
            _ = check_structure(&damaged);
            if let Ok(planes) = decode(&damaged, &limits) {
                assert_eq!(planes.to_rgb().len(), planes.width * planes.height * 3);
            }
        }
    }
}

#[test]
fn planes_that_are_no_image_are_not_written() {
    let mut out = Vec::new();
    let refused = encode_planes(&gray(vec![0; 5], 2, 3), 85, &mut out);
    assert_eq!(refused, Err(EncodeError::Shape { width: 2, height: 3 }));
    let refused = encode_rgb(&[], (0, 7), 85, Subsampling::None, &mut out);
    assert_eq!(refused, Err(EncodeError::Size { width: 0, height: 7 }));
    let cmyk = Planes { color: Color::Cmyk, ..gray(vec![0], 1, 1) };
    assert_eq!(encode_planes(&cmyk, 85, &mut out), Err(EncodeError::Color(Color::Cmyk)));
    assert!(out.is_empty());
}

#[test]
fn decoded_planes_can_be_written_again() {
    for name in ["420-33x17.jpg", "422-17x33.jpg", "440-7x5.jpg", "444-9x16.jpg", "411.jpg", "gray-5x4.jpg"] {
        let planes = decoded(&fixture(name)).unwrap();
        let mut file = Vec::new();
        encode_planes(&planes, 100, &mut file).unwrap();
        let again = decoded(&file).unwrap();
        assert!(difference(&planes, &again) <= 2, "{name}");
    }
}

/// Largest difference of any two samples.
fn difference(left: &Planes, right: &Planes) -> u8 {
    let rows = |planes: &Planes| -> Vec<u8> {
        planes.planes.iter().flat_map(Plane::rows).flatten().copied().collect()
    };
    rows(left).into_iter().zip(rows(right)).map(|(left, right)| left.abs_diff(right)).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let file = [&[0xff, 0xd8, 0xff][..], &bytes].concat();
        _ = decode(&file, &Limits { max_pixels: 1 << 20 });
        _ = check_structure(&file);
    }

    #[test]
    fn entropy_coded_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for name in ["420-17x33.jpg", "progressive-17x33.jpg"] {
            let mut file = fixture(name);
            let scan = file.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
            file.truncate(scan + 2 + usize::from(file[scan + 3]));
            file.extend_from_slice(&bytes);
            file.extend_from_slice(&[0xff, 0xd9]);
            _ = decode(&file, &Limits::default());
        }
    }

    #[test]
    fn the_best_quality_loses_little(
        (width, height, samples) in (1_usize..40, 1_usize..40).prop_flat_map(|(width, height)| {
            (Just(width), Just(height), proptest::collection::vec(any::<u8>(), width * height))
        })
    ) {
        let planes = gray(samples, width, height);
        let mut file = Vec::new();
        encode_planes(&planes, 100, &mut file).unwrap();
        let again = decoded(&file).unwrap();
        prop_assert!(difference(&planes, &again) <= 3);
    }
}
