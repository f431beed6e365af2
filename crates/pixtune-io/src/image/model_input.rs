//! What a model is fed of an image: its grid, and the floats of its pixels.

use pixtune_core::spec::ModelSpec;
use pixtune_core::tokens::{Grid, grid};

use super::budget::share;
use super::decode::decode;
use super::encode_png::encode_png;
use super::error::ImageError;
use super::limits::Limits;
use super::load::Loaded;
use super::raster::{Reading, Rgb};
use super::resample::{Filter, Plane, model_pixels, resample};
use super::structure::check_structure;

/// An image as the vision encoder gets it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInput {
    /// How it is cut into patches.
    pub grid: Grid,
    /// `3 * grid.height * grid.width` normalized values: all of red, then green, then blue, row by row.
    pub pixels: Vec<f32>,
}

/// Decodes an image and makes of it what mistral-common 1.13.1 makes: transparency on white, stretched to the grid by
/// OpenCV's cubic, normalized.
pub fn model_input(image: &Loaded, spec: &ModelSpec, limits: &Limits) -> Result<ModelInput, ImageError> {
    let Loaded { bytes, header } = image;
    check_structure(bytes)?.accepted()?;
    let _share = share(bytes, header);
    let rgb = decode(bytes, header, limits, Reading::Reference)?.rgb;
    let (width, height) = header.reference_size();
    let grid = grid(spec, width, height);
    let pixels = model_pixels(&rgb, grid.width as usize, grid.height as usize);
    Ok(ModelInput { grid, pixels })
}

/// The image as a PNG of the size that the model sees, with mistral-common's filter; each value is rounded to a byte, which the
/// reference does not do.
pub fn resized_to_patches(image: &Loaded, spec: &ModelSpec, limits: &Limits) -> Result<Vec<u8>, ImageError> {
    let Loaded { bytes, header } = image;
    let _share = share(bytes, header);
    let rgb = decode(bytes, header, limits, Reading::Reference)?.rgb;
    let (width, height) = header.reference_size();
    let grid = grid(spec, width, height);
    let (width, height) = (grid.width as usize, grid.height as usize);
    let pixels = resample(Plane::from(&rgb), width, height, Filter::Cubic);
    Ok(encode_png(&Rgb { width, height, pixels }))
}
