//! Base64 with padding (RFC 4648 section 4), as data URIs hold it.

use std::ops::Range;

use base64_simd::STANDARD;
use pixtune_core::bytes::base64_run;

/// How many characters so many bytes become.
pub fn encoded_length(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// Appends the base64 of `bytes`.
pub fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    STANDARD.encode_append(bytes, out);
}

/// A data URI.
pub fn data_uri(mime: &str, bytes: &[u8]) -> String {
    let mut uri = format!("data:{mime};base64,");
    STANDARD.encode_append(bytes, &mut uri);
    uri
}

/// Decodes base64 as Python does for data URIs: characters outside the alphabet are skipped, padding must be right.
/// `None` when it is not.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    decode_into(text, Vec::new())
}

/// As [`decode`], into an empty buffer.
pub(crate) fn decode_into(text: &str, mut buffer: Vec<u8>) -> Option<Vec<u8>> {
    match STANDARD.decode_append(text.as_bytes(), &mut buffer) {
        Ok(()) => Some(buffer),
        Err(_) => decode_loose(text),
    }
}

fn decode_loose(text: &str) -> Option<Vec<u8>> {
    let mut kept: Vec<u8> = text.bytes().filter(|byte| *byte == b'=' || sextet(*byte).is_some()).collect();
    clear_spare_bits(&mut kept);
    STANDARD.decode_to_vec(kept).ok()
}

/// Clears the bits behind the last byte. Python ignores them; the decoder refuses them.
fn clear_spare_bits(text: &mut [u8]) {
    let Some(last) = text.iter().rposition(|byte| *byte != b'=') else { return };
    let spare = match text.len() - last - 1 {
        1 => 0b11,
        2 => 0b1111,
        _ => return,
    };
    if let Some(bits) = sextet(text[last]) {
        text[last] = ALPHABET[bits & !spare];
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The six bits that a letter stands for.
fn sextet(letter: u8) -> Option<usize> {
    ALPHABET.iter().position(|other| *other == letter)
}

/// How many bytes a text decodes to, if it is strict base64: letters of the alphabet, and padding that makes groups of
/// four. Found without decoding, at the speed of memory.
pub fn strict_length(text: &str) -> Option<usize> {
    strict_length_of(text, base64_run(text.as_bytes()))
}

/// The same for a text that is known to begin with so many letters.
fn strict_length_of(text: &str, letters: usize) -> Option<usize> {
    let padding = &text.as_bytes()[letters..];
    let fits = text.len().is_multiple_of(4) && matches!(padding, b"" | b"=" | b"==");
    fits.then(|| text.len() / 4 * 3 - padding.len())
}

/// What parsing a row has found out about the base64 in it, so that its letters are not counted twice.
#[derive(Debug, Clone, Copy, Default)]
pub struct Payloads<'t> {
    /// The row, or more.
    pub text: &'t [u8],
    /// Where payloads begin, and how many letters follow.
    pub runs: &'t [Range<usize>],
}

impl Payloads<'_> {
    /// How many bytes a payload decodes to, if it is strict base64.
    pub fn strict_length(&self, payload: &str) -> Option<usize> {
        // A payload that was escaped is no part of the row's text, so its letters were not counted.
        let start = (payload.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        let run = self.runs.iter().find(|run| run.start == start && run.len() <= payload.len());
        match run {
            Some(run) => strict_length_of(payload, run.len()),
            None => strict_length(payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_the_vectors_of_rfc_4648() {
        let vectors = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (bytes, expected) in vectors {
            let mut out = b"x".to_vec();
            encode(bytes.as_bytes(), &mut out);
            assert_eq!(std::str::from_utf8(&out[1..]), Ok(expected));
        }
    }

    #[test]
    fn reads_back_what_it_writes_at_every_length() {
        let bytes: Vec<u8> = (0..2000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for length in (0..300).chain([1999, 2000]) {
            let mut out = Vec::new();
            encode(&bytes[..length], &mut out);
            let text = String::from_utf8(out).unwrap();
            assert_eq!((text.len(), strict_length(&text)), (encoded_length(length), Some(length)));
            assert_eq!(decode(&text).as_deref(), Some(&bytes[..length]));
        }
    }

    #[test]
    fn decodes_like_python() {
        assert_eq!(decode("AAEC\nAw=="), Some(vec![0, 1, 2, 3]));
        assert_eq!(decode(" AAECAw== "), Some(vec![0, 1, 2, 3]));
        assert_eq!(decode("AAECAx=="), Some(vec![0, 1, 2, 3]), "spare bits may be set");
        assert_eq!(decode("AAECAwV="), Some(vec![0, 1, 2, 3, 5]), "spare bits may be set");
        assert_eq!(decode("AAECAw"), None);
        assert_eq!(decode("AAECAw="), None);
        assert_eq!(decode("===="), None);
    }

    #[test]
    fn tells_strict_base64_from_loose() {
        assert_eq!(strict_length(""), Some(0));
        assert_eq!(
            [strict_length("AAECAw=="), strict_length("AAECAwQ="), strict_length("AAEC")],
            [4, 5, 3].map(Some)
        );
        for loose in ["AAECAw", "AAECAw=", "A===", "AAEC\n", "AA-_", "AA=A", " AAE", "=AAA", "ÄÄ"] {
            assert_eq!(strict_length(loose), None, "{loose}");
        }
        let long = ALPHABET.repeat(5);
        for at in 0..long.len() {
            for byte in 0..128 {
                let mut text = long.clone();
                text[at] = byte;
                let is_strict = strict_length(std::str::from_utf8(&text).unwrap()).is_some();
                let expected = ALPHABET.contains(&byte) || (byte == b'=' && at == 319);
                assert_eq!(is_strict, expected, "{byte} at {at}");
            }
        }
    }
}
