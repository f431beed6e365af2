//! One scan after another: sequential ones straight to samples, progressive ones by way of coefficients.

use super::baseline::{Damage, ScanPart, decode_interval};
use super::bits::{BitReader, EntropyBytes};
use super::error::JpegError;
use super::frame::{Frame, Process};
use super::huffman::{AcTable, Coding, HuffmanSpec, HuffmanTable};
use super::idct::{Coefficients, fill_flat, flat_sample, idct};
use super::image::Image;
use super::markers::{Scan, Walker};
use super::planes::{Plane, Planes};
use super::progressive::{self, Pass, ProgressivePart};
use std::ops::Range;

/// Marks a coefficient of which no scan has brought anything.
const UNKNOWN: i8 = -1;

/// Decodes scans, and knows what is still missing.
pub(super) struct ScanDecoder {
    entropy: EntropyBytes,
    /// Blocks of each component of a progressive image.
    coefficients: Vec<Vec<Coefficients>>,
    /// For each component and zigzag index, how many low bits no scan has brought yet, or [`UNKNOWN`].
    missing_bits: [[i8; 64]; 4],
}

impl Default for ScanDecoder {
    fn default() -> Self {
        let (entropy, coefficients) = (EntropyBytes::default(), Vec::new());
        Self { entropy, coefficients, missing_bits: [[UNKNOWN; 64]; 4] }
    }
}

impl ScanDecoder {
    /// Gets ready for the first scan of an image.
    pub(super) fn start(&mut self, frame: &Frame) {
        self.missing_bits = [[UNKNOWN; 64]; 4];
        self.coefficients.clear();
        if frame.process == Process::Progressive {
            let blocks = frame.components.iter().map(|component| frame.padded_blocks(component));
            self.coefficients
                .extend(blocks.map(|(across, down)| vec![[0; 64]; across as usize * down as usize]));
        }
    }

    /// Decodes the scan whose header the walker has just passed.
    pub(super) fn decode(
        &mut self,
        walker: &mut Walker<'_>,
        image: &Image,
        scan: &Scan,
        planes: &mut Planes,
    ) -> Result<(), JpegError> {
        match image.frame(walker)?.process {
            Process::Sequential => self.sequential(walker, image, scan, planes),
            Process::Progressive => self.progressive(walker, image, scan),
        }
    }

    /// Checks that nothing is missing, and brings progressive coefficients to the planes.
    pub(super) fn finish(
        &mut self,
        walker: &Walker<'_>,
        image: &Image,
        planes: &mut Planes,
    ) -> Result<(), JpegError> {
        let frame = image.frame(walker)?;
        let missing = &self.missing_bits[..frame.components.len()];
        if missing.as_flattened().iter().any(|&bits| bits != 0) {
            return Err(match frame.process {
                Process::Sequential => walker.corrupt("the EOI marker before every component has a scan"),
                Process::Progressive => JpegError::Incomplete,
            });
        }
        for ((plane, steps), blocks) in
            planes.planes.iter_mut().zip(&image.steps).zip(self.coefficients.drain(..))
        {
            if let Some(steps) = steps {
                plane.samples.resize(blocks.len() * 64, 0);
                transform_blocks(plane, steps, &blocks);
            }
        }
        Ok(())
    }

    fn sequential(
        &mut self,
        walker: &mut Walker<'_>,
        image: &Image,
        scan: &Scan,
        planes: &mut Planes,
    ) -> Result<(), JpegError> {
        let frame = image.frame(walker)?;
        let mut planes: Vec<Option<&mut Plane>> = planes.planes.iter_mut().map(Some).collect();
        let mut parts = Vec::with_capacity(4);
        for &(index, dc, ac) in &scan.components {
            let missing = std::mem::replace(&mut self.missing_bits[index], [0; 64]);
            let (Some(plane), Some(steps), UNKNOWN) = (planes[index].take(), &image.steps[index], missing[0])
            else {
                return Err(walker.corrupt("a second scan of a component"));
            };
            parts.push(ScanPart {
                plane,
                steps,
                dc: table(walker, &image.tables.dc, dc, Coding::Dc)?,
                ac: AcTable::new(spec(walker, &image.tables.ac, ac)?).map_err(|what| walker.corrupt(what))?,
                blocks: scan.blocks(frame, index),
                predictor: 0,
            });
        }
        let mcus = scan.mcus(frame);
        self.intervals(walker, image, mcus, |reader, range| {
            parts.iter_mut().for_each(|part| part.predictor = 0);
            decode_interval(reader, &mut parts, range, mcus.0)
        })
    }

    fn progressive(&mut self, walker: &mut Walker<'_>, image: &Image, scan: &Scan) -> Result<(), JpegError> {
        let frame = image.frame(walker)?;
        self.note_bits(scan).map_err(|what| walker.corrupt(what))?;
        let pass = pass(walker, image, scan)?;
        let mut coefficients = std::mem::take(&mut self.coefficients);
        let mut blocks: Vec<Option<&mut Vec<Coefficients>>> = coefficients.iter_mut().map(Some).collect();
        let mut parts = Vec::with_capacity(4);
        for &(index, ..) in &scan.components {
            parts.push(ProgressivePart {
                coefficients: blocks[index]
                    .take()
                    .ok_or_else(|| walker.corrupt("a component twice in a scan"))?,
                stride: frame.padded_blocks(&frame.components[index]).0 as usize,
                blocks: scan.blocks(frame, index),
                predictor: 0,
            });
        }
        let mcus = scan.mcus(frame);
        self.intervals(walker, image, mcus, |reader, range| {
            parts.iter_mut().for_each(|part| part.predictor = 0);
            progressive::decode_interval(&pass, reader, &mut parts, range, mcus.0)
        })?;
        drop(parts);
        self.coefficients = coefficients;
        Ok(())
    }

    /// Checks that a scan carries the next bits of its coefficients, and records them (T.81 G.1.1.1).
    fn note_bits(&mut self, scan: &Scan) -> Result<(), &'static str> {
        let ((first, last), (high, low)) = (scan.spectral, scan.approximation);
        let is_band = if first == 0 { last == 0 } else { first <= last && scan.components.len() == 1 };
        if !is_band || last > 63 || low > 13 || (high != 0 && high != low + 1) {
            return Err("a progressive scan of impossible coefficients");
        }
        for &(index, ..) in &scan.components {
            let missing = &mut self.missing_bits[index];
            if first != 0 && missing[0] == UNKNOWN {
                return Err("a scan of AC coefficients before those of DC");
            }
            for bits in &mut missing[usize::from(first)..=usize::from(last)] {
                let expected = if high == 0 { UNKNOWN } else { high as i8 };
                if *bits != expected {
                    return Err("a progressive scan that does not follow from the ones before it");
                }
                *bits = low as i8;
            }
        }
        Ok(())
    }

    /// Decodes the restart intervals of a scan with `mcus` MCUs across and down.
    fn intervals(
        &mut self,
        walker: &mut Walker<'_>,
        image: &Image,
        mcus: (usize, usize),
        mut decode: impl FnMut(&mut BitReader<'_>, Range<usize>) -> Result<(), Damage>,
    ) -> Result<(), JpegError> {
        let total = mcus.0 * mcus.1;
        let interval = match image.tables.restart_interval {
            0 => total,
            interval => interval as usize,
        };
        for (number, first) in (0..total).step_by(interval).enumerate() {
            if number > 0 {
                walker.expect_restart(((number - 1) & 7) as u8)?;
            }
            let start = walker.at;
            walker.at = self.entropy.fill(walker.file, start);
            decode(&mut self.entropy.reader(), first..total.min(first + interval)).map_err(|damage| {
                match damage {
                    _ if walker.at == walker.file.len() => walker.truncated(),
                    Damage::OutOfBits => walker.corrupt("the entropy-coded data end before the image"),
                    Damage::BadCode => JpegError::corrupt(start, "bits that are not a Huffman code"),
                }
            })?;
        }
        Ok(())
    }
}

/// What a progressive scan does, with the codes it needs for that.
fn pass(walker: &Walker<'_>, image: &Image, scan: &Scan) -> Result<Pass, JpegError> {
    let ((first, last), (high, shift)) = (scan.spectral, scan.approximation);
    let band = first..=last;
    let ac = |number| table(walker, &image.tables.ac, number, Coding::Raw);
    Ok(match (first, high, &scan.components[..]) {
        (0, 0, components) => {
            let codes = components.iter().map(|&(_, dc, _)| table(walker, &image.tables.dc, dc, Coding::Dc));
            Pass::DcFirst { codes: codes.collect::<Result<_, _>>()?, shift }
        }
        (0, ..) => Pass::DcRefine { shift },
        (_, 0, &[(_, _, number), ..]) => Pass::AcFirst { code: ac(number)?, band, shift },
        (_, _, &[(_, _, number), ..]) => Pass::AcRefine { code: ac(number)?, band, shift },
        _ => return Err(walker.corrupt("a scan without components")),
    })
}

fn table(
    walker: &Walker<'_>,
    specs: &[Option<HuffmanSpec>; 4],
    number: u8,
    coding: Coding,
) -> Result<HuffmanTable, JpegError> {
    HuffmanTable::new(spec(walker, specs, number)?, coding).map_err(|what| walker.corrupt(what))
}

fn spec<'a>(
    walker: &Walker<'_>,
    specs: &'a [Option<HuffmanSpec>; 4],
    number: u8,
) -> Result<&'a HuffmanSpec, JpegError> {
    let spec = specs.get(usize::from(number)).and_then(Option::as_ref);
    spec.ok_or_else(|| walker.corrupt("a scan with a Huffman table that is not defined"))
}

fn transform_blocks(plane: &mut Plane, steps: &Coefficients, blocks: &[Coefficients]) {
    #[cfg(target_arch = "x86_64")]
    if super::avx2::is_available() {
        // SAFETY: the machine has AVX2.
        return unsafe { transform_blocks_avx2(plane, steps, blocks) };
    }
    transform_blocks_with(plane, steps, blocks, idct);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn transform_blocks_avx2(plane: &mut Plane, steps: &Coefficients, blocks: &[Coefficients]) {
    transform_blocks_with(plane, steps, blocks, |block, steps, out, stride| {
        super::avx2::idct(block, steps, out, stride);
    });
}

#[inline(always)]
fn transform_blocks_with(
    plane: &mut Plane,
    steps: &Coefficients,
    blocks: &[Coefficients],
    transform: impl Fn(&Coefficients, &Coefficients, &mut [u8], usize),
) {
    let stride = plane.stride;
    let rows = plane.samples.chunks_exact_mut(stride * 8).zip(blocks.chunks_exact(stride / 8));
    for (samples, blocks) in rows {
        for (column, block) in blocks.iter().enumerate() {
            let out = &mut samples[column * 8..];
            // A fold without a way out is one the compiler makes wide.
            if block[1..].iter().fold(0, |any, &value| any | value) == 0 {
                fill_flat(flat_sample(block[0], steps[0]), out, stride);
            } else {
                transform(block, steps, out, stride);
            }
        }
    }
}
