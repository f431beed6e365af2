//! JPEG, read and written here: bit-exact with libjpeg-turbo, and to planes rather than pixels.
//!
//! The reference preprocessing of the model decodes with Pillow, that is, with libjpeg-turbo's defaults: the
//! accurate integer IDCT, "fancy" upsampling and fixed-point color conversion. [`Planes::to_rgb`] gives the same
//! bytes. An image that is only downscaled needs neither upsampling nor color conversion: [`decode`] stops at the
//! component planes and [`encode_planes`] starts there.
//!
//! We are stricter than libjpeg where it warns and goes on with wrong pixels: damaged entropy-coded data is an error,
//! and so are a file without the EOI marker and a progressive image whose last scans are missing, which libjpeg
//! smooths over. What libjpeg puts up with and reads right, such as stray bytes between segments, is read here too.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod baseline;
mod bits;
mod color;
mod decode;
mod encode;
mod entropy;
mod error;
mod fdct;
mod frame;
mod huffman;
mod idct;
mod image;
mod markers;
mod planes;
mod progressive;
mod scan;
mod tables;

pub use decode::{Decoder, Limits, check_structure, decode, read_header, walk};
pub use encode::{EncodeError, Subsampling, encode_planes, encode_rgb};
pub use error::{JpegError, Unsupported};
pub use planes::{Color, Plane, Planes};

/// What the markers before the first scan say about an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// What the components mean.
    pub color: Color,
    /// Whether the image comes in several passes of growing accuracy.
    pub progressive: bool,
    /// For each component, how many pixels one of its samples is wide and high: `(2, 2)` is 4:2:0 chroma.
    pub subsampling: Vec<(u8, u8)>,
}
