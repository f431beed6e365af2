//! What a file is, judged by its bytes alone: names lie.
pub use pixtune_core::target::ImageFormat as Format;

use crate::numbers::{take, u16_le, u32_le};

/// What bytes are that are no image of a format that is read; every message continues "`photo.jpg` …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoImage {
    /// Zero bytes.
    #[error("is empty")]
    Empty,
    /// The bytes are something else altogether.
    #[error("is {what}, not an image")]
    Other {
        /// With its article: `an HTML page`.
        what: &'static str,
    },
    /// An image of a format that is not read.
    #[error("is an image of the format `{format}`, which is not read")]
    Unread {
        /// The format's usual name.
        format: &'static str,
    },
}

/// The format of an image, or what the bytes are instead.
pub fn sniff(bytes: &[u8]) -> Result<Format, NoImage> {
    if bytes.is_empty() {
        return Err(NoImage::Empty);
    }
    if let Some(format) = known(bytes) {
        return Ok(format);
    }
    Err(match unread(bytes) {
        Some(format) => NoImage::Unread { format },
        None => NoImage::Other { what: other(bytes) },
    })
}

fn known(bytes: &[u8]) -> Option<Format> {
    if bytes.starts_with(b"\xff\xd8\xff") {
        return Some(Format::Jpeg);
    }
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Some(Format::Png);
    }
    if bytes.starts_with(b"RIFF") && take(bytes, 8, 4) == Some(b"WEBP") {
        return Some(Format::WebP);
    }
    if bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a") {
        return Some(Format::Gif);
    }
    if bytes.starts_with(b"II*\0") || bytes.starts_with(b"MM\0*") {
        return Some(Format::Tiff);
    }
    // "BM" alone could start a text; the size of the second header decides.
    let bmp = bytes.starts_with(b"BM") && matches!(u32_le(bytes, 14)?, 12 | 40 | 52 | 56 | 64 | 108 | 124);
    bmp.then_some(Format::Bmp)
}

/// Signatures of image formats that are recognized only to be named.
const UNREAD: &[(&[u8], &str)] = &[
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x89JNG", "JNG"),
    (b"\x8aMNG", "MNG"),
    (b"8BPS", "PSD"),
    (b"\0\0\x01\0", "ICO"),
    (b"\0\0\x02\0", "CUR"),
    (b"DDS ", "DDS"),
    (b"qoif", "QOI"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"#?RGBE", "Radiance HDR"),
    (b"II+\0", "BigTIFF"),
    (b"MM\0+", "BigTIFF"),
    (b"II\xbc\x01", "JPEG XR"),
    (b"AT&TFORM", "DjVu"),
    (b"gimp xcf", "XCF"),
    (b"BPG\xfb", "BPG"),
    (b"icns", "ICNS"),
    (b"Image type:", "IM"),
    (b"/* XPM */", "XPM"),
    (b"SIMPLE  =", "FITS"),
    (b"%!PS", "PostScript"),
    (b"%PDF-", "PDF"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"\xd7\xcd\xc6\x9a", "WMF"),
    (b"\x01\xda\x00", "SGI"),
    (b"\x01\xda\x01", "SGI"),
    (b"\x59\xa6\x6a\x95", "Sun Raster"),
    (b"\xabKTX ", "KTX"),
    (b"FUJIFILMCCD-RAW", "RAF"),
    (b"farbfeld", "farbfeld"),
];

fn unread(bytes: &[u8]) -> Option<&'static str> {
    // Before the others: it starts as a cursor does.
    if tga(bytes) {
        return Some("TGA");
    }
    if let Some(&(_, name)) = UNREAD.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some(name);
    }
    if take(bytes, 4, 4) == Some(b"ftyp") {
        return match take(bytes, 8, 4)? {
            b"avif" | b"avis" => Some("AVIF"),
            b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"hevm" | b"hevs" => Some("HEIC"),
            b"mif1" | b"mif2" | b"msf1" | b"miaf" => Some(compatible_brand(bytes)),
            b"crx " => Some("CR3"),
            b"jxl " => Some("JPEG XL"),
            b"jp2 " | b"jpx " => Some("JPEG 2000"),
            _ => None,
        };
    }
    match bytes {
        [b'P', b'1'..=b'7', b' ' | b'\t' | b'\r' | b'\n', ..] => return Some("PNM"),
        [0x0a, 0 | 2..=5, 1, 1 | 2 | 4 | 8, ..] => return Some("PCX"),
        _ => {}
    }
    if matches!(u16_le(bytes, 4), Some(0xaf11 | 0xaf12)) && matches!(u16_le(bytes, 12), Some(8 | 16 | 24)) {
        return Some("FLI");
    }
    svg(bytes).then_some("SVG")
}

/// The codec of a HEIF whose main brand leaves it open.
fn compatible_brand(bytes: &[u8]) -> &'static str {
    let brands = bytes.get(16..bytes.len().min(64)).unwrap_or_default().as_chunks::<4>().0;
    if brands.contains(b"avif") {
        "AVIF"
    } else if brands.contains(b"heic") || brands.contains(b"heix") {
        "HEIC"
    } else {
        "HEIF"
    }
}

/// TGA has its signature, if any, at its end. A file counts as TGA only if every field of the header is valid.
fn tga(bytes: &[u8]) -> bool {
    let Some(&[_, palette, kind, .., depth, flags]) = bytes.first_chunk::<18>() else { return false };
    let has_area = u16_le(bytes, 12) > Some(0) && u16_le(bytes, 14) > Some(0);
    let fields = match (palette, kind, depth) {
        (1, 1 | 9, 8 | 16) => matches!(bytes[7], 15 | 16 | 24 | 32),
        (0, 2 | 10, 15 | 16 | 24 | 32) | (0, 3 | 11, 8 | 16) => bytes[3..8] == [0; 5],
        _ => false,
    };
    bytes.ends_with(b"TRUEVISION-XFILE.\0") || (fields && has_area && flags & 0xc0 == 0)
}

/// Bytes that are read to distinguish text from binary.
const HEAD: usize = 1024;

fn head(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    bytes[..bytes.len().min(HEAD)].trim_ascii_start()
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

fn starts_with(bytes: &[u8], word: &[u8]) -> bool {
    take(bytes, 0, word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

fn svg(bytes: &[u8]) -> bool {
    let head = head(bytes);
    head.starts_with(b"<") && contains(head, b"<svg") && !contains(head, b"<html")
}

/// Whether what a file is called is a page of the web or another answer of a server.
pub(crate) fn is_answer(what: &str) -> bool {
    matches!(what, "an HTML page" | "an XML document" | "a text file")
}

/// Files that are often found under an image's name.
const OTHER: &[(&[u8], &str)] = &[
    (b"PK\x03\x04", "a ZIP archive"),
    (b"PK\x05\x06", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x1aE\xdf\xa3", "a Matroska video"),
    (b"OggS", "an Ogg file"),
    (b"ID3", "an MP3 file"),
    (b"\x7fELF", "a program"),
    (b"PAR1", "a Parquet file"),
    (b"version https://git-lfs", "a Git LFS pointer"),
];

fn other(bytes: &[u8]) -> &'static str {
    if let Some(&(_, what)) = OTHER.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return what;
    }
    if take(bytes, 4, 4) == Some(b"ftyp") {
        return "a video";
    }
    if bytes.iter().take(HEAD).all(|&byte| byte == 0) {
        return "a file of zero bytes";
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return "a text file";
    }
    let head = head(bytes);
    if html(head) {
        "an HTML page"
    } else if starts_with(head, b"<?xml") {
        "an XML document"
    } else if text(head) {
        "a text file"
    } else {
        "a file of an unknown kind"
    }
}

fn html(head: &[u8]) -> bool {
    const STARTS: [&[u8]; 7] =
        [b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<title", b"<meta"];
    STARTS.iter().any(|start| starts_with(head, start))
        || (head.starts_with(b"<") && contains(head, b"<html"))
}

fn text(head: &[u8]) -> bool {
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text.len(),
        // The window may cut the last character in two.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => return false,
    };
    head[..valid].iter().all(|&byte| byte >= b' ' || matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(bytes: &[u8]) -> String {
        match sniff(bytes) {
            Ok(format) => format.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn names_what_is_not_an_image() {
        assert_eq!(says(b""), "is empty");
        assert_eq!(says(b"\n <!DOCTYPE html><html>"), "is an HTML page, not an image");
        assert_eq!(says(b"<!-- saved -->\n<HTML>"), "is an HTML page, not an image");
        assert_eq!(says(b"<?xml version=\"1.0\"?><Error/>"), "is an XML document, not an image");
        assert_eq!(says("héllo".as_bytes()), "is a text file, not an image");
        assert_eq!(says(b"{\"error\": 404}"), "is a text file, not an image");
        assert_eq!(says(b"PK\x03\x04rest"), "is a ZIP archive, not an image");
        assert_eq!(says(&[0; 4000]), "is a file of zero bytes, not an image");
        assert_eq!(says(&[1, 0x80, 3]), "is a file of an unknown kind, not an image");
        assert_eq!(says(b"version https://git-lfs.github.com/spec/v1"), "is a Git LFS pointer, not an image");
    }

    #[test]
    fn names_formats_that_are_not_read() {
        for (bytes, name) in [
            (&b"\0\0\0\x20ftypavif...."[..], "AVIF"),
            (b"\0\0\0\x20ftypheic....", "HEIC"),
            (b"\0\0\0\x0cjP  \r\n", "JPEG 2000"),
            (b"\xff\x0a\x01", "JPEG XL"),
            (b"8BPS\0\x01", "PSD"),
            (b"<?xml version='1.0'?>\n<svg xmlns=''>", "SVG"),
            (b"%PDF-1.7", "PDF"),
            (b"P6 3 3 255 ", "PNM"),
            (b"\0\0\0\x20ftypmif1\0\0\0\0mif1avif", "AVIF"),
            (b"\0\0\0\x20ftypmif1\0\0\0\0mif1heic", "HEIC"),
            (b"\0\0\x02\0\0\0\0\0\0\0\0\0\x40\0\x30\0\x18\0pixels", "TGA"),
            (b"\0\x01\x01\0\0\0\x01\x18\0\0\0\0\x40\0\x30\0\x08\x20pixels", "TGA"),
            (b"DDS |\0\0\0", "DDS"),
            (b"\0\0\x01\0\x01\0", "ICO"),
        ] {
            assert_eq!(says(bytes), format!("is an image of the format `{name}`, which is not read"));
        }
    }

    #[test]
    fn a_text_may_start_with_the_letters_of_a_bitmap() {
        assert_eq!(says(b"BMW and other makes of cars"), "is a text file, not an image");
    }
}
