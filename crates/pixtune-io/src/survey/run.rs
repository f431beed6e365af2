//! The pass over the files: what threads saw of each line is counted in order.

use std::fs::File;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use pixtune_core::diagnostic::Finding;
use pixtune_core::plan::SplitCounts;
use pixtune_core::quality::Location;

use super::near::Gathered;
use super::texts::GatheredTexts;
use super::{
    DataFile, FileSide, ImageLook, ImagePlace, LineIndex, LinePlace, Looker, MAX_LINE, SampleLook, Source,
    Survey, SurveyError, Witness, file_bytes, image_again, source,
};
use crate::check::seen::{self, Relation, Seen, SeenSamples};
use crate::parallel;
use crate::prepare::Progress;
use crate::read::discover::refuse_all_but_lines;
use crate::read::records::{Framing, RawRow, Records};

/// Surveys everything of a source, on so many threads.
pub fn survey(
    source: &Source,
    looker: &Looker<'_>,
    threads: usize,
    witness: &mut dyn Witness,
) -> Result<Survey, SurveyError> {
    let mut run = Run { source, survey: Survey::default(), seen: SeenBefore::default(), looker, witness };
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
    seen: SeenBefore,
    looker: &'r Looker<'e>,
    witness: &'r mut dyn Witness,
}

/// Where samples and images were first seen.
#[derive(Default)]
struct SeenBefore {
    samples: SeenSamples,
    /// Images of each side.
    images: [Seen; 2],
    gathered: Gathered,
    texts: GatheredTexts,
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
        let directory = file.path.parent().map(Path::to_owned).unwrap_or_default();
        let mut rows = open(&file.path)?;
        let looker = self.looker;
        let before = progress.input_read;
        let (mut lines, mut line_index) = (0, LineIndex::default());
        let next = || {
            let row = rows.next_row().map_err(|error| source::broken(&file.path, error))?;
            row.iter().for_each(|row| line_index.note(row.line, row.offset));
            Ok(row)
        };
        let work = |row: RawRow| {
            let place = LinePlace { file: index, line: row.line };
            (place, row.offset + row.length, looker.line(&directory, &row))
        };
        let sink = |(place, end, looked): (LinePlace, u64, Result<SampleLook, Finding>)| {
            lines += 1;
            progress.rows += 1;
            progress.input_read = before + end;
            match looked {
                Ok(sample) => {
                    progress.images += sample.images.len() as u64;
                    self.sample(place, file.side, &sample);
                    self.witness.sample(place, &sample);
                }
                Err(finding) => self.refuse(place, &finding),
            }
            self.witness.progress(*progress);
            Ok::<_, SurveyError>(())
        };
        parallel::ordered(threads, next, work, sink)?;
        self.survey.lines.push(lines);
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
        kept.add(Location { file, line, message: u32::MAX }, || finding.message.clone());
    }

    fn sample(&mut self, place: LinePlace, side: FileSide, sample: &SampleLook) {
        let counts = &sample.counts;
        let pixels = |image: &ImageLook| u64::from(image.size.0) * u64::from(image.size.1);
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
        self.survey.images_a_sample.add(sample.images.len() as u64);
        self.survey.texts.add(place.file, place.line, &sample.texts);
        self.seen.texts.add(place, side, sample);
        for (index, image) in sample.images.iter().enumerate() {
            self.image(ImagePlace { line: place, index: index as u32 }, side, image);
        }
        self.compare(place, &sample.facts);
    }

    /// Counts an image; the first place of the same file is returned, unless it is this one.
    fn image(&mut self, place: ImagePlace, side: FileSide, image: &ImageLook) -> Option<LinePlace> {
        let spec = self.looker.encoder.spec;
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

    /// A line of a file; of images without samples, which can be more than there are numbers of files, the number.
    fn packed(&self, place: LinePlace) -> seen::Place {
        match self.source.files.is_empty() {
            true => seen::Place { file: 0, line: u64::from(place.file) },
            false => seen::Place { file: place.file as usize, line: place.line },
        }
    }

    fn unpacked(&self, place: seen::Place) -> LinePlace {
        match self.source.files.is_empty() {
            true => LinePlace { file: place.line as u32, line: 1 },
            false => LinePlace { file: place.file as u32, line: place.line },
        }
    }

    fn compare(&mut self, place: LinePlace, facts: &crate::check::Facts) {
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

    /// What can be said once everything has been seen.
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
        let again = |place| image_again(source, &survey, place);
        survey.together.near = seen.gathered.groups(threads, again);
        survey
    }

    fn loose_images(
        &mut self,
        source: &Source,
        threads: usize,
        progress: &mut Progress,
    ) -> Result<(), SurveyError> {
        let looker = self.looker;
        let mut images = source.images.iter().enumerate();
        let next = || Ok::<_, SurveyError>(images.next());
        let work = |(index, (_, path)): (usize, &(String, PathBuf))| {
            let looked = file_bytes(path).and_then(|bytes| looker.bytes(&bytes));
            (LinePlace { file: index as u32, line: 1 }, looked)
        };
        let sink = |(place, looked): (LinePlace, Result<ImageLook, Finding>)| {
            progress.images += 1;
            progress.input_read += 1;
            match looked {
                Ok(image) => {
                    let at = ImagePlace { line: place, index: 0 };
                    if let Some(first) = self.image(at, FileSide::Train, &image) {
                        self.survey.together.repeated.add(first, place);
                    }
                    self.witness.image(place, &image);
                }
                Err(finding) => self.refuse(place, &finding),
            }
            self.witness.progress(*progress);
            Ok(())
        };
        parallel::ordered(threads, next, work, sink)
    }

    /// Counts what `prepare` rejected; a file that is damaged is counted as far as it can be read.
    fn rejected(&mut self, path: &Path) -> Result<(), SurveyError> {
        let mut rows = open(path)?;
        while let Some(row) = rows.next_row().map_err(|error| source::broken(path, error))? {
            let text = String::from_utf8_lossy(&row.bytes);
            let Ok(parsed) = pixtune_core::json::parse(&text) else { continue };
            let string = |key| parsed.value.get(key).and_then(pixtune_core::json::Value::as_str);
            let rule = string("rule").unwrap_or("unknown");
            let place = Location { file: u32::MAX, line: row.line, message: u32::MAX };
            let line = match parsed.value.get("line") {
                Some(pixtune_core::json::Value::Number(line)) => line.clone().into_owned(),
                _ => String::new(),
            };
            let told = || {
                format!("{}:{line}: {}", string("file").unwrap_or("?"), string("message").unwrap_or_default())
            };
            if self.survey.rejected.len() < 1000 || self.survey.rejected.contains_key(rule) {
                self.survey.rejected.entry(rule.to_owned()).or_default().add(place, told);
            }
        }
        Ok(())
    }
}

/// Opens a file of lines. What is none is refused before a thousand findings say so.
fn open(path: &Path) -> Result<Records<File>, SurveyError> {
    let file = File::open(path).map_err(|error| source::broken(path, error))?;
    refuse_all_but_lines(path)?;
    Ok(Records::unhashed(file, Framing::Lines, MAX_LINE))
}
