//! Base64 with padding (RFC 4648 section 4), fast: for images that pass through it is half of the work.

use pixtune_core::bytes::base64_run;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Two characters for every 12 bits.
static PAIRS: [[u8; 2]; 4096] = {
    let mut pairs = [[0; 2]; 4096];
    let mut bits = 0;
    while bits < 4096 {
        pairs[bits] = [ALPHABET[bits >> 6], ALPHABET[bits & 63]];
        bits += 1;
    }
    pairs
};

/// How many characters so many bytes become.
pub fn encoded_length(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// Appends the base64 of `bytes`.
pub fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + encoded_length(bytes.len()), 0);
    let text = &mut out[start..];
    #[cfg(target_arch = "x86_64")]
    let done = if is_x86_feature_detected!("avx2") {
        // SAFETY: the feature was just detected.
        unsafe { avx2::encode(bytes, text) }
    } else {
        0
    };
    #[cfg(not(target_arch = "x86_64"))]
    let done = 0;
    encode_portable(&bytes[done..], &mut text[done / 3 * 4..]);
}

fn encode_portable(bytes: &[u8], text: &mut [u8]) {
    let whole = bytes.chunks_exact(3);
    let rest = whole.remainder();
    let mut quads = text.chunks_exact_mut(4);
    for (triple, quad) in whole.zip(&mut quads) {
        let bits = usize::from(triple[0]) << 16 | usize::from(triple[1]) << 8 | usize::from(triple[2]);
        quad[..2].copy_from_slice(&PAIRS[bits >> 12]);
        quad[2..].copy_from_slice(&PAIRS[bits & 0xfff]);
    }
    if let (Some(last), false) = (quads.next(), rest.is_empty()) {
        let bits = usize::from(rest[0]) << 16 | usize::from(*rest.get(1).unwrap_or(&0)) << 8;
        last[..2].copy_from_slice(&PAIRS[bits >> 12]);
        last[2] = if rest.len() == 2 { PAIRS[bits & 0xfff][0] } else { b'=' };
        last[3] = b'=';
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    /// Encodes as much as whole blocks of 24 bytes allow and returns how many bytes that was.
    ///
    /// The method is Muła and Lemire's (arXiv:1704.00605): bytes are spread so that each 32-bit lane holds one
    /// triple, two multiplications move its 6-bit groups into separate bytes, and a table of offsets indexed by
    /// the group's range turns them into letters.
    #[target_feature(enable = "avx2")]
    pub(super) fn encode(bytes: &[u8], text: &mut [u8]) -> usize {
        let spread = _mm256_setr_epi8(
            5, 4, 6, 5, 8, 7, 9, 8, 11, 10, 12, 11, 14, 13, 15, 14, 1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10,
            9, 11, 10,
        );
        let offsets = _mm256_setr_epi8(
            65, 71, -4, -4, -4, -4, -4, -4, -4, -4, -4, -4, -19, -16, 0, 0, 65, 71, -4, -4, -4, -4, -4, -4,
            -4, -4, -4, -4, -19, -16, 0, 0,
        );
        let mut done = 0;
        // A block reads 32 bytes from four before its first, and uses the 24 behind those four.
        if bytes.len() < 4 {
            return 0;
        }
        done += first_block(bytes, text);
        while done >= 4 && done + 28 <= bytes.len() {
            let window = &bytes[done - 4..done + 28];
            // SAFETY: the window has the 32 bytes that are loaded.
            let loaded = unsafe { _mm256_loadu_si256(window.as_ptr().cast()) };
            let lanes = _mm256_shuffle_epi8(loaded, spread);
            let high = _mm256_mulhi_epu16(
                _mm256_and_si256(lanes, _mm256_set1_epi32(0x0fc0_fc00)),
                _mm256_set1_epi32(0x0400_0040),
            );
            let low = _mm256_mullo_epi16(
                _mm256_and_si256(lanes, _mm256_set1_epi32(0x003f_03f0)),
                _mm256_set1_epi32(0x0100_0010),
            );
            let groups = _mm256_or_si256(high, low);
            let range = _mm256_subs_epu8(groups, _mm256_set1_epi8(51));
            let above_25 = _mm256_cmpgt_epi8(groups, _mm256_set1_epi8(25));
            let offset = _mm256_shuffle_epi8(offsets, _mm256_sub_epi8(range, above_25));
            let letters = _mm256_add_epi8(groups, offset);
            let block = &mut text[done / 3 * 4..done / 3 * 4 + 32];
            // SAFETY: the block has the 32 bytes that are stored.
            unsafe { _mm256_storeu_si256(block.as_mut_ptr().cast(), letters) };
            done += 24;
        }
        done
    }

    /// The first 24 bytes, which have no four bytes before them.
    fn first_block(bytes: &[u8], text: &mut [u8]) -> usize {
        if bytes.len() < 24 {
            return 0;
        }
        super::encode_portable(&bytes[..24], &mut text[..32]);
        24
    }
}

/// Padding must be there; bits behind the last byte may be anything, as Python has it.
const ENGINE: ::base64::engine::GeneralPurpose = ::base64::engine::GeneralPurpose::new(
    &::base64::alphabet::STANDARD,
    ::base64::engine::GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Decodes base64 as Python does for data URIs: characters outside the alphabet are passed over, padding must be
/// right. `None` when it is not.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    use ::base64::Engine as _;
    if let Ok(bytes) = ENGINE.decode(text) {
        return Some(bytes);
    }
    let kept: Vec<u8> = text.bytes().filter(|byte| is_letter(*byte) || *byte == b'=').collect();
    ENGINE.decode(kept).ok()
}

/// How many bytes a text decodes to, if it is base64 without any liberty: letters of the alphabet, and padding that
/// makes groups of four. Found without decoding, at the speed of memory.
pub fn strict_length(text: &str) -> Option<usize> {
    strict_length_of(text, base64_run(text.as_bytes()))
}

/// The same for a text that begins with so many letters, if it is known.
pub(crate) fn strict_length_of(text: &str, letters: usize) -> Option<usize> {
    let padding = &text.as_bytes()[letters..];
    let fits = text.len().is_multiple_of(4) && matches!(padding, b"" | b"=" | b"==");
    fits.then(|| text.len() / 4 * 3 - padding.len())
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::base64::Engine as _;

    #[test]
    fn equals_the_library_at_every_length() {
        let bytes: Vec<u8> = (0..2000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for length in (0..300).chain([1999, 2000]) {
            let mut out = b"x".to_vec();
            encode(&bytes[..length], &mut out);
            let expected = ::base64::engine::general_purpose::STANDARD.encode(&bytes[..length]);
            assert_eq!(std::str::from_utf8(&out[1..]), Ok(expected.as_str()), "{length}");
        }
    }

    #[test]
    fn decodes_like_python() {
        assert_eq!(decode("AAEC\nAw=="), Some(vec![0, 1, 2, 3]));
        assert_eq!(decode(" AAECAw== "), Some(vec![0, 1, 2, 3]));
        assert_eq!(decode("AAECAx=="), Some(vec![0, 1, 2, 3]), "spare bits may be set");
        assert_eq!(decode("AAECAw"), None);
        assert_eq!(decode("AAECAw="), None);
    }

    #[test]
    fn strict_base64_is_told_from_loose() {
        assert_eq!(strict_length(""), Some(0));
        assert_eq!(
            [strict_length("AAECAw=="), strict_length("AAECAwQ="), strict_length("AAEC")],
            [4, 5, 3].map(Some)
        );
        for loose in ["AAECAw", "AAECAw=", "A===", "AAEC\n", "AA-_", "AA=A", " AAE"] {
            assert_eq!(strict_length(loose), None, "{loose}");
        }
        let long = ALPHABET.repeat(5);
        for at in 0..long.len() {
            for byte in 0..128 {
                let mut text = long.clone();
                text[at] = byte;
                let is_strict = strict_length(std::str::from_utf8(&text).unwrap()).is_some();
                assert_eq!(
                    is_strict,
                    ALPHABET.contains(&byte) || (byte == b'=' && at == 319),
                    "{byte} at {at}"
                );
            }
        }
    }

    #[test]
    fn clean_text_is_told_from_other() {
        for clean in ["", "AA==", "AAE=", "AAEC", "AAEC+/9A"] {
            assert!(strict_length(clean).is_some(), "{clean}");
            assert!(decode(clean).is_some(), "{clean}");
        }
        for other in ["A", "AA", "AAA", "A===", "AA=A", "AAE\n", "AA-_", "=AAA", "AAEC\n", "ÄÄ"] {
            assert!(strict_length(other).is_none(), "{other}");
        }
    }
}
