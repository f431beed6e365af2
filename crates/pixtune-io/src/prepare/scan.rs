//! Scans one row: reads and checks it, loads and fits its images, and formats its line. It depends on no other row.

mod count;
mod version;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use pixtune_core::columns::RowOptions;
use pixtune_core::curate::{ImageRecord, Record, Texts, content_hash};
use pixtune_core::diagnostic::{Finding, Severity, pointer_push};
use pixtune_core::grounding::{Frame, KEY};
use pixtune_core::rules;
use pixtune_core::sample::{Image, ImageSource};
use pixtune_core::text::counted;
use pixtune_core::tokens::{ChatEncoder, Layout, Tokenizer};

use super::images::{ScannedImage, scan_image};
use super::journal::MAX_NAMES;
use super::options::{Images, ScanOptions};
use crate::buffers::Buffers;
use crate::fetch::Fetcher;
use crate::image::fit::FitOptions;
use crate::image::measure::by_colors;
use crate::image::{Archive, Limits, Loaded, Resolver, load};
use crate::read::{Labels, Member, Row, RowRef, Schema};
use crate::remote;
use crate::tokens::TokenizerFile;
use crate::verify::Verify;
use crate::write::{Template, WrittenImage, writer};

/// Converts rows to finished lines. It has options but no files, so rows may come from any source.
#[derive(Debug)]
pub struct Scanner {
    /// What becomes of each row.
    pub options: ScanOptions,
    /// What to count with, where it is not the built-in vocabulary.
    tokenizer: Option<TokenizerFile>,
    /// How images are prepared.
    fit: FitOptions,
    /// Fetches images at URLs; without it they stay URLs.
    fetcher: Option<Fetcher>,
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
    /// Whether paths of another machine are looked for in that directory too.
    pub strips_roots: bool,
    /// The table in an archive that the row is in, if images are looked for there.
    pub member: Option<&'o Member>,
    /// How the row becomes a sample.
    pub schema: &'o Schema,
}

impl<'o> Origin<'o> {
    fn resolver(&self) -> Resolver<'o> {
        let archive = self.member.map(|member| member as &dyn Archive);
        Resolver::new(self.directory).stripping_roots(self.strips_roots).within(archive)
    }
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
    /// The path or URL of each image; `None` for an image that the row contains.
    pub image_names: Vec<Option<String>>,
}

impl Scanner {
    /// A scanner that counts with the built-in vocabulary where no other is given.
    pub fn new(options: ScanOptions, tokenizer: Option<TokenizerFile>) -> Scanner {
        let fit = fit_options(&options);
        Scanner { options, tokenizer, fit, fetcher: None, buffers: Buffers::default() }
    }

    /// Fetches the images at URLs too.
    pub fn fetching(self, fetcher: Option<Fetcher>) -> Scanner {
        Scanner { fetcher, ..self }
    }

    /// What fetches images.
    pub fn fetcher(&self) -> Option<&Fetcher> {
        self.fetcher.as_ref()
    }

    /// The URLs of a row's images.
    pub(super) fn urls(&self, origin: Origin<'_>, row: &Row) -> Vec<String> {
        // Most rows need no parsing to see that they have none.
        let resolver = origin.resolver().fetching(self.fetcher());
        if memchr::memmem::find(&row.bytes, b"://").is_none()
            && memchr::memmem::find(&row.bytes, b":\\/\\/").is_none()
            && !remote::is_remote(origin.directory)
        {
            return vec![];
        }
        // A row that cannot be read, or makes the reader fail, is for the scan to report.
        let reading = catch_unwind(AssertUnwindSafe(|| origin.schema.read(row, self.row_options(0))));
        let images =
            reading.ok().and_then(Result::ok).map(|reading| reading.sample.images).unwrap_or_default();
        let url = |image: Image| match image.source {
            ImageSource::Url(url) => Some(url),
            ImageSource::File(written) => resolver.object(&written).ok().flatten(),
            _ => None,
        };
        images.into_iter().filter_map(url).collect()
    }

    /// Scans a row, of which `nth` sample is made, where it becomes several. Whatever happens, the row is accounted for: a panic in a decoder is a finding like any other.
    pub fn scan(&self, origin: Origin<'_>, at: RowRef, nth: u8, row: &Row) -> ScannedRow {
        let RowRef { file, number, offset, length } = at;
        let record = Record { input: file, line: number, offset, length, nth, ..Record::default() };
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

    fn row_options(&self, nth: u8) -> RowOptions {
        let ScanOptions { image_position: position, answers, .. } = self.options;
        RowOptions { position, answers, nth }
    }

    /// How conversations are counted.
    pub fn encoder(&self) -> ChatEncoder<'_> {
        let ScanOptions { model, .. } = self.options;
        let built_in = || Tokenizer::built_in(model.tokenizer);
        let tokenizer = self.tokenizer.as_ref().map_or_else(built_in, |file| &file.tokenizer);
        ChatEncoder { spec: model, tokenizer, layout: Layout::MistralCommon }
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
    pub(super) fn colors(&self, image: &Loaded) -> Option<u64> {
        by_colors(image, &self.fit.limits).ok()
    }

    /// The finished row, or the findings that reject it.
    fn accept(&self, origin: Origin<'_>, row: &Row, mut record: Record) -> Result<ScannedRow, Vec<Finding>> {
        let reading =
            origin.schema.read(row, self.row_options(record.nth)).map_err(|finding| vec![finding])?;
        let (mut sample, mut findings) = (reading.sample, reading.findings);
        record.given = reading.split;
        version::fit_version(&mut sample, self.encoder().tokenizer.version(), &mut findings);
        self.stop_at_errors(&mut findings)?;
        let mut images = Vec::with_capacity(sample.images.len());
        let resolver = origin.resolver().fetching(self.fetcher()).reusing(&self.buffers);
        for image in &sample.images {
            images.extend(scan_image(image, &resolver, &self.fit, &mut findings));
        }
        self.stop_at_errors(&mut findings)?;
        if let Some(regions) = reading.regions {
            let frames: Vec<Frame> = images.iter().map(ScannedImage::frame).collect();
            if let Err(why) = regions.fill(&mut sample, &frames) {
                findings.push(Finding::new(&rules::MISSING_FIELD, pointer_push("", KEY), why));
                return Err(findings);
            }
        }
        let target = &self.options.target;
        if images.len() > target.max_images {
            let (count, most) = (images.len() as u64, target.max_images);
            let message = format!("the sample has {}; {} accepts {most}", counted(count, "image"), target.id);
            findings.push(Finding::new(&rules::TOO_MANY_IMAGES, "", message));
        }
        count::count(self, &sample, &images, &mut record, &mut findings);
        self.stop_at_errors(&mut findings)?;
        record.shrunk = images.iter().filter(|image| image.shrunk).count() as u32;
        Labels { id: record.id, group: record.group, stratum: record.stratum } = reading.labels;
        let texts = Texts::of(&sample);
        (record.prompt, record.answer_kind, record.texts) = (texts.prompt, texts.answer_kind, texts.sketch);
        let records = images.iter().map(|image| image.record).collect();
        let thumbnails = images.iter_mut().map(|image| std::mem::take(&mut image.thumbnail)).collect();
        let template = writer(target).template(&sample);
        record.text = content_hash(template.text().as_bytes());
        let line = self.write(&template, images);
        record.bytes = line.len() as u64;
        let image_names = names_of(&sample.images);
        Ok(ScannedRow { record, row_hash: 0, images: records, thumbnails, findings, line, image_names })
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

    fn write(&self, template: &Template, images: Vec<ScannedImage>) -> Vec<u8> {
        let written: Vec<WrittenImage> = images.into_iter().map(|image| image.written).collect();
        let mut line = self.buffers.take();
        template.fill(&written, &mut line);
        for image in written {
            if let WrittenImage::Inline { bytes, .. } = image {
                self.buffers.give(bytes);
            }
        }
        line
    }

    /// Loads an image of a row again; `None` where row or image have changed, and for a URL that is not fetched.
    pub(super) fn reload(&self, origin: Origin<'_>, row: &Row, nth: usize) -> Option<Loaded> {
        let sample = origin.schema.read(row, self.row_options(0)).ok()?.sample;
        let source = &sample.images.get(nth)?.source;
        load(source, &origin.resolver().fetching(self.fetcher()), &self.fit.limits).ok()
    }
}

fn fit_options(options: &ScanOptions) -> FitOptions {
    let limits = Limits {
        max_bytes: options.max_image_bytes,
        max_decoded_bytes: options.max_decoded_bytes,
        ..Limits::default().with_side(options.max_image_side)
    };
    FitOptions {
        limits,
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
    ScannedRow {
        record,
        row_hash: 0,
        images: vec![],
        thumbnails: vec![],
        findings,
        line,
        image_names: vec![],
    }
}

/// The path or URL of each image. Names beyond a limit that no real row reaches are not recorded.
fn names_of(images: &[Image]) -> Vec<Option<String>> {
    let mut bytes = 0;
    let names = images.iter().map(|image| match &image.source {
        ImageSource::File(name) | ImageSource::Url(name) => {
            bytes += name.len();
            (bytes <= MAX_NAMES).then(|| name.clone())
        }
        ImageSource::Bytes(_) | ImageSource::Inline { .. } => None,
    });
    names.collect()
}

/// The line of `rejected.jsonl` for a row.
pub(super) fn rejected_line(origin: Origin<'_>, number: u64, row: &Row, finding: Finding) -> Vec<u8> {
    let diagnostic = finding.at(origin.name, number);
    let mut line = diagnostic.to_rejected(&origin.schema.row_as_json(&row.bytes)).into_bytes();
    line.push(b'\n');
    line
}
