//! Files that lie, stop early or want too much: each is refused with a clear reason and little memory.
use pixtune_io::image::{Limits, Reading, check_structure, decode, inspect};

use super::{all_fixtures, fixture};

fn says(bytes: &[u8]) -> String {
    let limits = Limits::default();
    let decoded =
        inspect(bytes, &limits).and_then(|header| decode(bytes, &header, &limits, Reading::Corrected));
    match decoded {
        Ok(decoded) => format!("is fine, {}x{}", decoded.rgb.width, decoded.rgb.height),
        Err(error) => error.to_string(),
    }
}

pub fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = u32::MAX;
    for byte in name.iter().chain(data) {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    [&(data.len() as u32).to_be_bytes()[..], name, data, &(!crc).to_be_bytes()].concat()
}

/// A PNG of one bit per pixel whose compressed data is `data`.
fn png(width: u32, height: u32, data: &[u8]) -> Vec<u8> {
    let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
    let header = chunk(b"IHDR", &[&size[..], &[1, 0, 0, 0, 0]].concat());
    [b"\x89PNG\r\n\x1a\n", &header[..], &chunk(b"IDAT", data), &chunk(b"IEND", b"")].concat()
}

/// A zlib stream of stored blocks holding `len` zero bytes.
fn zlib(len: usize) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let blocks = len.div_ceil(60_000).max(1);
    for block in 0..blocks {
        let size = (len - block * 60_000).min(60_000) as u16;
        stream.push(u8::from(block + 1 == blocks));
        stream.extend(size.to_le_bytes());
        stream.extend((!size).to_le_bytes());
        stream.extend(vec![0; usize::from(size)]);
    }
    // Adler-32 of zeros: the first sum stays 1, the second counts the bytes.
    stream.extend((((len % 65_521) as u32) << 16 | 1).to_be_bytes());
    stream
}

#[test]
fn what_is_no_image_is_named() {
    assert_eq!(says(b""), "is empty");
    assert_eq!(says(b"<!doctype html><title>Log in</title>"), "is an HTML page, not an image");
    assert_eq!(says(b"404 not found"), "is a text file, not an image");
}

#[test]
fn sizes_are_refused_with_their_numbers() {
    assert_eq!(
        says(&png(20_000, 20_000, &zlib(9))),
        "is `20000x20000` pixels; the limit for a side is `10000`"
    );
    assert_eq!(says(&png(20_000, 1, &zlib(9))), "is `20000x1` pixels; the limit for a side is `10000`");
    assert_eq!(says(&png(0, 5, &zlib(9))), "declares a size of `0x5` pixels");
    let limits = Limits { max_pixels: 1_000_000, ..Limits::default() };
    let refused = inspect(&png(9000, 8000, &zlib(9)), &limits);
    assert_eq!(
        refused.unwrap_err().to_string(),
        "is `9000x8000` = `72000000` pixels; the limit is `1000000`"
    );
    let limits = Limits { max_bytes: 10, ..Limits::default() };
    let refused = inspect(&fixture("px1_red.png"), &limits);
    assert_eq!(refused.unwrap_err().to_string(), "has `69` bytes; the limit is `10`");
    let limits = Limits { max_decoded_bytes: 1000, ..Limits::default() };
    let refused = inspect(&fixture("gray16_70x40.png"), &limits);
    assert_eq!(refused.unwrap_err().to_string(), "would need `8400` bytes once decoded; the limit is `1000`");
}

#[test]
fn a_png_that_inflates_to_more_than_it_declares_costs_no_more() {
    assert_eq!(says(&png(8, 8, &zlib(16))), "is fine, 8x8");
    let start = std::time::Instant::now();
    let verdict = says(&png(8, 8, &zlib(15_000_000)));
    assert!(verdict == "is fine, 8x8" || verdict.starts_with("is a damaged PNG"), "{verdict}");
    assert!(start.elapsed().as_secs() < 2);
}

#[test]
fn a_png_that_inflates_to_less_is_truncated() {
    let verdict = says(&png(800, 800, &zlib(16)));
    assert!(verdict.contains("truncated") || verdict.contains("damaged"), "{verdict}");
}

/// Black pixels only, without and with black as the transparent color.
#[test]
fn a_color_key_of_a_bilevel_image() {
    let plain = png(8, 2, &zlib(4));
    let mut keyed = plain.clone();
    let after_header = 8 + 25;
    keyed.splice(after_header..after_header, chunk(b"tRNS", &[0, 0]));
    for (bytes, expected, opaque) in [(plain, 0, true), (keyed, 255, false)] {
        let header = inspect(&bytes, &Limits::default()).unwrap();
        for reading in [Reading::Corrected, Reading::Reference] {
            let decoded = decode(&bytes, &header, &Limits::default(), reading).unwrap();
            assert_eq!(decoded.rgb.pixels, [expected; 48]);
            assert!(reading == Reading::Reference || decoded.opaque == opaque);
        }
    }
}

#[test]
fn animations_are_refused() {
    assert_eq!(says(&fixture("anim_50x40.gif")), "is an animated GIF with `2` frames");
    assert!(check_structure(&fixture("anim_50x40.gif")).is_ok());
}

#[test]
fn a_gif_screen_counts_as_its_size() {
    let mut gif = fixture("shapes_400x300.gif");
    gif[6..10].copy_from_slice(&[0xff; 4]);
    assert_eq!(says(&gif), "is `65535x65535` pixels; the limit for a side is `10000`");
}

#[test]
fn bitmaps_with_mad_sizes() {
    let sized = |width: i32, height: i32| {
        let mut bmp = fixture("shapes_210x297.bmp");
        bmp[18..22].copy_from_slice(&width.to_le_bytes());
        bmp[22..26].copy_from_slice(&height.to_le_bytes());
        bmp
    };
    assert_eq!(says(&sized(-5, 10)), "is `4294967291x10` pixels; the limit for a side is `10000`");
    assert_eq!(says(&sized(210, i32::MIN)), "is `210x2147483648` pixels; the limit for a side is `10000`");
    assert_eq!(says(&sized(9000, 9000)), "is a truncated BMP");
    assert_eq!(says(&sized(210, -297)), "is fine, 210x297");
    let mut far = fixture("shapes_210x297.bmp");
    far[10..14].copy_from_slice(&[0xff; 4]);
    assert_eq!(says(&far), "is a truncated BMP");
}

/// One directory that names itself as the next one.
#[test]
fn a_tiff_whose_directories_go_in_circles() {
    let mut tiff = b"II*\0\x08\0\0\0\x02\0".to_vec();
    for (tag, value) in [(256u16, 4u32), (257, 4)] {
        tiff.extend(tag.to_le_bytes());
        tiff.extend([4, 0, 1, 0, 0, 0]);
        tiff.extend(value.to_le_bytes());
    }
    tiff.extend(8u32.to_le_bytes());
    assert!(inspect(&tiff, &Limits::default()).is_ok());
    assert!(says(&tiff).starts_with("is a damaged TIFF"), "{}", says(&tiff));
    assert!(check_structure(&tiff).is_err());
}

/// Only what follows the last pixel may be missing, and then Pillow reads the file too.
#[test]
fn a_file_cut_anywhere_is_an_error() {
    for (name, bytes) in all_fixtures() {
        let limits = Limits::default();
        let Ok(header) = inspect(&bytes, &limits) else { panic!("{name}") };
        if name.ends_with("jpg") || header.is_animated() {
            continue;
        }
        let whole = decode(&bytes, &header, &limits, Reading::Corrected).unwrap();
        let step = (bytes.len() / 400).max(1);
        for len in (0..bytes.len()).step_by(step) {
            let cut = &bytes[..len];
            let decoded =
                inspect(cut, &limits).and_then(|header| decode(cut, &header, &limits, Reading::Corrected));
            if let Ok(decoded) = decoded {
                assert!(decoded.rgb.pixels == whole.rgb.pixels, "{name} cut to {len} is filled up");
                assert!(bytes.len() - len <= 64, "{name} cut to {len} of {} passes", bytes.len());
            }
            let structure = check_structure(cut);
            let in_png_end = name.ends_with("png") && bytes.len() - len < 12;
            assert!(structure.is_err() || in_png_end, "{name} cut to {len} looks whole");
        }
        check_structure(&bytes).unwrap();
    }
}
