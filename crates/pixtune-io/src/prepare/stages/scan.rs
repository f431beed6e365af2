//! Scans the rows of a fragment into a directory of its own, which appears whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use pixtune_core::json::{self, Value, list, object};

use super::super::ahead::Ahead;
use super::super::scan::ScannedRow;
use super::super::spool::{Segment, Spool};
use super::super::stream::Stream;
use super::super::{InputRows, NextRow, PrepareError, check_faults, entry_of};
use super::fragment::Fragment;
use super::workplace::{Workplace, unique};
use super::{downloads, finding, number, unreadable};
use crate::fetch::{FetchCounts, Fetcher};
use crate::read::file_state::FileState;
use crate::read::{Fingerprint, ReadError};

/// What the directory of a fragment holds beside its spool.
pub(super) const FINDINGS: &str = "findings";
const SUMMARY: &str = "summary";

/// How often a fragment is started that never ends, neither well nor with an error: its process dies.
const MAX_STARTS: u64 = 4;

/// What the scan of a fragment counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Summary {
    pub(super) rows: u64,
    pub(super) images: u64,
    pub(super) bytes: u64,
    pub(super) rejected: u64,
    /// Bytes and lines of each stream.
    pub(super) streams: [(u64, u64); 4],
    /// The fingerprint of an input that is one fragment.
    pub(super) fingerprint: Option<Fingerprint>,
    /// What was downloaded, where images are fetched.
    pub(super) downloads: Option<FetchCounts>,
}

impl Summary {
    fn to_json(&self) -> String {
        json::text(object(|out| {
            out.field("rows", self.rows).field("images", self.images).field("bytes", self.bytes);
            out.field("rejected", self.rejected);
            out.field("streams", list(self.streams.map(|(bytes, lines)| list([bytes, lines]))));
            out.optional("downloads", self.downloads.as_ref().map(downloads::to_value));
            out.optional(
                "fingerprint",
                self.fingerprint.as_ref().map(|Fingerprint { bytes, blake3, version }| {
                    object(move |out| {
                        out.field("bytes", *bytes).field("blake3", blake3.as_str());
                        out.field("version", version.as_deref());
                    })
                }),
            );
        }))
    }

    pub(super) fn parse(text: &str) -> Option<Summary> {
        let value = json::parse(text).ok()?.value;
        let pair = |value: &Value<'_>| {
            let pair: Option<Vec<u64>> = value.as_array()?.iter().map(super::as_number).collect();
            <[u64; 2]>::try_from(pair?).ok().map(|[bytes, lines]| (bytes, lines))
        };
        let streams: Option<Vec<(u64, u64)>> = value.get("streams")?.as_array()?.iter().map(pair).collect();
        let fingerprint = match value.get("fingerprint") {
            None => None,
            Some(of) => Some(Fingerprint {
                bytes: number(of, "bytes")?,
                blake3: of.text("blake3")?.to_owned(),
                version: of.text("version").map(str::to_owned),
            }),
        };
        Some(Summary {
            rows: number(&value, "rows")?,
            images: number(&value, "images")?,
            bytes: number(&value, "bytes")?,
            rejected: number(&value, "rejected")?,
            streams: streams?.try_into().ok()?,
            fingerprint,
            downloads: value.get("downloads").and_then(downloads::of_value),
        })
    }

    /// Reads that of a fragment; `None` where the fragment is not scanned.
    pub(super) fn read(home: &Path) -> Result<Option<Summary>, PrepareError> {
        let path = home.join(SUMMARY);
        match fs::read_to_string(&path) {
            Ok(text) => Summary::parse(&text).map(Some).ok_or_else(|| unreadable("a fragment")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(PrepareError::Write { path, source }),
        }
    }

    /// The file of each stream, as those of a spool.
    pub(super) fn segments(&self, home: &Path) -> [Vec<Segment>; 4] {
        Stream::ALL.map(|stream| match self.streams[stream as usize] {
            (0, _) => Vec::new(),
            (bytes, lines) => {
                let path = home.join(format!("{}-1.jsonl", stream.name()));
                vec![Segment { path, bytes, lines, blake3: String::new() }]
            }
        })
    }
}

/// Scans a fragment, unless that is done.
pub(super) fn scan(at: &Workplace<'_>, fragment: &Fragment) -> Result<String, PrepareError> {
    let write_error = at.write_error();
    let home = at.fragments().join(fragment.name());
    if let Some(summary) = Summary::read(&home)? {
        return Ok(summary.to_json());
    }
    let starts = Starts::count(at, fragment)?;
    let made = at.fragments().join(format!("{}.{}.partial", fragment.name(), unique()));
    let scanned = fs::create_dir(&made).map_err(write_error).and_then(|()| scan_to(at, fragment, &made));
    let scanned = scanned.and_then(|summary| {
        let text = summary.to_json();
        let published =
            fs::write(made.join(SUMMARY), &text).and_then(|()| pixtune_files::publish_once(&made, &home));
        published.map(|()| text).map_err(write_error)
    });
    starts.forget();
    scanned.inspect_err(|_| {
        // What cannot be removed goes with the work directory.
        let _ = pixtune_files::remove(&made);
    })
}

fn scan_to(at: &Workplace<'_>, fragment: &Fragment, made: &Path) -> Result<Summary, PrepareError> {
    let (plan, write_error) = (at.plan, at.write_error());
    let Some(planned) = plan.inputs.get(fragment.input as usize) else { return Err(unreadable("a task")) };
    let path = &planned.input.path;
    let check_input = || match FileState::of(path)?.mark() == fragment.state {
        true => Ok(()),
        false => Err(PrepareError::Read(ReadError::Changed { path: path.clone() })),
    };
    check_input()?;
    let mut spool = Spool::open(made, u64::MAX, |_| ()).map_err(write_error)?;
    let mut findings = BufWriter::new(File::create(made.join(FINDINGS)).map_err(write_error)?);
    let mut summary = Summary::default();
    let downloaded = || plan.scanner.fetcher().map(Fetcher::counts);
    let before = downloaded();
    let mut rows = Ahead::new(plan, InputRows::of_fragment(plan, fragment)?);
    while let Some((at, row, nth, _)) = rows.next(|_| ())? as Option<NextRow> {
        let origin = plan.inputs[at.file as usize].origin();
        let mut row: ScannedRow = plan.scanner.scan(origin, at, nth, &row);
        check_faults(plan)?;
        let mut entry = entry_of(plan, &mut row);
        spool.append(&mut entry, &row.line, &row.thumbnails).map_err(write_error)?;
        plan.scanner.recycle(row.line);
        for found in &row.findings {
            findings.write_all(finding::to_line(entry.record.line, found).as_bytes()).map_err(write_error)?;
        }
        summary.rows += 1;
        summary.images += entry.images.len() as u64;
        summary.bytes += entry.record.bytes;
        summary.rejected += u64::from(entry.record.rejected);
    }
    findings.flush().map_err(write_error)?;
    let after = before.zip(downloaded());
    summary.downloads = after.map(|(before, after)| downloads::between(&before, &after));
    if fragment.start.is_none() && fragment.rows.is_none() {
        summary.fingerprint = rows.into_fingerprints().pop();
    }
    check_input()?;
    let (segments, mut thumbnails) = spool.finish().map_err(write_error)?;
    thumbnails.flush().map_err(write_error)?;
    summary.streams = segments.map(|files| files.first().map_or((0, 0), |file| (file.bytes, file.lines)));
    Ok(summary)
}

/// How often a fragment was started: a byte each time in a file, which is removed when the scan ends.
struct Starts {
    path: PathBuf,
}

impl Starts {
    fn count(at: &Workplace<'_>, fragment: &Fragment) -> Result<Starts, PrepareError> {
        let path = at.fragments().join(format!("{}.starts", fragment.name()));
        let before = fs::metadata(&path).map_or(0, |about| about.len());
        if before >= MAX_STARTS {
            return Err(PrepareError::Crashes { place: fragment.place(at.plan), starts: before });
        }
        let opened = File::options().create(true).append(true).open(&path);
        opened.and_then(|mut file| file.write_all(b".")).map_err(at.write_error())?;
        Ok(Starts { path })
    }

    fn forget(self) {
        // A file that stays only makes a later failure come earlier.
        let _ = fs::remove_file(&self.path);
    }
}
