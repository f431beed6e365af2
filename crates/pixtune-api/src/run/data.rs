//! The training and validation data of a job: the valid samples of its files, each file as often as its weight says.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;

use pixtune_files::{Existing, WholeFile};

use crate::blobs::DataDirectory;
use crate::store;

/// The byte order mark of UTF-8, which may start a file but not a line within one.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Writes the valid samples of files to one file. A weight of 2.5 stands for two and a half passes over a file: its samples
/// three times, where the third time is every second one.
pub fn write(data: &DataDirectory, files: &[(store::File, f64)], target: &Path) -> io::Result<()> {
    let [(file, weight)] = files else { return join(data, files, target) };
    if *weight == 1.0 && file.invalid == 0 {
        // A second name of the content: no copy, and it stays when the file is deleted.
        pixtune_files::remove(target)?;
        if fs::hard_link(data.blob(&file.blob), target).is_ok() {
            return Ok(());
        }
    }
    join(data, files, target)
}

fn join(data: &DataDirectory, files: &[(store::File, f64)], target: &Path) -> io::Result<()> {
    let mut out = WholeFile::create(target, Existing::Replace)?;
    for (file, weight) in files {
        let passes = weight.ceil() as u64;
        for pass in 0..passes {
            copy(&data.blob(&file.blob), file, (weight - pass as f64).min(1.0), &mut out)?;
        }
    }
    out.commit()
}

/// Copies the valid samples, or an even share of them.
fn copy(path: &Path, file: &store::File, share: f64, out: &mut WholeFile) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut invalid = file.invalid_line_numbers().peekable();
    let (mut line, mut number, mut valid) = (Vec::new(), 0, 0u64);
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        number += 1;
        if invalid.next_if_eq(&number).is_some() || line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        // The samples at which the running share passes a whole number.
        let is_chosen = ((valid + 1) as f64 * share).floor() > (valid as f64 * share).floor();
        valid += 1;
        if is_chosen {
            out.write_all(line.strip_prefix(MARK).unwrap_or(&line))?;
            if !line.ends_with(b"\n") {
                out.write_all(b"\n")?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(blob: String, invalid: &[u64]) -> store::File {
        store::File {
            seq: 1,
            id: "file-1".to_owned(),
            project: String::new(),
            name: "a.jsonl".to_owned(),
            purpose: "fine-tune".to_owned(),
            source: "upload".to_owned(),
            blob,
            bytes: 0,
            samples: Some(4),
            invalid: invalid.len() as u64,
            invalid_lines: invalid.iter().flat_map(|line| line.to_le_bytes()).collect(),
            findings: None,
            rules: String::new(),
            created_at: 0,
            expires_at: None,
        }
    }

    #[test]
    fn weights_are_passes_over_the_valid_samples() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(directory.path()).unwrap();
        let first = file(data.keep_text("\u{feff}a\nbad\n\nb\nc\nd").unwrap(), &[2]);
        let second = file(data.keep_text("x\n").unwrap(), &[]);
        let target = directory.path().join("out.jsonl");
        write(&data, &[(first.clone(), 1.5), (second.clone(), 2.0)], &target).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "a\nb\nc\nd\nb\nd\nx\nx\n");
        write(&data, &[(first, 0.25)], &target).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "d\n");
        write(&data, &[(second.clone(), 1.0)], &target).unwrap();
        data.remove(&second.blob).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "x\n");
    }
}
