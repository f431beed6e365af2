//! Time, memory and disk of the decision over many rows: `scale records N DIR [BUDGET]` or `scale hashes N [THREADS]`.
//!
//! Facts are made up in every pass, in about the time in which they are read from a journal: one image and one text per row, one row
//! in ten is an exact duplicate of an earlier one and one in twenty nearly one. Prints what was found, seconds, CPU seconds, and on
//! Linux the peak of memory.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use pixtune_core::curate::hamming::{MOST, each_pair_within};
use pixtune_core::curate::sorted::{Scratch, Space};
use pixtune_core::curate::{
    Dedup, ImageFacts, ImageRecord, Policy, Record, Sketch, Status, Store, StoredRow, TextSketch, Visit,
    decide_in,
};

/// SplitMix64.
fn random(seed: u64, n: u64) -> u64 {
    let mut state = n.wrapping_add(seed << 56).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(seed);
    state = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ state >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ state >> 31
}

/// Bytes in scratch files, now and at most.
#[derive(Default)]
struct Used {
    now: Cell<u64>,
    most: Cell<u64>,
}

struct ScratchFile {
    file: File,
    path: PathBuf,
    bytes: u64,
    used: Rc<Used>,
}

impl Scratch for ScratchFile {
    type Error = io::Error;

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.used.now.set(self.used.now.get() + bytes.len() as u64);
        self.used.most.set(self.used.most.get().max(self.used.now.get()));
        self.file.seek(SeekFrom::End(0))?;
        self.file.write_all(bytes)
    }

    fn read_at(&self, from: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(buffer)
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        self.used.now.set(self.used.now.get() - self.bytes);
        let _ = fs::remove_file(&self.path);
    }
}

struct MadeUp {
    rows: u64,
    directory: PathBuf,
    budget: usize,
    next: Cell<u64>,
    used: Rc<Used>,
}

impl Space for MadeUp {
    type Error = io::Error;
    type Scratch = ScratchFile;

    fn scratch(&self) -> io::Result<ScratchFile> {
        self.next.set(self.next.get() + 1);
        let path = self.directory.join(format!("scratch-{}", self.next.get()));
        let file = File::options().create(true).truncate(true).read(true).write(true).open(&path)?;
        Ok(ScratchFile { file, path, bytes: 0, used: self.used.clone() })
    }

    fn budget(&self) -> usize {
        self.budget
    }
}

impl Store for MadeUp {
    fn rows(&self) -> usize {
        self.rows as usize
    }

    fn images(&self) -> usize {
        self.rows as usize
    }

    fn is_in_memory(&self) -> bool {
        false
    }

    fn each(&self, visit: Visit<'_, io::Error>) -> io::Result<()> {
        for row in 0..self.rows {
            let (record, image) = made_up(row);
            visit(StoredRow { row: row as u32, first_image: row as u32, record: &record, images: &[image] })?;
        }
        Ok(())
    }
}

fn made_up(row: u64) -> (Record, ImageRecord) {
    // The first row of every twenty is never a copy, so it can be copied.
    let earlier = random(1, row) % (row / 20 + 1) * 20;
    let (of, is_near) = match row % 20 {
        9 | 19 => (earlier, false),
        7 => (earlier, true),
        _ => (row, false),
    };
    let mut minima = [0; 64];
    for (at, bytes) in (0..).zip(minima.as_chunks_mut::<8>().0) {
        *bytes = random(10 + at, of).to_le_bytes();
    }
    let phash = random(2, of).max(1);
    let chroma = random(3, of).to_le_bytes();
    let mut facts = ImageFacts {
        pixels: random(4, of).max(2),
        phash,
        width: 800,
        height: 600,
        chroma: std::array::from_fn(|at| [chroma[2 * at], chroma[2 * at + 1]]),
        ..ImageFacts::default()
    };
    let mut text = u128::from(random(5, of)) << 64 | u128::from(random(6, of));
    if is_near {
        // Up to four bits of the hash and three minima are others.
        (0..random(7, row) % 5).for_each(|k| facts.phash ^= 1 << (random(8 + k, row) % 64));
        (0..3).for_each(|k| minima[(random(20 + k, row) % 64) as usize] ^= 1);
        facts.pixels = random(4, row).max(2);
        text = u128::from(random(5, row));
    }
    let answer = random(9, of);
    let texts = TextSketch {
        all: Sketch { minima, shingles: 60 },
        answer: Sketch { minima: std::array::from_fn(|at| (answer >> (at % 8 * 8)) as u8), shingles: 20 },
        answer_hash: [answer as u32, (answer >> 32) as u32],
    };
    let prompt = u128::from(random(30, of));
    let record = Record {
        images: 1,
        line: row + 1,
        bytes: 900,
        text,
        prompt,
        texts,
        id: row + 1,
        tokens: 700,
        ..Record::default()
    };
    (record, ImageRecord { content: u128::from(facts.pixels), facts })
}

fn records(rows: u64, directory: PathBuf, budget: usize) -> io::Result<()> {
    let used = Rc::new(Used::default());
    let store = MadeUp { rows, directory, budget, next: Cell::new(0), used: used.clone() };
    let threads = NonZeroUsize::new(2).unwrap_or(NonZeroUsize::MIN);
    let policy = Policy { dedup: Dedup::Near, threads, ..Policy::default() };
    let mut compared = 0u64;
    let decided = decide_in(&store, &policy, &mut |_, _| {
        compared += 1;
        true
    })?;
    let count = |status| decided.status.iter().filter(|one| **one == status).count();
    let mut near = 0;
    decided.duplicates.each(|repeated| {
        near += u64::from(repeated.is_near);
        Ok(())
    })?;
    println!(
        "{rows} rows: {} train, {} validation, {} duplicates, {near} of them near; {compared} images compared; at most {} MB in scratch files",
        count(Status::Train),
        count(Status::Validation),
        count(Status::Duplicate),
        used.most.get() / 1_000_000
    );
    Ok(())
}

fn hashes(count: u64, threads: usize) {
    let flips =
        |n: u64| (0..1 + random(2, n) % 6).fold(0u64, |flips, k| flips | 1 << (random(3 + k, n) % 64));
    let hash = |n: u64| if n % 20 == 19 { random(1, n - 7) ^ flips(n) } else { random(1, n) };
    let hashes: Vec<u64> = (0..count).map(hash).collect();
    let (mut planted, mut pairs) = (0u64, 0u64);
    let threads = NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN);
    let Ok(()) = each_pair_within(&hashes, MOST, threads, |pair| {
        pairs += 1;
        planted += u64::from(pair.other % 20 == 19 && pair.one + 7 == pair.other);
        Ok::<(), std::convert::Infallible>(())
    });
    println!("{count} hashes, {MOST} bits: {planted} of {} copies, {pairs} pairs in all", count / 20);
}

/// Prints the time and memory of this process.
fn print_cost(start: Instant) {
    println!("  {:.1} seconds", start.elapsed().as_secs_f64());
    if let Ok(stat) = fs::read_to_string("/proc/self/stat") {
        // The fields behind the name, which may hold spaces: utime and stime are the 12th and the 13th.
        let behind = stat.rsplit(')').next().unwrap_or_default();
        let ticks = behind.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok());
        println!("  {:.1} CPU seconds", ticks.sum::<u64>() as f64 / 100.0);
    }
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        status.lines().filter(|line| line.starts_with("VmHWM")).for_each(|line| println!("  {line}"));
    }
}

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let number = |at: usize, default: u64| args.get(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    let start = Instant::now();
    match args.get(1).map(String::as_str) {
        Some("hashes") => hashes(number(2, 1_000_000), number(3, 2) as usize),
        Some("records") => {
            let directory = args.get(3).map_or_else(std::env::temp_dir, PathBuf::from);
            records(number(2, 1_000_000), directory, number(4, 500_000_000) as usize)?;
        }
        _ => println!("scale records N DIR [BUDGET] | scale hashes N [THREADS]"),
    }
    print_cost(start);
    Ok(())
}
