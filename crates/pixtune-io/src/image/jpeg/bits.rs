//! Entropy-coded bytes: from the file to a clean buffer, from the buffer to bits.

/// Zero bytes kept behind the clean bytes, so that a refill near the end still reads a whole word.
const PADDING: usize = 8;

/// The bytes between two markers, without the zero bytes that are stuffed behind every `FF` (T.81 B.1.1.5).
///
/// Unstuffing first costs one pass at memory speed and leaves the bit reader without a branch.
#[derive(Default)]
pub(super) struct EntropyBytes {
    clean: Vec<u8>,
}

impl EntropyBytes {
    /// Takes the entropy-coded bytes from `start` to the next marker. Returns where that marker begins, which
    /// is the end of the file where there is none.
    pub(super) fn fill(&mut self, file: &[u8], start: usize) -> usize {
        self.clean.clear();
        self.clean.reserve(file.len().saturating_sub(start).min(1 << 20) + PADDING);
        let mut at = start;
        loop {
            let run = plain_run(&file[at..]);
            self.clean.extend_from_slice(&file[at..at + run]);
            at += run;
            // A marker may be preceded by any number of FF bytes, and so may a stuffed zero.
            let fill = file[at..].iter().take_while(|&&byte| byte == 0xff).count();
            match file.get(at + fill) {
                Some(0) => {
                    self.clean.push(0xff);
                    at += fill + 1;
                }
                Some(_) => break,
                None => {
                    at = file.len();
                    break;
                }
            }
        }
        self.clean.extend_from_slice(&[0; PADDING]);
        at
    }

    pub(super) fn reader(&self) -> BitReader<'_> {
        BitReader { bytes: &self.clean, next: 0, window: 0, count: 0 }
    }
}

/// The number of bytes before the next `FF`, searched eight at a time.
fn plain_run(bytes: &[u8]) -> usize {
    const LOW: u64 = 0x0101_0101_0101_0101;
    let mut run = 0;
    while let Some(word) = bytes[run..].first_chunk::<8>() {
        // A byte of the complement is zero where the byte is FF: the classic test for a zero byte.
        let complement = !u64::from_le_bytes(*word);
        let found = complement.wrapping_sub(LOW) & !complement & (LOW << 7);
        if found != 0 {
            return run + (found.trailing_zeros() / 8) as usize;
        }
        run += 8;
    }
    run + bytes[run..].iter().position(|&byte| byte == 0xff).unwrap_or(bytes.len() - run)
}

/// Bits from the clean bytes of one restart interval, most significant first; zeros behind the end.
#[derive(Clone, Copy)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// The first byte that is not fully in the window.
    next: usize,
    /// The next bits, left-aligned. Below the first `count` bits there are bits of the byte at `next`, or zeros.
    window: u64,
    count: u32,
}

impl BitReader<'_> {
    /// Makes at least 56 bits available.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        if let Some(word) = self.bytes.get(self.next..).and_then(|rest| rest.first_chunk::<8>()) {
            self.window |= u64::from_be_bytes(*word) >> self.count;
        }
        self.next += ((63 - self.count) >> 3) as usize;
        self.count |= 56;
    }

    /// The next bits, left-aligned; as many as are left of the last refill.
    #[inline(always)]
    pub(super) fn window(&self) -> u64 {
        self.window
    }

    /// Drops bits that were looked at in the window.
    #[inline(always)]
    pub(super) fn skip(&mut self, bits: u32) {
        self.window <<= bits;
        self.count = self.count.wrapping_sub(bits);
    }

    /// Takes up to 16 bits as a number; refills on its own.
    #[inline(always)]
    pub(super) fn take(&mut self, bits: u32) -> u32 {
        if self.count < bits {
            self.refill();
        }
        // Two shifts, so that no bits are no problem.
        let value = (self.window >> 1 >> (63 - bits)) as u32;
        self.skip(bits);
        value
    }

    /// Whether more bits were read than exist.
    pub(super) fn is_overrun(&self) -> bool {
        self.next * 8 - self.count as usize > (self.bytes.len() - PADDING) * 8
    }
}

/// A coefficient or difference from the `size` bits behind its code (T.81 F.2.2.1, EXTEND).
#[inline(always)]
pub(super) fn extend(bits: u32, size: u32) -> i32 {
    let span = 1_u32 << size;
    let below = if bits < span >> 1 { span - 1 } else { 0 };
    bits.wrapping_sub(below) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(file: &[u8]) -> (Vec<u8>, usize) {
        let mut entropy = EntropyBytes::default();
        let end = entropy.fill(file, 0);
        (entropy.clean[..entropy.clean.len() - PADDING].to_vec(), end)
    }

    #[test]
    fn stuffed_zeros_go_and_markers_stop() {
        let file = [1, 2, 0xff, 0, 3, 0xff, 0xff, 0, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0xff, 0xff, 0xd9, 7];
        let expected = vec![1, 2, 0xff, 3, 0xff, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        assert_eq!(cleaned(&file), (expected, 17));
    }

    #[test]
    fn no_marker_means_the_end_of_the_file() {
        assert_eq!(cleaned(&[1, 2, 0xff]), (vec![1, 2], 3));
        assert_eq!(cleaned(&[]), (vec![], 0));
    }

    #[test]
    fn bits_behind_the_end_are_zero_and_counted() {
        let mut entropy = EntropyBytes::default();
        entropy.fill(&[0b1010_0000, 0b0000_0001], 0);
        let mut reader = entropy.reader();
        assert_eq!((reader.take(3), reader.take(13)), (5, 1));
        assert!(!reader.is_overrun());
        assert_eq!(reader.take(1), 0);
        assert!(reader.is_overrun());
    }

    #[test]
    fn extend_is_the_standards_table() {
        let values: Vec<i32> = (0..8).map(|bits| extend(bits, 3)).collect();
        assert_eq!(values, [-7, -6, -5, -4, 4, 5, 6, 7]);
        assert_eq!(extend(0, 0), 0);
    }
}
