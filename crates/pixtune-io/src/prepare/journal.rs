//! The memory of a run on disk: one entry a row, so that a finished line is never made twice.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use pixtune_core::curate::{ImageFacts, ImageRecord, Record, Sketch, TextSketch};
use pixtune_core::diagnostic::Severity;
use pixtune_core::split::GivenSplit;
use twox_hash::XxHash3_64;

use super::stream::Stream;

/// What is remembered of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The facts that decisions are made on.
    pub record: Record,
    /// Its images.
    pub images: Vec<ImageRecord>,
    /// Where its line is.
    pub stream: Stream,
    /// Hash of the row as it was read, by which a changed input is recognized.
    pub row_hash: u64,
    /// Checksum of the file the line is in, from its start to the end of the line: shows a torn write.
    pub checksum: u64,
    /// Its findings: indices into the list of rules, and how bad each is.
    pub findings: Vec<(u16, Severity)>,
    /// The path or URL of each image; `None` for an image that the row contains.
    pub image_names: Vec<Option<String>>,
}

/// Entries under way to the file.
pub struct Journal {
    file: File,
    buffer: Vec<u8>,
}

impl Journal {
    /// Opens the journal for appending behind its first `length` bytes; the rest is cut off.
    pub fn open(path: &Path, length: u64) -> io::Result<Journal> {
        let mut file = File::options().create(true).truncate(false).write(true).open(path)?;
        file.set_len(length)?;
        io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
        Ok(Journal { file, buffer: Vec::new() })
    }

    /// Adds an entry; it reaches the file with the next [`Journal::flush`].
    pub fn push(&mut self, entry: &Entry) {
        let payload = encode(entry);
        self.buffer.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        self.buffer.extend_from_slice(&payload);
        self.buffer.extend_from_slice(&XxHash3_64::oneshot(&payload).to_le_bytes());
    }

    /// Bytes that wait for a flush.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// Hands waiting entries to the system. The lines they speak of must have gone before.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

/// Reads entries back until the first that is torn.
pub struct Replay<R> {
    source: R,
    /// Bytes of whole entries read so far.
    pub length: u64,
}

impl<R: Read> Replay<R> {
    /// Reads a journal from its start.
    pub fn new(source: R) -> Replay<R> {
        Replay { source, length: 0 }
    }

    /// The next whole entry.
    pub fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        let mut length = [0; 4];
        if !read_whole(&mut self.source, &mut length)? {
            return Ok(None);
        }
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_PAYLOAD {
            return Ok(None);
        }
        let mut payload = vec![0; length + 8];
        if !read_whole(&mut self.source, &mut payload)? {
            return Ok(None);
        }
        let (payload, sum) = payload.split_at(length);
        if XxHash3_64::oneshot(payload).to_le_bytes() != sum {
            return Ok(None);
        }
        let entry = decode(payload);
        if entry.is_some() {
            self.length += 4 + length as u64 + 8;
        }
        Ok(entry)
    }
}

/// An entry of a row with a million images, with names of [`MAX_NAMES`] bytes; nothing larger was ever written.
const MAX_PAYLOAD: usize = (96 << 20) + MAX_NAMES;

/// Bytes of image names in one entry.
pub const MAX_NAMES: usize = 64 << 20;

fn read_whole(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match source.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The bit that marks a finding of severity error.
const ERROR: u16 = 1 << 15;

fn encode(entry: &Entry) -> Vec<u8> {
    let Record { input, nth, line, offset, length, bytes, rejected, given, text, group, stratum, id, .. } =
        entry.record;
    let Record { tokens, image_tokens, trained_tokens, shrunk, .. } = entry.record;
    let mut out = Vec::with_capacity(288 + 64 * entry.images.len());
    for number in
        [input, u32::from(nth), tokens, image_tokens, trained_tokens, shrunk, entry.images.len() as u32]
    {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for number in [line, offset, length, bytes, group, stratum, id, entry.row_hash, entry.checksum] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&text.to_le_bytes());
    encode_texts(&entry.record, &mut out);
    out.push(u8::from(rejected));
    out.push(given.map_or(0, |split| split as u8 + 1));
    out.push(entry.stream as u8);
    entry.images.iter().for_each(|image| encode_image(image, &mut out));
    out.extend_from_slice(&(entry.image_names.len() as u32).to_le_bytes());
    for name in &entry.image_names {
        // No name is as long as this number, so it marks an image without one.
        let length = name.as_ref().map_or(u32::MAX, |name| name.len() as u32);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(name.as_deref().unwrap_or_default().as_bytes());
    }
    for (rule, severity) in &entry.findings {
        let error = if *severity == Severity::Error { ERROR } else { 0 };
        out.extend_from_slice(&(rule | error).to_le_bytes());
    }
    out
}

fn encode_texts(record: &Record, out: &mut Vec<u8>) {
    out.extend_from_slice(&record.prompt.to_le_bytes());
    let TextSketch { all, answer, answer_hash } = &record.texts;
    answer_hash.iter().for_each(|half| out.extend_from_slice(&half.to_le_bytes()));
    out.push(record.answer_kind);
    out.extend_from_slice(&all.minima);
    out.extend_from_slice(&answer.minima);
    out.extend_from_slice(&all.shingles.to_le_bytes());
    out.extend_from_slice(&answer.shingles.to_le_bytes());
}

/// A record with nothing but what is known of its texts.
fn decode_texts(from: &mut Cursor<'_>) -> Option<Record> {
    let [prompt] = from.numbers(u128::from_le_bytes)?;
    let answer_hash = from.numbers(u32::from_le_bytes)?;
    let [answer_kind] = from.numbers(u8::from_le_bytes)?;
    let all = from.numbers(u8::from_le_bytes)?;
    let answer = from.numbers(u8::from_le_bytes)?;
    let [of_all, of_answer] = from.numbers(u16::from_le_bytes)?;
    let all = Sketch { minima: all, shingles: of_all };
    let answer = Sketch { minima: answer, shingles: of_answer };
    let texts = TextSketch { all, answer, answer_hash };
    Some(Record { prompt, answer_kind, texts, ..Record::default() })
}

fn encode_image(image: &ImageRecord, out: &mut Vec<u8>) {
    let ImageRecord { content, facts } = image;
    let ImageFacts { pixels, phash, width, height, brightness, grayscale, .. } = facts;
    out.extend_from_slice(&content.to_le_bytes());
    [pixels, phash].iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
    [width, height].iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
    for number in [facts.entropy, facts.edge_width, facts.structure] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(brightness);
    out.push(u8::from(*grayscale));
    out.extend_from_slice(facts.chroma.as_flattened());
}

fn decode_image(from: &mut Cursor<'_>) -> Option<ImageRecord> {
    let [content] = from.numbers(u128::from_le_bytes)?;
    let [pixels, phash] = from.numbers(u64::from_le_bytes)?;
    let [width, height] = from.numbers(u32::from_le_bytes)?;
    let [entropy, edge_width, structure] = from.numbers(u16::from_le_bytes)?;
    let brightness = from.numbers(u8::from_le_bytes)?;
    let [grayscale] = from.numbers(u8::from_le_bytes)?;
    let [a, b, c, d, e, f, g, h] = from.numbers(u8::from_le_bytes)?;
    let (grayscale, chroma) = (grayscale != 0, [[a, b], [c, d], [e, f], [g, h]]);
    let facts = ImageFacts {
        pixels,
        phash,
        width,
        height,
        brightness,
        grayscale,
        entropy,
        edge_width,
        structure,
        chroma,
    };
    Some(ImageRecord { content, facts })
}

fn decode_name(from: &mut Cursor<'_>) -> Option<Option<String>> {
    match from.numbers(u32::from_le_bytes)? {
        [u32::MAX] => Some(None),
        [length] => String::from_utf8(from.bytes(length as usize)?.to_vec()).ok().map(Some),
    }
}

fn decode(payload: &[u8]) -> Option<Entry> {
    let mut from = Cursor { bytes: payload };
    let [input, nth, tokens, image_tokens, trained_tokens, shrunk, images] =
        from.numbers(u32::from_le_bytes)?;
    let [line, offset, length, bytes, group, stratum, id, row_hash, checksum] =
        from.numbers(u64::from_le_bytes)?;
    let [text] = from.numbers(u128::from_le_bytes)?;
    let texts = decode_texts(&mut from)?;
    let [rejected, given, stream] = from.numbers(u8::from_le_bytes)?;
    let given = match given {
        0 => None,
        split => Some(*GivenSplit::ALL.get(usize::from(split) - 1)?),
    };
    let records: Option<Vec<ImageRecord>> = (0..images).map(|_| decode_image(&mut from)).collect();
    let [names] = from.numbers(u32::from_le_bytes)?;
    let image_names: Option<Vec<Option<String>>> = (0..names).map(|_| decode_name(&mut from)).collect();
    let mut findings = Vec::new();
    while !from.bytes.is_empty() {
        let [rule] = from.numbers(u16::from_le_bytes)?;
        let severity = if rule & ERROR != 0 { Severity::Error } else { Severity::Warning };
        findings.push((rule & !ERROR, severity));
    }
    let record = Record {
        input,
        images,
        nth: u8::try_from(nth).ok()?,
        given,
        line,
        offset,
        length,
        bytes,
        rejected: rejected != 0,
        text,
        group,
        stratum,
        id,
        tokens,
        image_tokens,
        trained_tokens,
        shrunk,
        ..texts
    };
    let stream = *Stream::ALL.get(usize::from(stream))?;
    Some(Entry { record, images: records?, stream, row_hash, checksum, findings, image_names: image_names? })
}

struct Cursor<'a> {
    bytes: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(bytes)
    }

    fn numbers<const SIZE: usize, const COUNT: usize, T>(
        &mut self,
        read: fn([u8; SIZE]) -> T,
    ) -> Option<[T; COUNT]> {
        let mut chunks = self.bytes(SIZE * COUNT)?.chunks_exact(SIZE);
        Some(std::array::from_fn(|_| {
            let chunk = chunks.next().and_then(|chunk| chunk.try_into().ok());
            read(chunk.expect("the slice was cut to hold them all"))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(line: u64) -> Entry {
        Entry {
            record: Record {
                input: 1,
                images: 2,
                nth: 3,
                given: Some(GivenSplit::Validation),
                line,
                text: u128::MAX - 5,
                rejected: line.is_multiple_of(2),
                tokens: 77,
                prompt: 1 << 99,
                answer_kind: 3,
                texts: TextSketch {
                    all: Sketch::of(["one two three four"]),
                    answer: Sketch::of(["five"]),
                    answer_hash: [1 << 20, 1 << 30],
                },
                ..Record::default()
            },
            images: vec![
                ImageRecord {
                    content: u128::from(line) << 90,
                    facts: ImageFacts {
                        pixels: 1 << 60,
                        phash: 2,
                        width: 3,
                        height: 4,
                        brightness: [5, 6, 7, 8, 9, 10, 11],
                        grayscale: true,
                        entropy: 12,
                        edge_width: 13,
                        structure: 14,
                        chroma: [[15, 16], [17, 18], [19, 20], [21, 22]],
                    },
                },
                ImageRecord { content: 3, ..ImageRecord::default() },
            ],
            stream: Stream::Validation,
            row_hash: 98,
            checksum: 99,
            findings: vec![(4, Severity::Warning), (500, Severity::Error)],
            image_names: vec![None, Some("photos/tür.jpg".to_owned())],
        }
    }

    #[test]
    fn entries_come_back_and_torn_ones_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let mut journal = Journal::open(&path, 0).unwrap();
        (0..5).for_each(|line| journal.push(&entry(line)));
        journal.flush().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let one = bytes.len() / 5;
        for cut in 0..=bytes.len() {
            let mut replay = Replay::new(&bytes[..cut]);
            let mut read = Vec::new();
            while let Some(entry) = replay.next_entry().unwrap() {
                read.push(entry);
            }
            assert_eq!(read, (0..(cut / one) as u64).map(entry).collect::<Vec<_>>());
            assert_eq!(replay.length as usize, cut / one * one);
        }
        let mut torn = bytes.clone();
        torn[one + 20] ^= 1;
        let mut replay = Replay::new(torn.as_slice());
        assert!(replay.next_entry().unwrap().is_some() && replay.next_entry().unwrap().is_none());
    }
}
