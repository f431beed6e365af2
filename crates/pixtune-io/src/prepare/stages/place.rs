//! The lines of fragments as those of a scan: where they go follows from the decision, and workers copy them.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use pixtune_core::curate::{Store, StoredRow};
use pixtune_core::json;

use super::super::PrepareError;
use super::super::dataset::{Lines, Placed, Placing, file_name};
use super::super::findings::rejecting;
use super::super::reasons::Reasons;
use super::super::spool::{Segment, THUMBNAILS};
use super::super::stream::Stream;
use super::finish::{DECIDED, REJECTED, REJECTED_NOW, Task};
use super::fragment::Fragment;
use super::hash::{BLOCK, Block, merged};
use super::layout::{Layout, Position};
use super::run::Stages;
use super::scan::Summary;
use super::{Stage, as_number, finding, unreadable};
use crate::thumbnails::Thumbnails;

/// The fragments of a run, all of them scanned.
pub(super) struct Fragments<'f, 'r> {
    pub(super) stages: &'f mut Stages<'r>,
    pub(super) fragments: Vec<(Fragment, Summary)>,
    /// The number of images before each fragment.
    images_before: Vec<u64>,
    /// The thumbnails that were read last, with the index of their fragment.
    open: VecDeque<(usize, Thumbnails)>,
}

/// Files of thumbnails that stay open.
const OPEN: usize = 64;

impl<'f, 'r> Fragments<'f, 'r> {
    pub(super) fn new(stages: &'f mut Stages<'r>, fragments: Vec<(Fragment, Summary)>) -> Fragments<'f, 'r> {
        let images_before = fragments.iter().scan(0, |sum, (_, summary)| {
            let before = *sum;
            *sum += summary.images;
            Some(before)
        });
        Fragments { stages, images_before: images_before.collect(), fragments, open: VecDeque::new() }
    }

    /// The thumbnails with that of an image, and its index among them.
    fn thumbnails(&mut self, image: u32) -> io::Result<(usize, u32)> {
        let image = u64::from(image);
        let fragment = self.images_before.partition_point(|before| *before <= image) - 1;
        let index = u32::try_from(image - self.images_before[fragment]).map_err(io::Error::other)?;
        if let Some(at) = self.open.iter().position(|(open, _)| *open == fragment) {
            return Ok((at, index));
        }
        if self.open.len() == OPEN {
            self.open.pop_back();
        }
        let path = self.stages.home(&self.fragments[fragment].0).join(THUMBNAILS);
        self.open.push_front((fragment, Thumbnails::open(&path)?));
        Ok((0, index))
    }

    fn thumbnail(&mut self, image: u32) -> io::Result<pixtune_core::curate::measure::Thumbnail> {
        let (at, index) = self.thumbnails(image)?;
        self.open[at].1.read(index)
    }

    /// Writes what is decided about the rows of each fragment, and returns the tasks and the layout of the streams.
    fn decide(&self, placing: &Placing<'_>, streams: &[Stream]) -> io::Result<(Vec<Task>, [Layout; 4])> {
        let Placing { plan, scanned, decision, .. } = *placing;
        let max_bytes = plan.options.scan.target.max_file_bytes;
        let directory = self.stages.work().join(DECIDED);
        pixtune_files::remove(&directory)?;
        fs::create_dir(&directory)?;
        let mut layouts = [(); 4].map(|()| Layout::default());
        let begin = |layouts: &[Layout; 4]| {
            let starts = Stream::ALL.map(|stream| {
                let by_place = stream != Stream::Rejected && streams.contains(&stream);
                by_place.then_some(layouts[stream as usize].next)
            });
            Part { starts, codes: Vec::new(), findings: String::new() }
        };
        let mut part = begin(&layouts);
        let mut tasks: Vec<Task> = Vec::with_capacity(self.fragments.len());
        let mut reasons = Reasons::new(decision, &plan.options.scan.drop)?;
        let mut places = scanned.facts.places()?;
        scanned.facts.each(&mut |StoredRow { row, record, .. }| {
            while let Some((fragment, summary)) = self.fragments.get(tasks.len())
                && part.codes.len() as u64 == summary.rows
            {
                tasks.push(std::mem::replace(&mut part, begin(&layouts)).write(fragment, &directory)?);
            }
            if let Some(reason) = reasons.of(row)? {
                let found = rejecting(plan, &mut places, &reason)?;
                part.codes.push(REJECTED_NOW);
                part.findings.push_str(&finding::to_line(record.line, &found));
            } else {
                let stream = Stream::of(decision.status[row as usize]);
                part.codes.push(stream as u8);
                layouts[stream as usize].add(record.bytes, max_bytes);
            }
            Ok(())
        })?;
        // Those after the last row have none.
        while let Some((fragment, _)) = self.fragments.get(tasks.len()) {
            tasks.push(std::mem::replace(&mut part, begin(&layouts)).write(fragment, &directory)?);
        }
        let counts = layouts.each_ref().map(|layout| layout.files.len());
        tasks.iter_mut().for_each(|task| task.counts = counts);
        Ok((tasks, layouts))
    }

    /// Puts the rejected lines of all fragments together.
    fn reject(&self, directory: &Path, counted: &[(u64, u64)]) -> io::Result<Placed> {
        let name = file_name(Stream::Rejected, 0, 1);
        let path = directory.join(&name);
        let mut out = File::create(&path)?;
        let (mut bytes, mut lines) = (0, 0);
        for ((fragment, _), (length, count)) in self.fragments.iter().zip(counted) {
            if *count > 0 {
                let part = self.stages.work().join(REJECTED).join(fragment.name());
                let copied = io::copy(&mut File::open(part)?, &mut out)?;
                if copied != *length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            (bytes, lines) = (bytes + length, lines + count);
        }
        Ok(vec![(name, Segment { path, bytes, lines, blake3: String::new() })])
    }

    /// Computes the hashes of files in blocks.
    fn hash(&mut self, files: &mut [Placed]) -> Result<(), PrepareError> {
        let all = || files.iter().flatten();
        let blocks: Vec<Vec<Block>> =
            all().map(|(name, file)| Block::all_of(name, file.bytes, BLOCK)).collect();
        let tasks: Vec<String> = blocks.iter().flatten().map(Block::to_json).collect();
        let mut hashes = vec![String::new(); tasks.len()];
        self.stages.perform(Stage::Hash, &tasks, &mut |index, hash| {
            hash.clone_into(&mut hashes[index]);
            Ok(())
        })?;
        let mut hashes = hashes.as_slice();
        for ((_, file), blocks) in files.iter_mut().flatten().zip(&blocks) {
            let (own, rest) = hashes.split_at(blocks.len());
            hashes = rest;
            file.blake3 = merged(own).ok_or_else(|| unreadable("a hash"))?;
        }
        Ok(())
    }
}

/// Files with the names and sizes of a layout, whose lines come later.
fn create(directory: &Path, stream: Stream, layout: &Layout) -> io::Result<Placed> {
    let files = if layout.files.is_empty() { &[(0, 0)] } else { layout.files.as_slice() };
    let create = |(index, (bytes, lines)): (usize, &(u64, u64))| {
        let name = file_name(stream, index, files.len());
        let path = directory.join(&name);
        File::create(&path)?.set_len(*bytes)?;
        Ok((name, Segment { path, bytes: *bytes, lines: *lines, blake3: String::new() }))
    };
    files.iter().enumerate().map(create).collect()
}

impl Lines for Fragments<'_, '_> {
    fn look_same(&mut self, one: u32, other: u32, broken: &mut Option<io::Error>) -> bool {
        match (self.thumbnail(one), self.thumbnail(other)) {
            (Ok(one), Ok(other)) => pixtune_core::curate::measure::looks_same(&one, &other),
            (Err(error), _) | (_, Err(error)) => {
                broken.get_or_insert(error);
                false
            }
        }
    }

    fn place(
        &mut self,
        placing: &Placing<'_>,
        streams: &[Stream],
        directory: &Path,
    ) -> Result<Vec<Placed>, PrepareError> {
        let path = self.stages.work().to_owned();
        let write_error = |source| PrepareError::Write { path: path.clone(), source };
        let (tasks, layouts) = self.decide(placing, streams).map_err(write_error)?;
        let rejected = path.join(REJECTED);
        pixtune_files::remove(&rejected).and_then(|()| fs::create_dir(&rejected)).map_err(write_error)?;
        let created = streams.iter().map(|stream| match stream {
            Stream::Rejected => Ok(Vec::new()),
            stream => create(directory, *stream, &layouts[*stream as usize]),
        });
        let mut files: Vec<Placed> = created.collect::<io::Result<_>>().map_err(write_error)?;
        let tasks: Vec<String> = tasks.iter().map(Task::to_json).collect();
        let mut counted = vec![(0, 0); tasks.len()];
        self.stages.perform(Stage::Finish, &tasks, &mut |index, result| {
            counted[index] = pair(result).ok_or_else(|| unreadable("a result"))?;
            Ok(())
        })?;
        if let Some(at) = streams.iter().position(|stream| *stream == Stream::Rejected) {
            files[at] = self.reject(directory, &counted).map_err(write_error)?;
        }
        self.hash(&mut files)?;
        Ok(files)
    }
}

fn pair(text: &str) -> Option<(u64, u64)> {
    let parsed = json::parse(text).ok()?.value;
    let numbers: Option<Vec<u64>> = parsed.as_array()?.iter().map(as_number).collect();
    <[u64; 2]>::try_from(numbers?).ok().map(|[one, other]| (one, other))
}

/// What is decided about the rows of a fragment.
struct Part {
    starts: [Option<Position>; 4],
    /// A code per row.
    codes: Vec<u8>,
    /// Why rows are rejected, a line each.
    findings: String,
}

impl Part {
    fn write(mut self, fragment: &Fragment, directory: &Path) -> io::Result<Task> {
        self.codes.extend_from_slice(self.findings.as_bytes());
        let name = fragment.name();
        pixtune_files::write(&directory.join(&name), &self.codes)?;
        Ok(Task { fragment: name, starts: self.starts, counts: [0; 4] })
    }
}
