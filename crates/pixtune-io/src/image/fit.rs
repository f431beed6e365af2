//! Fits an image to a model and a target: it passes through unchanged when it fits already, and is re-encoded when not.

use pixtune_core::spec::ModelSpec;
use pixtune_core::target::{ImageFormat, Target};
use pixtune_core::tokens::{Grid, grid};

use super::budget::share;
use super::jpeg::{self, Planes, Subsampling};
use super::jpeg_file::with_planes;
use super::measure::Measure;
use super::profile::foreign_profile;
use super::resample::{Filter, Plane, resample};
use super::{Color, Format, Header, ImageError, Limits, Loaded, Orientation, Reading, Rgb, Structure};
use super::{check_structure, decode, encode_png, is_graphic, measure, orient};

/// The filter for downscaling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resampling {
    /// As the model's own preprocessing does it: cubic, without antialiasing.
    #[default]
    Mistral,
    /// Lanczos with antialiasing, softer to the eye.
    Lanczos,
}

impl Resampling {
    /// The word on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Resampling::Mistral => "mistral",
            Resampling::Lanczos => "lanczos",
        }
    }

    fn filter(self) -> Filter {
        match self {
            Resampling::Mistral => Filter::Cubic,
            Resampling::Lanczos => Filter::Lanczos,
        }
    }
}

/// What images must satisfy and how they may be changed.
#[derive(Debug, Clone)]
pub struct FitOptions {
    /// Limits of the source.
    pub limits: Limits,
    /// The model whose grid an image must fit.
    pub model: &'static ModelSpec,
    /// The target whose formats and sizes the result must satisfy.
    pub target: Target,
    /// Embed images unchanged.
    pub keep: bool,
    /// Decode images that pass through to the last pixel.
    pub decode_all: bool,
    /// The filter for downscaling.
    pub resampling: Resampling,
    /// Quality of re-encoded JPEGs.
    pub jpeg_quality: u8,
    /// Measure the images that are decoded.
    pub measure: bool,
}

/// An image that satisfies the options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FittedImage {
    /// The format of `bytes`.
    pub format: ImageFormat,
    /// The file.
    pub bytes: Vec<u8>,
    /// Width as the model gets it.
    pub width: u32,
    /// Height as the model gets it.
    pub height: u32,
    /// The format of the source.
    pub source: ImageFormat,
    /// Width and height of the source after auto-orientation.
    pub original: (u32, u32),
    /// The source is larger than the model sees.
    pub shrunk: bool,
    /// It was re-encoded.
    pub rewritten: bool,
    /// It is embedded although a viewer would rotate it by its EXIF orientation.
    pub sideways: bool,
    /// Pages of the file; the first is used. 1 for all but some TIFFs.
    pub pages: u32,
    /// Measurements of the source's pixels; `None` where they were not decoded.
    pub measure: Option<Measure>,
    /// The name of a dropped color profile other than sRGB.
    pub profile: Option<String>,
    /// Why strict readers refuse the source.
    pub fault: Option<String>,
    /// Bytes of the source behind the end of its image.
    pub trailing: u64,
}

/// Fits an image to the model and the target of `options`.
pub fn fit(image: Loaded, options: &FitOptions) -> Result<FittedImage, ImageError> {
    let Loaded { bytes, header } = image;
    if header.is_animated() {
        return Err(ImageError::Animated { format: header.format, frames: header.frames });
    }
    let structure = check_structure(&bytes)?;
    let trailing = bytes.len().saturating_sub(structure.end) as u64;
    let fault = structure.fault().map(str::to_owned);
    let profile = foreign_profile(&bytes, header.format);
    let fitted = fit_pixels(bytes, &header, &structure, options)?;
    let profile = profile.filter(|_| fitted.rewritten);
    Ok(FittedImage { profile, fault, trailing, ..fitted })
}

fn fit_pixels(
    mut bytes: Vec<u8>,
    header: &Header,
    structure: &Structure,
    options: &FitOptions,
) -> Result<FittedImage, ImageError> {
    let _share = share(&bytes, header);
    if options.keep {
        structure.accepted()?;
        return keep(bytes, header, options);
    }
    bytes.truncate(structure.end);
    let (width, height) = header.oriented_size();
    let grid = grid(options.model, width, height);
    let plain = structure.fault().is_none()
        && header.orientation.is_normal()
        && !grid.shrunk
        && header.bits <= 8
        && header.color != Color::Cmyk
        && options.target.formats.contains(&header.format)
        && bytes.len() as u64 <= options.target.max_image_bytes;
    if plain && !header.alpha {
        let measure = prove(&bytes, header, options)?;
        return Ok(FittedImage { measure, ..unchanged(bytes, header, (width, height)) });
    }
    if header.format == Format::Jpeg {
        return rewrite_jpeg(&bytes, header, grid, options).and_then(|fitted| fitted.within(options));
    }
    let decoded = decode(&bytes, header, &options.limits, Reading::Corrected)?;
    let measure = measure_rgb(&decoded.rgb, options);
    if plain && decoded.opaque {
        return Ok(FittedImage { measure, ..unchanged(bytes, header, (width, height)) });
    }
    let written = rewrite(decoded.rgb, header, grid, options)?.within(options)?;
    Ok(FittedImage { measure, ..written })
}

impl FittedImage {
    /// A re-encoded image can still be larger than the target accepts.
    fn within(self, options: &FitOptions) -> Result<FittedImage, ImageError> {
        let (bytes, max) = (self.bytes.len() as u64, options.target.max_image_bytes);
        if bytes > max { Err(ImageError::TooManyBytes { bytes, max }) } else { Ok(self) }
    }
}

fn measure_rgb(rgb: &Rgb, options: &FitOptions) -> Option<Measure> {
    options.measure.then(|| measure::rgb(rgb))
}

fn measure_planes(planes: &Planes, header: &Header, options: &FitOptions) -> Option<Measure> {
    options.measure.then(|| measure::planes(planes, header.orientation))
}

/// Decodes an image that passes through, where that is asked for, and measures it. That its structure is whole is known.
fn prove(bytes: &[u8], header: &Header, options: &FitOptions) -> Result<Option<Measure>, ImageError> {
    if !options.decode_all {
        return Ok(None);
    }
    if header.format == Format::Jpeg {
        return with_planes(bytes, &options.limits, |planes| measure_planes(planes, header, options));
    }
    let decoded = decode(bytes, header, &options.limits, Reading::Corrected)?;
    Ok(measure_rgb(&decoded.rgb, options))
}

fn keep(bytes: Vec<u8>, header: &Header, options: &FitOptions) -> Result<FittedImage, ImageError> {
    if !options.target.formats.contains(&header.format) {
        return Err(ImageError::UnsupportedFormat { format: header.format, target: options.target.id });
    }
    if bytes.len() as u64 > options.target.max_image_bytes {
        return Err(ImageError::TooManyBytes {
            bytes: bytes.len() as u64,
            max: options.target.max_image_bytes,
        });
    }
    let measure = prove(&bytes, header, options)?;
    // The model's preprocessing ignores EXIF orientation, so the stored size counts.
    let sideways = !header.orientation.is_normal();
    Ok(FittedImage { sideways, measure, ..unchanged(bytes, header, (header.width, header.height)) })
}

fn unchanged(bytes: Vec<u8>, header: &Header, (width, height): (u32, u32)) -> FittedImage {
    let format = header.format;
    FittedImage {
        format,
        bytes,
        width,
        height,
        source: format,
        original: (width, height),
        shrunk: false,
        rewritten: false,
        sideways: false,
        pages: header.frames,
        measure: None,
        profile: None,
        fault: None,
        trailing: 0,
    }
}

/// An image of the source's format that was re-encoded at a size.
fn reencoded(bytes: Vec<u8>, header: &Header, grid: Grid, size: (u32, u32)) -> FittedImage {
    let (original, shrunk) = (header.oriented_size(), grid.shrunk);
    FittedImage { original, shrunk, rewritten: true, ..unchanged(bytes, header, size) }
}

/// Encodes a decoded image: graphics and text losslessly, photographs as JPEG.
fn rewrite(
    mut rgb: Rgb,
    header: &Header,
    grid: Grid,
    options: &FitOptions,
) -> Result<FittedImage, ImageError> {
    if grid.shrunk {
        rgb = shrink(&rgb, grid, options);
    }
    let (width, height) = (rgb.width as u32, rgb.height as u32);
    let ready = |format, bytes| FittedImage { format, ..reencoded(bytes, header, grid, (width, height)) };
    if is_graphic(&rgb) {
        let png = encode_png(&rgb);
        if png.len() as u64 <= options.target.max_image_bytes {
            return Ok(ready(Format::Png, png));
        }
    }
    Ok(ready(Format::Jpeg, encode_jpeg(&rgb, Subsampling::Quarter, options)?))
}

fn shrink(rgb: &Rgb, grid: Grid, options: &FitOptions) -> Rgb {
    let (width, height) = (grid.width as usize, grid.height as usize);
    let pixels = resample(Plane::from(rgb), width, height, options.resampling.filter());
    Rgb { width, height, pixels }
}

fn encode_jpeg(rgb: &Rgb, subsampling: Subsampling, options: &FitOptions) -> Result<Vec<u8>, ImageError> {
    let mut out = Vec::new();
    jpeg::encode_rgb(&rgb.pixels, (rgb.width, rgb.height), options.jpeg_quality, subsampling, &mut out)
        .map_err(|error| ImageError::corrupt(Format::Jpeg, error.to_string()))?;
    Ok(out)
}

/// A JPEG stays a JPEG. One that is only downscaled goes from planes to planes without a conversion to RGB:
/// chroma is resampled at its own resolution instead of being upsampled and averaged again.
fn rewrite_jpeg(
    bytes: &[u8],
    header: &Header,
    grid: Grid,
    options: &FitOptions,
) -> Result<FittedImage, ImageError> {
    let ready = |size, bytes, measure| FittedImage { measure, ..reencoded(bytes, header, grid, size) };
    with_planes(bytes, &options.limits, |planes| {
        let measure = measure_planes(planes, header, options);
        if grid.shrunk && matches!(planes.color, jpeg::Color::Gray | jpeg::Color::YCbCr) {
            let smaller = shrink_planes(planes, header.orientation, grid, options.resampling.filter());
            let mut out = Vec::new();
            jpeg::encode_planes(&smaller, options.jpeg_quality, &mut out)
                .map_err(|error| ImageError::corrupt(Format::Jpeg, error.to_string()))?;
            return Ok(ready((grid.width, grid.height), out, measure));
        }
        let pixels = orient(planes.to_rgb(), planes.width, planes.height, 3, header.orientation);
        let (width, height) = header.oriented_size();
        let mut rgb = Rgb { width: width as usize, height: height as usize, pixels };
        if grid.shrunk {
            rgb = shrink(&rgb, grid, options);
        }
        let subsampling = if chroma_is_full(planes) { Subsampling::None } else { Subsampling::Quarter };
        let out = encode_jpeg(&rgb, subsampling, options)?;
        Ok(ready((rgb.width as u32, rgb.height as u32), out, measure))
    })?
}

fn chroma_is_full(planes: &Planes) -> bool {
    planes.planes.iter().all(|plane| plane.ratio == (1, 1))
}

/// Each plane at its size in the target grid, auto-oriented.
fn shrink_planes(planes: &Planes, orientation: Orientation, grid: Grid, filter: Filter) -> Planes {
    let (width, height) = (grid.width as usize, grid.height as usize);
    let (stored_width, stored_height) =
        if orientation.swaps_sides() { (height, width) } else { (width, height) };
    let chroma_ratio = if chroma_is_full(planes) { 1 } else { 2 };
    let smaller = planes.planes.iter().enumerate().map(|(index, plane)| {
        let ratio = if index == 0 { 1 } else { chroma_ratio };
        let (wide, high) = (stored_width / ratio, stored_height / ratio);
        let source = Plane {
            pixels: &plane.samples,
            width: plane.width,
            height: plane.height,
            stride: plane.stride,
            channels: 1,
        };
        let samples = orient(resample(source, wide, high, filter), wide, high, 1, orientation);
        let (wide, high) = if orientation.swaps_sides() { (high, wide) } else { (wide, high) };
        jpeg::Plane { width: wide, height: high, stride: wide, ratio: (ratio as u8, ratio as u8), samples }
    });
    Planes { width, height, color: planes.color, planes: smaller.collect() }
}
