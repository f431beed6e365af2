//! What lines and files say together: repetitions, contradictions, leaks, sizes.

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
use pixtune_core::text::counted;

use super::alike::{Gallery, Shared};
use super::seen::{Place, Relation, Seen, SeenSamples};
use super::{Facts, Line, Reported, Selection};
use crate::image::measure::Measure;

impl Facts {
    /// The hashes of a sample whose images have these.
    pub(crate) fn new(sample: &BorrowedSample<'_>, images: impl Iterator<Item = u128>) -> Facts {
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
            Facts { sample, prompt, images }
        })
    }
}

/// Texts are put together in memory that a thread keeps, up to so many bytes.
const MOST_KEPT: usize = 1 << 20;

/// Writes a piece so that no two different sequences of pieces are the same bytes.
fn write(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
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
                }
            }
        }
    }
}

/// What is the matter with a file as a whole.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// It is one JSON array.
    pub is_array: bool,
    /// It starts with a byte order mark.
    pub has_byte_order_mark: bool,
}

/// What is remembered of the lines so far.
pub struct Across<'s> {
    selection: &'s Selection,
    target: &'s Target,
    files: Vec<Input>,
    /// Whether there is a training and a validation file, so that an image can leak.
    both: bool,
    samples: SeenSamples,
    /// Images of training and of validation.
    images: [Seen; 2],
    /// What they show, where that is known.
    gallery: Gallery,
}

/// What is known of a file.
struct Input {
    name: String,
    is_validation: bool,
    samples: u64,
    bytes: u64,
}

/// Whether a file is held out, by its name: `validation.jsonl`, `my-val-00001.jsonl`, `test.jsonl`.
pub fn is_validation(name: &str) -> bool {
    const WORDS: [&str; 8] = ["validation", "valid", "val", "eval", "evaluation", "dev", "test", "heldout"];
    let stem =
        Path::new(name).file_stem().and_then(|stem| stem.to_str()).unwrap_or(name).to_ascii_lowercase();
    stem.split(|c: char| !c.is_ascii_alphabetic()).any(|word| WORDS.contains(&word))
}

impl<'s> Across<'s> {
    /// Nothing seen yet of these files. Of two whose names do not tell, the second is the validation file.
    pub fn new(names: &[String], selection: &'s Selection, target: &'s Target) -> Across<'s> {
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
        Across { selection, target, files, both, samples, images, gallery }
    }

    /// Whether images of training files are looked for in validation files.
    pub fn compares_images(&self) -> bool {
        self.both
            && [&rules::SHARED_IMAGE, &rules::SHARED_NEAR_IMAGE].iter().any(|rule| self.selection.wants(rule))
    }

    /// Makes ready for lines that are added next.
    pub fn look_ahead(&self, lines: &[Line]) {
        self.samples.look_ahead(lines.iter().filter_map(|line| Some(line.facts.as_ref()?.prompt)));
    }

    /// Compares a line with those before it; its findings are added to the line's own.
    pub fn add(&mut self, file: usize, line: &mut Line) {
        let here = Place { file, line: line.number };
        self.files[file].samples += u64::from(line.is_sample);
        self.files[file].bytes += line.length;
        let Some(facts) = &line.facts else { return };
        let mut found = Vec::new();
        let relation = self.samples.add(facts.sample, facts.prompt, here);
        match relation {
            Relation::Repeats(first) => found.push(self.repeated(first, here)),
            Relation::Contradicts(first) => {
                let message = format!("{} has the same prompt and another answer", self.name(first));
                found.push(Finding::new(&rules::CONTRADICTION, "/messages", message));
            }
            Relation::New => {}
        }
        if self.both && !matches!(relation, Relation::Repeats(_)) {
            found.extend(self.leaked_images(facts, &line.measures, here));
        }
        for mut finding in found {
            if self.selection.admits(&mut finding) {
                line.findings.push((finding, None, None));
            }
        }
    }

    fn repeated(&self, first: Place, here: Place) -> Finding {
        let [earlier, now] = [first, here].map(|place| self.files[place.file].is_validation);
        if earlier == now {
            let message = format!("{} has the same images and text", self.name(first));
            Finding::new(&rules::DUPLICATE, "", message)
        } else {
            let message = format!("{} is the same sample: what is validated was trained", self.name(first));
            Finding::new(&rules::SHARED_SAMPLE, "", message).hint("keep it on one side")
        }
    }

    fn leaked_images(&mut self, facts: &Facts, measures: &[Option<Measure>], here: Place) -> Vec<Finding> {
        let is_held_out = self.files[here.file].is_validation;
        let side = usize::from(is_held_out);
        let mut found = Vec::new();
        for (at, (hash, pointer)) in facts.images.iter().enumerate() {
            let is_known = self.images[side].add(*hash, here).is_some();
            let elsewhere = self.images[1 - side].first(*hash);
            if let Some(measure) = measures.get(at).and_then(Option::as_ref)
                && !is_known
                && elsewhere.is_none()
            {
                self.gallery.add(*hash, measure, here, pointer, is_held_out);
            }
            if let Some(other) = elsewhere {
                let message = format!("{} has the same image on the other side", self.name(other));
                found.push(
                    Finding::new(&rules::SHARED_IMAGE, pointer.clone(), message)
                        .hint("keep all samples of an image on one side"),
                );
            }
        }
        found
    }

    fn name(&self, place: Place) -> String {
        format!("{}:{}", self.files[place.file].name, place.line)
    }

    /// What is to be said once all files have ended: images that show the same on both sides, by the lines that are
    /// held out. The error is about the directory for temporary files.
    pub fn end(self, threads: NonZeroUsize) -> io::Result<Vec<Reported>> {
        let Across { selection, files, gallery, .. } = self;
        let mut reported = Vec::new();
        for Shared { held_out, pointer, trained, distance } in gallery.shared(threads)? {
            let other = format!("{}:{}", files[trained.file].name, trained.line);
            let finding = match distance {
                None => {
                    let message = format!("{other} has the same pixels in another file on the other side");
                    Finding::new(&rules::SHARED_IMAGE, pointer, message)
                }
                Some(distance) => {
                    let message = format!(
                        "{other} shows nearly the same on the other side ({distance} of 64 bits apart)"
                    );
                    Finding::new(&rules::SHARED_NEAR_IMAGE, pointer, message)
                }
            };
            let mut finding = finding.hint("keep all samples of an image on one side");
            if selection.admits(&mut finding) {
                let diagnostic = finding.at(&files[held_out.file].name, held_out.line);
                reported.push(Reported { diagnostic, excerpt: None });
            }
        }
        Ok(reported)
    }

    /// What is to be said of a file once it has ended.
    pub fn end_of_file(&self, file: usize, form: Form) -> Vec<Reported> {
        let Input { name, is_validation, samples, bytes } = &self.files[file];
        let target = self.target;
        let mut found = Vec::new();
        if form.is_array {
            let message = "the file is one JSON array; the numbers behind its name count the elements";
            let hint = "`pixtune fix` writes a sample a line";
            found.push(Finding::new(&rules::JSON_ARRAY, "", message).hint(hint));
        }
        if form.has_byte_order_mark {
            let message = "the file starts with a byte order mark";
            found.push(Finding::new(&rules::JSON_BOM, "", message).hint("save it as UTF-8 without one"));
        }
        if *samples == 0 {
            found.push(Finding::new(&rules::FILE_EMPTY, "", "the file holds no sample"));
        } else if *samples < target.min_samples && !is_validation {
            let message = format!(
                "{}; {} is the least that makes sense",
                counted(*samples, "sample"),
                target.min_samples
            );
            found.push(Finding::new(&rules::TOO_FEW_SAMPLES, "", message));
        }
        if *bytes > target.refused_file_bytes {
            let message =
                format!("the file has {bytes} bytes; {} takes {}", target.id, target.refused_file_bytes);
            found.push(Finding::new(&rules::FILE_TOO_LARGE, "", message).hint("split it into several files"));
        }
        if *is_validation && self.both && *bytes > target.max_validation_bytes {
            let limit = target.max_validation_bytes;
            let message = format!("the validation file has {bytes} bytes; {} takes {limit}", target.id);
            let hint = "`pixtune prepare --validation 1MB` holds out what fits";
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
    fn held_out_files_are_known_by_their_names() {
        for name in ["validation.jsonl", "a/b/my-val-00001.jsonl", "test_2.jsonl", "Eval.jsonl"] {
            assert!(is_validation(name), "{name}");
        }
        for name in ["train.jsonl", "valuable.jsonl", "test/train.jsonl", "latest.jsonl", "-"] {
            assert!(!is_validation(name), "{name}");
        }
    }
}
