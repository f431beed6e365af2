//! SIMD scans of text: the plain part of a JSON string, base64 characters.
//!
//! Images are strings of megabytes, so each byte is read once. The vector code and its portable twin give the same results,
//! which the tests compare at every length and position.

/// Bytes of a JSON string without escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain {
    /// Bytes before the first quote, backslash or control character.
    pub length: usize,
    /// Whether all of them are ASCII.
    pub is_ascii: bool,
}

/// The bytes before the first quote, backslash or control character.
#[inline]
pub fn plain_run(bytes: &[u8]) -> Plain {
    #[cfg(target_arch = "x86_64")]
    {
        // Keys and roles are short: most end here.
        if let Some(block) = bytes.first_chunk()
            && let Some(found) = x86::plain_in_block(block)
        {
            return found;
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the feature was just detected.
            return unsafe { x86::plain_run(bytes) };
        }
    }
    plain_run_portable(bytes, Plain { length: 0, is_ascii: true })
}

fn plain_run_portable(bytes: &[u8], done: Plain) -> Plain {
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    let rest = &bytes[done.length..];
    let run = &rest[..rest.iter().position(ends).unwrap_or(rest.len())];
    Plain { length: done.length + run.len(), is_ascii: done.is_ascii && run.is_ascii() }
}

/// Whether there is a bracket that may begin a control token, or a non-ASCII character.
pub fn has_marks(bytes: &[u8]) -> bool {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the feature was just detected.
        return unsafe { x86::has_marks(bytes) };
    }
    has_marks_portable(bytes)
}

fn has_marks_portable(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| matches!(byte, b'[' | b'<' | 0x80..))
}

/// The number of characters of the base64 alphabet, without padding, at the start of `bytes`.
pub fn base64_run(bytes: &[u8]) -> usize {
    #[cfg(target_arch = "x86_64")]
    let done = if is_x86_feature_detected!("avx512vbmi") && is_x86_feature_detected!("avx512bw") {
        // SAFETY: the features were just detected.
        unsafe { x86::base64_wide_blocks(bytes) }
    } else if is_x86_feature_detected!("avx2") {
        // SAFETY: the feature was just detected.
        unsafe { x86::base64_blocks(bytes) }
    } else {
        0
    };
    #[cfg(not(target_arch = "x86_64"))]
    let done = 0;
    done + base64_run_portable(&bytes[done..])
}

fn base64_run_portable(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !is_base64(*byte)).unwrap_or(bytes.len())
}

const fn is_base64(byte: u8) -> bool {
    (byte | 0x20).wrapping_sub(b'a') < 26 || byte.wrapping_sub(b'/') < 11 || byte == b'+'
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Plain, has_marks_portable, is_base64, plain_run_portable};

    /// The run, if it ends within sixteen bytes. Every x86-64 CPU has SSE2.
    #[inline]
    pub(super) fn plain_in_block(block: &[u8; 16]) -> Option<Plain> {
        // SAFETY: SSE2 is always available, and the block has the 16 bytes that are loaded.
        let (ends, other) = unsafe {
            let bytes = _mm_loadu_si128(block.as_ptr().cast());
            let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
            let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
            let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
            let ends = _mm_or_si128(_mm_or_si128(quote, backslash), control);
            (_mm_movemask_epi8(ends) as u32, _mm_movemask_epi8(bytes) as u32)
        };
        (ends != 0).then(|| {
            let length = ends.trailing_zeros();
            Plain { length: length as usize, is_ascii: other & ((1 << length) - 1) == 0 }
        })
    }

    #[target_feature(enable = "avx2,bmi1")]
    fn ends(bytes: __m256i) -> __m256i {
        let quote = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'"' as i8));
        let backslash = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'\\' as i8));
        let control = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1f)), bytes);
        _mm256_or_si256(_mm256_or_si256(quote, backslash), control)
    }

    #[target_feature(enable = "avx2")]
    fn load(block: &[u8; 32]) -> __m256i {
        // SAFETY: the block has the 32 bytes that are loaded.
        unsafe { _mm256_loadu_si256(block.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx2,bmi1")]
    pub(super) fn plain_run(bytes: &[u8]) -> Plain {
        let mut other = _mm256_setzero_si256();
        let mut length = 0;
        let (pairs, _) = bytes.as_chunks::<64>();
        for pair in pairs {
            let (one, two) =
                (load(pair.first_chunk().expect("64 bytes")), load(pair.last_chunk().expect("64 bytes")));
            if _mm256_movemask_epi8(_mm256_or_si256(ends(one), ends(two))) != 0 {
                break;
            }
            other = _mm256_or_si256(other, _mm256_or_si256(one, two));
            length += 64;
        }
        let (blocks, _) = bytes[length..].as_chunks::<32>();
        for block in blocks {
            let block = load(block);
            let ends = _mm256_movemask_epi8(ends(block)) as u32;
            if ends != 0 {
                let inside = ends.trailing_zeros();
                let before = _mm256_movemask_epi8(block) as u32 & ((1 << inside) - 1);
                let other = _mm256_movemask_epi8(other) as u32 | before;
                return Plain { length: length + inside as usize, is_ascii: other == 0 };
            }
            other = _mm256_or_si256(other, block);
            length += 32;
        }
        plain_run_portable(bytes, Plain { length, is_ascii: _mm256_movemask_epi8(other) == 0 })
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn has_marks(bytes: &[u8]) -> bool {
        // The last 32 bytes overlap those before them, which is faster than the rest one by one.
        let Some(last) = bytes.last_chunk() else { return has_marks_portable(bytes) };
        let (blocks, _) = bytes.as_chunks::<32>();
        let found = blocks.iter().chain([last]).fold(_mm256_setzero_si256(), |found, block| {
            let bytes = load(block);
            let square = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'[' as i8));
            let angle = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'<' as i8));
            // The highest bit of a byte that is not ASCII is set as it is.
            _mm256_or_si256(found, _mm256_or_si256(bytes, _mm256_or_si256(square, angle)))
        });
        _mm256_movemask_epi8(found) != 0
    }

    /// Bit sets for the lower and upper half of a byte: a common bit means that it is not a base64 character.
    /// The method is Muła and Lemire's (arXiv:1704.00605, section 3.2).
    #[target_feature(enable = "avx2")]
    fn strangers(bytes: __m256i) -> __m256i {
        let lower = _mm256_setr_epi8(
            0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x13, 0x1a, 0x1b, 0x1b, 0x1b, 0x1a,
            0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x13, 0x1a, 0x1b, 0x1b, 0x1b, 0x1a,
        );
        let upper = _mm256_setr_epi8(
            0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10,
            0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10,
        );
        let half = _mm256_set1_epi8(0x0f);
        let of_lower = _mm256_shuffle_epi8(lower, _mm256_and_si256(bytes, half));
        let of_upper = _mm256_shuffle_epi8(upper, _mm256_and_si256(_mm256_srli_epi32::<4>(bytes), half));
        _mm256_and_si256(of_lower, of_upper)
    }

    /// Bytes in whole blocks before the first block with another character.
    #[target_feature(enable = "avx2")]
    pub(super) fn base64_blocks(bytes: &[u8]) -> usize {
        let (blocks, _) = bytes.as_chunks::<128>();
        let is_clean = |block: &[u8; 128]| {
            let (quarters, _) = block.as_chunks::<32>();
            let found = quarters
                .iter()
                .fold(_mm256_setzero_si256(), |found, part| _mm256_or_si256(found, strangers(load(part))));
            _mm256_testz_si256(found, found) == 1
        };
        128 * blocks.iter().position(|block| !is_clean(block)).unwrap_or(blocks.len())
    }

    /// The highest bit for each ASCII character that is not in the base64 alphabet.
    static STRANGERS: [[u8; 64]; 2] = {
        let mut strangers = [[0; 64]; 2];
        let mut byte = 0;
        while byte < 128 {
            strangers[byte / 64][byte % 64] = if is_base64(byte as u8) { 0 } else { 0x80 };
            byte += 1;
        }
        strangers
    };

    /// The same, 64 bytes at a time: a third faster.
    #[target_feature(enable = "avx512bw,avx512vbmi")]
    pub(super) fn base64_wide_blocks(bytes: &[u8]) -> usize {
        let wide = |block: &[u8; 64]| {
            // SAFETY: the block has the 64 bytes that are loaded.
            unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
        };
        let [low, high] = [wide(&STRANGERS[0]), wide(&STRANGERS[1])];
        let (blocks, _) = bytes.as_chunks::<256>();
        let is_clean = |block: &[u8; 256]| {
            let (quarters, _) = block.as_chunks::<64>();
            let found = quarters.iter().fold(_mm512_setzero_si512(), |found, part| {
                let bytes = wide(part);
                // The table is indexed by seven bits; the eighth is kept as it is.
                _mm512_or_si512(found, _mm512_or_si512(bytes, _mm512_permutex2var_epi8(low, bytes, high)))
            });
            _mm512_movepi8_mask(found) == 0
        };
        256 * blocks.iter().position(|block| !is_clean(block)).unwrap_or(blocks.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_run_ends_at_the_first_special_byte() {
        for length in [0, 1, 15, 16, 17, 31, 33, 63, 64, 65, 96, 127, 130, 200] {
            let plain = vec![b'x'; length];
            assert_eq!(plain_run(&plain), Plain { length, is_ascii: true });
            for at in 0..length {
                for byte in 0..=255 {
                    let mut bytes = plain.clone();
                    bytes[at] = byte;
                    let expected = plain_run_portable(&bytes, Plain { length: 0, is_ascii: true });
                    assert_eq!(plain_run(&bytes), expected, "{byte} at {at} of {length}");
                    bytes.push(b'"');
                    bytes.extend([0xc3; 40]);
                    assert_eq!(plain_run(&bytes), expected, "{byte} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn finds_marks_at_every_position() {
        for length in [0, 1, 31, 32, 33, 70] {
            for at in 0..length {
                for byte in 0..=255 {
                    let mut bytes = vec![b'x'; length];
                    bytes[at] = byte;
                    let expected = byte == b'[' || byte == b'<' || byte >= 0x80;
                    assert_eq!(has_marks(&bytes), expected, "{byte} at {at} of {length}");
                    assert_eq!(has_marks_portable(&bytes), expected, "{byte} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn base64_ends_at_the_first_other_byte() {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let letters = LETTERS.repeat(9);
        for length in [0, 1, 31, 32, 127, 128, 129, 256, 320, 512, 576] {
            assert_eq!(base64_run(&letters[..length]), length);
        }
        for at in 0..letters.len() {
            for byte in 0..=255 {
                let mut bytes = letters.clone();
                bytes[at] = byte;
                let expected = if LETTERS.contains(&byte) { letters.len() } else { at };
                assert_eq!(base64_run(&bytes), expected, "{byte} at {at}");
                assert_eq!(base64_run_portable(&bytes), expected, "{byte} at {at}");
                #[cfg(target_arch = "x86_64")]
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: the feature was just detected.
                    let blocks = unsafe { x86::base64_blocks(&bytes) };
                    assert_eq!(blocks, expected / 128 * 128, "{byte} at {at}");
                }
            }
        }
    }
}
