//! Images: sniff, inspect, decode, orient, resize, encode, measure.
//!
//! [`inspect`] reads the header and refuses what the [`Limits`] refuse before anything is allocated;
//! [`decode`] makes RGB of the bytes; [`check_structure`] is the cheap proof for images whose bytes are
//! passed on unchanged; [`model_input`] gives what a model is fed.
mod bmp;
mod bytes;
mod decode;
mod encode_png;
mod error;
mod exif;
mod gif;
mod graphic;
mod header;
pub mod jpeg;
mod jpeg_file;
mod limits;
pub mod measure;
mod model_input;
mod orient;
mod png;
pub mod prepare;

mod raster;
pub mod resample;
mod sniff;
mod tiff;
mod webp;

pub use decode::{Decoded, Reading, check_structure, decode};
pub use encode_png::encode_png;
pub use error::ImageError;
pub use graphic::is_graphic;
pub use header::{Color, Header, inspect};
pub(crate) use jpeg_file::reaches_scan;
pub use limits::Limits;
pub use model_input::{ModelInput, model_input};
pub use orient::{Orientation, orient};
pub use raster::Rgb;
pub use sniff::{Format, sniff};
