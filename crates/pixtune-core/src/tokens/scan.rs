//! Tekken's pre-tokenizer: splits text into pieces.
//!
//! Pieces are encoded one by one, so no token crosses a border found here. The reference does it with a regular
//! expression; its seven alternatives are written out below, the first match wins:
//! ```text
//! a b  [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+
//! c d  [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*
//! e    \p{N}
//! f     ?[^\s\p{L}\p{N}]+[\r\n/]*
//! g    \s*[\r\n]+
//! h    \s+(?!\S)|\s+
//! ```

use super::classes::{BLOCKS, INDEX};

/// The run that may start a word: upper case, title case, modifier and other letters, marks.
const UPPER: u8 = 1;
/// The run that may end a word: lower case, modifier and other letters, marks.
const LOWER: u8 = 2;
const LETTER: u8 = 4;
const NUMBER: u8 = 8;
const SPACE: u8 = 16;
const LINE_END: u8 = 32;
/// After the last character.
const END: u8 = 64;

const ASCII: [u8; 128] = BLOCKS[INDEX[0] as usize];

/// The end of the piece that begins at `start`, which must be a character's first byte, not the end of the text.
#[inline]
pub(super) fn piece_end(text: &str, start: usize) -> usize {
    let text = text.as_bytes();
    let (class, next) = class_at(text, start);
    if class & (LETTER | NUMBER | LINE_END) == 0 {
        let (second, _) = class_at(text, next);
        if second & (UPPER | LOWER) != 0 {
            // A mark is a prefix like any other, but also a word's beginning, which comes before `c`.
            if class & LOWER == 0 {
                return word_end(text, next).0;
            }
            return match word_end(text, next) {
                (end, Case::Lower) => end,
                _ => word_end(text, start).0,
            };
        }
    }
    if class & (UPPER | LOWER) != 0 {
        return word_end(text, start).0;
    }
    if class & NUMBER != 0 {
        return next;
    }
    let run = if text[start] == b' ' { next } else { start };
    let symbols = skip(text, run, |class| class & (SPACE | LETTER | NUMBER | END) == 0);
    if symbols > run {
        return line_ends_and_slashes(text, symbols);
    }
    space_end(text, start, next)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    /// `a`, `b`: the piece ends with the lower run.
    Lower,
    /// `c`, `d`: there is no lower run.
    Upper,
}

/// The end of the word at `start`, which is in the upper or the lower run.
#[inline]
fn word_end(text: &[u8], start: usize) -> (usize, Case) {
    let mut at = start;
    let mut last_lower = None;
    loop {
        let (class, next) = class_at(text, at);
        if class & UPPER == 0 {
            if class & LOWER != 0 {
                return (skip(text, next, |class| class & LOWER != 0), Case::Lower);
            }
            break;
        }
        if class & LOWER != 0 {
            last_lower = Some(next);
        }
        at = next;
    }
    match last_lower {
        Some(end) => (end, Case::Lower),
        None => (at, Case::Upper),
    }
}

fn space_end(text: &[u8], start: usize, first_end: usize) -> usize {
    let (mut at, mut last_start, mut line_end) = (start, start, None);
    loop {
        let (class, next) = class_at(text, at);
        if class & SPACE == 0 {
            break;
        }
        if class & LINE_END != 0 {
            line_end = Some(next);
        }
        last_start = at;
        at = next;
    }
    match line_end {
        Some(end) => end,
        None if at == text.len() || at == first_end => at,
        None => last_start,
    }
}

fn line_ends_and_slashes(text: &[u8], start: usize) -> usize {
    let length = text[start..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n' | b'/')).count();
    start + length
}

#[inline]
fn skip(text: &[u8], start: usize, run: impl Fn(u8) -> bool) -> usize {
    let mut at = start;
    loop {
        while at < text.len() && text[at] < 128 {
            if !run(ASCII[usize::from(text[at])]) {
                return at;
            }
            at += 1;
        }
        if at >= text.len() {
            return at;
        }
        let (class, next) = class_at(text, at);
        if !run(class) {
            return at;
        }
        at = next;
    }
}

/// Whether a character is a letter (`\p{L}`), as `str.isalpha` of Python has it for one character.
pub fn is_letter(c: char) -> bool {
    class_at(c.encode_utf8(&mut [0; 4]).as_bytes(), 0).0 & LETTER != 0
}

/// The class of the character at `at` and where the next one begins.
#[inline]
fn class_at(text: &[u8], at: usize) -> (u8, usize) {
    match text.get(at) {
        None => (END, at),
        Some(&byte) if byte < 128 => (ASCII[usize::from(byte)], at + 1),
        Some(&byte) => wide_class_at(text, at, byte),
    }
}

#[inline]
fn wide_class_at(text: &[u8], at: usize, lead: u8) -> (u8, usize) {
    let low = |offset: usize| u32::from(text[at + offset] & 0x3f);
    let lead = u32::from(lead);
    let (code, length) = if lead < 0xe0 {
        ((lead & 0x1f) << 6 | low(1), 2)
    } else if lead < 0xf0 {
        ((lead & 0x0f) << 12 | low(1) << 6 | low(2), 3)
    } else {
        ((lead & 0x07) << 18 | low(1) << 12 | low(2) << 6 | low(3), 4)
    };
    let class = match INDEX.get(code as usize >> 7) {
        Some(&block) => BLOCKS[usize::from(block)][code as usize & 127],
        None => 0,
    };
    (class, at + length)
}

#[cfg(test)]
mod tests {
    use super::piece_end;

    fn pieces(text: &str) -> Vec<&str> {
        let (mut at, mut pieces) = (0, Vec::new());
        while at < text.len() {
            let end = piece_end(text, at);
            pieces.push(&text[at..end]);
            at = end;
        }
        pieces
    }

    #[test]
    fn splits_like_the_reference() {
        for (text, expected) in [
            ("Hello world", vec!["Hello", " world"]),
            ("ABCdef GHI", vec!["ABCdef", " GHI"]),
            ("don't 12", vec!["don", "'t", " ", "1", "2"]),
            ("a  b", vec!["a", " ", " b"]),
            ("a \n\n  b", vec!["a", " \n\n", " ", " b"]),
            ("x  ", vec!["x", "  "]),
            ("f();\n//x", vec!["f", "();\n//", "x"]),
            (" \u{301}ABC", vec![" \u{301}", "ABC"]),
            ("\u{301}ABC", vec!["\u{301}", "ABC"]),
            ("\u{301}ABc", vec!["\u{301}ABc"]),
            ("AB\u{2b0}CD", vec!["AB\u{2b0}", "CD"]),
        ] {
            assert_eq!(pieces(text), expected, "{text:?}");
        }
    }
}
