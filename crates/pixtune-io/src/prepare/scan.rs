//! One row: read, judged, its images loaded and made ready, and finished as a line. No other row is looked at.

use std::fs::{self, File};
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use pixtune_core::curate::{ImageFacts, ImageRecord, Record, Texts, content_hash, issues};
use pixtune_core::diagnostic::{Finding, Severity};
use pixtune_core::rules;
use pixtune_core::sample::{self, ImageSource};

use super::Plan;
use crate::base64;
use crate::image::prepare::{Prepared, rule_of};
use crate::read::records::RawRow;
use crate::read::{Labels, Table, image_path};
use crate::write::line::{Skeleton, WrittenImage};

/// What the scan makes of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// The facts to decide on.
    pub record: Record,
    /// Hash of the row as it was read.
    pub row_hash: u64,
    /// Its images.
    pub images: Vec<ImageRecord>,
    /// Their thumbnails; empty where an image was not measured.
    pub thumbnails: Vec<Vec<u8>>,
    /// What was found; an error among it means that `line` is the one of `rejected.jsonl`.
    pub findings: Vec<Finding>,
    /// The finished line.
    pub line: Vec<u8>,
}

/// Finishes a row. Whatever happens, the row is accounted for: a panic in a decoder is a finding like any other.
pub fn finish(plan: &Plan, input: u32, row: &RawRow) -> Finished {
    let table = &plan.tables[input as usize];
    let record =
        Record { input, line: row.line, offset: row.offset, length: row.length, ..Record::default() };
    let scanned = catch_unwind(AssertUnwindSafe(|| scan(plan, table, row, record))).unwrap_or_else(|_| {
        let message = "the row made the program fail; it is set aside";
        Err(vec![
            Finding::new(&rules::INTERNAL, "", message)
                .hint("this is a defect of pixtune: please report it with the row"),
        ])
    });
    let finished = scanned.unwrap_or_else(|findings| reject(table, row, record, findings));
    Finished { row_hash: row.hash(), ..finished }
}

fn reject(table: &Table, row: &RawRow, mut record: Record, findings: Vec<Finding>) -> Finished {
    let first = findings.iter().find(|finding| finding.severity == Severity::Error);
    let diagnostic = first.cloned().expect("a row is rejected for an error").at(&table.input.name, row.line);
    let mut line = diagnostic.to_rejected(&table.row_as_json(&row.bytes)).into_bytes();
    line.push(b'\n');
    record.bytes = line.len() as u64;
    record.rejected = true;
    Finished { record, row_hash: 0, images: vec![], thumbnails: vec![], findings, line }
}

/// The finished row, or the findings that reject it.
fn scan(plan: &Plan, table: &Table, row: &RawRow, mut record: Record) -> Result<Finished, Vec<Finding>> {
    let reading = table.read(row, plan.options.image_position).map_err(|finding| vec![finding])?;
    let (sample, mut findings) = (reading.sample, reading.findings);
    let broken = |findings: &mut Vec<Finding>| {
        plan.settle(findings);
        findings.iter().any(|finding| finding.severity == Severity::Error)
    };
    if broken(&mut findings) {
        return Err(findings);
    }
    let mut images = Vec::with_capacity(sample.images.len());
    for image in &sample.images {
        images.extend(load(plan, table, image, &mut findings));
    }
    if broken(&mut findings) {
        return Err(findings);
    }
    if images.len() > plan.options.target.max_images {
        let (count, target) = (images.len(), &plan.options.target);
        let message = format!("the sample has {count} images; {} takes {}", target.id, target.max_images);
        findings.push(Finding::new(&rules::TOO_MANY_IMAGES, "", message));
    }
    super::count::count(plan, &sample, &images, &mut record, &mut findings);
    if broken(&mut findings) {
        return Err(findings);
    }
    let Labels { id, group, stratum } = reading.labels;
    let skeleton = Skeleton::new(&sample, &plan.options.target);
    (record.id, record.group, record.stratum) = (id, group, stratum);
    record.text = content_hash(skeleton.text().as_bytes());
    record.shrunk = images.iter().filter(|image| image.shrunk).count() as u32;
    let texts = Texts::of(&sample);
    (record.prompt, record.answer_kind, record.texts) = (texts.prompt, texts.answer_kind, texts.sketch);
    let records = images.iter().map(|image| image.image).collect();
    let thumbnails = images.iter_mut().map(|image| std::mem::take(&mut image.thumbnail)).collect();
    let written: Vec<WrittenImage> = images.into_iter().map(|image| image.written).collect();
    let mut line = plan.buffers.take();
    skeleton.write(&written, &mut line);
    for image in written {
        if let WrittenImage::Inline { bytes, .. } = image {
            plan.buffers.give(bytes);
        }
    }
    record.bytes = line.len() as u64;
    Ok(Finished { record, row_hash: 0, images: records, thumbnails, findings, line })
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

fn load(plan: &Plan, table: &Table, image: &sample::Image, findings: &mut Vec<Finding>) -> Option<Loaded> {
    let mut report = |finding: Finding| findings.push(Finding { pointer: image.pointer.clone(), ..finding });
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
        ImageSource::File(written) => match read_file(plan, &table.input.directory, written) {
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
    match plan.prepare_image(bytes) {
        Ok(Prepared { format, bytes, width, height, source, original, shrunk, sideways, pages, measure }) => {
            let (facts, thumbnail) = measure
                .map_or((ImageFacts::default(), vec![]), |measure| (measure.facts, measure.thumbnail.pixels));
            issues::judge(&facts, plan.options.model).into_iter().for_each(&mut report);
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

/// Reads an image of a row again, as long as both are what they were.
pub(super) fn image_again(plan: &Plan, row: &Record, nth: usize) -> Option<Vec<u8>> {
    let table = &plan.tables[row.input as usize];
    let bytes = table.row_at(row.offset, row.length, plan.options.max_row_bytes).ok()?;
    let raw = RawRow { line: row.line, offset: row.offset, length: row.length, bytes, cut: None };
    let sample = table.read(&raw, plan.options.image_position).ok()?.sample;
    match &sample.images.get(nth)?.source {
        ImageSource::Url(_) => None,
        ImageSource::File(written) => read_file(plan, &table.input.directory, written).ok(),
        ImageSource::Inline { base64: text, .. } => base64::decode(text),
    }
}

/// The bytes of an image file: a regular file within the limit, or a finding.
fn read_file(plan: &Plan, directory: &Path, written: &str) -> Result<Vec<u8>, Finding> {
    let path = image_path(directory, written);
    let unreadable = |error: &io::Error| match error.kind() {
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
        return Err(Finding::new(&rules::IMAGE_UNREADABLE, "", format!("`{written}` is not a regular file")));
    }
    let limit = plan.options.max_image_bytes;
    let mut bytes = plan.buffers.take();
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
