//! What every reader of rows keeps, whatever its format: a new format adds a [`Subject`] and is held to all of it.

use std::fs;
use std::path::PathBuf;

use super::{Cut, Fingerprint, Format, Input, ReadError, Row, RowRef, discover};

/// A format under test.
struct Subject {
    name: &'static str,
    format: Format,
    /// Rows of the format, each different from the others.
    rows: [&'static str; 3],
    /// A file of these rows, with this line end.
    file: fn(&[&str], &str) -> String,
    /// A file that ends in the middle of its last row, where the format can tell.
    truncated: Option<&'static str>,
}

fn subjects() -> [Subject; 4] {
    let table = |name, separator, rows| Subject {
        name,
        format: Format::Table { separator },
        rows,
        file: |rows, end| format!("image,prompt{end}{}{end}", rows.join(end)),
        truncated: Some("prompt\n\"cut"),
    };
    [
        Subject {
            name: "JSON Lines",
            format: Format::JsonLines,
            rows: ["{\"a\": 1}", "{\"a\": \"é,]}\"}", "{\"a\": [3, {}]}"],
            file: |rows, end| format!("{}{end}", rows.join(end)),
            truncated: None,
        },
        Subject {
            name: "JSON array",
            format: Format::JsonArray,
            rows: ["{\"a\": 1}", "{\"a\": \"é,]}\"}", "{\"a\": [3, {}]}"],
            file: |rows, end| format!("[{end}{}{end}]{end}", rows.join(&format!(",{end}"))),
            truncated: Some("[{\"a\": 1}, {\"a\""),
        },
        table("CSV", b',', ["1.png,one", "2.png,\"two, \"\"quoted\"\"\"", "3.png,é"]),
        table("TSV", b'\t', ["1.png\tone", "2.png\t\"two\t\"\"quoted\"\"\"", "3.png\té"]),
    ]
}

/// A file in a directory of its own.
struct Case {
    input: Input,
    _directory: tempfile::TempDir,
}

const MAX_ROW: usize = 1 << 20;

impl Case {
    fn new(format: Format, content: &str) -> Case {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rows");
        fs::write(&path, content).unwrap();
        let input = Input {
            name: "rows".to_owned(),
            path,
            directory: PathBuf::new(),
            strips_roots: false,
            format,
            split: None,
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
    for (at, row) in &rows {
        assert_eq!(&reader.reread(*at).unwrap(), row, "the reader rereads its rows");
        assert_eq!(&input.reread(*at, max_row).unwrap(), row, "so does another reader");
    }
    Ok((rows, reader.fingerprint()))
}

fn texts(rows: &[(RowRef, Row)]) -> Vec<&str> {
    rows.iter().map(|(_, row)| std::str::from_utf8(&row.bytes).unwrap()).collect()
}

#[test]
fn yields_rows_in_order_for_any_line_end() {
    for Subject { name, format, rows, file, .. } in subjects() {
        for end in ["\n", "\r\n"] {
            let case = Case::new(format, &file(&rows, end));
            assert_eq!(texts(&case.rows()), rows, "{name} with {end:?}");
        }
    }
}

#[test]
fn references_name_the_file_the_row_and_its_bytes() {
    for Subject { name, format, rows, file, .. } in subjects() {
        let content = file(&rows, "\n");
        let case = Case::new(format, &content);
        let found = case.rows();
        for ((at, row), text) in found.iter().zip(rows) {
            assert_eq!(at.file, 7, "{name}");
            let start = at.offset as usize;
            let bytes = &content.as_bytes()[start..start + at.length as usize];
            assert!(bytes.starts_with(text.as_bytes()) && bytes.len() <= text.len() + 2, "{name}: {bytes:?}");
            assert_eq!(row.bytes, text.as_bytes(), "{name}");
            let line = 1 + content[..start].matches('\n').count() as u64;
            let element = found.iter().filter(|(other, _)| other.offset <= at.offset).count() as u64;
            let number = if format == Format::JsonArray { element } else { line };
            assert_eq!(at.number, number, "{name}");
        }
    }
}

#[test]
fn skips_a_byte_order_mark() {
    for Subject { name, format, rows, file, .. } in subjects() {
        let content = file(&rows, "\n");
        let plain = Case::new(format, &content).rows();
        let marked = Case::new(format, &format!("\u{feff}{content}")).rows();
        assert_eq!(texts(&marked), rows, "{name}");
        for ((with, _), (without, _)) in marked.iter().zip(&plain) {
            assert_eq!((with.offset, with.number), (without.offset + 3, without.number), "{name}");
        }
    }
}

#[test]
fn bounds_and_reports_huge_rows_and_reads_on() {
    for Subject { name, format, rows, file, .. } in subjects() {
        let huge = rows[1].replace("\"", "").replace(",", " ") + &"x".repeat(3 << 20);
        let content = file(&[rows[0], &huge, rows[2]], "\n");
        let found = Case::new(format, &content).read(1000).unwrap().0;
        assert_eq!(found.len(), 3, "{name}");
        let (at, row) = &found[1];
        assert_eq!(row.bytes.len(), 1000, "{name}");
        assert_eq!(row.cut, Some(Cut::TooLarge { bytes: at.length }), "{name}");
        assert!(at.length > 3 << 20 && found[2].1 == Row::whole(rows[2]), "{name}");
    }
}

#[test]
fn reports_truncated_input() {
    for Subject { name, format, truncated, .. } in subjects() {
        let Some(content) = truncated else { continue };
        match Case::new(format, content).read(MAX_ROW) {
            Err(error @ ReadError::Io { .. }) => {
                assert!(std::error::Error::source(&error).unwrap().to_string().contains("never closed"));
            }
            Err(error) => panic!("{name}: {error}"),
            Ok((rows, _)) => assert_eq!(rows.last().unwrap().1.cut, Some(Cut::UnclosedQuote), "{name}"),
        }
    }
}

#[test]
fn an_empty_input_has_no_rows() {
    for Subject { name, format, file, .. } in subjects() {
        let content = if format == Format::JsonArray { "[]".to_owned() } else { file(&[], "\n") };
        assert_eq!(Case::new(format, &content).rows(), [], "{name}");
    }
    for format in [Format::JsonLines, Format::Table { separator: b',' }] {
        assert_eq!(Case::new(format, "").rows(), []);
    }
}

#[test]
fn fingerprints_every_byte() {
    for Subject { name, format, rows, file, .. } in subjects() {
        let content = format!("\u{feff}{}", file(&rows, "\r\n"));
        let expected = Fingerprint {
            bytes: content.len() as u64,
            blake3: blake3::hash(content.as_bytes()).to_hex().to_string(),
        };
        assert_eq!(Case::new(format, &content).read(MAX_ROW).unwrap().1, expected, "{name}");
    }
}

#[test]
fn refuses_to_reread_from_a_shortened_file() {
    for Subject { name, format, rows, file, .. } in subjects() {
        let case = Case::new(format, &file(&rows, "\n"));
        let last = case.rows()[2].0;
        fs::write(&case.input.path, "[").unwrap();
        let reread = case.input.reread(last, MAX_ROW);
        assert!(matches!(reread, Err(ReadError::Changed { .. })), "{name}");
    }
}

#[test]
fn reads_an_image_folder_through_its_metadata() {
    let [lines, _, csv, _] = subjects();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("more")).unwrap();
    for (name, subject) in [("metadata.csv", &csv), ("more/metadata.jsonl", &lines)] {
        fs::write(folder.path().join(name), (subject.file)(&subject.rows, "\n")).unwrap();
    }
    let given = folder.path().to_str().unwrap().to_owned();
    let inputs = discover(&[given], &PathBuf::new()).unwrap();
    let found: Vec<_> = inputs.iter().map(|input| read(input, MAX_ROW).unwrap().0).collect();
    assert_eq!(found.iter().map(|rows| texts(rows)).collect::<Vec<_>>(), [csv.rows, lines.rows]);
    assert_eq!(inputs[1].directory, folder.path().join("more"), "images are beside their metadata");
}
