//! Finished lines on disk: three streams of files that grow in input order, cut where a file would get too large.
//!
//! Lines go where the split will most likely put them, so that the files of most runs are the final ones already.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pixtune_files::direct::Appender;

use super::journal::{Entry, Journal, Replay};
use super::stream::Stream;
use crate::thumbnails::Thumbnails;

/// A finished file of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its lines.
    pub lines: u64,
    /// BLAKE3 of its bytes, hexadecimal.
    pub blake3: String,
}

/// A row of files, each below a size; a line never spans two.
pub struct Segments {
    directory: PathBuf,
    name: &'static str,
    max_bytes: u64,
    done: Vec<Segment>,
    open: Option<Open>,
}

struct Open {
    file: Growing,
    path: PathBuf,
    bytes: u64,
    lines: u64,
    hash: blake3::Hasher,
}

/// The file of a segment.
enum Growing {
    /// Lines of an earlier run are read from it.
    Adopting(File),
    /// Lines are appended.
    Appending(Appender),
}

impl Open {
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        self.count(line);
        match &mut self.file {
            Growing::Appending(file) => file.append(line),
            Growing::Adopting(_) => Err(io::Error::other("lines of an earlier run are still read")),
        }
    }

    fn count(&mut self, line: &[u8]) {
        self.hash.update(line);
        self.bytes += line.len() as u64;
        self.lines += 1;
    }

    /// Part of the file's BLAKE3 so far.
    fn checksum(&self) -> u64 {
        let hash = self.hash.finalize();
        hash.as_bytes().iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.file {
            Growing::Appending(file) => file.flush(),
            Growing::Adopting(_) => Ok(()),
        }
    }

    fn waiting(&self) -> usize {
        match &self.file {
            Growing::Appending(file) => file.waiting(),
            Growing::Adopting(_) => 0,
        }
    }

    fn close(mut self) -> io::Result<Segment> {
        self.flush()?;
        let blake3 = self.hash.finalize().to_hex().to_string();
        Ok(Segment { path: self.path, bytes: self.bytes, lines: self.lines, blake3 })
    }
}

impl Segments {
    /// An empty row of files `NAME-1.jsonl`, `NAME-2.jsonl`, … in a directory.
    pub fn new(directory: &Path, name: &'static str, max_bytes: u64) -> Segments {
        Segments { directory: directory.to_owned(), name, max_bytes, done: vec![], open: None }
    }

    fn path(&self, index: usize) -> PathBuf {
        self.directory.join(format!("{}-{}.jsonl", self.name, index + 1))
    }

    /// Appends a line, in a new file if the last one would exceed its limit, and returns the file's checksum.
    pub fn append(&mut self, line: &[u8]) -> io::Result<u64> {
        let create = |path: &Path| {
            let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
            Ok(Growing::Appending(Appender::new(path, file, 0)?))
        };
        let open = self.turn(line.len() as u64, create)?;
        open.append(line)?;
        Ok(open.checksum())
    }

    /// The file that takes the next line of this length.
    fn turn(&mut self, length: u64, make: impl Fn(&Path) -> io::Result<Growing>) -> io::Result<&mut Open> {
        let full =
            self.open.as_ref().is_some_and(|open| open.bytes > 0 && open.bytes + length > self.max_bytes);
        if full && let Some(open) = self.open.take() {
            self.done.push(open.close()?);
        }
        if self.open.is_none() {
            let path = self.path(self.done.len());
            let file = make(&path)?;
            let hash = blake3::Hasher::new();
            self.open = Some(Open { file, path, bytes: 0, lines: 0, hash });
        }
        Ok(self.open.as_mut().expect("it was just opened"))
    }

    /// Hands waiting lines to the system.
    pub fn flush(&mut self) -> io::Result<()> {
        self.open.as_mut().map_or(Ok(()), Open::flush)
    }

    /// Bytes of lines that the system does not have yet.
    fn waiting(&self) -> usize {
        self.open.as_ref().map_or(0, Open::waiting)
    }

    /// Closes the last file and returns all of them.
    pub fn finish(mut self) -> io::Result<Vec<Segment>> {
        if let Some(open) = self.open.take() {
            self.done.push(open.close()?);
        }
        Ok(self.done)
    }

    /// Takes over a line that an earlier run wrote; false when it is not there whole.
    fn adopt(&mut self, length: u64, checksum: u64, line: &mut Vec<u8>) -> io::Result<bool> {
        let reopen = |path: &Path| {
            let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
            Ok(Growing::Adopting(file))
        };
        let open = self.turn(length, reopen)?;
        let Growing::Adopting(file) = &mut open.file else {
            return Err(io::Error::other("lines are already appended"));
        };
        if file.metadata()?.len() < open.bytes + length {
            return Ok(false);
        }
        line.resize(usize::try_from(length).map_err(io::Error::other)?, 0);
        file.read_exact(line)?;
        let before = (open.hash.clone(), open.bytes, open.lines);
        open.count(line);
        if open.checksum() != checksum {
            (open.hash, open.bytes, open.lines) = before;
            return Ok(false);
        }
        Ok(true)
    }

    /// Cuts off what stands behind the adopted lines.
    fn cut(&mut self) -> io::Result<()> {
        if let Some(mut open) = self.open.take() {
            if let Growing::Adopting(file) = open.file {
                open.file = Growing::Appending(Appender::new(&open.path, file, open.bytes)?);
            }
            self.open = Some(open);
        }
        for index in self.done.len() + usize::from(self.open.is_some()).. {
            match fs::remove_file(self.path(index)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The streams of a run and the journal of their contents.
pub struct Spool {
    streams: [Segments; 4],
    thumbnails: Thumbnails,
    journal: Journal,
    flushed: Instant,
}

pub(super) const JOURNAL: &str = "journal";
pub(super) const THUMBNAILS: &str = "thumbnails";
const JOURNAL_BUFFER: usize = 4 << 10;

/// Entries of the journal have to follow their lines. Large files are written in blocks, so lines wait until few of them are in a
/// block, but not longer than this.
const FEW: usize = 256 << 10;
const LONGEST: Duration = Duration::from_secs(1);

impl Spool {
    /// Opens the spool in a directory. Rows that an earlier run finished are handed to `seen`, in order; what it
    /// did not finish is cut off.
    pub fn open(directory: &Path, max_bytes: u64, mut seen: impl FnMut(Entry)) -> io::Result<Spool> {
        let mut streams = Stream::ALL.map(|stream| {
            let limit = if stream == Stream::Rejected { u64::MAX } else { max_bytes };
            Segments::new(directory, stream.name(), limit)
        });
        let path = directory.join(JOURNAL);
        let mut length = 0;
        let mut images = 0;
        let mut thumbnails = Thumbnails::open(&directory.join(THUMBNAILS))?;
        if path.exists() {
            let mut replay = Replay::new(BufReader::new(File::open(&path)?));
            let mut line = Vec::new();
            while let Some(entry) = replay.next_entry()? {
                let seen_before = thumbnails.has(images + entry.images.len() as u64)?
                    && streams[entry.stream as usize].adopt(entry.record.bytes, entry.checksum, &mut line)?;
                if !seen_before {
                    break;
                }
                images += entry.images.len() as u64;
                length = replay.length;
                seen(entry);
            }
        }
        streams.iter_mut().try_for_each(Segments::cut)?;
        thumbnails.cut(images)?;
        Ok(Spool { streams, thumbnails, journal: Journal::open(&path, length)?, flushed: Instant::now() })
    }

    /// Adds a row and its line; the entry gets its checksum.
    pub fn append(&mut self, entry: &mut Entry, line: &[u8], thumbnails: &[Vec<u8>]) -> io::Result<()> {
        thumbnails.iter().for_each(|thumbnail| self.thumbnails.push(thumbnail));
        entry.checksum = self.streams[entry.stream as usize].append(line)?;
        self.journal.push(entry);
        if self.journal.pending() <= JOURNAL_BUFFER {
            return Ok(());
        }
        let waiting: usize = self.streams.iter().map(Segments::waiting).sum();
        if waiting <= FEW || self.flushed.elapsed() >= LONGEST { self.flush() } else { Ok(()) }
    }

    /// Hands everything to the system, lines before the entries that speak of them.
    pub fn flush(&mut self) -> io::Result<()> {
        self.streams.iter_mut().try_for_each(Segments::flush)?;
        self.thumbnails.flush()?;
        self.journal.flush()?;
        self.flushed = Instant::now();
        Ok(())
    }

    /// Closes the streams; the thumbnails can still be read.
    pub fn finish(mut self) -> io::Result<([Vec<Segment>; 4], Thumbnails)> {
        self.flush()?;
        let [train, validation, rejected, test] = self.streams;
        let segments = [train.finish()?, validation.finish()?, rejected.finish()?, test.finish()?];
        Ok((segments, self.thumbnails))
    }
}

/// Reads the lines of a stream again, one after the other, passing over those that are not wanted.
pub struct LineSource<'a> {
    segments: std::slice::Iter<'a, Segment>,
    file: Option<File>,
    left: u64,
}

impl<'a> LineSource<'a> {
    /// Starts at the first line.
    pub fn new(segments: &'a [Segment]) -> LineSource<'a> {
        LineSource { segments: segments.iter(), file: None, left: 0 }
    }

    /// The next line, which is known to have this length.
    pub fn line(&mut self, length: u64, line: &mut Vec<u8>) -> io::Result<()> {
        line.resize(usize::try_from(length).map_err(io::Error::other)?, 0);
        self.at_line(length)?.read_exact(line)
    }

    /// Passes over the next line.
    pub fn skip(&mut self, length: u64) -> io::Result<()> {
        let step = i64::try_from(length).map_err(io::Error::other)?;
        self.at_line(length)?.seek_relative(step)
    }

    fn at_line(&mut self, length: u64) -> io::Result<&mut File> {
        if self.left == 0 {
            let segment = self.segments.next().ok_or(io::ErrorKind::UnexpectedEof)?;
            self.file = Some(File::open(&segment.path)?);
            self.left = segment.bytes;
        }
        self.left = self.left.checked_sub(length).ok_or(io::ErrorKind::InvalidData)?;
        Ok(self.file.as_mut().expect("a file is open while bytes are left"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pixtune_core::curate::{ImageRecord, Record};

    fn entry(number: u64, line: &[u8]) -> Entry {
        let record = Record { line: number, bytes: line.len() as u64, ..Record::default() };
        let stream = Stream::ALL[(number % 4) as usize];
        Entry {
            record,
            images: vec![ImageRecord::default()],
            stream,
            row_hash: 0,
            checksum: 0,
            findings: vec![],
            image_names: vec![],
        }
    }

    fn line(number: u64) -> Vec<u8> {
        format!("{{\"row\":{number},\"text\":\"{}\"}}\n", "x".repeat((number * 37 % 90) as usize))
            .into_bytes()
    }

    fn fill(directory: &Path, rows: u64) -> [Vec<Segment>; 4] {
        let mut next = 0;
        let mut spool = Spool::open(directory, 1000, |_| next += 1).unwrap();
        for number in next..rows {
            spool.append(&mut entry(number, &line(number)), &line(number), &[vec![1; 1024]]).unwrap();
        }
        spool.finish().unwrap().0
    }

    fn contents(segments: &[Vec<Segment>; 4]) -> Vec<(Vec<u8>, u64, u64, String)> {
        let read = |s: &Segment| (fs::read(&s.path).unwrap(), s.bytes, s.lines, s.blake3.clone());
        segments.iter().flatten().map(read).collect()
    }

    #[test]
    fn files_stay_below_their_limit_and_say_what_they_hold() {
        let directory = tempfile::tempdir().unwrap();
        let segments = fill(directory.path(), 100);
        assert!(segments[0].len() > 1 && segments[2].len() == 1);
        for (bytes, size, lines, blake3) in contents(&segments) {
            assert_eq!(size, bytes.len() as u64);
            assert_eq!(lines, memchr::memchr_iter(b'\n', &bytes).count() as u64);
            assert_eq!(blake3, blake3::hash(&bytes).to_hex().to_string());
        }
        assert!(segments[0].iter().all(|segment| segment.bytes <= 1000));
    }

    #[test]
    fn a_torn_spool_goes_on_as_if_nothing_had_happened() {
        let whole = tempfile::tempdir().unwrap();
        let expected = contents(&fill(whole.path(), 100));
        let files: Vec<_> =
            fs::read_dir(whole.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        let mut seed = 1u64;
        for _ in 0..60 {
            // Every file ends somewhere else, as after a power cut.
            let torn = tempfile::tempdir().unwrap();
            for name in &files {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let bytes = fs::read(whole.path().join(name)).unwrap();
                let keep = (seed >> 33) as usize % (bytes.len() + 1);
                fs::write(torn.path().join(name), &bytes[..keep]).unwrap();
            }
            assert_eq!(contents(&fill(torn.path(), 100)), expected);
        }
    }
}
