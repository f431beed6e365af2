//! A sparse index of the lines of a file, to read any of them again by its number.

use std::path::Path;

use super::{FileReader, Format, ReadError, Row, RowReader as _, RowRef};

/// The places of every 64th line that is not blank.
#[derive(Debug, Clone, Default)]
pub struct LineIndex {
    noted: Vec<RowRef>,
    rows: u64,
}

const EVERY: u64 = 64;

impl LineIndex {
    /// Adds a line, in order.
    pub fn note(&mut self, at: RowRef) {
        if self.rows.is_multiple_of(EVERY) {
            self.noted.push(at);
        }
        self.rows += 1;
    }

    /// Reads the line of this number again; `None` where it is blank, or where the file has none.
    pub fn reread(&self, path: &Path, number: u64, max_line: usize) -> Result<Option<Row>, ReadError> {
        let after = self.noted.partition_point(|noted| noted.number <= number);
        let Some(noted) = self.noted[..after].last() else { return Ok(None) };
        let mut rows = FileReader::open_at(path, Format::JsonLines, *noted, max_line)?;
        while let Some((at, row)) = rows.next_row()? {
            if at.number >= number {
                return Ok((at.number == number).then_some(row));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn rereads_a_line_after_blank_ones() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for line in 1..=500 {
            let text = if line % 7 == 0 { "\n".to_owned() } else { format!("\"{}\"\n", "x".repeat(line)) };
            file.write_all(text.as_bytes()).unwrap();
        }
        let mut rows = FileReader::open(file.path(), Format::JsonLines, 0, 1 << 20).unwrap();
        let mut index = LineIndex::default();
        while let Some((at, _)) = rows.next_row().unwrap() {
            index.note(at);
        }
        let reread = |index: &LineIndex, line| index.reread(file.path(), line, 1 << 20).unwrap();
        for line in [1, 2, 62, 64, 65, 100, 499, 500] {
            assert_eq!(reread(&index, line).unwrap().bytes.len() as u64, line + 2, "{line}");
        }
        assert_eq!(reread(&index, 501), None);
        assert_eq!(reread(&index, 7), None);
        assert_eq!(reread(&LineIndex::default(), 1), None);
    }
}
