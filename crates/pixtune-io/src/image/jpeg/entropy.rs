//! Quantised coefficients to Huffman-coded bytes (T.81 F.1.2).

use super::fdct::Quantised;
use super::huffman::HuffmanSpec;
use super::tables::ZIGZAG;

/// Collects bits and writes them eight bytes at a time, with the zero byte behind every `FF`.
pub(super) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Bits not yet written, left-aligned.
    word: u64,
    /// Bits of the word that are still free.
    free: u32,
}

impl<'a> BitWriter<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, word: 0, free: 64 }
    }

    /// Appends the low `length` bits, at most 32; the bits above them are zero.
    #[inline(always)]
    fn put(&mut self, bits: u32, length: u32) {
        let bits = u64::from(bits);
        if length <= self.free {
            self.free -= length;
            self.word |= bits << self.free;
        } else {
            let over = length - self.free;
            self.flush_word(self.word | bits >> over);
            self.free = 64 - over;
            self.word = bits << self.free;
        }
    }

    #[inline(always)]
    fn flush_word(&mut self, word: u64) {
        const LOW: u64 = 0x0101_0101_0101_0101;
        let complement = !word;
        let has_ff = complement.wrapping_sub(LOW) & word & (LOW << 7) != 0;
        if has_ff {
            word.to_be_bytes().into_iter().for_each(|byte| self.put_byte(byte));
        } else {
            self.out.extend_from_slice(&word.to_be_bytes());
        }
    }

    fn put_byte(&mut self, byte: u8) {
        self.out.push(byte);
        if byte == 0xff {
            self.out.push(0);
        }
    }

    /// Fills the last byte with ones (T.81 F.1.2.3) and writes the remaining bytes.
    pub(super) fn finish(mut self) {
        let used = 64 - self.free;
        let word = self.word | (u64::MAX >> 1) >> used.saturating_sub(1);
        let word = if used == 0 { 0 } else { word };
        word.to_be_bytes().into_iter().take(used.div_ceil(8) as usize).for_each(|byte| self.put_byte(byte));
    }
}

/// For each symbol, its code and the number of bits that code and value take together.
pub(super) struct CodeTable([(u16, u8); 256]);

impl CodeTable {
    pub(super) fn new(spec: &HuffmanSpec) -> Self {
        let mut table = [(0, 0); 256];
        for (code, length, symbol) in spec.codes().unwrap_or_default() {
            table[usize::from(symbol)] = (code as u16, (length + u32::from(symbol & 15)) as u8);
        }
        Self(table)
    }

    /// Writes a symbol whose low four bits are the size of `value`.
    #[inline(always)]
    fn write(&self, writer: &mut BitWriter<'_>, run: u32, value: i32) {
        let size = 32 - value.unsigned_abs().leading_zeros();
        // A negative value is written as the low bits of value - 1.
        let bits = (value + (value >> 31)) as u32 & ((1 << size) - 1);
        let (code, length) = self.0[(run << 4 | size) as usize & 255];
        writer.put(u32::from(code) << size | bits, u32::from(length));
    }
}

/// Natural-order masks to zigzag-order masks, one row of coefficients at a time.
static ZIGZAG_MASKS: [[u64; 256]; 8] = {
    let mut masks = [[0; 256]; 8];
    let mut k = 0;
    while k < 64 {
        let (row, bit) = (ZIGZAG[k] as usize / 8, ZIGZAG[k] as usize % 8);
        let mut byte = 0;
        while byte < 256 {
            if byte >> bit & 1 == 1 {
                masks[row][byte] |= 1 << k;
            }
            byte += 1;
        }
        k += 1;
    }
    masks
};

/// Writes a block; `predictor` is the DC coefficient of the block before it in the component.
#[inline(always)]
pub(super) fn write_block(
    writer: &mut BitWriter<'_>,
    (dc, ac): (&CodeTable, &CodeTable),
    block: &Quantised,
    predictor: &mut i16,
) {
    dc.write(writer, 0, i32::from(block.values[0]) - i32::from(*predictor));
    *predictor = block.values[0];

    let rows = block.nonzero.to_le_bytes();
    let zigzag = rows.iter().zip(&ZIGZAG_MASKS).fold(0, |mask, (&row, masks)| mask | masks[usize::from(row)]);
    let mut left = zigzag & !1;
    let mut last = 0;
    while left != 0 {
        let k = left.trailing_zeros();
        let mut run = k - last - 1;
        while run > 15 {
            ac.write(writer, 15, 0);
            run -= 16;
        }
        ac.write(writer, run, i32::from(block.values[usize::from(ZIGZAG[k as usize & 63]) & 63]));
        last = k;
        left &= left - 1;
    }
    if last != 63 {
        ac.write(writer, 0, 0);
    }
}

/// Writes a block that only fills up an MCU: the DC coefficient again, and nothing else.
pub(super) fn write_filler(writer: &mut BitWriter<'_>, (dc, ac): (&CodeTable, &CodeTable)) {
    dc.write(writer, 0, 0);
    ac.write(writer, 0, 0);
}
