//! A few words of a line around a place, short enough for a terminal whatever the line contains.

/// The text around a spot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The text: one line, with base64 shortened.
    pub text: String,
    /// How many characters precede the place.
    pub before: usize,
}

const BEFORE: usize = 32;
const AFTER: usize = 56;
/// Runs of this many characters of the base64 alphabet are shortened.
const LONG_RUN: usize = 40;
const KEPT_OF_RUN: usize = 12;

impl Excerpt {
    /// The text around the byte `offset` of a line.
    pub fn around(line: &str, offset: usize) -> Excerpt {
        let offset = (0..=offset.min(line.len())).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        let (head, tail) = line.split_at(offset);
        let mut text: String =
            head.chars().rev().take(BEFORE).collect::<Vec<_>>().into_iter().rev().collect();
        if text.len() < head.len() {
            text.insert(0, '…');
        }
        let before = text.chars().count();
        push_shortened(&mut text, tail, AFTER);
        Excerpt { text: on_one_line(&text), before }
    }
}

/// The first characters of a line, about `most`, with base64 shortened.
pub fn start_of_line(line: &str, most: usize) -> String {
    let mut text = String::new();
    push_shortened(&mut text, line, most);
    on_one_line(&text)
}

fn push_shortened(text: &mut String, mut rest: &str, most: usize) {
    let mut shown = 0;
    while let Some(character) = rest.chars().next().filter(|_| shown < most) {
        let run = rest.bytes().take_while(|byte| is_base64(*byte)).count();
        if run >= LONG_RUN {
            text.push_str(&rest[..KEPT_OF_RUN]);
            text.push_str(&format!("…({run} characters)…"));
            shown += KEPT_OF_RUN + 20;
            rest = &rest[run..];
            continue;
        }
        text.push(character);
        shown += 1;
        rest = &rest[character.len_utf8()..];
    }
    if !rest.is_empty() {
        text.push('…');
    }
}

fn on_one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_place_and_shortens_base64() {
        let line = format!("{{\"a\":\"é\",\"url\":\"data:image/png;base64,{}\"}}", "Ab3+".repeat(1000));
        let excerpt = Excerpt::around(&line, line.find("\"data").unwrap());
        assert_eq!(
            excerpt.text,
            "{\"a\":\"é\",\"url\":\"data:image/png;base64,Ab3+Ab3+Ab3+…(4000 characters)…\"…"
        );
        assert_eq!(excerpt.before, 15);
        let long = "word ".repeat(100);
        let excerpt = Excerpt::around(&long, 200);
        assert!(excerpt.text.starts_with('…') && excerpt.text.ends_with('…') && excerpt.before == 33);
        assert_eq!(Excerpt::around("", 5), Excerpt { text: String::new(), before: 0 });
        assert_eq!(Excerpt::around("é", 1).before, 0, "an offset inside a character");
    }
}
