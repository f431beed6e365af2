//! What an image's header declares, read without decoding it.
use super::orient::Orientation;
use crate::sniff::Format;

/// An image's declared properties. Width and height are as stored, before orientation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The format of the bytes.
    pub format: Format,
    /// Stored width in pixels.
    pub width: u32,
    /// Stored height in pixels.
    pub height: u32,
    /// EXIF orientation.
    pub orientation: Orientation,
    /// The image may have transparent places: an alpha channel, a transparent palette entry, a color key.
    pub alpha: bool,
    /// Bits per channel (per index for palettes).
    pub bits: u8,
    /// How the channels are to be read.
    pub color: Color,
    /// Frames of an animation, pages of a TIFF; 1 for a still image.
    pub frames: u32,
}

/// Kinds of color a file stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Color {
    /// One channel.
    Gray,
    /// Red, green and blue, or luma and chroma that stand for them.
    Rgb,
    /// Indices into a table of colors.
    Palette,
    /// Four inks.
    Cmyk,
}

impl Header {
    /// A still, opaque 8-bit RGB image with normal orientation, for the reader of a format to adjust.
    pub(super) fn plain(format: Format, width: u32, height: u32) -> Self {
        Header {
            format,
            width,
            height,
            orientation: Orientation::UPRIGHT,
            alpha: false,
            bits: 8,
            color: Color::Rgb,
            frames: 1,
        }
    }

    /// The size a viewer shows, with the orientation applied.
    pub fn oriented_size(&self) -> (u32, u32) {
        self.orientation.size(self.width, self.height)
    }

    /// The size the reference measures: as stored, but Pillow 13.0.0 turns a TIFF by itself.
    pub fn reference_size(&self) -> (u32, u32) {
        if self.format == Format::Tiff { self.oriented_size() } else { (self.width, self.height) }
    }

    /// An animation: several frames of one image, where the pages of a TIFF are images of their own.
    pub fn is_animated(&self) -> bool {
        self.frames > 1 && self.format != Format::Tiff
    }

    /// Bytes of the image as its decoder writes it, 16-bit samples included.
    pub(super) fn decoded_bytes(&self) -> u64 {
        let channels = match self.color {
            Color::Gray => 1 + u64::from(self.alpha),
            Color::Rgb => 3 + u64::from(self.alpha),
            Color::Palette | Color::Cmyk => 4,
        };
        let sample = if self.bits > 8 { 2 } else { 1 };
        // What leaves the decoder is RGB in the end, whatever went in.
        u64::from(self.width) * u64::from(self.height) * (channels * sample).max(3)
    }
}
