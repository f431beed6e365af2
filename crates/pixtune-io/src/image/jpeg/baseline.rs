//! Sequential scans (T.81 annex F): bits to coefficients to samples, one block at a time.

use super::bits::BitReader;
use super::huffman::{AcTable, END_OF_BLOCK, HuffmanTable};
use super::idct::{Coefficients, POSITION, fill_flat, flat_sample, idct};
use super::planes::Plane;

/// A component of a sequential scan.
pub(super) struct ScanPart<'a> {
    pub(super) plane: &'a mut Plane,
    pub(super) steps: &'a Coefficients,
    pub(super) dc: HuffmanTable,
    pub(super) ac: AcTable,
    /// Blocks of the component in an MCU.
    pub(super) blocks: (usize, usize),
    pub(super) predictor: i32,
}

/// Why decoding of an interval stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    /// The bits are no Huffman code, or lead out of the block.
    BadCode,
    /// The bits ended before the blocks did.
    OutOfBits,
}

/// Decodes the MCUs from number `first` up to number `end` of a scan with `per_row` MCUs in a row.
pub(super) fn decode_interval(
    reader: &mut BitReader<'_>,
    parts: &mut [ScanPart<'_>],
    mcus: std::ops::Range<usize>,
    per_row: usize,
) -> Result<(), Damage> {
    #[cfg(target_arch = "x86_64")]
    if super::avx2::is_available() {
        // SAFETY: the machine has the features.
        return unsafe { decode_mcus_avx2(reader, parts, mcus, per_row) };
    }
    decode_mcus(reader, parts, mcus, per_row, idct)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
fn decode_mcus_avx2(
    reader: &mut BitReader<'_>,
    parts: &mut [ScanPart<'_>],
    mcus: std::ops::Range<usize>,
    per_row: usize,
) -> Result<(), Damage> {
    decode_mcus(reader, parts, mcus, per_row, |block, steps, out, stride| {
        super::avx2::idct(block, steps, out, stride);
    })
}

/// A block followed by slots for coefficients past the 63rd, which only damaged data has.
#[repr(align(32))]
struct WorkBlock([i16; 256]);

impl WorkBlock {
    /// Stores the coefficient before zigzag index `next`.
    #[inline(always)]
    fn put(&mut self, next: u32, value: i16) {
        self.0[usize::from(POSITION[(next.wrapping_sub(1)) as usize & 255])] = value;
    }
}

#[inline(always)]
fn decode_mcus(
    reader: &mut BitReader<'_>,
    parts: &mut [ScanPart<'_>],
    mcus: std::ops::Range<usize>,
    per_row: usize,
    transform: impl Fn(&Coefficients, &Coefficients, &mut [u8], usize),
) -> Result<(), Damage> {
    let mut work = WorkBlock([0; 256]);
    let (mut column, mut row) = (mcus.start % per_row, mcus.start / per_row);
    for _ in mcus {
        for part in &mut *parts {
            let stride = part.plane.stride;
            for y in 0..part.blocks.1 {
                for x in 0..part.blocks.0 {
                    let last = decode_block(reader, part, &mut work)?;
                    let at = (row * part.blocks.1 + y) * 8 * stride + (column * part.blocks.0 + x) * 8;
                    let out = &mut part.plane.samples[at..];
                    let (block, _) =
                        work.0.split_first_chunk_mut::<64>().expect("a work block has 256 slots");
                    if last == 0 {
                        fill_flat(flat_sample(block[0], part.steps[0]), out, stride);
                    } else {
                        transform(block, part.steps, out, stride);
                    }
                    block.fill(0);
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

/// Decodes one block into zeroed slots. Returns the zigzag index of its last coefficient.
#[inline(always)]
fn decode_block(
    shared: &mut BitReader<'_>,
    part: &mut ScanPart<'_>,
    work: &mut WorkBlock,
) -> Result<u32, Damage> {
    let mut reader = *shared;
    let entry = part.dc.entry(&mut reader).ok_or(Damage::BadCode)?;
    part.predictor = part.predictor.wrapping_add(entry.value(&mut reader));
    work.0[0] = part.predictor as i16;

    // Where the next coefficient goes is the position of k - 1 after its advance.
    let mut k = 1;
    'block: loop {
        reader.refill();
        // Two lookups fit in a refill, and a coefficient that needs more bits than a lookup has its own refills.
        for _ in 0..2 {
            let step = part.ac.step(reader.window());
            if step.bits() == 0 {
                let entry = part.ac.single.entry(&mut reader).ok_or(Damage::BadCode)?;
                let value = entry.value(&mut reader);
                k += entry.run() + 1;
                work.put(k, value as i16);
                reader.refill();
                if k > 63 {
                    break 'block;
                }
                continue;
            }
            k += step.first_advance();
            work.put(k, step.first_value());
            if k > 63 {
                reader.skip(step.first_bits());
                break 'block;
            }
            k += step.second_advance();
            work.put(k, step.second_value());
            reader.skip(step.bits());
            if k > 63 {
                break 'block;
            }
        }
    }
    *shared = reader;
    match k {
        64 => Ok(63),
        _ if k > END_OF_BLOCK + 1 => Ok(k - END_OF_BLOCK - 2),
        _ => Err(Damage::BadCode),
    }
}
