//! One row: read, judged, its images loaded and made ready, and finished as a line. No other row is looked at.

use std::fs::{self, File};
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use pixtune_core::curate::{ImageFacts, ImageRecord, Record, Texts, content_hash, issues};
use pixtune_core::diagnostic::{Finding, Severity};
use pixtune_core::rules;
use pixtune_core::sample::{self, ImageSource};
use pixtune_core::tokens::{ChatEncoder, Layout, Tekken};

use super::options::{Images, ScanOptions};
use crate::base64;
use crate::buffers::Buffers;
use crate::image::Limits;
use crate::image::measure::by_colors;
use crate::image::prepare::{Policy, Prepared, prepare, rule_of};
use crate::read::{Labels, Row, RowRef, Schema, image_path};
use crate::tokens::TokenizerFile;
use crate::verify::Verify;
use crate::write::line::{Skeleton, WrittenImage};

/// Turns rows into finished lines. It knows options and no files, so rows may come from anywhere.
#[derive(Debug)]
pub struct Scanner {
    /// What becomes of each row.
    pub options: ScanOptions,
    /// What to count with, where it is not the built-in vocabulary.
    tokenizer: Option<TokenizerFile>,
    /// How images are prepared.
    policy: Policy,
    /// Memory for files and lines that is reused.
    buffers: Buffers,
}

/// Where a row comes from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'o> {
    /// The name of its input, for messages.
    pub name: &'o str,
    /// What relative paths of images are relative to.
    pub directory: &'o Path,
    /// How the row becomes a sample.
    pub schema: &'o Schema,
}

/// A row that was scanned.
#[derive(Debug, Clone, PartialEq)]
pub struct ScannedRow {
    /// The facts to decide on.
    pub record: Record,
    /// Hash of the row as it was read.
    pub row_hash: u64,
    /// Its images.
    pub images: Vec<ImageRecord>,
    /// Their thumbnails; empty where an image was not measured.
    pub thumbnails: Vec<Vec<u8>>,
    /// What was found; with an error among it, `line` belongs into `rejected.jsonl`.
    pub findings: Vec<Finding>,
    /// The finished line.
    pub line: Vec<u8>,
}

impl Scanner {
    /// A scanner that counts with the built-in vocabulary where no other is given.
    pub fn new(options: ScanOptions, tokenizer: Option<TokenizerFile>) -> Scanner {
        let policy = policy(&options);
        Scanner { options, tokenizer, policy, buffers: Buffers::default() }
    }

    /// Scans a row. Whatever happens, the row is accounted for: a panic in a decoder is a finding like any other.
    pub fn scan(&self, origin: Origin<'_>, at: RowRef, row: &Row) -> ScannedRow {
        let RowRef { file, number, offset, length } = at;
        let record = Record { input: file, line: number, offset, length, ..Record::default() };
        let scanned = catch_unwind(AssertUnwindSafe(|| self.accept(origin, row, record)));
        let scanned = scanned.unwrap_or_else(|_| {
            Err(vec![
                Finding::new(&rules::INTERNAL, "", "pixtune failed on this row; it is rejected")
                    .hint("this is a defect of pixtune: please report it with the row"),
            ])
        });
        let scanned = scanned.unwrap_or_else(|findings| reject(origin, row, record, findings));
        ScannedRow { row_hash: row.hash(at), ..scanned }
    }

    /// How conversations are counted.
    pub fn encoder(&self) -> ChatEncoder<'_> {
        let tekken = self.tokenizer.as_ref().map_or_else(|| Tekken::embedded(), |file| &file.tekken);
        ChatEncoder { spec: self.options.model, tekken, layout: Layout::MistralCommon }
    }

    /// The vocabulary that was chosen instead of the built-in one.
    pub fn tokenizer(&self) -> Option<&TokenizerFile> {
        self.tokenizer.as_ref()
    }

    /// Takes back the memory of a line that was written.
    pub fn recycle(&self, line: Vec<u8>) {
        self.buffers.give(line);
    }

    /// Whether a finding is reported.
    pub(super) fn reports(&self, finding: &Finding) -> bool {
        finding.severity == Severity::Error || !self.options.ignore.contains(&finding.rule)
    }

    /// The colors that identify an image, if it can be decoded.
    pub(super) fn colors(&self, bytes: &[u8]) -> Option<u64> {
        by_colors(bytes, &self.policy.limits).ok()
    }

    /// The finished row, or the findings that reject it.
    fn accept(&self, origin: Origin<'_>, row: &Row, mut record: Record) -> Result<ScannedRow, Vec<Finding>> {
        let reading =
            origin.schema.read(row, self.options.image_position).map_err(|finding| vec![finding])?;
        let (sample, mut findings) = (reading.sample, reading.findings);
        self.stop_at_errors(&mut findings)?;
        let mut images = Vec::with_capacity(sample.images.len());
        for image in &sample.images {
            images.extend(self.load(origin.directory, image, &mut findings));
        }
        self.stop_at_errors(&mut findings)?;
        let target = &self.options.target;
        if images.len() > target.max_images {
            let (count, most) = (images.len(), target.max_images);
            let message = format!("the sample has {count} images; {} accepts {most}", target.id);
            findings.push(Finding::new(&rules::TOO_MANY_IMAGES, "", message));
        }
        super::count::count(self, &sample, &images, &mut record, &mut findings);
        self.stop_at_errors(&mut findings)?;
        record.shrunk = images.iter().filter(|image| image.shrunk).count() as u32;
        Labels { id: record.id, group: record.group, stratum: record.stratum } = reading.labels;
        let texts = Texts::of(&sample);
        (record.prompt, record.answer_kind, record.texts) = (texts.prompt, texts.answer_kind, texts.sketch);
        let records = images.iter().map(|image| image.image).collect();
        let thumbnails = images.iter_mut().map(|image| std::mem::take(&mut image.thumbnail)).collect();
        let skeleton = Skeleton::new(&sample, target);
        record.text = content_hash(skeleton.text().as_bytes());
        let line = self.write(&skeleton, images);
        record.bytes = line.len() as u64;
        Ok(ScannedRow { record, row_hash: 0, images: records, thumbnails, findings, line })
    }

    /// Makes errors of warnings that reject their row and drops those that are ignored; fails with all findings if one is an
    /// error.
    fn stop_at_errors(&self, findings: &mut Vec<Finding>) -> Result<(), Vec<Finding>> {
        let dropped = findings.iter_mut().filter(|finding| self.options.drop.contains(&finding.rule));
        dropped.for_each(|finding| finding.severity = Severity::Error);
        findings.retain(|finding| self.reports(finding));
        match findings.iter().any(|finding| finding.severity == Severity::Error) {
            true => Err(std::mem::take(findings)),
            false => Ok(()),
        }
    }

    fn write(&self, skeleton: &Skeleton, images: Vec<Loaded>) -> Vec<u8> {
        let written: Vec<WrittenImage> = images.into_iter().map(|image| image.written).collect();
        let mut line = self.buffers.take();
        skeleton.write(&written, &mut line);
        for image in written {
            if let WrittenImage::Inline { bytes, .. } = image {
                self.buffers.give(bytes);
            }
        }
        line
    }

    fn load(&self, directory: &Path, image: &sample::Image, findings: &mut Vec<Finding>) -> Option<Loaded> {
        let mut report =
            |finding: Finding| findings.push(Finding { pointer: image.pointer.clone(), ..finding });
        let (bytes, name) = match &image.source {
            ImageSource::Url(url) => {
                let message = format!("`{url}` stays an address: it is not fetched, checked or counted");
                report(
                    Finding::new(&rules::IMAGE_URL, "", message)
                        .hint("download it and name the file to have it embedded"),
                );
                let content = content_hash(url.as_bytes());
                return Some(Loaded {
                    written: WrittenImage::Url(url.clone()),
                    size: None,
                    original: None,
                    image: ImageRecord { content, facts: ImageFacts::default() },
                    thumbnail: vec![],
                    shrunk: false,
                });
            }
            ImageSource::File(written) => match self.read_file(directory, written) {
                Ok(bytes) => (bytes, format!("`{written}`")),
                Err(finding) => {
                    report(finding);
                    return None;
                }
            },
            ImageSource::Inline { mime: _, base64: text } => match base64::decode(text) {
                Some(bytes) => (bytes, "the inline image".to_owned()),
                None => {
                    report(Finding::new(&rules::IMAGE_BAD_DATA_URI, "", "the data URI is not valid base64"));
                    return None;
                }
            },
        };
        let content = content_hash(&bytes);
        match prepare(bytes, &self.policy) {
            Ok(Prepared {
                format,
                bytes,
                width,
                height,
                source,
                original,
                shrunk,
                sideways,
                pages,
                measure,
            }) => {
                let (facts, thumbnail) = measure.map_or((ImageFacts::default(), vec![]), |measure| {
                    (measure.facts, measure.thumbnail.pixels)
                });
                issues::judge(&facts, self.options.model).into_iter().for_each(&mut report);
                if pages > 1 {
                    let message = format!("{name} has {pages} pages; the first is taken");
                    report(
                        Finding::new(&rules::IMAGE_PAGES, "", message)
                            .hint("export each page as an image of its own"),
                    );
                }
                if sideways {
                    let message = format!(
                        "{name} is embedded as it is, and the model sees it turned by its EXIF orientation"
                    );
                    report(
                        Finding::new(&rules::IMAGE_SIDEWAYS, "", message)
                            .hint("leave out `--images keep` to have it turned"),
                    );
                }
                if let ImageSource::Inline { mime, .. } = &image.source
                    && mime.split(';').next() != Some(source.mime())
                    && mime != "image/jpg"
                {
                    let message = format!("declared `{mime}`, but the bytes are {}", source.mime());
                    report(Finding::new(&rules::IMAGE_MIME_MISMATCH, "", message));
                }
                let written = WrittenImage::Inline { mime: format.mime(), bytes };
                let (size, image) = (Some((width, height)), ImageRecord { content, facts });
                Some(Loaded { written, size, original: Some(original), image, thumbnail, shrunk })
            }
            Err(error) => {
                let (rule, hint) = rule_of(&error);
                let finding = Finding::new(rule, "", format!("{name} {error}"));
                report(match hint {
                    Some(hint) => finding.hint(hint),
                    None => finding,
                });
                None
            }
        }
    }

    /// Reads an image of a row again, as long as both are unchanged.
    pub(super) fn reload(&self, origin: Origin<'_>, row: &Row, nth: usize) -> Option<Vec<u8>> {
        let sample = origin.schema.read(row, self.options.image_position).ok()?.sample;
        match &sample.images.get(nth)?.source {
            ImageSource::Url(_) => None,
            ImageSource::File(written) => self.read_file(origin.directory, written).ok(),
            ImageSource::Inline { base64: text, .. } => base64::decode(text),
        }
    }

    /// The bytes of an image file: a regular file within the limit, or a finding.
    fn read_file(&self, directory: &Path, written: &str) -> Result<Vec<u8>, Finding> {
        let path = image_path(directory, written);
        let unreadable = |error: &io::Error| {
            match error.kind() {
        io::ErrorKind::NotFound => Finding::new(
            &rules::IMAGE_MISSING,
            "",
            format!("`{written}` does not exist"),
        )
        .hint(format!(
            "looked for `{}`; --image-folder says where paths start, if not in the directory of the table",
            path.display()
        )),
        _ if error.to_string().contains("symbolic link") => Finding::new(
            &rules::IMAGE_UNREADABLE,
            "",
            format!("`{written}` is a link that leads in a circle"),
        ),
        _ => Finding::new(&rules::IMAGE_UNREADABLE, "", format!("`{written}` cannot be read: {error}")),
    }
        };
        let about = fs::metadata(&path).map_err(|error| unreadable(&error))?;
        if about.is_dir() {
            return Err(Finding::new(
                &rules::IMAGE_UNREADABLE,
                "",
                format!("`{written}` is a directory, not an image"),
            ));
        }
        if !about.is_file() {
            return Err(Finding::new(
                &rules::IMAGE_UNREADABLE,
                "",
                format!("`{written}` is not a regular file"),
            ));
        }
        let limit = self.options.max_image_bytes;
        let mut bytes = self.buffers.take();
        bytes.reserve(usize::try_from(about.len().min(limit)).unwrap_or(0) + 1);
        let file = File::open(&path).map_err(|error| unreadable(&error))?;
        file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
        if bytes.len() as u64 > limit {
            let message = format!("`{written}` has {} bytes, the limit is {limit}", about.len());
            return Err(Finding::new(&rules::IMAGE_TOO_LARGE, "", message)
                .hint("raise --max-image-bytes if the file is meant"));
        }
        Ok(bytes)
    }
}

fn policy(options: &ScanOptions) -> Policy {
    let side = u64::from(options.max_image_side);
    Policy {
        limits: Limits {
            max_bytes: options.max_image_bytes,
            max_side: options.max_image_side,
            max_pixels: side * side,
            max_decoded_bytes: options.max_decoded_bytes,
        },
        model: options.model,
        target: options.target,
        keep: options.images == Images::Keep,
        decode_all: options.verify == Verify::Full,
        resampling: options.resampling,
        jpeg_quality: options.jpeg_quality,
        measure: options.measure,
    }
}

fn reject(origin: Origin<'_>, row: &Row, mut record: Record, findings: Vec<Finding>) -> ScannedRow {
    let first = findings.iter().find(|finding| finding.severity == Severity::Error).cloned();
    let line = rejected_line(origin, record.line, row, first.expect("a row is rejected for an error"));
    record.bytes = line.len() as u64;
    record.rejected = true;
    ScannedRow { record, row_hash: 0, images: vec![], thumbnails: vec![], findings, line }
}

/// The line of `rejected.jsonl` for a row.
pub(super) fn rejected_line(origin: Origin<'_>, number: u64, row: &Row, finding: Finding) -> Vec<u8> {
    let diagnostic = finding.at(origin.name, number);
    let mut line = diagnostic.to_rejected(&origin.schema.row_as_json(&row.bytes)).into_bytes();
    line.push(b'\n');
    line
}

/// An image ready to be written.
pub(super) struct Loaded {
    pub(super) written: WrittenImage,
    /// Width and height as the model gets it; `None` for an address.
    pub(super) size: Option<(u32, u32)>,
    /// Width and height as it came.
    pub(super) original: Option<(u32, u32)>,
    image: ImageRecord,
    thumbnail: Vec<u8>,
    shrunk: bool,
}
