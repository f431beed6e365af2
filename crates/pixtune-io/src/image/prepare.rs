//! An image made ready for a model and a target: passed through when it fits already, written anew when not.

use std::cell::RefCell;

use pixtune_core::spec::ModelSpec;
use pixtune_core::target::{ImageFormat, Target};
use pixtune_core::tokens::{Grid, grid};

use super::budget::share;
use super::jpeg::{self, Decoder, Planes, Subsampling};
use super::measure::Measure;
use super::profile::foreign_profile;
use super::resample::{Filter, Plane, resample};
use super::{Color, Format, Header, ImageError, Limits, Loaded, Orientation, Reading, Rgb, Structure};
use super::{check_structure, decode, encode_png, is_graphic, measure, orient};

/// How an image is made smaller.
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

/// What images have to satisfy and what may be done to them.
#[derive(Debug, Clone)]
pub struct Policy {
    /// What is read at all.
    pub limits: Limits,
    /// Whose grid an image must fit.
    pub model: &'static ModelSpec,
    /// Whose formats and sizes hold for what is written.
    pub target: Target,
    /// Images are embedded as they are.
    pub keep: bool,
    /// Images that pass through are decoded to the last pixel.
    pub decode_all: bool,
    /// How images are made smaller.
    pub resampling: Resampling,
    /// Quality of JPEGs that are written anew.
    pub jpeg_quality: u8,
    /// Images that are decoded anyway are measured.
    pub measure: bool,
}

/// An image that can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The format of `bytes`.
    pub format: ImageFormat,
    /// The file.
    pub bytes: Vec<u8>,
    /// Width as the model gets it.
    pub width: u32,
    /// Height as the model gets it.
    pub height: u32,
    /// The format it came in.
    pub source: ImageFormat,
    /// The size it came in, upright.
    pub original: (u32, u32),
    /// It was larger than the model sees.
    pub shrunk: bool,
    /// It was re-encoded.
    pub rewritten: bool,
    /// It is embedded although a viewer would turn it.
    pub sideways: bool,
    /// Pages of the file, of which the first is taken; 1 for everything but some TIFFs.
    pub pages: u32,
    /// What was measured of the pixels as they came; nothing where they were not decoded.
    pub measure: Option<Measure>,
    /// The name of a color profile other than sRGB that was not written again.
    pub profile: Option<String>,
    /// What a reader stops at in the file as it came.
    pub fault: Option<String>,
    /// Bytes of the file as it came that lie behind the end of its image.
    pub trailing: u64,
}

/// Makes an image ready.
pub fn prepare(image: Loaded, policy: &Policy) -> Result<Prepared, ImageError> {
    let Loaded { bytes, header } = image;
    if header.is_animated() {
        return Err(ImageError::Animated { format: header.format, frames: header.frames });
    }
    let structure = check_structure(&bytes)?;
    let trailing = bytes.len().saturating_sub(structure.end) as u64;
    let fault = structure.fault().map(str::to_owned);
    let profile = foreign_profile(&bytes, header.format);
    let prepared = prepare_pixels(bytes, &header, &structure, policy)?;
    let profile = profile.filter(|_| prepared.rewritten);
    Ok(Prepared { profile, fault, trailing, ..prepared })
}

fn prepare_pixels(
    mut bytes: Vec<u8>,
    header: &Header,
    structure: &Structure,
    policy: &Policy,
) -> Result<Prepared, ImageError> {
    let _share = share(&bytes, header);
    if policy.keep {
        structure.accepted()?;
        return keep(bytes, header, policy);
    }
    bytes.truncate(structure.end);
    let (width, height) = header.upright_size();
    let grid = grid(policy.model, width, height);
    let plain = structure.fault().is_none()
        && header.orientation.is_upright()
        && !grid.shrunk
        && header.bits <= 8
        && header.color != Color::Cmyk
        && policy.target.formats.contains(&header.format)
        && bytes.len() as u64 <= policy.target.max_image_bytes;
    if plain && !header.alpha {
        let measure = prove(&bytes, header, policy)?;
        return Ok(Prepared { measure, ..unchanged(bytes, header, (width, height)) });
    }
    if header.format == Format::Jpeg {
        return rewrite_jpeg(&bytes, header, grid, policy).and_then(|prepared| prepared.within(policy));
    }
    let decoded = decode(&bytes, header, &policy.limits, Reading::Corrected)?;
    let measure = measure_rgb(&decoded.rgb, policy);
    if plain && decoded.opaque {
        return Ok(Prepared { measure, ..unchanged(bytes, header, (width, height)) });
    }
    let written = rewrite(decoded.rgb, header, grid, policy)?.within(policy)?;
    Ok(Prepared { measure, ..written })
}

impl Prepared {
    /// What was written anew can still be larger than the target takes.
    fn within(self, policy: &Policy) -> Result<Prepared, ImageError> {
        let (bytes, max) = (self.bytes.len() as u64, policy.target.max_image_bytes);
        if bytes > max { Err(ImageError::TooManyBytes { bytes, max }) } else { Ok(self) }
    }
}

fn measure_rgb(rgb: &Rgb, policy: &Policy) -> Option<Measure> {
    policy.measure.then(|| measure::rgb(rgb))
}

fn measure_planes(planes: &Planes, header: &Header, policy: &Policy) -> Option<Measure> {
    policy.measure.then(|| measure::planes(planes, header.orientation))
}

/// Decodes an image that passes through, where that is asked for, and measures it. That its structure is whole is known.
fn prove(bytes: &[u8], header: &Header, policy: &Policy) -> Result<Option<Measure>, ImageError> {
    if !policy.decode_all {
        return Ok(None);
    }
    if header.format == Format::Jpeg {
        return with_planes(bytes, &policy.limits, |planes| measure_planes(planes, header, policy));
    }
    let decoded = decode(bytes, header, &policy.limits, Reading::Corrected)?;
    Ok(measure_rgb(&decoded.rgb, policy))
}

fn keep(bytes: Vec<u8>, header: &Header, policy: &Policy) -> Result<Prepared, ImageError> {
    if !policy.target.formats.contains(&header.format) {
        return Err(ImageError::NotTaken { format: header.format, target: policy.target.id });
    }
    if bytes.len() as u64 > policy.target.max_image_bytes {
        return Err(ImageError::TooManyBytes {
            bytes: bytes.len() as u64,
            max: policy.target.max_image_bytes,
        });
    }
    let measure = prove(&bytes, header, policy)?;
    // The model's preprocessing does not turn images, so it is the stored size that counts.
    let sideways = !header.orientation.is_upright();
    Ok(Prepared { sideways, measure, ..unchanged(bytes, header, (header.width, header.height)) })
}

fn unchanged(bytes: Vec<u8>, header: &Header, (width, height): (u32, u32)) -> Prepared {
    let format = header.format;
    Prepared {
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

/// Writes a decoded image: graphics and text losslessly, photographs as JPEG.
fn rewrite(mut rgb: Rgb, header: &Header, grid: Grid, policy: &Policy) -> Result<Prepared, ImageError> {
    if grid.shrunk {
        rgb = shrink(&rgb, grid, policy);
    }
    let (width, height) = (rgb.width as u32, rgb.height as u32);
    let ready = |format, bytes| {
        let (source, shrunk) = (header.format, grid.shrunk);
        let original = header.upright_size();
        Prepared {
            format,
            bytes,
            width,
            height,
            source,
            original,
            shrunk,
            rewritten: true,
            sideways: false,
            pages: header.frames,
            measure: None,
            profile: None,
            fault: None,
            trailing: 0,
        }
    };
    if is_graphic(&rgb) {
        let png = encode_png(&rgb);
        if png.len() as u64 <= policy.target.max_image_bytes {
            return Ok(ready(Format::Png, png));
        }
    }
    Ok(ready(Format::Jpeg, encode_jpeg(&rgb, Subsampling::Quarter, policy)?))
}

fn shrink(rgb: &Rgb, grid: Grid, policy: &Policy) -> Rgb {
    let (width, height) = (grid.width as usize, grid.height as usize);
    let pixels = resample(Plane::from(rgb), width, height, policy.resampling.filter());
    Rgb { width, height, pixels }
}

fn encode_jpeg(rgb: &Rgb, subsampling: Subsampling, policy: &Policy) -> Result<Vec<u8>, ImageError> {
    let mut out = Vec::new();
    jpeg::encode_rgb(&rgb.pixels, (rgb.width, rgb.height), policy.jpeg_quality, subsampling, &mut out)
        .map_err(|error| ImageError::corrupt(Format::Jpeg, error.to_string()))?;
    Ok(out)
}

/// A JPEG stays a JPEG. One that only gets smaller goes from planes to planes, which spares it the way through RGB:
/// chroma is resampled at its own resolution instead of being blown up and averaged down again.
fn rewrite_jpeg(bytes: &[u8], header: &Header, grid: Grid, policy: &Policy) -> Result<Prepared, ImageError> {
    let ready = |(width, height), bytes, measure| Prepared {
        format: Format::Jpeg,
        bytes,
        width,
        height,
        source: Format::Jpeg,
        original: header.upright_size(),
        shrunk: grid.shrunk,
        rewritten: true,
        sideways: false,
        pages: header.frames,
        measure,
        profile: None,
        fault: None,
        trailing: 0,
    };
    with_planes(bytes, &policy.limits, |planes| {
        let measure = measure_planes(planes, header, policy);
        if grid.shrunk && matches!(planes.color, jpeg::Color::Gray | jpeg::Color::YCbCr) {
            let smaller = shrink_planes(planes, header.orientation, grid, policy.resampling.filter());
            let mut out = Vec::new();
            jpeg::encode_planes(&smaller, policy.jpeg_quality, &mut out)
                .map_err(|error| ImageError::corrupt(Format::Jpeg, error.to_string()))?;
            return Ok(ready((grid.width, grid.height), out, measure));
        }
        let pixels = orient(planes.to_rgb(), planes.width, planes.height, 3, header.orientation);
        let (width, height) = header.upright_size();
        let mut rgb = Rgb { width: width as usize, height: height as usize, pixels };
        if grid.shrunk {
            rgb = shrink(&rgb, grid, policy);
        }
        let subsampling = if chroma_is_full(planes) { Subsampling::None } else { Subsampling::Quarter };
        let out = encode_jpeg(&rgb, subsampling, policy)?;
        Ok(ready((rgb.width as u32, rgb.height as u32), out, measure))
    })?
}

fn chroma_is_full(planes: &Planes) -> bool {
    planes.planes.iter().all(|plane| plane.ratio == (1, 1))
}

/// Each plane at the size it has in the target grid, turned upright.
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

/// Decodes a JPEG into planes that each thread keeps, so that a run does not allocate them anew for every image.
pub(super) fn with_planes<T>(
    bytes: &[u8],
    limits: &Limits,
    use_planes: impl FnOnce(&Planes) -> T,
) -> Result<T, ImageError> {
    thread_local! {
        static KEPT: RefCell<(Decoder, Planes)> = RefCell::default();
    }
    KEPT.with_borrow_mut(|(decoder, planes)| {
        let limits = jpeg::Limits { max_pixels: limits.max_pixels };
        decoder.decode_into(bytes, &limits, planes).map_err(super::jpeg_file::error)?;
        let used = use_planes(planes);
        if planes.width * planes.height > (16 << 20) {
            *planes = Planes::default();
            *decoder = Decoder::default();
        }
        Ok(used)
    })
}
