//! Progressive scans (T.81 annex G): each brings some bits of some coefficients of every block.

use super::baseline::Damage;
use super::bits::{BitReader, extend};
use super::huffman::HuffmanTable;
use super::idct::{Coefficients, POSITION};
use std::ops::{Range, RangeInclusive};

/// A component in a progressive scan.
pub(super) struct ProgressivePart<'a> {
    /// All blocks of the component, row by row.
    pub(super) coefficients: &'a mut [Coefficients],
    /// From a block to the one below it.
    pub(super) stride: usize,
    /// Blocks of the component in an MCU, across and down.
    pub(super) blocks: (usize, usize),
    pub(super) predictor: i32,
}

/// What a scan brings.
pub(super) enum Pass {
    /// The upper bits of the DC coefficients, with a code for each component.
    DcFirst { codes: Vec<HuffmanTable>, shift: u8 },
    /// One more bit of the DC coefficients.
    DcRefine { shift: u8 },
    /// The upper bits of the AC coefficients of a band.
    AcFirst { code: HuffmanTable, band: RangeInclusive<u8>, shift: u8 },
    /// One more bit of the AC coefficients of a band.
    AcRefine { code: HuffmanTable, band: RangeInclusive<u8>, shift: u8 },
}

/// Decodes the MCUs of an interval of a scan with `per_row` MCUs in a row.
pub(super) fn decode_interval(
    pass: &Pass,
    reader: &mut BitReader<'_>,
    parts: &mut [ProgressivePart<'_>],
    mcus: Range<usize>,
    per_row: usize,
) -> Result<(), Damage> {
    match pass {
        Pass::DcFirst { codes, shift } => {
            each_block(reader, parts, mcus, per_row, |reader, part, number, at| {
                let entry = codes[number].entry(reader).ok_or(Damage::BadCode)?;
                part.predictor = part.predictor.wrapping_add(entry.value(reader));
                part.coefficients[at][0] = (part.predictor << shift) as i16;
                Ok(())
            })
        }
        Pass::DcRefine { shift } => each_block(reader, parts, mcus, per_row, |reader, part, _, at| {
            part.coefficients[at][0] |= (reader.take(1) << shift) as i16;
            Ok(())
        }),
        Pass::AcFirst { code, band, shift } => {
            let mut empty_blocks = 0;
            each_block(reader, parts, mcus, per_row, |reader, part, _, at| {
                ac_first(reader, code, (band, *shift), &mut empty_blocks, &mut part.coefficients[at])
            })
        }
        Pass::AcRefine { code, band, shift } => {
            let mut empty_blocks = 0;
            each_block(reader, parts, mcus, per_row, |reader, part, _, at| {
                ac_refine(reader, code, (band, *shift), &mut empty_blocks, &mut part.coefficients[at])
            })
        }
    }
}

/// Calls `decode` with each block's component, the number of that component in the scan and the block's index.
#[inline(always)]
fn each_block<'a>(
    reader: &mut BitReader<'_>,
    parts: &mut [ProgressivePart<'a>],
    mcus: Range<usize>,
    per_row: usize,
    mut decode: impl FnMut(&mut BitReader<'_>, &mut ProgressivePart<'a>, usize, usize) -> Result<(), Damage>,
) -> Result<(), Damage> {
    let (mut column, mut row) = (mcus.start % per_row, mcus.start / per_row);
    for _ in mcus {
        for (number, part) in parts.iter_mut().enumerate() {
            for y in 0..part.blocks.1 {
                for x in 0..part.blocks.0 {
                    let at = (row * part.blocks.1 + y) * part.stride + column * part.blocks.0 + x;
                    decode(reader, part, number, at)?;
                }
            }
        }
        column += 1;
        if column == per_row {
            (column, row) = (0, row + 1);
            if reader.is_overrun() {
                return Err(Damage::OutOfBits);
            }
        }
    }
    if reader.is_overrun() { Err(Damage::OutOfBits) } else { Ok(()) }
}

/// T.81 G.1.2.2. `empty_blocks` counts the following blocks without coefficients in this band.
fn ac_first(
    reader: &mut BitReader<'_>,
    code: &HuffmanTable,
    (band, shift): (&RangeInclusive<u8>, u8),
    empty_blocks: &mut u32,
    block: &mut Coefficients,
) -> Result<(), Damage> {
    if *empty_blocks > 0 {
        *empty_blocks -= 1;
        return Ok(());
    }
    let last = u32::from(*band.end());
    let mut k = u32::from(*band.start());
    while k <= last {
        let symbol = code.entry(reader).ok_or(Damage::BadCode)?.symbol(reader);
        let (run, size) = (symbol >> 4, symbol & 15);
        match (run, size) {
            (15, 0) => k += 16,
            (_, 0) => {
                *empty_blocks = (1 << run) + reader.take(run) - 1;
                return Ok(());
            }
            _ => {
                k += run;
                if k > last {
                    return Err(Damage::BadCode);
                }
                block[position(k)] = (extend(reader.take(size), size) << shift) as i16;
                k += 1;
            }
        }
    }
    Ok(())
}

/// T.81 G.1.2.3: new coefficients of size one between the ones that are known, each of which gets a correction bit.
fn ac_refine(
    reader: &mut BitReader<'_>,
    code: &HuffmanTable,
    (band, shift): (&RangeInclusive<u8>, u8),
    empty_blocks: &mut u32,
    block: &mut Coefficients,
) -> Result<(), Damage> {
    let last = u32::from(*band.end());
    let mut k = u32::from(*band.start());
    let one = 1_i16 << shift;
    if *empty_blocks == 0 {
        while k <= last {
            let symbol = code.entry(reader).ok_or(Damage::BadCode)?.symbol(reader);
            let (run, size) = (symbol >> 4, symbol & 15);
            let new = match (run, size) {
                (15, 0) => 0,
                (_, 0) => {
                    *empty_blocks = (1 << run) + reader.take(run);
                    break;
                }
                (_, 1) if reader.take(1) == 1 => one,
                (_, 1) => -one,
                _ => return Err(Damage::BadCode),
            };
            k = correct(reader, k..=last, one, run, block);
            if new != 0 {
                if k > last {
                    return Err(Damage::BadCode);
                }
                block[position(k)] = new;
            }
            k += 1;
        }
    }
    if *empty_blocks > 0 {
        *empty_blocks -= 1;
        if k <= last && block.iter().fold(0, |any, &value| any | value) != 0 {
            correct(reader, k..=last, one, 64, block);
        }
    }
    Ok(())
}

/// Reads the correction bits of known coefficients, up to the unknown one behind `zeros` others; returns its index.
#[inline(always)]
fn correct(
    reader: &mut BitReader<'_>,
    band: RangeInclusive<u32>,
    one: i16,
    mut zeros: u32,
    block: &mut Coefficients,
) -> u32 {
    for k in band.clone() {
        let value = &mut block[position(k)];
        if *value == 0 {
            if zeros == 0 {
                return k;
            }
            zeros -= 1;
        } else if reader.take(1) == 1 && *value & one == 0 {
            *value += if *value < 0 { -one } else { one };
        }
    }
    band.end() + 1
}

#[inline(always)]
fn position(k: u32) -> usize {
    usize::from(POSITION[k as usize & 63]) & 63
}
