//! Huffman codes for decoding: from the counts of a DHT segment to lookup tables.

use super::bits::{BitReader, extend};

/// Bits looked up at once; a longer code takes the slow path. Between 9 and 12 the time for a photo differs by a tenth,
/// while the time to build the tables, which is most of the time for an icon, doubles with each bit.
const LOOKUP_BITS: u32 = 11;

/// A code as DHT writes it: how many codes of each length, then their symbols in code order (T.81 B.2.4.2).
#[derive(Clone)]
pub(super) struct HuffmanSpec {
    pub(super) counts: [u8; 16],
    pub(super) symbols: [u8; 256],
}

impl HuffmanSpec {
    /// Puts a constant table together; the rest of the 256 symbols stays zero.
    pub(super) const fn from_parts(counts: [u8; 16], used: &[u8]) -> Self {
        let mut symbols = [0; 256];
        let mut index = 0;
        while index < used.len() {
            symbols[index] = used[index];
            index += 1;
        }
        Self { counts, symbols }
    }

    /// Codes with their lengths and symbols, shortest first, or `None` where the lengths fit no prefix code.
    pub(super) fn codes(&self) -> Option<Vec<(u32, u32, u8)>> {
        let mut codes = Vec::with_capacity(256);
        let mut code = 0_u32;
        for (length, &count) in (1..).zip(&self.counts) {
            for _ in 0..count {
                codes.push((code, length, *self.symbols.get(codes.len())?));
                code += 1;
            }
            if code > 1 << length {
                return None;
            }
            code <<= 1;
        }
        Some(codes)
    }
}

/// One entry of a lookup table: how many bits code and value take together, and how to read the value.
#[derive(Clone, Copy, Default)]
pub(super) struct Entry(u32);

impl Entry {
    fn new(length: u32, symbol: u8, coding: Coding) -> Self {
        let (run, size) = match coding {
            Coding::Raw => (u32::from(symbol), 0),
            Coding::Dc => (0, u32::from(symbol)),
            // Sizes of zero after other runs than 15 have no meaning; libjpeg ends the block there.
            Coding::Ac if symbol & 15 == 0 && symbol != 0xf0 => (END_OF_BLOCK, 0),
            Coding::Ac => (u32::from(symbol >> 4), u32::from(symbol & 15)),
        };
        Self((length + size) | size << 8 | run << 16)
    }

    /// Bits of the code and of the value behind it.
    #[inline(always)]
    pub(super) fn bits(self) -> u32 {
        self.0 & 0xff
    }

    /// Bits of the value alone.
    #[inline(always)]
    pub(super) fn size(self) -> u32 {
        self.0 >> 8 & 0xff
    }

    /// Zeros before the coefficient, or [`END_OF_BLOCK`]; the symbol itself in a raw table.
    #[inline(always)]
    pub(super) fn run(self) -> u32 {
        self.0 >> 16
    }

    /// Takes code and value out of the reader and returns the value.
    #[inline(always)]
    pub(super) fn value(self, reader: &mut BitReader<'_>) -> i32 {
        let bits = (reader.window() >> (64 - self.bits())) as u32 & ((1 << self.size()) - 1);
        reader.skip(self.bits());
        extend(bits, self.size())
    }

    /// Takes the code out of the reader and returns the symbol of a raw table.
    #[inline(always)]
    pub(super) fn symbol(self, reader: &mut BitReader<'_>) -> u32 {
        reader.skip(self.bits());
        self.run()
    }
}

/// The "run" of the end-of-block symbol: large enough to leave the block from any position.
pub(super) const END_OF_BLOCK: u32 = 128;

/// What the symbols of a table mean.
#[derive(Clone, Copy)]
pub(super) enum Coding {
    /// The symbol is wanted as it is (progressive AC scans).
    Raw,
    /// The symbol is the size of a difference.
    Dc,
    /// The symbol is a run of zeros and the size of a coefficient.
    Ac,
}

/// A code ready for decoding.
pub(super) struct HuffmanTable {
    lookup: [Entry; 1 << LOOKUP_BITS],
    /// For each length, the first 16-bit window that is too large for a code of that length.
    limits: [u32; 17],
    /// For each length, what to add to a code to get the index of its entry.
    offsets: [i32; 17],
    entries: Vec<Entry>,
}

impl HuffmanTable {
    /// Builds the lookup tables; the error describes why the code is invalid.
    pub(super) fn new(spec: &HuffmanSpec, coding: Coding) -> Result<Self, &'static str> {
        let codes = spec.codes().ok_or("a Huffman table with more codes than its lengths allow")?;
        if matches!(coding, Coding::Dc) && codes.iter().any(|&(_, _, symbol)| symbol > 15) {
            return Err("a Huffman table for DC differences of more than 15 bits");
        }
        let mut table = Self {
            lookup: [Entry::default(); 1 << LOOKUP_BITS],
            limits: [0; 17],
            offsets: [0; 17],
            entries: codes.iter().map(|&(_, length, symbol)| Entry::new(length, symbol, coding)).collect(),
        };
        for (index, &(code, length, _)) in (0_i32..).zip(&codes) {
            table.limits[length as usize] = (code + 1) << (16 - length);
            table.offsets[length as usize] = index - code as i32;
            if length <= LOOKUP_BITS {
                let first = (code << (LOOKUP_BITS - length)) as usize;
                let entry = table.entries[index as usize];
                table.lookup[first..first + (1 << (LOOKUP_BITS - length))].fill(entry);
            }
        }
        Ok(table)
    }

    /// The entry of the next code, with all its bits in the window; `None` when the bits are no code.
    #[inline(always)]
    pub(super) fn entry(&self, reader: &mut BitReader<'_>) -> Option<Entry> {
        reader.refill();
        let entry = self.short(reader.window());
        if entry.bits() == 0 { self.long(reader.window()) } else { Some(entry) }
    }

    /// The entry of a code that is short enough for the lookup table; its `bits()` are 0 when it is not.
    #[inline(always)]
    pub(super) fn short(&self, window: u64) -> Entry {
        self.lookup[(window >> (64 - LOOKUP_BITS)) as usize]
    }

    /// The entry of any code, or `None` when the bits are no code at all.
    #[cold]
    #[inline(never)]
    pub(super) fn long(&self, window: u64) -> Option<Entry> {
        let window = (window >> 48) as u32;
        (1..=16).find(|&length| window < self.limits[length]).map(|length| {
            let code = (window >> (16 - length)) as i32;
            self.entries[(code + self.offsets[length]) as usize]
        })
    }
}

/// One or two whole coefficients, read at once: 64 bits that stay in one register.
#[derive(Clone, Copy, Default)]
pub(super) struct Step(u64);

impl Step {
    /// Bits to skip when the second coefficient is used too; 0 where not even the first fits in the lookup.
    #[inline(always)]
    pub(super) fn bits(self) -> u32 {
        self.0 as u32 & 0xff
    }

    /// Bits of the first coefficient alone.
    #[inline(always)]
    pub(super) fn first_bits(self) -> u32 {
        (self.0 >> 8) as u32 & 0xff
    }

    /// How far the first coefficient is on: its run and itself; more than 64 at the end of the block.
    #[inline(always)]
    pub(super) fn first_advance(self) -> u32 {
        (self.0 >> 16) as u32 & 0xff
    }

    /// How far the second coefficient is on; 0 when there is none, and its value is then that of the first.
    #[inline(always)]
    pub(super) fn second_advance(self) -> u32 {
        (self.0 >> 24) as u32 & 0xff
    }

    #[inline(always)]
    pub(super) fn first_value(self) -> i16 {
        (self.0 >> 32) as i16
    }

    #[inline(always)]
    pub(super) fn second_value(self) -> i16 {
        (self.0 >> 48) as i16
    }

    fn new(first: Coefficient, second: Option<Coefficient>) -> Self {
        let bits = first.bits + second.map_or(0, |second| second.bits);
        let advance = second.map_or(0, |second| second.advance);
        let value = second.map_or(first.value, |second| second.value);
        Self(
            u64::from(bits)
                | u64::from(first.bits) << 8
                | u64::from(first.advance) << 16
                | u64::from(advance) << 24
                | u64::from(first.value as u16) << 32
                | u64::from(value as u16) << 48,
        )
    }
}

/// A coefficient that fits in the bits of a lookup.
#[derive(Clone, Copy)]
struct Coefficient {
    bits: u32,
    advance: u32,
    value: i16,
}

/// The AC code of a sequential scan. Most coefficients take few bits, so a lookup often gives two of them with their
/// values.
pub(super) struct AcTable {
    pub(super) single: HuffmanTable,
    steps: Box<[Step; 1 << LOOKUP_BITS]>,
}

impl AcTable {
    pub(super) fn new(spec: &HuffmanSpec) -> Result<Self, &'static str> {
        let single = HuffmanTable::new(spec, Coding::Ac)?;
        let mut steps = Box::new([Step::default(); 1 << LOOKUP_BITS]);
        for (bits, step) in (0_u64..).zip(steps.iter_mut()) {
            let window = bits << (64 - LOOKUP_BITS);
            if let Some(first) = single.coefficient(window, LOOKUP_BITS) {
                // Behind the end of the block comes something else.
                let rest = if first.advance > 64 { 0 } else { LOOKUP_BITS - first.bits };
                *step = Step::new(first, single.coefficient(window << first.bits, rest));
            }
        }
        Ok(Self { single, steps })
    }

    #[inline(always)]
    pub(super) fn step(&self, window: u64) -> Step {
        self.steps[(window >> (64 - LOOKUP_BITS)) as usize]
    }
}

impl HuffmanTable {
    /// The coefficient at the start of a window of which `known` bits are known, if they hold it.
    fn coefficient(&self, window: u64, known: u32) -> Option<Coefficient> {
        let entry = self.short(window);
        let (bits, size) = (entry.bits(), entry.size());
        if bits == 0 || bits > known {
            return None;
        }
        let raw = (window >> (64 - bits)) as u32 & ((1 << size) - 1);
        Some(Coefficient { bits, advance: entry.run() + 1, value: extend(raw, size) as i16 })
    }
}
