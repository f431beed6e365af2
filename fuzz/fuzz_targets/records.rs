//! Rows: the same for any split of the input into reads, within the size limit, and covering the whole input; quoted cells
//! read back; lines read in blocks equal lines read one by one; array elements equal those of a JSON parser.
#![no_main]
use std::io::{self, Read};

use libfuzzer_sys::fuzz_target;
use pixtune_core::json::{self, Value};
use pixtune_io::read::array_lines::ArrayLines;
use pixtune_io::read::blocks::{Block, Blocks, Sizes};
use pixtune_io::read::records::Records;
use pixtune_io::read::table::cells;
use pixtune_io::read::{Cut, Fingerprint, Format, Row, RowRef};

struct Dribble<'a> {
    rest: &'a [u8],
    step: usize,
}

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.step.min(self.rest.len()).min(buffer.len());
        let (now, rest) = self.rest.split_at(length);
        buffer[..length].copy_from_slice(now);
        self.rest = rest;
        Ok(length)
    }
}

/// Whether rows are parts of one JSON value, and are counted.
fn is_document(format: Format) -> bool {
    matches!(format, Format::JsonArray | Format::JsonList { .. } | Format::JsonKeyed)
}

/// The rows until a document is truncated or followed by other data; whether it was neither; a fingerprint.
fn rows(source: impl Read, format: Format, max_row: usize) -> (Vec<(RowRef, Row)>, bool, Fingerprint) {
    let mut records = Records::new(source, format, max_row);
    let mut rows = Vec::new();
    loop {
        match records.next_row().expect("memory can be read") {
            Some((_, Row { cut: Some(Cut::Unreadable { .. }), .. })) => {
                assert!(is_document(format) && records.next_row().expect("memory can be read").is_none());
                return (rows, false, records.fingerprint());
            }
            Some(row) => rows.push(row),
            None => return (rows, true, records.fingerprint()),
        }
    }
}

/// An array that the JSON parser accepts has the same elements, as rows and as lines.
fn compare_elements(bytes: &[u8], rows: &[(RowRef, Row)], is_whole: bool) {
    let parse =
        |bytes| str::from_utf8(bytes).ok().and_then(|text| Some(json::parse(text).ok()?.value.into_owned()));
    let Some(Value::Array(values)) = parse(bytes) else { return };
    assert!(is_whole && rows.len() == values.len());
    let mut lines = Vec::new();
    ArrayLines::new(bytes, Format::JsonArray, bytes.len())
        .read_to_end(&mut lines)
        .expect("the array is whole");
    let lines: Vec<&[u8]> =
        lines.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).collect();
    assert_eq!(lines.len(), values.len());
    for (((_, row), line), value) in rows.iter().zip(lines).zip(values) {
        assert_eq!(parse(line).as_ref(), Some(&value));
        assert!(row.cut.is_some() || parse(&row.bytes).as_ref() == Some(&value));
    }
}

/// The bytes of a line that were read, with the line end, and its length in the input.
type Line = (Vec<u8>, u64);

/// Every line without a byte order mark, and whether there was one.
fn lines_in_blocks(source: impl Read, max_line: usize, sizes: Sizes) -> (Vec<Line>, bool) {
    let mut blocks = Blocks::with_sizes(source, max_line, sizes);
    let mut block = Block::default();
    let mut lines = Vec::new();
    while blocks.read_into(&mut block).expect("memory can be read") {
        match block.oversized() {
            Some(length) => lines.push((block.lines().to_vec(), length)),
            None => {
                let whole = block.lines().split_inclusive(|byte| *byte == b'\n');
                lines.extend(whole.map(|line| (line.to_vec(), line.len() as u64)));
            }
        }
    }
    (lines, blocks.has_byte_order_mark())
}

/// The same, one by one.
fn lines_one_by_one(bytes: &[u8], max_line: usize) -> (Vec<Line>, bool) {
    let mut records = Records::new(bytes, Format::JsonLines, max_line);
    let mut lines = Vec::new();
    while let Some((at, row)) = records.next_line().expect("memory can be read") {
        let (start, length) = (at.offset as usize, at.length as usize);
        if row.cut.is_none() {
            assert!(bytes[start..start + length].starts_with(&row.bytes));
        }
        lines.push((bytes[start..start + length.min(max_line)].to_vec(), at.length));
    }
    (lines, bytes.starts_with(b"\xef\xbb\xbf"))
}

fn fingerprint_of(bytes: &[u8]) -> Fingerprint {
    Fingerprint { bytes: bytes.len() as u64, blake3: blake3::hash(bytes).to_hex().to_string(), version: None }
}

fn quoted(cells: &[impl AsRef<str>], separator: u8) -> String {
    let quoted: Vec<_> =
        cells.iter().map(|cell| format!("\"{}\"", cell.as_ref().replace('"', "\"\""))).collect();
    quoted.join(&char::from(separator).to_string())
}

fuzz_target!(|input: (u8, u8, u8, &[u8])| {
    let (format, step, limit, bytes) = input;
    let format = match format % 7 {
        0 => Format::JsonLines,
        1 => Format::JsonArray,
        2 => Format::JsonObjects,
        3 => Format::JsonList { key: "data" },
        4 => Format::JsonKeyed,
        5 => Format::Table { separator: b',' },
        _ => Format::Table { separator: b'\t' },
    };
    let (whole, is_whole, print) = rows(bytes, format, usize::from(limit));
    let dribble = Dribble { rest: bytes, step: usize::from(step).max(1) };
    assert_eq!(rows(dribble, format, usize::from(limit)), (whole.clone(), is_whole, print.clone()));
    if format == Format::JsonArray {
        compare_elements(bytes, &whole, is_whole);
    }
    let sizes = Sizes { piece: 1 + usize::from(step) % 7, block: 1 + usize::from(step) / 7 };
    let max_line = usize::from(limit).max(sizes.piece + sizes.block);
    let dribble = Dribble { rest: bytes, step: usize::from(step).max(1) };
    assert_eq!(lines_in_blocks(dribble, max_line, sizes), lines_one_by_one(bytes, max_line));
    assert_eq!(print, fingerprint_of(bytes));
    let mut behind = 0;
    for ((at, row), number) in whole.iter().zip(1..) {
        let (start, end) = (at.offset as usize, (at.offset + at.length) as usize);
        assert!(behind <= start && start < end && end <= bytes.len());
        behind = end;
        let line = 1 + bytes[..start].iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!(at.number as usize, if is_document(format) { number } else { line });
        assert!(row.bytes.len() <= usize::from(limit));
        assert!(bytes[start..end].starts_with(&row.bytes));
        assert_eq!(row.oversized(), (end - start > usize::from(limit)).then_some(at.length));
        let (None, Ok(text)) = (&row.cut, str::from_utf8(&row.bytes)) else { continue };
        let Format::Table { separator } = format else {
            assert!(format != Format::JsonLines || !text.contains('\n'));
            continue;
        };
        let found = cells(text, separator);
        let quoted = quoted(&found, separator);
        assert_eq!(cells(&quoted, separator), found);
        let (again, ..) = rows(quoted.as_bytes(), format, 1 << 20);
        assert!(again.len() == 1 && again[0].1 == Row::whole(quoted.as_bytes()));
    }
});
