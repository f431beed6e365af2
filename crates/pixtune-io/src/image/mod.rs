//! Images: sniff, inspect, decode, orient, resize, encode, measure.
//!
//! [`load`] turns what a row names into bytes and a header, for every command within the same [`Limits`];
//! [`inspect`] reads the header and refuses what the limits refuse before anything is allocated;
//! [`decode`] makes RGB of the bytes; [`check_structure`] is the cheap proof for images whose bytes are
//! passed on unchanged; [`model_input`] gives what a model is fed.
mod bmp;
mod bytes;
mod decode;
mod encode_png;
mod error;
mod exif;
mod finding;
mod gif;
mod graphic;
mod header;
pub mod jpeg;
mod jpeg_file;
mod limits;
mod load;
pub mod measure;
mod model_input;
mod orient;
mod png;
pub mod prepare;
mod raster;
pub mod resample;
mod resolve;
mod sniff;
mod tiff;
mod webp;

pub use decode::{Decoded, Reading, check_structure, decode};
pub use encode_png::encode_png;
pub use error::ImageError;
pub(crate) use finding::{name, shorten};
pub use graphic::is_graphic;
pub use header::{Color, Header, inspect};
pub use limits::Limits;
pub(crate) use load::source_hash;
pub use load::{Inspected, Loaded, load, load_file, load_header};
pub use model_input::{ModelInput, model_input};
pub use orient::{Orientation, orient};
pub use raster::Rgb;
pub(crate) use resolve::spellings;
pub use resolve::{Archive, Resolver, near_path};
pub use sniff::{Format, sniff};
