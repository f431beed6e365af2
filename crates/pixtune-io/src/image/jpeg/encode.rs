//! Planes to a baseline JPEG file, byte for byte as libjpeg writes it with the same settings.

use super::color::rgb_row_to_ycc;
use super::entropy::{BitWriter, CodeTable, write_block, write_filler};
use super::fdct::{Divisors, Quantised, quantized_block};
use super::huffman::HuffmanSpec;
use super::planes::{Color, Plane, Planes};
use super::tables::{
    CHROMINANCE_AC, CHROMINANCE_DC, CHROMINANCE_STEPS, LUMINANCE_AC, LUMINANCE_DC, LUMINANCE_STEPS, ZIGZAG,
};

/// How much smaller than the image the chroma planes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Subsampling {
    /// 4:4:4, not smaller.
    None,
    /// 4:2:2, half as wide.
    Half,
    /// 4:2:0, half as wide and half as high.
    #[default]
    Quarter,
}

impl Subsampling {
    /// How many pixels a chroma sample is wide and high.
    pub fn ratio(self) -> (u8, u8) {
        match self {
            Self::None => (1, 1),
            Self::Half => (2, 1),
            Self::Quarter => (2, 2),
        }
    }
}

/// Why planes cannot be written as a JPEG file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A side is zero or does not fit in the 16 bits of a frame header.
    #[error("{width}x{height} pixels do not fit in a JPEG file")]
    Size {
        /// Pixels in a row.
        width: usize,
        /// Rows.
        height: usize,
    },
    /// The samples are too few for the size.
    #[error("the samples are not those of an image of {width}x{height} pixels")]
    Shape {
        /// Pixels in a row.
        width: usize,
        /// Rows.
        height: usize,
    },
    /// Only gray and YCbCr are written.
    #[error("cannot write {0:?} planes as JPEG")]
    Color(Color),
}

/// Appends an image to `out` as a JFIF file. Luma has to be the largest plane; `quality` is libjpeg's, 1 to 100.
pub fn encode_planes(planes: &Planes, quality: u8, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let (width, height) = (planes.width, planes.height);
    if !matches!((width, height), (1..=65535, 1..=65535)) {
        return Err(EncodeError::Size { width, height });
    }
    let expected = match planes.color {
        Color::Gray => 1,
        Color::YCbCr => 3,
        other => return Err(EncodeError::Color(other)),
    };
    if planes.planes.len() != expected || !planes.planes.iter().all(|plane| covers(plane, width, height)) {
        return Err(EncodeError::Shape { width, height });
    }
    write_file(planes, quality, out);
    Ok(())
}

/// Appends interleaved RGB pixels to `out` as a JFIF file.
pub fn encode_rgb(
    rgb: &[u8],
    (width, height): (usize, usize),
    quality: u8,
    subsampling: Subsampling,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    if !matches!((width, height), (1..=65535, 1..=65535)) {
        return Err(EncodeError::Size { width, height });
    }
    if rgb.len() != width * height * 3 {
        return Err(EncodeError::Shape { width, height });
    }
    write_file(&planes_of_rgb(rgb, width, height, subsampling), quality, out);
    Ok(())
}

/// Whether the plane has a ratio that makes sense and all the samples it promises.
fn covers(plane: &Plane, width: usize, height: usize) -> bool {
    let (h, v) = (usize::from(plane.ratio.0), usize::from(plane.ratio.1));
    matches!((h, v), (1 | 2 | 4, 1 | 2 | 4))
        && (plane.width, plane.height) == (width.div_ceil(h), height.div_ceil(v))
        && plane.stride >= plane.width
        && plane.samples.len() >= plane.stride * (plane.height - 1) + plane.width
}

/// Color conversion and chroma averaging. Rows are filled up to whole blocks *before* averaging, as libjpeg does.
fn planes_of_rgb(rgb: &[u8], width: usize, height: usize, subsampling: Subsampling) -> Planes {
    let ratio = subsampling.ratio();
    let (h, v) = (usize::from(ratio.0), usize::from(ratio.1));
    let padded = width.next_multiple_of(8 * h);
    let plane = |ratio: (u8, u8), width: usize, height: usize| Plane {
        width,
        height,
        stride: width,
        ratio,
        samples: vec![0; width * height],
    };
    let mut luma = plane((1, 1), padded, height);
    let mut chroma = [0; 2].map(|_| plane(ratio, padded / h, height.div_ceil(v)));
    // Two rows of each chroma component at full width, one below the other.
    let mut full = [0; 2].map(|_| vec![0; 2 * padded]);
    for (y, row) in rgb.chunks_exact(width * 3).enumerate() {
        let luma = &mut luma.samples[y * padded..][..padded];
        let [blue, red] = full.each_mut().map(|rows| &mut rows[y % v * padded..][..padded]);
        rgb_row_to_ycc(row.as_chunks::<3>().0, [&mut *luma, &mut *blue, &mut *red]);
        for row in [luma, blue, red] {
            let last = row[width - 1];
            row[width..].fill(last);
        }
        if y % v == v - 1 || y == height - 1 {
            for (small, full) in chroma.iter_mut().zip(&full) {
                let (upper, lower) = full.split_at(padded);
                let lower = if y % v == 1 { lower } else { upper };
                average(subsampling, upper, lower, &mut small.samples[y / v * (padded / h)..][..padded / h]);
            }
        }
    }
    let [blue, red] = chroma;
    Planes { width, height, color: Color::YCbCr, planes: vec![luma, blue, red] }
}

/// Averages samples; the rounding bias alternates along the row, as in libjpeg's `jcsample.c`.
fn average(subsampling: Subsampling, upper: &[u8], lower: &[u8], out: &mut [u8]) {
    let sum = |pair: &[u8; 2]| u16::from(pair[0]) + u16::from(pair[1]);
    let pairs = upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0);
    match subsampling {
        Subsampling::None => out.copy_from_slice(upper),
        Subsampling::Half => {
            for (x, (out, (upper, _))) in out.iter_mut().zip(pairs).enumerate() {
                *out = ((sum(upper) + (x as u16 & 1)) >> 1) as u8;
            }
        }
        Subsampling::Quarter => {
            for (x, (out, (upper, lower))) in out.iter_mut().zip(pairs).enumerate() {
                *out = ((sum(upper) + sum(lower) + 1 + (x as u16 & 1)) >> 2) as u8;
            }
        }
    }
}

/// The steps of a quality from 1 to 100, by libjpeg's formula.
fn scaled_steps(base: &[u8; 64], quality: u8) -> [u8; 64] {
    let quality = u32::from(quality.clamp(1, 100));
    let percent = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
    base.map(|step| ((u32::from(step) * percent + 50) / 100).clamp(1, 255) as u8)
}

/// The part of a file that is the same for all blocks of a component.
struct Part<'a> {
    plane: &'a Plane,
    divisors: &'a Divisors,
    codes: (&'a CodeTable, &'a CodeTable),
    /// Blocks of the component in an MCU, across and down.
    sampling: (usize, usize),
    /// Blocks that hold samples of the image, across and down.
    blocks: (usize, usize),
    predictor: i16,
}

fn write_file(planes: &Planes, quality: u8, out: &mut Vec<u8>) {
    let steps = [scaled_steps(&LUMINANCE_STEPS, quality), scaled_steps(&CHROMINANCE_STEPS, quality)];
    let divisors = steps.each_ref().map(Divisors::new);
    let codes = [
        (CodeTable::new(&LUMINANCE_DC), CodeTable::new(&LUMINANCE_AC)),
        (CodeTable::new(&CHROMINANCE_DC), CodeTable::new(&CHROMINANCE_AC)),
    ];
    let max =
        planes.planes.iter().fold((1, 1), |max, plane| (plane.ratio.0.max(max.0), plane.ratio.1.max(max.1)));
    let mut parts = Vec::with_capacity(3);
    for (index, plane) in planes.planes.iter().enumerate() {
        let kind = index.min(1);
        let ratio = (usize::from(plane.ratio.0), usize::from(plane.ratio.1));
        parts.push(Part {
            plane,
            divisors: &divisors[kind],
            codes: (&codes[kind].0, &codes[kind].1),
            sampling: (usize::from(max.0) / ratio.0, usize::from(max.1) / ratio.1),
            blocks: (planes.width.div_ceil(8 * ratio.0), planes.height.div_ceil(8 * ratio.1)),
            predictor: 0,
        });
    }
    write_headers(planes, &steps, &parts, out);
    let mcus =
        (planes.width.div_ceil(8 * usize::from(max.0)), planes.height.div_ceil(8 * usize::from(max.1)));
    let mut writer = BitWriter::new(out);
    write_mcus(&mut writer, &mut parts, mcus);
    writer.finish();
    out.extend_from_slice(&[0xff, 0xd9]);
}

fn write_mcus(writer: &mut BitWriter<'_>, parts: &mut [Part<'_>], mcus: (usize, usize)) {
    #[cfg(target_arch = "x86_64")]
    if super::avx2::is_available() {
        // SAFETY: the machine has the features.
        return unsafe { write_mcus_avx2(writer, parts, mcus) };
    }
    write_mcus_with(writer, parts, mcus, quantized_block);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
fn write_mcus_avx2(writer: &mut BitWriter<'_>, parts: &mut [Part<'_>], mcus: (usize, usize)) {
    write_mcus_with(writer, parts, mcus, |samples, stride, divisors, block| {
        super::avx2::quantized_block(samples, stride, divisors, block);
    });
}

#[inline(always)]
fn write_mcus_with(
    writer: &mut BitWriter<'_>,
    parts: &mut [Part<'_>],
    mcus: (usize, usize),
    transform: impl Fn(&[u8], usize, &Divisors, &mut Quantised),
) {
    let mut block = Quantised { values: [0; 64], nonzero: 0 };
    for row in 0..mcus.1 {
        for column in 0..mcus.0 {
            for part in &mut *parts {
                for y in 0..part.sampling.1 {
                    for x in 0..part.sampling.0 {
                        let at = (column * part.sampling.0 + x, row * part.sampling.1 + y);
                        if at.0 < part.blocks.0 && at.1 < part.blocks.1 {
                            with_samples(part.plane, at, |samples, stride| {
                                transform(samples, stride, part.divisors, &mut block);
                            });
                            write_block(writer, part.codes, &block, &mut part.predictor);
                        } else {
                            write_filler(writer, part.codes);
                        }
                    }
                }
            }
        }
    }
}

/// Calls `take` with the samples of a block and their stride. Over the edge, the last column and row are repeated.
#[inline(always)]
fn with_samples(plane: &Plane, (column, row): (usize, usize), take: impl FnOnce(&[u8], usize)) {
    let (x, y) = (column * 8, row * 8);
    if x + 8 <= plane.width && y + 8 <= plane.height {
        take(&plane.samples[y * plane.stride + x..], plane.stride);
    } else {
        take(&hanging_block(plane, x, y), 8);
    }
}

#[cold]
fn hanging_block(plane: &Plane, x: usize, y: usize) -> [u8; 64] {
    std::array::from_fn(|k| plane.row((y + k / 8).min(plane.height - 1))[(x + k % 8).min(plane.width - 1)])
}

fn write_headers(planes: &Planes, steps: &[[u8; 64]; 2], parts: &[Part<'_>], out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xff, 0xd8]);
    // JFIF 1.01, pixels of unknown size but square.
    segment(out, 0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    let kinds = parts.len().min(2);
    for (number, steps) in (0..).zip(&steps[..kinds]) {
        let mut body = vec![number];
        body.extend(ZIGZAG.map(|position| steps[usize::from(position)]));
        segment(out, 0xdb, &body);
    }
    let ([h1, h0], [w1, w0]) = ((planes.height as u16).to_be_bytes(), (planes.width as u16).to_be_bytes());
    let mut frame = vec![8, h1, h0, w1, w0, parts.len() as u8];
    let mut scan = vec![parts.len() as u8];
    for (number, part) in (1..).zip(parts) {
        let kind = u8::from(number > 1);
        frame.extend_from_slice(&[number, (part.sampling.0 << 4 | part.sampling.1) as u8, kind]);
        scan.extend_from_slice(&[number, kind << 4 | kind]);
    }
    scan.extend_from_slice(&[0, 63, 0]);
    segment(out, 0xc0, &frame);
    let specs = [(0x00, LUMINANCE_DC), (0x10, LUMINANCE_AC), (0x01, CHROMINANCE_DC), (0x11, CHROMINANCE_AC)];
    for (head, spec) in &specs[..2 * kinds] {
        segment(out, 0xc4, &code_body(*head, spec));
    }
    segment(out, 0xda, &scan);
}

fn code_body(head: u8, spec: &HuffmanSpec) -> Vec<u8> {
    let total: usize = spec.counts.iter().map(|&count| usize::from(count)).sum();
    let mut body = vec![head];
    body.extend_from_slice(&spec.counts);
    body.extend_from_slice(&spec.symbols[..total]);
    body
}

fn segment(out: &mut Vec<u8>, marker: u8, body: &[u8]) {
    out.extend_from_slice(&[0xff, marker]);
    out.extend_from_slice(&((body.len() + 2) as u16).to_be_bytes());
    out.extend_from_slice(body);
}
