//! Files whose pixels are whole and whose blocks stop Pillow 13.0.0, as `tests/peers/images.py` found them, and bytes behind
//! the end of an image.
use pixtune_io::image::{ImageError, Limits, Structure, check_structure, inspect};

use super::{all_fixtures, fixture};
use crate::hostile::chunk;

fn structure(bytes: &[u8]) -> Structure {
    check_structure(bytes).unwrap()
}

fn refused(bytes: &[u8]) -> String {
    structure(bytes).refused.unwrap_or_default()
}

fn doubtful(bytes: &[u8]) -> String {
    let structure = structure(bytes);
    assert_eq!(structure.refused, None);
    structure.doubtful.unwrap_or_default()
}

/// A PNG with chunks right before its pixels.
fn png_with(chunks: &[u8]) -> Vec<u8> {
    let mut png = fixture("grad_16x16.png");
    let at = memchr::memmem::find(&png, b"IDAT").unwrap() - 4;
    png.splice(at..at, chunks.iter().copied());
    png
}

/// The same chunk behind the pixels.
fn png_with_at_end(chunks: &[u8]) -> Vec<u8> {
    let mut png = fixture("grad_16x16.png");
    let at = png.len() - 12;
    png.splice(at..at, chunks.iter().copied());
    png
}

fn jpeg_with(marker: u8, body: &[u8]) -> Vec<u8> {
    let mut jpeg = fixture("gray_200x120.jpg");
    let length = (body.len() as u16 + 2).to_be_bytes();
    jpeg.splice(2..2, [&[0xff, marker][..], &length, body].concat());
    jpeg
}

fn deflated(len: usize) -> Vec<u8> {
    miniz_oxide::deflate::compress_to_vec_zlib(&vec![0; len], 9)
}

#[test]
fn every_fixture_is_sound_and_ends_where_its_image_ends() {
    for (name, mut bytes) in all_fixtures() {
        let length = bytes.len();
        let sound = structure(&bytes);
        assert_eq!((sound.fault(), sound.end), (None, length), "{name}");
        bytes.extend(b"behind");
        let longer = structure(&bytes);
        let end = if name.ends_with("tif") { length + 6 } else { length };
        assert_eq!((longer.fault(), longer.end), (None, end), "{name}");
    }
}

#[test]
fn png_chunks_that_stop_pillow_are_refused() {
    let bomb = deflated((1 << 20) + 1);
    let text = |head: &[u8]| [head, &bomb].concat();
    for (chunk, why) in [
        (chunk(b"zTXt", &text(b"key\0\0")), "its chunk `zTXt` inflates to more than 1 MiB"),
        (chunk(b"iTXt", &text(b"key\0\x01\0en\0key\0")), "its chunk `iTXt` inflates to more than 1 MiB"),
        (chunk(b"zTXt", b"key\0\x01text"), "its chunk `zTXt` has an unknown compression method"),
        (chunk(b"pHYs", &[0; 8]), "its chunk `pHYs` is too short"),
        (chunk(b"gAMA", b""), "its chunk `gAMA` is too short"),
        (chunk(b"sRGB", b""), "its chunk `sRGB` is too short"),
        (chunk(b"cHRM", &[0; 31]), "its chunk `cHRM` is too short"),
        (chunk(b"acTL", &[0; 7]), "its chunk `acTL` is too short"),
        (chunk(b"fcTL", &[0; 25]), "its chunk `fcTL` is too short"),
        (chunk(b"fdAT", &[0; 4]), "its chunk `fdAT` is out of sequence"),
    ] {
        assert_eq!(refused(&png_with(&chunk)), why);
        assert_eq!(refused(&png_with_at_end(&chunk)), why);
    }
    for (chunk, why) in [
        (chunk(b"iCCP", &text(b"name\0\0")), "its chunk `iCCP` inflates to more than 1 MiB"),
        (chunk(b"iCCP", b"name\0"), "its chunk `iCCP` is too short"),
        (chunk(b"a-cd", b""), "it has a chunk with the name `a-cd`"),
    ] {
        assert_eq!(refused(&png_with(&chunk)), why);
    }
    assert_eq!(refused(&png_with(&chunk(b"zTXt", &[b"key\0\0", &deflated(1 << 20)[..]].concat()))), "");
}

#[test]
fn wrong_checksums_are_refused_before_the_pixels_alone() {
    let mut wrong = chunk(b"tEXt", b"key\0text");
    *wrong.last_mut().unwrap() ^= 1;
    assert_eq!(refused(&png_with(&wrong)), "the checksum of its chunk `tEXt` is wrong");
    assert_eq!(refused(&png_with_at_end(&wrong)), "");
}

#[test]
fn many_texts_are_refused_before_they_take_much_memory() {
    let text = chunk(b"zTXt", &[b"key\0\0", &deflated(1 << 20)[..]].concat());
    assert_eq!(refused(&png_with(&text.repeat(65))), "its chunk `zTXt` makes more than 64 MiB of text");
}

#[test]
fn impossible_depths_and_methods_of_png_are_errors() {
    let limits = Limits::default();
    for (place, value) in [(24, 3), (24, 0), (24, 32), (25, 5), (26, 1), (27, 1), (28, 2)] {
        let mut png = fixture("grad_16x16.png");
        png[place] = value;
        assert!(matches!(inspect(&png, &limits), Err(ImageError::Corrupt { .. })), "{value} at {place}");
    }
}

#[test]
fn jpeg_segments_that_stop_pillow_are_refused() {
    for (marker, body, why) in [
        (0xe0, &b"JFIF\0\x01"[..], "its JFIF segment is too short"),
        (0xee, b"Adobe\0", "its Adobe segment is too short"),
        (0xed, b"Photoshop 3.0\x008BIM\x04\x04", "its Photoshop segment is cut off"),
        (0xe2, b"ICC_PROFILE\0\x01", "its color profile is cut off"),
        (0xe1, EXIF_WITH_TEXT_FOR_RESOLUTION, "the resolution in its EXIF data is not a number"),
        (0xe2, SHORT_INDEX, "its index of further images is cut off"),
    ] {
        assert_eq!(refused(&jpeg_with(marker, body)), why);
    }
    let mut jpeg = fixture("gray_200x120.jpg");
    jpeg.splice(2..2, *b"\xff\x01");
    assert_eq!(refused(&jpeg), "it has the marker `FF01` before its pixels");
    // Resources of Photoshop end early without harm everywhere else.
    assert_eq!(refused(&jpeg_with(0xed, b"Photoshop 3.0\x008BIM\x04\x04\0")), "");
}

/// A unit, and a resolution that is one byte.
const EXIF_WITH_TEXT_FOR_RESOLUTION: &[u8] =
    b"Exif\0\0MM\0*\0\0\0\x08\0\x02\x01\x1a\0\x07\0\0\0\x01\x48\0\0\0\x01\x28\0\x03\0\0\0\x01\0\x02\0\0\0\0\0\0";

/// Two images are declared, one is listed.
const SHORT_INDEX: &[u8] =
    b"MPF\0MM\0*\0\0\0\x08\0\x02\xb0\x01\0\x04\0\0\0\x01\0\0\0\x02\xb0\x02\0\x07\0\0\0\x10\0\0\0\x26\
    \0\0\0\0\0\x03\0\0\0\0\0\x09\0\0\0\x09\0\0\0\0";

#[test]
fn exif_data_that_are_none_are_doubtful() {
    assert_eq!(
        doubtful(&png_with(&chunk(b"eXIf", b"nothing"))),
        "its EXIF data does not start as EXIF data does"
    );
    let profile = chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 2\n0g\n");
    assert_eq!(doubtful(&png_with(&profile)), "its EXIF profile is not written in hexadecimal digits");
    assert_eq!(
        doubtful(&jpeg_with(0xe1, b"Exif\0\0nothing")),
        "its EXIF data does not start as EXIF data does"
    );
}

/// An EXIF block with orientation 6, as ImageMagick writes it into a text.
fn profile() -> Vec<u8> {
    let block = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let digits: String = block.iter().map(|byte| format!("{byte:02x}")).collect();
    let (first, second) = digits.split_at(36);
    format!("\nexif\n      {}\n{first}\n{second}\n", block.len()).into_bytes()
}

#[test]
fn orientation_is_read_wherever_pillow_reads_it() {
    let orientation = |bytes: &[u8]| inspect(bytes, &Limits::default()).unwrap().orientation.exif();
    let packed = miniz_oxide::deflate::compress_to_vec_zlib(&profile(), 9);
    for chunk in [
        chunk(b"tEXt", &[b"Raw profile type exif\0", &profile()[..]].concat()),
        chunk(b"zTXt", &[b"Raw profile type exif\0\0", &packed[..]].concat()),
        chunk(b"iTXt", &[b"Raw profile type exif\0\0\0\0\0", &profile()[..]].concat()),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation=\"6\"/>"),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<tiff:Orientation>6</tiff:Orientation>"),
    ] {
        assert_eq!(orientation(&png_with(&chunk)), 6);
        assert_eq!(orientation(&png_with_at_end(&chunk)), 6);
    }
    let xmp = b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation=\"3\"/>";
    assert_eq!(orientation(&jpeg_with(0xe1, xmp)), 3);
}

#[test]
fn webp_must_hold_what_its_header_declares() {
    let webp = || fixture("photo_300x200.webp");
    let with_riff = |change: i32| {
        let mut bytes = webp();
        let size = u32::from_le_bytes(bytes[4..8].try_into().unwrap()).wrapping_add_signed(change);
        bytes[4..8].copy_from_slice(&size.to_le_bytes());
        bytes
    };
    assert!(matches!(check_structure(&with_riff(2)), Err(ImageError::Truncated { .. })));
    assert!(matches!(check_structure(&with_riff(-2)), Err(ImageError::Truncated { .. })));
    let mut longer = with_riff(4);
    longer.extend(b"junk");
    assert_eq!(refused(&longer), "it ends with less than a chunk");
    let mut hidden = webp();
    let at = memchr::memmem::find(&hidden, b"VP8 ").unwrap();
    hidden[at + 8] &= !0x10;
    assert_eq!(refused(&hidden), "its pixels are not to be shown");
}

#[test]
fn gif_extensions_and_frames_are_judged() {
    let gif = fixture("shapes_400x300.gif");
    let frame = 13 + (3 << ((gif[10] & 7) + 1));
    assert!(matches!(gif[frame], b',' | b'!'));
    let with = |extension: &[u8]| {
        let mut gif = gif.clone();
        gif.splice(frame..frame, extension.iter().copied());
        gif
    };
    assert_eq!(refused(&with(b"!\xf9\x02\0\0\0")), "its graphic control extension is too short");
    assert_eq!(refused(&with(b"!\xf9\x03\x01\0\0\0")), "its graphic control extension is too short");
    assert_eq!(refused(&with(b"!\x01\0")), "it has an empty extension");
    assert_eq!(refused(&with(b"!\xff\x0bNETSCAPE2.0\0")), "its loop extension is empty");
    assert_eq!(refused(&with(b"!\xfe\0")), "");
    let mut small = gif.clone();
    small[6] -= 1;
    assert_eq!(doubtful(&small), "its frame reaches beyond its screen");
    assert!(matches!(check_structure(&gif[..gif.len() - 1]), Err(ImageError::Truncated { .. })));
}

#[test]
fn bitmaps_with_unusual_masks_are_refused() {
    let mut bmp = vec![0; 14 + 40 + 12 + 8];
    bmp[..2].copy_from_slice(b"BM");
    for (at, value) in
        [(10, 66), (14, 40), (18, 2), (22, 1), (26, 1 | 32 << 16), (30, 3), (54, 0xff), (58, 0xff00)]
    {
        bmp[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
    }
    bmp[62..66].copy_from_slice(&[0, 0, 0xff, 0]);
    assert_eq!(refused(&bmp), "its color masks are unusual");
    bmp[54..66].fill(0);
    assert_eq!(refused(&bmp), "");
}
