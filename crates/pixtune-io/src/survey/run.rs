//! The pass over the files: threads inspect lines, which are counted in order.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use pixtune_core::diagnostic::Finding;
use pixtune_core::json::{self, Value};
use pixtune_core::plan::SplitCounts;
use pixtune_core::quality::Location;

use super::near_images::ImageIndex;
use super::near_texts::TextIndex;
use super::{
    DataFile, FileSide, ImagePlace, InspectedImage, InspectedSample, Inspector, Source, Survey, SurveyError,
    SurveyObserver, reread_image,
};
use crate::check::index::{HashIndex, Relation, SampleIndex};
use crate::parallel;
use crate::progress::Progress;
use crate::read::{LineFile, LineIndex, LinePlace, MAX_LINE, Row, RowRef};

/// Surveys everything in a source on this many threads.
pub fn survey(
    source: &Source,
    inspector: &Inspector<'_>,
    threads: usize,
    observer: &mut dyn SurveyObserver,
) -> Result<Survey, SurveyError> {
    let survey = Survey { limits: inspector.limits, ..Survey::default() };
    let mut run = Run { source, survey, seen: Indexes::default(), inspector, observer };
    let input_total = source.files.iter().map(|file| file.bytes).sum::<u64>() + source.images.len() as u64;
    let mut progress = Progress { input_total, ..Progress::default() };
    for (index, file) in source.files.iter().enumerate() {
        run.file(index as u32, file, threads, &mut progress)?;
    }
    run.loose_images(source, threads, &mut progress)?;
    for path in &source.rejected {
        run.rejected(path)?;
    }
    Ok(run.end(threads))
}

struct Run<'r, 'e> {
    source: &'r Source,
    survey: Survey,
    seen: Indexes,
    inspector: &'r Inspector<'e>,
    observer: &'r mut dyn SurveyObserver,
}

/// The first places of samples, images and texts.
#[derive(Default)]
struct Indexes {
    samples: SampleIndex,
    /// Images of each split.
    images: [HashIndex; 2],
    gathered: ImageIndex,
    texts: TextIndex,
    first_size: Option<(u32, u32)>,
}

impl Run<'_, '_> {
    fn file(
        &mut self,
        index: u32,
        file: &DataFile,
        threads: usize,
        progress: &mut Progress,
    ) -> Result<(), SurveyError> {
        let lines = LineFile::open_rereadable(&file.path, MAX_LINE)?;
        let directory = lines.directory.clone();
        let inspector = self.inspector;
        let before = progress.input_read;
        let (mut count, mut line_index) = (0, LineIndex::default());
        let sink = |at: RowRef, looked: Result<InspectedSample, Finding>| {
            let place = LinePlace { file: index, line: at.number };
            line_index.note(at);
            count += 1;
            progress.rows += 1;
            progress.input_read = before + at.offset + at.length;
            match looked {
                Ok(sample) => {
                    progress.images += sample.images.len() as u64;
                    self.sample(place, file.side, &sample);
                    self.observer.sample(place, &sample);
                }
                Err(finding) => self.refuse(place, &finding),
            }
            self.observer.progress(*progress);
            Ok::<_, SurveyError>(())
        };
        lines.each_large_row(threads, |_, row: Row| inspector.line(&directory, &row), sink)?;
        self.survey.lines.push(count);
        self.survey.line_indices.push(line_index);
        let side = self.side(file.side);
        side.bytes += file.bytes;
        side.largest_file = side.largest_file.max(file.bytes);
        Ok(())
    }

    fn side(&mut self, side: FileSide) -> &mut SplitCounts {
        match side {
            FileSide::Train => &mut self.survey.train,
            FileSide::Validation => &mut self.survey.validation,
        }
    }

    fn refuse(&mut self, place: LinePlace, finding: &Finding) {
        let LinePlace { file, line } = place;
        let kept = self.survey.refused.entry(finding.rule.id).or_default();
        kept.add(Location { file, line, message: u32::MAX, image: None }, || finding.message.clone());
    }

    fn sample(&mut self, place: LinePlace, side: FileSide, sample: &InspectedSample) {
        let counts = &sample.counts;
        let pixels = |image: &InspectedImage| u64::from(image.size.0) * u64::from(image.size.1);
        let first_size = match (self.seen.first_size, sample.images.first()) {
            (None, Some(image)) => {
                self.seen.first_size = Some(image.size);
                Some(image.size)
            }
            (known, _) => known,
        };
        let differs = sample.images.iter().any(|image| Some(image.size) != first_size);
        let to = self.side(side);
        to.samples += 1;
        to.tokens += counts.tokens as u64;
        to.image_tokens += counts.image_tokens as u64;
        to.trained_tokens += counts.trained_tokens as u64;
        to.images += sample.images.len() as u64;
        to.most_images = to.most_images.max(sample.images.len() as u64);
        to.lengths.add(counts.tokens as u64);
        to.pixels += sample.images.iter().map(pixels).sum::<u64>();
        to.with_system += u64::from(sample.with_system);
        to.sizes_differ |= differs;
        self.survey.messages.add(sample.messages as u64);
        self.survey.images_per_sample.add(sample.images.len() as u64);
        self.survey.texts.add(place.file, place.line, &sample.texts);
        self.seen.texts.add(place, side, sample);
        for (index, image) in sample.images.iter().enumerate() {
            self.image(ImagePlace { line: place, index: index as u32 }, side, image);
        }
        self.compare(place, &sample.hashes);
    }

    /// Counts an image and returns the first place of the same file, unless it is this one.
    fn image(&mut self, place: ImagePlace, side: FileSide, image: &InspectedImage) -> Option<LinePlace> {
        let spec = self.inspector.encoder.spec;
        self.survey.images.add(spec, image.format, image.size, image.bytes);
        if let Some(facts) = &image.facts {
            self.survey.issues.add(spec, facts, place, image.hash);
        }
        let here = self.packed(place.line);
        let [train, held_out] = &mut self.seen.images;
        let (this, that) = if side == FileSide::Train { (train, held_out) } else { (held_out, train) };
        let before = this.len();
        let first = this.add(image.hash, here);
        let (is_new, other) = (this.len() > before, that.first(image.hash));
        if is_new {
            match other {
                Some(other) => {
                    let other = self.unpacked(other);
                    self.survey.together.shared_images.add(other, place.line);
                }
                None => self.seen.gathered.add(place, side, image),
            }
        }
        first.map(|first| self.unpacked(first))
    }

    /// A place as indexes keep it. Their numbers of files are too small for loose images, which are numbered as lines.
    fn packed(&self, place: LinePlace) -> LinePlace {
        match self.source.files.is_empty() {
            true => LinePlace { file: 0, line: u64::from(place.file) },
            false => place,
        }
    }

    fn unpacked(&self, place: LinePlace) -> LinePlace {
        match self.source.files.is_empty() {
            true => LinePlace { file: place.line as u32, line: 1 },
            false => place,
        }
    }

    fn compare(&mut self, place: LinePlace, facts: &crate::check::SampleHashes) {
        let side = |place: LinePlace| self.source.files[place.file as usize].side;
        let relation = self.seen.samples.add(facts.sample, facts.prompt, self.packed(place));
        match relation {
            Relation::New => {}
            Relation::Repeats(first) => {
                let first = self.unpacked(first);
                let is_across = side(first) != side(place);
                let together = &mut self.survey.together;
                let pairs = if is_across { &mut together.shared_samples } else { &mut together.repeated };
                pairs.add(first, place);
            }
            Relation::Contradicts(first) => {
                let first = self.unpacked(first);
                self.survey.together.contradictions.add(first, place);
            }
        }
    }

    /// Finishes what takes the whole dataset.
    fn end(self, threads: usize) -> Survey {
        let Run { source, mut survey, mut seen, .. } = self;
        let [train, held_out] = &seen.images;
        survey.together.distinct_images =
            (train.len() + held_out.len()) as u64 - survey.together.shared_images.count;
        for (odd, place) in seen.gathered.odd() {
            survey.issues.add_odd(&odd, place);
        }
        let threads = NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN);
        survey.together.near_texts = seen.texts.groups();
        let again = |place| reread_image(source, &survey, place);
        survey.together.near = seen.gathered.groups(threads, &survey.limits, again);
        survey
    }

    fn loose_images(
        &mut self,
        source: &Source,
        threads: usize,
        progress: &mut Progress,
    ) -> Result<(), SurveyError> {
        let inspector = self.inspector;
        let mut images = source.images.iter().enumerate();
        let next = || Ok::<_, SurveyError>(images.next());
        let work = |(index, (_, path)): (usize, &(String, PathBuf))| {
            (LinePlace { file: index as u32, line: 1 }, inspector.file(path))
        };
        let sink = |(place, looked): (LinePlace, Result<InspectedImage, Finding>)| {
            progress.images += 1;
            progress.input_read += 1;
            match looked {
                Ok(image) => {
                    let at = ImagePlace { line: place, index: 0 };
                    if let Some(first) = self.image(at, FileSide::Train, &image) {
                        self.survey.together.repeated.add(first, place);
                    }
                    self.observer.image(place, &image);
                }
                Err(finding) => self.refuse(place, &finding),
            }
            self.observer.progress(*progress);
            Ok(())
        };
        parallel::ordered(threads, next, work, sink)
    }

    /// Counts what `prepare` rejected; a damaged file is counted as far as it can be read.
    fn rejected(&mut self, path: &Path) -> Result<(), SurveyError> {
        let lines = LineFile::open_rereadable(path, MAX_LINE)?;
        let rejected = &mut self.survey.rejected;
        let sink = |at: RowRef, row: Option<RejectedRow>| {
            let Some(RejectedRow { rule, example }) = row else { return Ok(()) };
            if rejected.len() < MOST_REJECTED_RULES || rejected.contains_key(&rule) {
                let place = Location { file: u32::MAX, line: at.number, message: u32::MAX, image: None };
                rejected.entry(rule).or_default().add(place, || example);
            }
            Ok::<_, SurveyError>(())
        };
        lines.each_large_row(1, |_, row| RejectedRow::read(&row), sink).map(|_| ())
    }
}

/// A damaged file may name any number of rules.
const MOST_REJECTED_RULES: usize = 1000;

/// A line of `rejected.jsonl`, as far as it is shown.
struct RejectedRow {
    rule: String,
    example: String,
}

impl RejectedRow {
    fn read(row: &Row) -> Option<RejectedRow> {
        let text = String::from_utf8_lossy(&row.bytes);
        let parsed = json::parse(&text).ok()?.value;
        let string = |key| parsed.get(key).and_then(Value::as_str);
        let line = match parsed.get("line") {
            Some(Value::Number(line)) => line.as_ref(),
            _ => "",
        };
        let (file, message) = (string("file").unwrap_or("?"), string("message").unwrap_or_default());
        let example = format!("{file}:{line}: {message}");
        Some(RejectedRow { rule: string("rule").unwrap_or("unknown").to_owned(), example })
    }
}
