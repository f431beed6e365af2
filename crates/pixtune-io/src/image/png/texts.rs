//! Texts in chunks: keywords, compression, and those that say how an image is turned.
use std::borrow::Cow;

use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_zlib_with_limit};

/// `PngImagePlugin.MAX_TEXT_CHUNK`: what one compressed chunk may inflate to.
pub(in crate::image) const MOST_TEXT: usize = 1 << 20;

/// The keyword of a text, and what follows its null character.
pub(in crate::image) fn split(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(0, data)?;
    Some((&data[..at], &data[at + 1..]))
}

pub(in crate::image) enum Inflated<'a> {
    Text(Cow<'a, [u8]>),
    Damaged,
    TooLarge,
}

pub(in crate::image) fn inflate(packed: &[u8]) -> Inflated<'static> {
    match decompress_to_vec_zlib_with_limit(packed, MOST_TEXT) {
        Ok(text) => Inflated::Text(text.into()),
        Err(error) if error.status == TINFLStatus::HasMoreOutput => Inflated::TooLarge,
        // Python returns what it has got when the data ends early.
        Err(error) if error.status == TINFLStatus::FailedCannotMakeProgress => {
            Inflated::Text(error.output.into())
        }
        Err(_) => Inflated::Damaged,
    }
}

/// The text of a `tEXt`, `zTXt` or `iTXt` chunk.
pub(in crate::image) fn text<'a>(name: &[u8], data: &'a [u8]) -> Option<Inflated<'a>> {
    let (_, rest) = split(data)?;
    match name {
        b"tEXt" => Some(Inflated::Text(rest.into())),
        b"zTXt" => Some(inflate(rest.get(1..)?)),
        _ => {
            let (&compressed, rest) = rest.split_first()?;
            let (&method, rest) = rest.split_first()?;
            let (_language, rest) = split(rest)?;
            let (_keyword, text) = split(rest)?;
            match (compressed, method) {
                (0, _) => Some(Inflated::Text(text.into())),
                (_, 0) => Some(inflate(text)),
                // Pillow passes over methods it does not know.
                _ => None,
            }
        }
    }
}

/// A text that Pillow takes for EXIF data, whatever it holds.
pub(in crate::image) const EXIF: &[u8] = b"exif";
pub(in crate::image) const PROFILE: &[u8] = b"Raw profile type exif";
const XMP: &[u8] = b"XML:com.adobe.xmp";

/// Texts of a file that say how it is turned.
#[derive(Default)]
pub(in crate::image) struct Texts {
    /// The EXIF block that ImageMagick writes as a text.
    pub(in crate::image) exif: Vec<u8>,
    /// The XMP document.
    pub(in crate::image) xmp: Vec<u8>,
}

impl Texts {
    /// Reads a chunk, if it is one of these texts; a later one replaces an earlier one.
    pub(in crate::image) fn read(&mut self, name: &[u8], data: &[u8]) {
        if !matches!(name, b"tEXt" | b"zTXt" | b"iTXt") {
            return;
        }
        let Some((key @ (PROFILE | XMP), _)) = split(data) else { return };
        let Some(Inflated::Text(text)) = text(name, data) else { return };
        if key == XMP {
            self.xmp = text.into_owned();
        } else {
            self.exif = exif_of_profile(&text).unwrap_or_default();
        }
    }
}

/// The bytes of a profile: a line break, the name, the length, and hexadecimal digits in lines.
pub(in crate::image) fn exif_of_profile(text: &[u8]) -> Option<Vec<u8>> {
    let lines = text.split(|&byte| byte == b'\n').skip(3);
    let mut digits = lines.flatten().copied();
    let mut bytes = Vec::new();
    let value = |digit: u8| char::from(digit).to_digit(16).map(|digit| digit as u8);
    while let Some(high) = digits.next() {
        // As in Python, white space may stand between bytes, not inside of one.
        if !high.is_ascii_whitespace() && high != 0x0b {
            bytes.push(value(high)? << 4 | value(digits.next()?)?);
        }
    }
    Some(bytes)
}
