//! Images: sniff, inspect, decode, orient, resize, encode, measure.
//!
//! [`load`] turns what a row names into bytes and a header, for every command within the same [`Limits`];
//! [`inspect`] reads the header and refuses what the limits refuse before anything is allocated;
//! [`check_structure`] walks over the blocks of a file and knows which of them the reference refuses; [`decode`] makes RGB
//! of the bytes; [`model_input`] gives what a model is fed.
mod bmp;
mod budget;
mod decode;
mod encode_png;
mod error;
mod exif;
mod faults;
mod finding;
pub mod fit;
mod gif;
mod graphic;
mod header;
mod inspect;
pub mod jpeg;
mod jpeg_file;
mod limits;
mod load;
pub mod measure;
mod model_input;
mod orient;
mod png;
mod profile;
mod raster;
pub mod resample;
mod resolve;
mod structure;
mod tiff;
mod webp;

pub use crate::sniff::{Format, NoImage, sniff};
pub(crate) use budget::share;
pub use decode::decode;
pub use encode_png::encode_png;
pub use error::ImageError;
pub(crate) use finding::{name, shorten};
pub use graphic::is_graphic;
pub use header::{Color, Header};
pub use inspect::inspect;
pub use limits::Limits;
pub(crate) use load::source_hash;
pub use load::{Inspected, Loaded, load, load_file, load_header};
pub use model_input::{ModelInput, model_input, resized_to_patches};
pub use orient::{Orientation, orient};
pub use raster::{Decoded, Reading, Rgb};
pub(crate) use resolve::spellings;
pub use resolve::{Archive, Resolver, near_path};
pub use structure::{Structure, check_structure};
