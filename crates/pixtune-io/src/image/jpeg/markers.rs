//! The marker segments of a file, and what their bodies say (T.81 annex B).

use super::error::{JpegError, Unsupported};
use super::frame::{Component, Frame, Process};
use super::huffman::HuffmanSpec;
use super::tables::{CHROMINANCE_AC, CHROMINANCE_DC, LUMINANCE_AC, LUMINANCE_DC, ZIGZAG};

/// A marker with the bytes that belong to it; the bodies are without their length field.
pub(super) enum Segment<'a> {
    /// DQT, DHT, DRI, APP0 or APP14: something to remember, see [`Tables::learn`].
    Table(u8, &'a [u8]),
    /// Any SOF.
    Frame(u8, &'a [u8]),
    /// SOS; entropy-coded bytes follow.
    Scan(&'a [u8]),
    /// EOI.
    End,
}

/// Walks over the marker segments of a file.
pub(super) struct Walker<'a> {
    pub(super) file: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Walker<'a> {
    /// Starts behind the SOI marker.
    pub(super) fn new(file: &'a [u8]) -> Result<Self, JpegError> {
        match file {
            [0xff, 0xd8, 0xff, ..] => Ok(Self { file, at: 2 }),
            _ => Err(JpegError::NotJpeg),
        }
    }

    /// The next segment that matters. Bytes between segments, comments and most APP segments are passed over.
    pub(super) fn next(&mut self) -> Result<Segment<'a>, JpegError> {
        loop {
            match self.marker()? {
                0xd9 => return Ok(Segment::End),
                // TEM and stray restart markers stand alone.
                0x01 | 0xd0..=0xd7 => {}
                0xd8 => return Err(self.corrupt("a second SOI marker")),
                0xda => return Ok(Segment::Scan(self.body()?)),
                marker @ (0xdb | 0xc4 | 0xdd | 0xe0 | 0xee) => {
                    return Ok(Segment::Table(marker, self.body()?));
                }
                0xcc => return Err(JpegError::Unsupported(Unsupported::Arithmetic)),
                marker @ 0xc0..=0xcf => return Ok(Segment::Frame(marker, self.body()?)),
                0xde | 0xdf => return Err(JpegError::Unsupported(Unsupported::Hierarchical)),
                // APP1 to APP13, APP15, COM, and DNL, which is redundant when the frame has a height.
                0xe1..=0xef | 0xfe | 0xdc => _ = self.body()?,
                _ => return Err(self.corrupt("a marker of unknown meaning")),
            }
        }
    }

    /// Skips to the next marker and over it. Stray bytes before it are ignored, as libjpeg does.
    fn marker(&mut self) -> Result<u8, JpegError> {
        let rest = &self.file[self.at..];
        for prefix in memchr::memchr_iter(0xff, rest) {
            match rest.get(prefix + 1) {
                // Stuffing inside entropy-coded data, and fill bytes before a marker.
                Some(0x00 | 0xff) => {}
                Some(marker) => {
                    self.at += prefix + 2;
                    return Ok(*marker);
                }
                None => break,
            }
        }
        Err(self.truncated())
    }

    fn body(&mut self) -> Result<&'a [u8], JpegError> {
        let rest = &self.file[self.at..];
        let length = rest.first_chunk::<2>().map(|length| usize::from(u16::from_be_bytes(*length)));
        match length {
            Some(length @ 2..) if length <= rest.len() => {
                self.at += length;
                Ok(&rest[2..length])
            }
            Some(0 | 1) => Err(self.corrupt("a segment shorter than its own length field")),
            _ => Err(self.truncated()),
        }
    }

    /// Skips to a restart marker that has to be number `expected`.
    pub(super) fn expect_restart(&mut self, expected: u8) -> Result<(), JpegError> {
        match self.marker()? {
            marker if marker == 0xd0 + expected => Ok(()),
            _ => Err(self.corrupt("not the restart marker that belongs here")),
        }
    }

    pub(super) fn truncated(&self) -> JpegError {
        JpegError::Truncated { length: self.file.len() }
    }

    pub(super) fn corrupt(&self, what: &'static str) -> JpegError {
        JpegError::corrupt(self.at, what)
    }
}

/// The tables defined by the segments so far.
pub(super) struct Tables {
    /// Steps of the four quantization tables, row-major.
    pub(super) steps: [Option<[u16; 64]>; 4],
    pub(super) dc: [Option<HuffmanSpec>; 4],
    pub(super) ac: [Option<HuffmanSpec>; 4],
    /// MCUs between restart markers; 0 for none.
    pub(super) restart_interval: u32,
    pub(super) jfif: bool,
    /// The color transform of an Adobe segment.
    pub(super) adobe: Option<u8>,
}

impl Tables {
    pub(super) fn new() -> Self {
        Self {
            steps: [None; 4],
            dc: [const { None }; 4],
            ac: [const { None }; 4],
            restart_interval: 0,
            jfif: false,
            adobe: None,
        }
    }

    /// Frames of Motion JPEG leave the Annex K codes out: sequential ones have them from the start, as in libjpeg.
    pub(super) fn assume_codes(&mut self) {
        let standard =
            [(&mut self.dc, [LUMINANCE_DC, CHROMINANCE_DC]), (&mut self.ac, [LUMINANCE_AC, CHROMINANCE_AC])];
        for (slots, codes) in standard {
            for (slot, code) in slots.iter_mut().zip(codes) {
                slot.get_or_insert(code);
            }
        }
    }

    /// Reads a segment; the error describes what is wrong with it.
    pub(super) fn learn(&mut self, marker: u8, body: &[u8]) -> Result<(), &'static str> {
        match marker {
            0xdb => self.learn_steps(body),
            0xc4 => self.learn_codes(body),
            0xdd => {
                let interval: [u8; 2] = body.try_into().map_err(|_| "a DRI segment of the wrong length")?;
                self.restart_interval = u32::from(u16::from_be_bytes(interval));
                Ok(())
            }
            0xe0 => {
                self.jfif |= body.len() >= 12 && body.starts_with(b"JFIF\0");
                Ok(())
            }
            _ => {
                if body.len() >= 12 && body.starts_with(b"Adobe") {
                    self.adobe = Some(body[11]);
                }
                Ok(())
            }
        }
    }

    fn learn_steps(&mut self, mut body: &[u8]) -> Result<(), &'static str> {
        while let Some((&head, rest)) = body.split_first() {
            let wide = head >> 4 != 0;
            let slot = self.steps.get_mut(usize::from(head & 15)).ok_or("a DQT segment for a fifth table")?;
            let (values, rest) = rest
                .split_at_checked(if wide { 128 } else { 64 })
                .ok_or("a DQT segment that is too short")?;
            let mut steps = [0; 64];
            for (k, &position) in ZIGZAG.iter().enumerate() {
                steps[usize::from(position)] = if wide {
                    u16::from_be_bytes([values[2 * k], values[2 * k + 1]])
                } else {
                    u16::from(values[k])
                };
            }
            *slot = Some(steps);
            body = rest;
        }
        Ok(())
    }

    fn learn_codes(&mut self, mut body: &[u8]) -> Result<(), &'static str> {
        while let Some((&head, rest)) = body.split_first() {
            let class = if head & 0x10 == 0 { &mut self.dc } else { &mut self.ac };
            let slot = class.get_mut(usize::from(head & !0x10)).ok_or("a DHT segment for a fifth table")?;
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or("a DHT segment that is too short")?;
            let total = counts.iter().map(|&count| usize::from(count)).sum();
            let (used, rest) = rest.split_at_checked(total).ok_or("a DHT segment that is too short")?;
            let mut symbols = [0; 256];
            symbols.get_mut(..total).ok_or("a DHT segment with more than 256 symbols")?.copy_from_slice(used);
            *slot = Some(HuffmanSpec { counts: *counts, symbols });
            body = rest;
        }
        Ok(())
    }
}

/// Reads a SOF segment (T.81 B.2.2).
pub(super) fn parse_frame(marker: u8, body: &[u8], at: usize) -> Result<Frame, JpegError> {
    let refuse = |reason| Err(JpegError::Unsupported(reason));
    let process = match marker {
        0xc0 | 0xc1 => Process::Sequential,
        0xc2 => Process::Progressive,
        0xc3 => return refuse(Unsupported::Lossless),
        0xc5..=0xc7 => return refuse(Unsupported::Hierarchical),
        _ => return refuse(Unsupported::Arithmetic),
    };
    let Some((&[precision, h1, h0, w1, w0, count], rest)) = body.split_first_chunk::<6>() else {
        return Err(JpegError::corrupt(at, "a frame header that is too short"));
    };
    if precision != 8 {
        return refuse(Unsupported::Precision(precision));
    }
    if !matches!(count, 1 | 3 | 4) {
        return refuse(Unsupported::Components(count));
    }
    let (width, height) = (u32::from_be_bytes([0, 0, w1, w0]), u32::from_be_bytes([0, 0, h1, h0]));
    if height == 0 {
        return refuse(Unsupported::HeightInDnl);
    }
    if width == 0 {
        return Err(JpegError::corrupt(at, "a frame without columns"));
    }
    if rest.len() != 3 * usize::from(count) {
        return Err(JpegError::corrupt(at, "a frame header of the wrong length"));
    }
    let mut components = Vec::with_capacity(usize::from(count));
    for part in rest.chunks_exact(3) {
        let component = Component { id: part[0], h: part[1] >> 4, v: part[1] & 15, steps: part[2] };
        if !matches!((component.h, component.v), (1..=4, 1..=4)) {
            return Err(JpegError::corrupt(at, "a sampling factor outside 1 to 4"));
        }
        components.push(component);
    }
    Frame::new(process, (width, height), components)
}

/// A scan header (T.81 B.2.3): which components, with which codes, and which part of the coefficients.
pub(super) struct Scan {
    /// Index of the component in the frame, its DC and its AC table.
    pub(super) components: Vec<(usize, u8, u8)>,
    pub(super) spectral: (u8, u8),
    /// Bit positions of the last scan over these coefficients and of this one (Ah, Al).
    pub(super) approximation: (u8, u8),
}

impl Scan {
    /// Blocks of a component in an MCU of this scan, across and down.
    pub(super) fn blocks(&self, frame: &Frame, index: usize) -> (usize, usize) {
        let component = &frame.components[index];
        if self.components.len() == 1 { (1, 1) } else { (component.h.into(), component.v.into()) }
    }

    /// MCUs across and down.
    pub(super) fn mcus(&self, frame: &Frame) -> (usize, usize) {
        let (across, down) = match self.components[..] {
            [(only, ..)] => frame.own_blocks(&frame.components[only]),
            _ => frame.mcus(),
        };
        (across as usize, down as usize)
    }
}

/// Reads a SOS segment.
pub(super) fn parse_scan(frame: &Frame, body: &[u8], at: usize) -> Result<Scan, JpegError> {
    let corrupt = |what| JpegError::corrupt(at, what);
    let (&count, rest) = body.split_first().ok_or_else(|| corrupt("an empty scan header"))?;
    if !matches!(count, 1..=4) || rest.len() != 2 * usize::from(count) + 3 {
        return Err(corrupt("a scan header of the wrong length"));
    }
    let (selectors, tail) = rest.split_at(2 * usize::from(count));
    let mut components: Vec<(usize, u8, u8)> = Vec::with_capacity(4);
    for part in selectors.chunks_exact(2) {
        let taken = |index: usize| components.iter().any(|&(other, ..)| other == index);
        let index = (0..frame.components.len())
            .find(|&index| frame.components[index].id == part[0] && !taken(index))
            .ok_or_else(|| corrupt("a scan of a component that the frame does not have"))?;
        components.push((index, part[1] >> 4, part[1] & 15));
    }
    let blocks = |&(index, ..): &(usize, u8, u8)| frame.components[index].h * frame.components[index].v;
    if count > 1 && components.iter().map(blocks).sum::<u8>() > 10 {
        return Err(corrupt("an MCU of more than ten blocks"));
    }
    Ok(Scan { components, spectral: (tail[0], tail[1]), approximation: (tail[2] >> 4, tail[2] & 15) })
}
