//! Text that is not UTF-8, such as tables saved by spreadsheets: which encoding it is in, and its characters as UTF-8.

use std::io::{self, Read};

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// How the text of an input is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct TextForm {
    /// The encoding, where it is not UTF-8.
    pub(super) encoding: Option<&'static Encoding>,
    /// Lines end with a carriage return alone, as on the first Macs.
    pub(super) has_cr_ends: bool,
}

impl TextForm {
    /// Whether the bytes of the input are not those of the text.
    pub(super) fn is_converted(self) -> bool {
        self != TextForm::default()
    }

    /// The text as UTF-8 with usual line ends. Bytes that are not valid in the encoding become one that is not valid in UTF-8,
    /// so that their row is rejected.
    pub(super) fn convert(self, source: Box<dyn Read + Send>) -> Box<dyn Read + Send> {
        let decoded: Box<dyn Read + Send> = match self.encoding {
            Some(encoding) => Box::new(Decoded::new(source, encoding)),
            None => source,
        };
        if self.has_cr_ends { Box::new(UsualLineEnds(decoded)) } else { decoded }
    }
}

/// The encoding of a text with this beginning, if it is not UTF-8; `is_whole`: there is no more of it.
pub(super) fn encoding_of_text(start: &[u8], is_whole: bool) -> Option<&'static Encoding> {
    match start {
        // UTF-32, which no program writes as text, begins like UTF-16.
        [0xff, 0xfe, 0, 0, ..] => None,
        [0xff, 0xfe, ..] => Some(UTF_16LE),
        [0xfe, 0xff, ..] => Some(UTF_16BE),
        _ => unmarked_utf16(start).or_else(|| legacy(start, is_whole)),
    }
}

/// UTF-16 without a mark at the start: every other byte of mostly Latin text is zero, and no byte of other text is.
fn unmarked_utf16(start: &[u8]) -> Option<&'static Encoding> {
    let pairs = start[..start.len().min(4096)].chunks_exact(2);
    let count = pairs.len();
    let zeros = |at: usize| pairs.clone().filter(|pair| pair[at] == 0).count();
    let (first, second) = (zeros(0), zeros(1));
    if count < 4 {
        None
    } else if second * 2 > count && first * 20 < count {
        Some(UTF_16LE)
    } else if first * 2 > count && second * 20 < count {
        Some(UTF_16BE)
    } else {
        None
    }
}

/// A legacy encoding. A text with valid characters beyond ASCII is UTF-8 with damaged rows: decoding it as anything else would
/// garble the others.
fn legacy(start: &[u8], is_whole: bool) -> Option<&'static Encoding> {
    let (mut valid, mut invalid) = (0, 0);
    for chunk in start.utf8_chunks() {
        valid += chunk.valid().chars().filter(|character| !character.is_ascii()).count();
        invalid += usize::from(!chunk.invalid().is_empty());
    }
    // The last character may be cut.
    let cut = !is_whole && start.utf8_chunks().last().is_some_and(|chunk| chunk.invalid().len() < 4);
    invalid -=
        usize::from(cut && invalid > 0 && std::str::from_utf8(start).is_err_and(|e| e.error_len().is_none()));
    (invalid > 0 && invalid > valid).then(|| guess(start, is_whole))
}

fn guess(bytes: &[u8], is_whole: bool) -> &'static Encoding {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(bytes, is_whole);
    detector.guess(None, Utf8Detection::Deny)
}

/// What a row that is not UTF-8 may be meant as: the name of the encoding, and the place in question decoded.
pub(crate) fn likely_meaning(row: &[u8]) -> Option<(&'static str, String)> {
    std::str::from_utf8(row).err()?;
    let encoding = unmarked_utf16(row).unwrap_or_else(|| guess(row, true));
    Some((encoding.name(), sample(row, encoding)?))
}

/// The hint of a finding about a row that is not UTF-8.
pub(crate) fn hint(row: &[u8]) -> String {
    match likely_meaning(row) {
        Some((name, sample)) => {
            format!("in {name} it reads \u{201c}{sample}\u{201d}; write the row as UTF-8")
        }
        None => "write the row as UTF-8".to_owned(),
    }
}

/// Characters on either side of the first one beyond ASCII.
const SAMPLE: usize = 20;

/// The first line with a character beyond ASCII, as far as it surrounds it; without one, the beginning.
pub(super) fn sample(bytes: &[u8], encoding: &'static Encoding) -> Option<String> {
    let (text, _) = encoding.decode_with_bom_removal(bytes);
    let line = text.lines().find(|line| !line.is_ascii()).or_else(|| text.lines().next())?;
    let characters: Vec<char> = line.chars().filter(|character| !character.is_control()).collect();
    let at = characters.iter().position(|character| !character.is_ascii()).unwrap_or(0);
    let (from, to) = (at.saturating_sub(SAMPLE), (at + SAMPLE).min(characters.len()));
    let before = if from > 0 { "…" } else { "" };
    let after = if to < characters.len() { "…" } else { "" };
    Some(format!("{before}{}{after}", characters[from..to].iter().collect::<String>().trim()))
}

/// An encoding that the user names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextEncoding(&'static Encoding);

impl TextEncoding {
    /// The encoding with this name, in any of the spellings of the WHATWG Encoding Standard.
    pub fn named(name: &str) -> Option<TextEncoding> {
        Encoding::for_label_no_replacement(name.trim().as_bytes()).map(TextEncoding)
    }

    /// Its name in the standard.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// What decodes it, unless it is UTF-8.
    pub(super) fn other_than_utf8(self) -> Option<&'static Encoding> {
        (self.0 != UTF_8).then_some(self.0)
    }
}

const READ_SIZE: usize = 64 << 10;

/// A byte that no UTF-8 text has.
const INVALID: u8 = 0xff;

/// Decodes a stream.
struct Decoded<R> {
    source: R,
    decoder: Decoder,
    input: Vec<u8>,
    /// The unread bytes are `input[start..end]`.
    start: usize,
    end: usize,
    state: State,
    output: Vec<u8>,
    /// How many bytes of the output were handed on.
    given: usize,
}

#[derive(PartialEq, Eq)]
enum State {
    Reading,
    AtEnd,
    Finished,
}

impl<R: Read> Decoded<R> {
    fn new(source: R, encoding: &'static Encoding) -> Decoded<R> {
        Decoded {
            source,
            decoder: encoding.new_decoder_with_bom_removal(),
            input: vec![0; READ_SIZE],
            start: 0,
            end: 0,
            state: State::Reading,
            output: Vec::with_capacity(READ_SIZE * 3),
            given: 0,
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.output.clear();
        self.given = 0;
        if self.start == self.end && self.state == State::Reading {
            (self.start, self.end) = (0, self.source.read(&mut self.input)?);
            if self.end == 0 {
                self.state = State::AtEnd;
            }
        }
        let free = self.output.capacity();
        self.output.resize(free, 0);
        let is_last = self.state != State::Reading;
        let (result, read, written) = self.decoder.decode_to_utf8_without_replacement(
            &self.input[self.start..self.end],
            &mut self.output,
            is_last,
        );
        self.start += read;
        self.output.truncate(written);
        match result {
            DecoderResult::Malformed(..) => self.output.push(INVALID),
            DecoderResult::InputEmpty if is_last => self.state = State::Finished,
            DecoderResult::InputEmpty | DecoderResult::OutputFull => {}
        }
        Ok(())
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.output.len() {
            if self.state == State::Finished {
                return Ok(0);
            }
            self.fill()?;
        }
        let length = buffer.len().min(self.output.len() - self.given);
        buffer[..length].copy_from_slice(&self.output[self.given..self.given + length]);
        self.given += length;
        Ok(length)
    }
}

/// Makes line feeds of carriage returns.
struct UsualLineEnds<R>(R);

impl<R: Read> Read for UsualLineEnds<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        for byte in buffer[..read].iter_mut().filter(|byte| **byte == b'\r') {
            *byte = b'\n';
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use encoding_rs::{SHIFT_JIS, WINDOWS_1251, WINDOWS_1252};

    use super::*;

    const GERMAN: &str = "bild;frage;antwort\n1.jpg;Wie heißt die Straße?;Königsallee in Düsseldorf\n";

    fn encoded(text: &str, encoding: &'static Encoding) -> Vec<u8> {
        match encoding.name() {
            "UTF-16LE" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            "UTF-16BE" => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            _ => encoding.encode(text).0.into_owned(),
        }
    }

    #[test]
    fn recognizes_encodings() {
        let russian = "картинка;вопрос;ответ\n1.jpg;Что изображено на этой картинке?;Красная площадь\n";
        let japanese = "image,question,answer\n1.jpg,この写真には何が写っていますか,東京駅の建物です\n";
        for (text, encoding) in [
            (GERMAN, WINDOWS_1252),
            (russian, WINDOWS_1251),
            (japanese, SHIFT_JIS),
            (GERMAN, UTF_16LE),
            (GERMAN, UTF_16BE),
        ] {
            assert_eq!(encoding_of_text(&encoded(text, encoding), true), Some(encoding), "{text}");
        }
        assert_eq!(encoding_of_text(b"\xff\xfea\0", true), Some(UTF_16LE));
    }

    #[test]
    fn keeps_utf8_with_damaged_rows() {
        assert_eq!(encoding_of_text(GERMAN.as_bytes(), true), None);
        let damaged = [GERMAN.as_bytes(), b"2.jpg;caf\xe9;x\n"].concat();
        assert_eq!(encoding_of_text(&damaged, true), None);
        // A character that the end of the sample cuts.
        let cut = &GERMAN.as_bytes()[..GERMAN.find('ß').unwrap() + 1];
        assert_eq!(encoding_of_text(cut, false), None);
        assert_eq!(encoding_of_text(cut, true), Some(guess(cut, true)));
    }

    #[test]
    fn decodes_what_is_valid_and_marks_the_rest() {
        let read = |form: TextForm, bytes: &[u8]| {
            let mut text = Vec::new();
            form.convert(Box::new(io::Cursor::new(bytes.to_vec()))).read_to_end(&mut text).unwrap();
            text
        };
        for encoding in [WINDOWS_1252, UTF_16LE, UTF_16BE] {
            let form = TextForm { encoding: Some(encoding), has_cr_ends: false };
            let long = GERMAN.repeat(10_000);
            assert_eq!(read(form, &encoded(&long, encoding)), long.as_bytes());
        }
        let form = TextForm { encoding: Some(UTF_16LE), has_cr_ends: false };
        assert_eq!(read(form, b"\xff\xfea\0\x00\xd8b\0c"), b"a\xffb\xff");
        assert_eq!(read(TextForm { encoding: None, has_cr_ends: true }, b"a\rb\r"), b"a\nb\n");
    }

    #[test]
    fn shows_what_a_row_may_mean() {
        let row = encoded("2.jpg,Wie heißt das Café an der Straße?", WINDOWS_1252);
        assert_eq!(
            likely_meaning(&row),
            Some(("windows-1252", "2.jpg,Wie heißt das Café an der S…".to_owned()))
        );
        assert_eq!(likely_meaning(b"plain"), None);
    }
}
