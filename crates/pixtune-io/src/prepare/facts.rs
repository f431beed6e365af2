//! The facts of all rows that were scanned: in memory while they are few, else read from the journal in every pass.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use pixtune_core::curate::formats::know_by_colors;
use pixtune_core::curate::sorted::{Fixed, List, Space};
use pixtune_core::curate::{ImageRecord, Record, Records, Store, StoredRow, Visit};
use pixtune_core::split::GivenSplit;

use super::journal::{Entry, Replay};
use super::scratch::ScratchFile;
use super::spool::JOURNAL;
use super::stream::Stream;

/// The facts of all rows.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The work directory.
    directory: PathBuf,
    /// The journals with all rows, one after the other.
    journals: Vec<PathBuf>,
    /// Maximum bytes of memory, see [`super::Options::memory`].
    memory: usize,
    /// `None` if there are too many.
    held: Option<Records>,
    rows: usize,
    images: usize,
    /// Where the line of each row is.
    streams: Vec<Stream>,
    /// Images that are identified by RGB instead of planes: hashes of both.
    colors: HashMap<u64, u64>,
}

impl Facts {
    /// No facts yet, of a run in a directory.
    pub(crate) fn new(directory: &Path, memory: usize) -> Facts {
        Facts::of_journals(directory, memory, vec![directory.join(JOURNAL)])
    }

    /// No facts yet, of a run whose rows are in several journals.
    pub(crate) fn of_journals(directory: &Path, memory: usize, journals: Vec<PathBuf>) -> Facts {
        Facts {
            directory: directory.to_owned(),
            journals,
            memory,
            held: Some(Records::default()),
            rows: 0,
            images: 0,
            streams: Vec::new(),
            colors: HashMap::new(),
        }
    }

    /// Adds a row, which is in the journal, or will be before the first pass.
    pub(crate) fn add(&mut self, entry: &Entry) {
        self.rows += 1;
        self.images += entry.images.len();
        self.streams.push(entry.stream);
        let bytes = self.rows * size_of::<Record>() + self.images * size_of::<ImageRecord>();
        if bytes > self.memory / 2 {
            self.held = None;
        }
        if let Some(records) = &mut self.held {
            records.push(entry.record, &entry.images);
        }
    }

    /// Where the line of each row is.
    pub(crate) fn streams(&self) -> &[Stream] {
        &self.streams
    }

    /// Identifies images by RGB instead of planes if another image has the same RGB; returns whether any has. `colors` maps the
    /// hash of the planes to that of RGB.
    pub(crate) fn know_by_colors(&mut self, mut colors: HashMap<u64, u64>) -> io::Result<bool> {
        if let Some(records) = &mut self.held {
            return Ok(know_by_colors(records.images_mut(), colors));
        }
        if colors.is_empty() {
            return Ok(false);
        }
        let wanted: BTreeSet<u64> = colors.values().copied().collect();
        let mut there = BTreeSet::new();
        self.each(&mut |stored| {
            let pixels = stored.images.iter().map(|image| image.facts.pixels);
            there.extend(pixels.filter(|pixels| wanted.contains(pixels)));
            Ok(())
        })?;
        colors.retain(|_, colors| there.contains(colors));
        self.colors = colors;
        Ok(!self.colors.is_empty())
    }

    /// The entries of all rows, in input order.
    pub(crate) fn journal(&self) -> impl Read {
        Chain { left: self.journals.iter(), open: None }
    }

    fn replay(&self, visit: Visit<'_, io::Error>) -> io::Result<()> {
        let mut replay = Replay::new(BufReader::with_capacity(1 << 20, self.journal()));
        let mut first_image = 0;
        for row in 0..self.rows as u32 {
            let Entry { record, mut images, .. } =
                replay.next_entry()?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if !self.colors.is_empty() {
                for image in &mut images {
                    let pixels = &mut image.facts.pixels;
                    *pixels = self.colors.get(pixels).copied().unwrap_or(*pixels);
                }
            }
            visit(StoredRow { row, first_image, record: &record, images: &images })?;
            first_image += images.len() as u32;
        }
        Ok(())
    }

    /// Finds the places of rows.
    pub(crate) fn places(&self) -> io::Result<Places<'_>> {
        let mut list = List::new(self);
        if self.held.is_none() {
            self.each(&mut |stored| list.push(Place::of(stored.record)))?;
        }
        Ok(Places { held: self.held.as_ref(), list })
    }
}

/// Files one after the other.
struct Chain<'p> {
    left: std::slice::Iter<'p, PathBuf>,
    open: Option<File>,
}

impl Read for Chain<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let file = match &mut self.open {
                Some(file) => file,
                none => match self.left.next() {
                    Some(path) => none.insert(File::open(path)?),
                    None => return Ok(0),
                },
            };
            match file.read(buffer)? {
                0 if !buffer.is_empty() => self.open = None,
                read => return Ok(read),
            }
        }
    }
}

impl Space for Facts {
    type Error = io::Error;
    type Scratch = ScratchFile;

    fn scratch(&self) -> io::Result<ScratchFile> {
        ScratchFile::create(&self.directory)
    }

    fn budget(&self) -> usize {
        self.memory / 4
    }
}

impl Store for Facts {
    fn rows(&self) -> usize {
        self.rows
    }

    fn images(&self) -> usize {
        self.images
    }

    fn is_in_memory(&self) -> bool {
        self.held.is_some()
    }

    fn each(&self, visit: Visit<'_, io::Error>) -> io::Result<()> {
        let Some(records) = &self.held else { return self.replay(visit) };
        let mut first_image = 0;
        for (row, (record, images)) in (0..).zip(records.iter()) {
            visit(StoredRow { row, first_image, record, images })?;
            first_image += images.len() as u32;
        }
        Ok(())
    }
}

/// What messages name of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The index of its input.
    pub(crate) input: u32,
    /// The number of its images.
    pub(crate) images: u32,
    /// The line of the input.
    pub(crate) line: u64,
    /// The split that the dataset puts it in.
    pub(crate) given: Option<GivenSplit>,
}

impl Place {
    fn of(record: &Record) -> Place {
        let Record { input, images, line, given, .. } = *record;
        Place { input, images, line, given }
    }
}

impl Fixed for Place {
    const SIZE: usize = 17;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.input.to_le_bytes());
        out.extend_from_slice(&self.images.to_le_bytes());
        out.extend_from_slice(&self.line.to_le_bytes());
        out.push(self.given.map_or(0, |split| split as u8 + 1));
    }

    fn read(bytes: &[u8]) -> Place {
        let number = |from: usize, to: usize| {
            bytes[from..to].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        let given = usize::from(bytes[16]).checked_sub(1).and_then(|split| GivenSplit::ALL.get(split));
        let (input, images, line) = (number(0, 4) as u32, number(4, 8) as u32, number(8, 16));
        Place { input, images, line, given: given.copied() }
    }
}

/// The places of all rows.
pub(crate) struct Places<'f> {
    held: Option<&'f Records>,
    list: List<'f, Place, Facts>,
}

impl Places<'_> {
    /// The place of a row.
    pub(crate) fn of(&mut self, row: u32) -> io::Result<Place> {
        match self.held {
            Some(records) => Ok(Place::of(&records.rows()[row as usize])),
            None => self.list.get(row as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back_from_their_bytes() {
        for given in [None, Some(GivenSplit::Train), Some(GivenSplit::Test)] {
            let place = Place { input: 1 << 31, images: 7, line: u64::MAX - 3, given };
            let mut bytes = Vec::new();
            place.write(&mut bytes);
            assert_eq!((bytes.len(), Place::read(&bytes)), (Place::SIZE, place));
        }
    }
}
