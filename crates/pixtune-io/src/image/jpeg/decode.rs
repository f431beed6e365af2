//! Decodes a file into planes: reads the segments and starts the step of each.

use super::Header;
use super::error::JpegError;
use super::image::Image;
use super::markers::{Segment, Walker, parse_scan};
use super::planes::Planes;
use super::scan::ScanDecoder;

/// Encoders write about ten scans; a valid script for four components could have hundreds.
const MAX_SCANS: usize = 100;

/// What a caller is ready to pay for an image. Checked before anything is allocated for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Width times height.
    pub max_pixels: u64,
}

impl Default for Limits {
    /// Where Pillow refuses an image as a decompression bomb: 2 x `Image.MAX_IMAGE_PIXELS`.
    fn default() -> Self {
        Self { max_pixels: 2 * 89_478_485 }
    }
}

impl Limits {
    fn check(&self, (width, height): (u32, u32)) -> Result<(), JpegError> {
        if u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(JpegError::TooLarge { width, height, max_pixels: self.max_pixels });
        }
        Ok(())
    }
}

/// Reads the markers up to the first scan.
pub fn read_header(file: &[u8]) -> Result<Header, JpegError> {
    let mut walker = Walker::new(file)?;
    let mut image = Image::new();
    loop {
        match walker.next()? {
            Segment::Table(marker, body) => image.learn(&walker, marker, body)?,
            Segment::Frame(marker, body) => image.start(&walker, marker, body)?,
            Segment::Scan(_) => return Ok(image.header(image.frame(&walker)?)),
            Segment::End => return Err(walker.corrupt("no scan before the EOI marker")),
        }
    }
}

/// Walks over all markers without decoding: every segment lies inside the file, every component has a scan, the EOI
/// marker is there. Costs a pass over the bytes.
pub fn check_structure(file: &[u8]) -> Result<Header, JpegError> {
    walk(file).map(|(header, _)| header)
}

/// The walk of [`check_structure`], with the place behind the EOI marker.
pub fn walk(file: &[u8]) -> Result<(Header, usize), JpegError> {
    let mut walker = Walker::new(file)?;
    let mut image = Image::new();
    let mut scanned = [false; 4];
    loop {
        match walker.next()? {
            Segment::Table(marker, body) => image.learn(&walker, marker, body)?,
            Segment::Frame(marker, body) => image.start(&walker, marker, body)?,
            Segment::Scan(body) => {
                let scan = parse_scan(image.frame(&walker)?, body, walker.at)?;
                scan.components.iter().for_each(|&(index, ..)| scanned[index] = true);
            }
            Segment::End => {
                let frame = image.frame(&walker)?;
                if scanned[..frame.components.len()].contains(&false) {
                    return Err(walker.corrupt("the EOI marker before every component has a scan"));
                }
                return Ok((image.header(frame), walker.at));
            }
        }
    }
}

/// Decodes an image to planes. To decode many, keep a [`Decoder`].
pub fn decode(file: &[u8], limits: &Limits) -> Result<Planes, JpegError> {
    let mut planes = Planes::default();
    Decoder::default().decode_into(file, limits, &mut planes)?;
    Ok(planes)
}

/// Buffers that are worth keeping from one image to the next.
#[derive(Default)]
pub struct Decoder {
    scans: ScanDecoder,
}

impl Decoder {
    /// Decodes an image into `planes`, whose buffers are reused. After an error their samples mean nothing.
    pub fn decode_into(
        &mut self,
        file: &[u8],
        limits: &Limits,
        planes: &mut Planes,
    ) -> Result<(), JpegError> {
        let mut walker = Walker::new(file)?;
        let mut image = Image::new();
        let mut scans = 0;
        loop {
            match walker.next()? {
                Segment::Table(marker, body) => image.learn(&walker, marker, body)?,
                Segment::Frame(marker, body) => {
                    image.start(&walker, marker, body)?;
                    limits.check(image.frame(&walker)?.size)?;
                }
                Segment::Scan(body) => {
                    let scan = parse_scan(image.frame(&walker)?, body, walker.at)?;
                    if scans == 0 {
                        image.shape(planes);
                        self.scans.start(image.frame(&walker)?);
                    } else if scans == MAX_SCANS {
                        return Err(JpegError::TooManyScans { limit: MAX_SCANS });
                    }
                    scans += 1;
                    image.latch_steps(&walker, &scan)?;
                    self.scans.decode(&mut walker, &image, &scan, planes)?;
                }
                // Before its first scan, what the decoder knows is of the image before.
                Segment::End if scans == 0 => return Err(walker.corrupt("no scan before the EOI marker")),
                Segment::End => return self.scans.finish(&walker, &image, planes),
            }
        }
    }
}
