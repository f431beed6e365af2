//! What every reader of rows keeps, whatever its format: a new format adds a [`Subject`] and is held to all of it.

mod subjects;

use std::fs;
use std::path::PathBuf;

use super::encoding::TextForm;
use super::{
    Compression, Cut, Fingerprint, Format, Input, ReadError, Rereader, Row, RowRef, TextChoice, discover,
};
use subjects::{CSV, Subject, subjects};

impl Subject {
    fn case(&self, content: impl AsRef<[u8]>) -> Case {
        Case::new(self.format, self.compression, content.as_ref())
    }
}

/// A file in a directory of its own.
struct Case {
    input: Input,
    _directory: tempfile::TempDir,
}

const MAX_ROW: usize = 1 << 20;

impl Case {
    fn new(format: Format, compression: Option<Compression>, content: &[u8]) -> Case {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rows");
        fs::write(&path, content).unwrap();
        let input = Input {
            name: "rows".to_owned(),
            path,
            directory: PathBuf::new(),
            strips_roots: false,
            format,
            compression,
            split: None,
            member: None,
            sheet: (format == Format::Workbook).then(|| "xl/sheet.xml".to_owned()),
            text: TextForm::default(),
            declares_separator: false,
            notes: vec![],
        };
        Case { input, _directory: directory }
    }

    fn read(&self, max_row: usize) -> Result<(Vec<(RowRef, Row)>, Fingerprint), ReadError> {
        read(&self.input, max_row)
    }

    fn rows(&self) -> Vec<(RowRef, Row)> {
        self.read(MAX_ROW).unwrap().0
    }
}

/// The rows of an input, each of which reads back as itself.
fn read(input: &Input, max_row: usize) -> Result<(Vec<(RowRef, Row)>, Fingerprint), ReadError> {
    let mut reader = input.open(7, max_row)?;
    let mut rows = Vec::new();
    while let Some(row) = reader.next_row()? {
        rows.push(row);
    }
    let inputs = vec![input; 8];
    let mut rereader = Rereader::new(inputs.clone(), max_row);
    let read_again = |(at, _): &&(RowRef, Row)| at.length > 0;
    for (at, row) in rows.iter().chain(rows.iter().rev()).filter(read_again) {
        assert_eq!(&reader.reread(*at).unwrap(), row, "the reader rereads its rows");
        assert_eq!(&rereader.row(*at).unwrap(), row, "so does another reader, in order and backwards");
        assert_eq!(&Rereader::new(inputs.clone(), max_row).row(*at).unwrap(), row, "and one that is new");
    }
    Ok((rows, reader.fingerprint()))
}

fn texts(rows: &[(RowRef, Row)]) -> Vec<&str> {
    rows.iter().map(|(_, row)| std::str::from_utf8(&row.bytes).unwrap()).collect()
}

#[test]
fn yields_rows_in_order_for_any_line_end() {
    for subject in subjects() {
        for end in ["\n", "\r\n"] {
            let case = subject.case(subject.file(&subject.rows, end));
            assert_eq!(texts(&case.rows()), subject.rows, "{} with {end:?}", subject.name);
        }
    }
}

#[test]
fn references_name_the_file_the_row_and_its_bytes() {
    for subject in subjects() {
        let Subject { name, format, rows, .. } = subject;
        let text = (subject.text)(&rows, "\n");
        let found = subject.case((subject.encode)(&text)).rows();
        for (index, ((at, row), expected)) in found.iter().zip(rows).enumerate() {
            assert_eq!((at.file, row.bytes.as_slice()), (7, expected.as_bytes()), "{name}");
            if !format.is_text() {
                // Members of a shard have a header and are padded; the header of a sheet is its row 1.
                let row = if format == Format::Shard { 1024 } else { 1 };
                let first = if format == Format::Workbook { 2 } else { 1 };
                assert_eq!((at.offset, at.number), (row * index as u64, index as u64 + first), "{name}");
                continue;
            }
            let start = at.offset as usize;
            let bytes = &text.as_bytes()[start..start + at.length as usize];
            assert!(
                bytes.starts_with(expected.as_bytes()) && bytes.len() <= expected.len() + 2,
                "{name}: {bytes:?}"
            );
            let line = 1 + text[..start].matches('\n').count() as u64;
            let is_counted =
                matches!(format, Format::JsonArray | Format::JsonList { .. } | Format::JsonKeyed);
            let number = if is_counted { index as u64 + 1 } else { line };
            assert_eq!(at.number, number, "{name}");
        }
    }
}

#[test]
fn skips_a_byte_order_mark() {
    for subject in subjects().into_iter().filter(|subject| subject.format.is_text()) {
        let (name, text) = (subject.name, (subject.text)(&subject.rows, "\n"));
        let plain = subject.case((subject.encode)(&text)).rows();
        let marked = subject.case((subject.encode)(&format!("\u{feff}{text}"))).rows();
        assert_eq!(texts(&marked), subject.rows, "{name}");
        for ((with, _), (without, _)) in marked.iter().zip(&plain) {
            assert_eq!((with.offset, with.number), (without.offset + 3, without.number), "{name}");
        }
    }
}

#[test]
fn bounds_and_reports_huge_rows_and_reads_on() {
    for subject in subjects() {
        let Subject { name, rows, .. } = subject;
        let huge = rows[1].replace("\"", "").replace(",", " ") + &"x".repeat(3 << 20);
        let found = subject.case(subject.file(&[rows[0], &huge, rows[2]], "\n")).read(1000).unwrap().0;
        assert_eq!(found.len(), 3, "{name}");
        let (at, row) = &found[1];
        assert!(row.bytes.len() == 1000 || subject.format == Format::Shard, "{name}");
        assert_eq!(row.cut, Some(Cut::TooLarge { bytes: at.length }), "{name}");
        assert!(at.length > 3 << 20 && found[2].1 == Row::whole(rows[2]), "{name}");
    }
}

#[test]
fn reports_truncated_input() {
    for subject in subjects() {
        let (name, Some(content)) = (subject.name, &subject.truncated) else { continue };
        match subject.case(content).read(MAX_ROW) {
            Err(ReadError::Malformed { .. }) if !subject.format.is_text() => {}
            Err(ReadError::Io { .. }) if !subject.is_plain() => {}
            Err(error) => panic!("{name}: {error}"),
            Ok((rows, _)) => match &rows.last().unwrap().1.cut {
                Some(Cut::UnclosedQuote) => {}
                Some(Cut::Unreadable { why }) => assert!(why.contains("never closed"), "{name}: {why}"),
                other => panic!("{name}: {other:?}"),
            },
        }
    }
}

#[test]
fn an_empty_input_has_no_rows() {
    for subject in subjects() {
        let content =
            if subject.format == Format::JsonArray { b"[]".to_vec() } else { subject.file(&[], "\n") };
        assert_eq!(subject.case(content).rows(), [], "{}", subject.name);
    }
    for format in [Format::JsonLines, CSV] {
        assert_eq!(Case::new(format, None, b"").rows(), []);
    }
}

#[test]
fn fingerprints_every_byte() {
    for subject in subjects() {
        let text = (subject.text)(&subject.rows, "\r\n");
        let mark = if subject.format.is_text() { "\u{feff}" } else { "" };
        let content = (subject.encode)(&format!("{mark}{text}"));
        let expected = Fingerprint {
            bytes: content.len() as u64,
            blake3: blake3::hash(&content).to_hex().to_string(),
            version: None,
        };
        assert_eq!(subject.case(content).read(MAX_ROW).unwrap().1, expected, "{}", subject.name);
    }
}

#[test]
fn reads_as_far_as_it_says() {
    for subject in subjects() {
        let content = subject.file(&subject.rows, "\n");
        let case = subject.case(&content);
        let mut reader = case.input.open(0, MAX_ROW).unwrap();
        let mut before = 0;
        while reader.next_row().unwrap().is_some() {
            assert!(reader.position() >= before, "{}", subject.name);
            before = reader.position();
        }
        assert!(before > 0 && before <= content.len() as u64, "{}: {before}", subject.name);
    }
}

#[test]
fn refuses_to_reread_from_a_shortened_file() {
    for subject in subjects() {
        let case = subject.case(subject.file(&subject.rows, "\n"));
        let last = case.rows()[2].0;
        fs::write(&case.input.path, "[").unwrap();
        let reread = Rereader::new(vec![&case.input; 8], MAX_ROW).row(last);
        match reread {
            Err(ReadError::Changed { .. }) => {}
            Err(_) if !subject.is_plain() => {}
            other => panic!("{}: {other:?}", subject.name),
        }
    }
}

#[test]
fn reads_an_image_folder_through_its_metadata() {
    let mut subjects = subjects();
    let (lines, csv) = (subjects.swap_remove(0), subjects.swap_remove(2));
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("more")).unwrap();
    for (name, subject) in [("metadata.csv", &csv), ("more/metadata.jsonl", &lines)] {
        fs::write(folder.path().join(name), subject.file(&subject.rows, "\n")).unwrap();
    }
    let given = folder.path().to_str().unwrap().to_owned();
    let inputs = discover(&[given], &PathBuf::new(), &TextChoice::default()).unwrap();
    let found: Vec<_> = inputs.iter().map(|input| read(input, MAX_ROW).unwrap().0).collect();
    assert_eq!(found.iter().map(|rows| texts(rows)).collect::<Vec<_>>(), [csv.rows, lines.rows]);
    assert_eq!(inputs[1].directory, folder.path().join("more"), "images are beside their metadata");
}
