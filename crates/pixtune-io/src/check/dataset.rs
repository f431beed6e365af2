//! Checks across lines and files: duplicates, conflicting labels, samples and images in both splits, file sizes.

use std::cell::RefCell;
use std::io;
use std::num::NonZeroUsize;
use std::path::Path;

use pixtune_core::curate::content_hash;
use pixtune_core::diagnostic::Finding;
use pixtune_core::rules;
use pixtune_core::sample::{Arguments, Assistant, Content, Message, Part};
use pixtune_core::strict::BorrowedSample;
use pixtune_core::target::Target;
use pixtune_core::text::{counted, grouped};

use super::index::{HashIndex, Relation, SampleIndex};
use super::shared_images::{Gallery, SharedImage};
use super::{CheckedLine, Reported, SampleHashes, Selection};
use crate::image::measure::Measure;
use crate::read::{FileForm, LinePlace};

impl SampleHashes {
    /// The hashes of a sample with these hashes of its images.
    pub(crate) fn new(sample: &BorrowedSample<'_>, images: impl Iterator<Item = u128>) -> SampleHashes {
        thread_local! {
            static KEPT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let images: Vec<(u128, String)> =
            images.zip(&sample.images).map(|(hash, image)| (hash, image.pointer.clone())).collect();
        KEPT.with_borrow_mut(|text| {
            for tool in &sample.tools {
                write(b't', tool.name.as_bytes(), text);
                write(b'p', tool.parameters.to_string().as_bytes(), text);
            }
            let (last, before) = sample.messages.split_last().expect("an accepted sample has messages");
            before.iter().for_each(|message| write_message(message, &images, text));
            let prompt = content_hash(text);
            text.clear();
            text.extend_from_slice(&prompt.to_le_bytes());
            write_message(last, &images, text);
            let sample = content_hash(text);
            text.clear();
            text.shrink_to(MOST_KEPT);
            SampleHashes { sample, prompt, images }
        })
    }
}

/// Each thread keeps up to this many bytes of memory for putting texts together.
const MOST_KEPT: usize = 1 << 20;

/// Writes a piece so that different sequences of pieces never become the same bytes. A large piece stands as its hash: a copy of
/// it would be most of the memory of a run.
fn write(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    match bytes.len() {
        0..=MOST_KEPT => out.extend_from_slice(bytes),
        _ => out.extend_from_slice(&content_hash(bytes).to_le_bytes()),
    }
}

fn write_message(message: &Message<&str>, images: &[(u128, String)], out: &mut Vec<u8>) {
    match message {
        Message::System(content) => write_content(b's', content, images, out),
        Message::User(content) => write_content(b'u', content, images, out),
        Message::Tool(result) => write_content(b'r', &result.content, images, out),
        Message::Assistant(Assistant { content, tool_calls, .. }) => {
            out.push(b'a');
            if let Some(content) = content {
                write_content(b'c', content, images, out);
            }
            for call in tool_calls {
                write(b'n', call.name.as_bytes(), out);
                match &call.arguments {
                    Arguments::Text(text) => write(b'j', text.as_bytes(), out),
                    Arguments::Json(value) => write(b'j', value.to_string().as_bytes(), out),
                }
            }
        }
    }
}

fn write_content(kind: u8, content: &Content<&str>, images: &[(u128, String)], out: &mut Vec<u8>) {
    out.push(kind);
    match content {
        Content::Text(text) => write(b'x', text.as_bytes(), out),
        Content::Parts(parts) => {
            for part in parts {
                match part {
                    Part::Text(text) => write(b'x', text.as_bytes(), out),
                    Part::Image(index) => write(b'i', &images[*index].0.to_le_bytes(), out),
                    Part::Thinking { text, .. } => write(b't', text.as_bytes(), out),
                }
            }
        }
    }
}

/// Compares each line with those before it.
pub struct DatasetChecks<'s> {
    selection: &'s Selection,
    target: &'s Target,
    files: Vec<Input>,
    /// Whether there are training and validation files, which may share images.
    both: bool,
    samples: SampleIndex,
    /// Images of the training split and of the validation split.
    images: [HashIndex; 2],
    /// What these images show, where they were measured.
    gallery: Gallery,
}

/// A file and what was counted of it.
struct Input {
    name: String,
    is_validation: bool,
    samples: u64,
    bytes: u64,
}

/// Whether a file is a validation file, by its name: `validation.jsonl`, `my-val-00001.jsonl`, `test.jsonl`.
pub fn is_validation(name: &str) -> bool {
    const WORDS: [&str; 8] = ["validation", "valid", "val", "eval", "evaluation", "dev", "test", "heldout"];
    let stem =
        Path::new(name).file_stem().and_then(|stem| stem.to_str()).unwrap_or(name).to_ascii_lowercase();
    stem.split(|c: char| !c.is_ascii_alphabetic()).any(|word| WORDS.contains(&word))
}

impl<'s> DatasetChecks<'s> {
    /// Starts with these files. Of two files whose names do not decide, the second is the validation file.
    pub fn new(names: &[String], selection: &'s Selection, target: &'s Target) -> DatasetChecks<'s> {
        let mut files: Vec<Input> = names
            .iter()
            .map(|name| Input {
                name: name.clone(),
                is_validation: is_validation(name),
                samples: 0,
                bytes: 0,
            })
            .collect();
        if let [first, second] = &mut files[..]
            && !first.is_validation
        {
            second.is_validation = true;
        }
        let validation = files.iter().filter(|file| file.is_validation).count();
        let both = validation > 0 && validation < files.len();
        let (samples, images, gallery) = Default::default();
        DatasetChecks { selection, target, files, both, samples, images, gallery }
    }

    /// Whether images of training files are searched for in validation files.
    pub fn compares_images(&self) -> bool {
        self.both
            && [&rules::SHARED_IMAGE, &rules::SHARED_NEAR_IMAGE].iter().any(|rule| self.selection.wants(rule))
    }

    /// Loads the table entries for lines that are added next into the CPU's cache.
    pub fn prefetch(&self, lines: &[CheckedLine]) {
        self.samples.prefetch(lines.iter().filter_map(|line| Some(line.hashes.as_ref()?.prompt)));
    }

    /// Compares a line with those before it and adds findings to those of the line.
    pub fn add(&mut self, file: usize, line: &mut CheckedLine) {
        let here = LinePlace { file: file as u32, line: line.number };
        self.files[file].samples += u64::from(line.is_sample);
        self.files[file].bytes += line.length;
        let Some(hashes) = &line.hashes else { return };
        let mut found = Vec::new();
        let relation = self.samples.add(hashes.sample, hashes.prompt, here);
        match relation {
            Relation::Repeats(first) => found.push(self.duplicate(first, here)),
            Relation::Contradicts(first) => {
                let message = format!("{} has the same prompt with a different response", self.name(first));
                found.push(Finding::new(&rules::CONTRADICTION, "/messages", message));
            }
            Relation::New => {}
        }
        if self.both && !matches!(relation, Relation::Repeats(_)) {
            found.extend(self.leaked_images(hashes, &line.measures, here));
        }
        for mut finding in found {
            if self.selection.admits(&mut finding) {
                line.findings.push((finding, None, None));
            }
        }
    }

    fn duplicate(&self, first: LinePlace, here: LinePlace) -> Finding {
        let [earlier, now] = [first, here].map(|place| self.files[place.file as usize].is_validation);
        if earlier == now {
            let message = format!("{} has the same images and text", self.name(first));
            Finding::new(&rules::DUPLICATE, "", message)
        } else {
            let message = format!("{} is the same sample, in the other split", self.name(first));
            Finding::new(&rules::SHARED_SAMPLE, "", message).hint("keep it in one split")
        }
    }

    fn leaked_images(
        &mut self,
        hashes: &SampleHashes,
        measures: &[Option<Measure>],
        here: LinePlace,
    ) -> Vec<Finding> {
        let is_validation = self.files[here.file as usize].is_validation;
        let split = usize::from(is_validation);
        let mut found = Vec::new();
        for (at, (hash, pointer)) in hashes.images.iter().enumerate() {
            let is_known = self.images[split].add(*hash, here).is_some();
            let elsewhere = self.images[1 - split].first(*hash);
            if let Some(measure) = measures.get(at).and_then(Option::as_ref)
                && !is_known
                && elsewhere.is_none()
            {
                self.gallery.add(*hash, measure, here, pointer, is_validation);
            }
            if let Some(other) = elsewhere {
                let message = format!("{} has the same image, in the other split", self.name(other));
                found.push(
                    Finding::new(&rules::SHARED_IMAGE, pointer.clone(), message)
                        .hint("keep all samples of an image in one split"),
                );
            }
        }
        found
    }

    fn name(&self, place: LinePlace) -> String {
        format!("{}:{}", self.files[place.file as usize].name, place.line)
    }

    /// The findings after the last file, in the order of validation lines: validation images that show the same as a training
    /// image. An error concerns the directory for temporary files.
    pub fn end(self, threads: NonZeroUsize) -> io::Result<Vec<Reported>> {
        let DatasetChecks { selection, files, gallery, .. } = self;
        let mut reported = Vec::new();
        for SharedImage { validation, pointer, trained, distance } in gallery.shared(threads)? {
            let other = format!("{}:{}", files[trained.file as usize].name, trained.line);
            let finding = match distance {
                None => {
                    let message =
                        format!("{other} has the same pixels in another image file, in the other split");
                    Finding::new(&rules::SHARED_IMAGE, pointer, message)
                }
                Some(distance) => {
                    let message = format!(
                        "{other} has a near-duplicate image, in the other split (perceptual hashes differ in {distance} of 64 bits)"
                    );
                    Finding::new(&rules::SHARED_NEAR_IMAGE, pointer, message)
                }
            };
            let mut finding = finding.hint("keep all samples of an image in one split");
            if selection.admits(&mut finding) {
                let diagnostic = finding.at(&files[validation.file as usize].name, validation.line);
                reported.push(Reported { diagnostic, excerpt: None });
            }
        }
        Ok(reported)
    }

    /// The findings about a file as a whole.
    pub fn end_of_file(&self, file: usize, form: &FileForm) -> Vec<Reported> {
        let Input { name, is_validation, samples, bytes } = &self.files[file];
        let target = self.target;
        let mut found = Vec::new();
        if let Some(elements) = form.elements {
            let message = format!("the file is {}", elements.note());
            let hint = "convert it to JSON Lines with `pixtune fix`";
            found.push(Finding::new(&rules::JSON_ARRAY, "", message).hint(hint));
        }
        if form.has_byte_order_mark {
            let message = "the file starts with a byte order mark";
            found.push(Finding::new(&rules::JSON_BOM, "", message).hint("save it as UTF-8 without one"));
        }
        if *samples == 0 {
            found.push(Finding::new(&rules::FILE_EMPTY, "", "the file has no samples"));
        } else if *samples < target.min_samples && !is_validation {
            let message = format!(
                "the file has {}; the minimum is {}",
                counted(*samples, "sample"),
                target.min_samples
            );
            found.push(Finding::new(&rules::TOO_FEW_SAMPLES, "", message));
        }
        if *bytes > target.refused_file_bytes {
            let message = format!(
                "the file has {}; {} accepts {}",
                counted(*bytes, "byte"),
                target.id,
                grouped(target.refused_file_bytes)
            );
            found.push(Finding::new(&rules::FILE_TOO_LARGE, "", message).hint("split it into several files"));
        }
        if *is_validation && self.both && *bytes > target.max_validation_bytes {
            let limit = target.max_validation_bytes;
            let message = format!(
                "the validation file has {}; {} accepts {}",
                counted(*bytes, "byte"),
                target.id,
                grouped(limit)
            );
            let hint = "`pixtune prepare --validation 1MB` makes a validation split of at most that size";
            found.push(Finding::new(&rules::VALIDATION_TOO_LARGE, "", message).hint(hint));
        }
        found.retain_mut(|finding| self.selection.admits(finding));
        found.into_iter().map(|finding| Reported { diagnostic: finding.at(name, 1), excerpt: None }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_validation_files_by_their_names() {
        for name in ["validation.jsonl", "a/b/my-val-00001.jsonl", "test_2.jsonl", "Eval.jsonl"] {
            assert!(is_validation(name), "{name}");
        }
        for name in ["train.jsonl", "valuable.jsonl", "test/train.jsonl", "latest.jsonl", "-"] {
            assert!(!is_validation(name), "{name}");
        }
    }
}
