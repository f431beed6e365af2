//! Text and numbers as Python sees them: the reference metrics are Python code, and a score must not depend on where
//! the two languages disagree about a space, a digit or a float literal.

/// The zeros of Unicode's decimal digits; each is followed by the other nine. Python 3.11 `unicodedata`, Unicode 14.
const DECIMAL_ZEROS: [u32; 66] = [
    0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50,
    0xed0, 0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40,
    0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x104a0, 0x10d30, 0x11066,
    0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x11730, 0x118e0, 0x11950,
    0x11c50, 0x11d50, 0x11da0, 0x16a60, 0x16ac0, 0x16b50, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6,
    0x1e140, 0x1e2f0, 0x1e950, 0x1fbf0,
];

/// What `str.isdigit` accepts beside decimal digits: superscripts, subscripts, enclosed digits. Same source.
const OTHER_DIGITS: [(u32, u32); 20] = [
    (0xb2, 0xb3),
    (0xb9, 0xb9),
    (0x1369, 0x1371),
    (0x19da, 0x19da),
    (0x2070, 0x2070),
    (0x2074, 0x2079),
    (0x2080, 0x2089),
    (0x2460, 0x2468),
    (0x2474, 0x247c),
    (0x2488, 0x2490),
    (0x24ea, 0x24ea),
    (0x24f5, 0x24fd),
    (0x24ff, 0x24ff),
    (0x2776, 0x277e),
    (0x2780, 0x2788),
    (0x278a, 0x2792),
    (0x10a40, 0x10a43),
    (0x10e60, 0x10e68),
    (0x11052, 0x1105a),
    (0x1f100, 0x1f10a),
];

/// `str.isspace` of one character: Unicode's white space and the four ASCII separators.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `str.strip()`.
pub(super) fn strip(text: &str) -> &str {
    if let [first, .., last] = text.as_bytes()
        && first.is_ascii_graphic()
        && last.is_ascii_graphic()
    {
        return text;
    }
    text.trim_matches(is_space)
}

/// `" ".join(text.split())`.
pub(super) fn collapse_spaces(text: &str) -> String {
    text.split(is_space).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The value of a decimal digit of any script, as in a `\d` of `re` or a digit of `float()`.
pub(super) fn decimal(c: char) -> Option<u8> {
    if c.is_ascii() {
        return c.is_ascii_digit().then(|| c as u8 - b'0');
    }
    let code = u32::from(c);
    let zero = DECIMAL_ZEROS[..DECIMAL_ZEROS.partition_point(|zero| *zero <= code)].last()?;
    u8::try_from(code - zero).ok().filter(|value| *value < 10)
}

/// `str.isdigit` of one character.
pub(super) fn is_digit(c: char) -> bool {
    let code = u32::from(c);
    decimal(c).is_some() || OTHER_DIGITS.iter().any(|(first, last)| (*first..=*last).contains(&code))
}

/// Python's `float(text)`; `None` where that raises `ValueError`.
pub(super) fn float(text: &str) -> Option<f64> {
    // Most answers are words: a letter that begins neither `inf` nor `nan` begins no number.
    let first = text.as_bytes().first()?;
    if first.is_ascii_alphabetic() && !matches!(first, b'i' | b'I' | b'n' | b'N') {
        return None;
    }
    if text.is_ascii() {
        return float_of_ascii(text);
    }
    float_of_ascii(&text.chars().map(ascii_of).collect::<Option<String>>()?)
}

fn float_of_ascii(text: &str) -> Option<f64> {
    let literal = text.trim_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    let unsigned = literal.strip_prefix(['+', '-']).unwrap_or(literal);
    // What is left of Python's grammar is a subset of Rust's, and both round to nearest.
    match unsigned.as_bytes().first()? {
        b'0'..=b'9' | b'.' if is_decimal_literal(unsigned.as_bytes()) => literal.parse().ok(),
        b'0'..=b'9' | b'.' => {
            let plain = without_underscores(literal)?;
            let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
            if is_decimal_literal(unsigned.as_bytes()) { plain.parse().ok() } else { None }
        }
        b'i' | b'I' | b'n' | b'N' => {
            let is_name = ["inf", "infinity", "nan"].iter().any(|name| unsigned.eq_ignore_ascii_case(name));
            if is_name { literal.parse().ok() } else { None }
        }
        _ => None,
    }
}

/// The ASCII character that `float()` reads: decimal digits and spaces of all scripts have one. The ASCII separators, spaces
/// elsewhere in Python, are none here.
fn ascii_of(c: char) -> Option<char> {
    match decimal(c) {
        _ if c.is_ascii() => Some(c),
        Some(value) => Some(char::from(b'0' + value)),
        None => c.is_whitespace().then_some(' '),
    }
}

/// Removes underscores, each of which must stand between two digits; `None` where there is none.
fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let is_digit_at = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let misplaced =
        |at: usize| bytes[at] == b'_' && !(is_digit_at(at.checked_sub(1)) && is_digit_at(Some(at + 1)));
    if !text.contains('_') || (0..bytes.len()).any(misplaced) { None } else { Some(text.replace('_', "")) }
}

/// `digits [. [digits]] | . digits`, then an optional exponent.
fn is_decimal_literal(text: &[u8]) -> bool {
    let digits = |from: usize| text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(0);
    let mut at = whole;
    let mut fraction = 0;
    if text.get(at) == Some(&b'.') {
        fraction = digits(at + 1);
        at += 1 + fraction;
    }
    if whole + fraction == 0 {
        return false;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        at += 1 + usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at);
        return exponent > 0 && at + exponent == text.len();
    }
    at == text.len()
}

/// Whether `str.isdigit` accepts a character of the text.
pub(super) fn has_digit(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit()) || (!text.is_ascii() && text.chars().any(is_digit))
}

/// Whether both texts are the same in lower case.
pub(super) fn is_same_in_lower_case(one: &str, other: &str) -> bool {
    if let ([a, ..], [b, ..]) = (one.as_bytes(), other.as_bytes())
        && a.is_ascii()
        && b.is_ascii()
        && !a.eq_ignore_ascii_case(b)
    {
        return false;
    }
    if one.is_ascii() && other.is_ascii() {
        return one.eq_ignore_ascii_case(other);
    }
    one.to_lowercase() == other.to_lowercase()
}

/// `str(number)` for a finite float that has a fraction, and for a whole one what `str(int(number))` prints.
pub(super) fn number_text(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    if number.fract() == 0.0 {
        // Integers are written faster, and every whole float of this size is one.
        return if number.abs() < 1e15 { (number as i64).to_string() } else { format!("{number:.0}") };
    }
    // Only fractions are left, so the largest is below 2^53; `repr` changes to an exponent below 1e-4.
    if number.abs() >= 1e-4 {
        return format!("{number}");
    }
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once("e-").unwrap_or((&scientific, "0"));
    format!("{mantissa}e-{exponent:0>2}")
}

/// `format(number, ",")`: the same with commas between thousands.
pub(super) fn number_with_commas(number: f64) -> String {
    let text = number_text(number);
    let (sign, unsigned) = text.split_at(usize::from(text.starts_with('-')));
    let whole_length = unsigned.find(['.', 'e']).unwrap_or(unsigned.len());
    let (whole, rest) = unsigned.split_at(whole_length);
    let mut out = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole_length - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_floats_as_python_does() {
        let same = |text: &str, value: f64| assert_eq!(float(text), Some(value), "{text}");
        same(" 1_000.5\u{85}", 1000.5);
        same("+.5e-3", 0.0005);
        same("5.", 5.0);
        same("٣٫".trim_end_matches('٫'), 3.0);
        same("-Infinity", f64::NEG_INFINITY);
        assert!(float("nan").is_some_and(f64::is_nan));
        for refused in [
            "", ".", "1__0", "_1", "1_", "1_.0", "1e", "e5", "0x10", "1 0", "1,000", "²", "infinit",
            "5\u{1c}",
        ] {
            assert_eq!(float(refused), None, "{refused}");
        }
    }

    #[test]
    fn prints_numbers_as_python_does() {
        let cases = [
            (1_234_567.0, "1,234,567"),
            (-1000.0, "-1,000"),
            (-0.0, "0"),
            (1234.5, "1,234.5"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (0.0001, "0.0001"),
            (1e22, "10,000,000,000,000,000,000,000"),
        ];
        for (number, text) in cases {
            assert_eq!(number_with_commas(number), text);
        }
    }

    #[test]
    fn digits_are_those_of_python() {
        assert!(['7', '²', '٣', '①', '７'].into_iter().all(is_digit));
        assert!(!['½', 'Ⅷ', 'x', '十'].into_iter().any(is_digit));
        assert_eq!((decimal('９'), decimal('²'), decimal('/')), (Some(9), None, None));
    }
}
