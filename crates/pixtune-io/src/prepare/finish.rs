//! Deciding over all rows and putting their lines where they belong; the output appears whole or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use pixtune_core::curate::measure::looks_same;
use pixtune_core::curate::{By, Decision, Record, Repeat, Unmet, Verdict, decide};
use pixtune_core::diagnostic::{Finding, Severity};
use pixtune_core::json::{self, Value, quoted};
use pixtune_core::rules;
use pixtune_core::spec::Exactness;

use super::journal::Stream;
use super::plan::portable_name;
use super::spool::{Rereader, Segment, Segments};
use super::thumbnails::Thumbnails;
use super::{Options, Plan, PrepareError, Scanned, Summary, Watch, work_folder};
use crate::read::ReadError;

/// The folder beside the output in which the run works, locked against a second run.
pub(super) struct Work {
    /// The folder.
    pub(super) folder: PathBuf,
    out: PathBuf,
    _lock: File,
}

const PLAN: &str = "plan";
const FINAL: &str = "final";
const REPLACED: &str = "replaced";
const MANIFEST: &str = "manifest.json";

/// Makes the folder in which the run works, its parents included.
pub(super) fn create_work_folder(options: &Options) -> Result<PathBuf, PrepareError> {
    let folder = work_folder(&options.out);
    fs::create_dir_all(&folder).map_err(|source| PrepareError::Write { path: folder.clone(), source })?;
    Ok(folder)
}

impl Work {
    /// Opens the folder: an unfinished run of the same plan when resuming, else an empty one.
    pub(super) fn open(plan: &Plan) -> Result<Work, PrepareError> {
        let folder = create_work_folder(&plan.options)?;
        let write_error = |source| PrepareError::Write { path: folder.clone(), source };
        let lock = File::create(folder.join("lock")).map_err(write_error)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(PrepareError::Locked { path: folder }),
            // A file system without locks: go on without one.
            Err(fs::TryLockError::Error(_)) => {}
        }
        let kept = folder.join(PLAN);
        if !plan.options.resume {
            clear(&folder, &["lock", "stdin"]).map_err(write_error)?;
        }
        match fs::read_to_string(&kept) {
            Ok(before) if before == plan.fingerprint() => {}
            Ok(before) => {
                let difference = first_difference(&before, &plan.fingerprint());
                return Err(PrepareError::OtherPlan { path: folder, difference });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                write_whole(&kept, plan.fingerprint().as_bytes()).map_err(write_error)?;
            }
            Err(error) => return Err(write_error(error)),
        }
        Ok(Work { folder, out: plan.options.out.clone(), _lock: lock })
    }

    /// The summary of a run that was killed after its output had appeared; the rest of its work is removed.
    pub(super) fn already_finished(&self, plan: &Plan) -> Result<Option<Summary>, PrepareError> {
        if !plan.options.resume {
            return Ok(None);
        }
        let Ok(manifest) = fs::read_to_string(self.out.join(MANIFEST)) else { return Ok(None) };
        if !manifest.contains(plan.to_json()) || !of_the_same_inputs(plan, &manifest)? {
            if plan.options.force {
                return Ok(None);
            }
            let path = self.out.clone();
            self.discard_if_fresh()?;
            return Err(PrepareError::Exists { path });
        }
        let summary = summary_of(&manifest);
        self.discard()?;
        Ok(summary)
    }

    fn discard_if_fresh(&self) -> Result<(), PrepareError> {
        if self.folder.join("journal").exists() { Ok(()) } else { self.discard() }
    }

    /// Removes everything the run has made.
    pub(super) fn discard(&self) -> Result<(), PrepareError> {
        fs::remove_dir_all(&self.folder)
            .map_err(|source| PrepareError::Write { path: self.folder.clone(), source })
    }

    /// Moves the finished folder to its place; what it replaces is removed afterwards.
    fn publish(&self) -> io::Result<()> {
        sync_folder(&self.folder.join(FINAL))?;
        if self.out.exists() {
            fs::rename(&self.out, self.folder.join(REPLACED))?;
        }
        fs::rename(self.folder.join(FINAL), &self.out)?;
        sync_folder(self.out.parent().unwrap_or(Path::new(".")))?;
        fs::remove_dir_all(&self.folder)
    }
}

/// Whether the manifest's inputs are those of the plan, byte for byte.
fn of_the_same_inputs(plan: &Plan, manifest: &str) -> Result<bool, PrepareError> {
    for table in &plan.tables {
        let path = &table.input.path;
        let mut hash = blake3::Hasher::new();
        let hashed = File::open(path).and_then(|mut file| io::copy(&mut file, &mut hash));
        hashed.map_err(|source| ReadError::Io { path: path.clone(), source })?;
        if !manifest.contains(hash.finalize().to_hex().as_str()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Folders can be synced on Unix only, and some file systems refuse even there; the rename is atomic anyway.
fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

fn clear(folder: &Path, keep: &[&str]) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if keep.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        if path.is_dir() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
    }
    Ok(())
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(beside, path)
}

fn first_difference(before: &str, now: &str) -> String {
    let pairs = before.lines().zip(now.lines()).find(|(before, now)| before != now);
    match pairs {
        Some((before, now)) => {
            format!("then {}, now {}", before.trim().trim_end_matches(','), now.trim().trim_end_matches(','))
        }
        None => "the inputs".to_owned(),
    }
}

/// Decides, writes the final files and puts them in place.
pub(super) fn finish(
    plan: &Plan,
    work: &Work,
    mut scanned: Scanned,
    segments: &[Vec<Segment>; 3],
    thumbnails: Thumbnails,
    watch: &mut dyn Watch,
) -> Result<Summary, PrepareError> {
    let decision = decide_all(plan, &scanned, thumbnails)
        .map_err(|source| PrepareError::Write { path: work.folder.clone(), source })?;
    let rejected = report(plan, &mut scanned, &decision, watch);
    plan.check_rejected(scanned.rejected + rejected, scanned.records.rows().len() as u64, true).inspect_err(
        |_| {
            let _ = work.discard();
        },
    )?;
    let write_error = |source| PrepareError::Write { path: work.folder.clone(), source };
    let folder = work.folder.join(FINAL);
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(write_error)?;
    }
    fs::create_dir(&folder).map_err(write_error)?;
    let mut outputs = Vec::new();
    for stream in Stream::ALL {
        let files = assemble(plan, work, &scanned, &decision, segments, stream).map_err(write_error)?;
        outputs.extend(place(&folder, stream, files).map_err(write_error)?);
    }
    let mut summary = summarise(&scanned, &decision);
    let files = outputs.iter().map(|(name, file)| (name.clone(), file.bytes, file.lines));
    summary.outputs = files.collect();
    let manifest = manifest(plan, &scanned, &summary, &outputs);
    write_whole(&folder.join(MANIFEST), manifest.as_bytes()).map_err(write_error)?;
    work.publish().map_err(|source| PrepareError::Write { path: plan.options.out.clone(), source })?;
    Ok(summary)
}

/// Decides about all rows. Pictures whose hashes are close are compared by their thumbnails.
fn decide_all(plan: &Plan, scanned: &Scanned, mut thumbnails: Thumbnails) -> io::Result<Decision> {
    let mut broken = None;
    let mut same = |one: u32, other: u32| match (thumbnails.read(one), thumbnails.read(other)) {
        (Ok(one), Ok(other)) => looks_same(&one, &other),
        (Err(error), _) | (_, Err(error)) => {
            broken.get_or_insert(error);
            false
        }
    };
    let decision = decide(&scanned.records, &plan.decision(), &mut same);
    broken.map_or(Ok(decision), Err)
}

/// Tells what only the whole set shows, in input order; returns the number of rows that it rejects.
fn report(plan: &Plan, scanned: &mut Scanned, decision: &Decision, watch: &mut dyn Watch) -> u64 {
    let mut findings: Vec<(usize, Finding)> = Vec::new();
    let place = |row: usize| place_of(plan, &scanned.records.rows()[row]);
    for (index, verdict) in decision.verdicts.iter().enumerate() {
        findings.extend(rejecting(plan, scanned, decision, *verdict).map(|finding| (index, finding)));
    }
    let rejected = findings.len() as u64;
    for (row, repeat) in &decision.near {
        findings.push((*row, near_duplicate(plan, scanned, repeat)));
    }
    for (place_of_odd, odd) in decision.odd.iter().enumerate() {
        if decision.verdicts[odd.row] != Verdict::Odd(place_of_odd) {
            findings.push((odd.row, odd.told()));
        }
    }
    for (row, earlier) in &decision.contradictions {
        let message = format!("{} has the same pictures and prompt and another answer", place(*earlier));
        findings.push((*row, Finding::new(&rules::CONTRADICTION, "", message)));
    }
    for (row, earlier) in &decision.repeated_ids {
        let message = format!("the id of this row is that of {}", place(*earlier));
        findings.push((*row, Finding::new(&rules::DUPLICATE_ID, "", message)));
    }
    findings.extend(decision.unmet.iter().map(unmet));
    findings.retain(|(_, finding)| plan.tells(finding));
    findings.sort_by_key(|(index, _)| *index);
    for (index, finding) in findings {
        let row = scanned.records.rows()[index];
        *scanned.findings.entry(rules::index(finding.rule)).or_default() += 1;
        watch.finding(&finding.at(&plan.tables[row.input as usize].input.name, row.line));
    }
    rejected
}

/// Why the decision rejects a row, if it does.
fn rejecting(plan: &Plan, scanned: &Scanned, decision: &Decision, verdict: Verdict) -> Option<Finding> {
    let mut finding = match verdict {
        Verdict::Duplicate(repeat @ Repeat { near: Some(_), .. }) => near_duplicate(plan, scanned, &repeat),
        Verdict::Duplicate(Repeat { of, near: None }) => duplicate(plan, &scanned.records.rows()[of]),
        Verdict::Odd(place) => decision.odd[place].told(),
        _ => return None,
    };
    finding.severity = Severity::Error;
    Some(finding)
}

fn place_of(plan: &Plan, row: &Record) -> String {
    format!("{}:{}", plan.tables[row.input as usize].input.name, row.line)
}

fn duplicate(plan: &Plan, kept: &Record) -> Finding {
    let place = place_of(plan, kept);
    let message = match plan.options.by {
        By::Image => format!("the same pictures as {place}, which is kept"),
        By::Sample => format!("the same pictures and text as {place}, which is kept"),
    };
    Finding::new(&rules::DUPLICATE, "", message)
}

fn near_duplicate(plan: &Plan, scanned: &Scanned, repeat: &Repeat) -> Finding {
    let kept = &scanned.records.rows()[repeat.of];
    let place = place_of(plan, kept);
    let how = repeat.near.map_or(String::new(), |near| {
        let pictures = match kept.images {
            0 => None,
            _ => Some(format!("pictures {} of 64 bits apart", near.distance)),
        };
        let text =
            (plan.options.by == By::Sample).then(|| format!("{} % of the text the same", near.similarity));
        let how: Vec<String> = pictures.into_iter().chain(text).collect();
        format!(" ({})", how.join(", "))
    });
    Finding::new(&rules::NEAR_DUPLICATE, "", format!("nearly the same as {place}{how}"))
        .hint("`--dedup near` keeps the one with the largest pictures")
}

/// In what the split is not what was asked for, at the row it is told at.
fn unmet(unmet: &Unmet) -> (usize, Finding) {
    let finding = |message: String| Finding::new(&rules::SPLIT_UNMET, "", message);
    match unmet {
        Unmet::TooMany { first, rows, wanted } => {
            let message = format!(
                "{rows} rows from here on hang together by picture, text or group; at most {wanted} may be held out, so all are trained on"
            );
            (*first, finding(message).hint("hold out more with --validation, or give a finer group"))
        }
        Unmet::AlikeTexts { first, rows } => {
            let message = format!(
                "{rows} rows from here on have nearly the same text; keeping them together would leave nothing to split, so they are split by picture and group alone"
            );
            (*first, finding(message))
        }
        Unmet::Missed { held_out, wanted } => {
            let message = format!(
                "{held_out} rows are held out instead of {wanted}: what hangs together stays together, and one row is trained on"
            );
            (0, finding(message))
        }
        Unmet::SmallStrata { strata, of } => {
            (0, finding(format!("{strata} of {of} strata are too small to give a row to validation")))
        }
    }
}

/// Where the decision wants a row.
fn final_stream(verdict: Verdict) -> Stream {
    match verdict {
        Verdict::Train => Stream::Train,
        Verdict::Validation => Stream::Validation,
        Verdict::Rejected | Verdict::Duplicate(_) | Verdict::Odd(_) => Stream::Rejected,
    }
}

/// The final files of a stream: those of the spool when every line landed where it belongs, else new ones.
fn assemble(
    plan: &Plan,
    work: &Work,
    scanned: &Scanned,
    decision: &Decision,
    segments: &[Vec<Segment>; 3],
    stream: Stream,
) -> io::Result<Vec<Segment>> {
    let rows = || scanned.streams.iter().zip(&decision.verdicts);
    if rows().all(|(likely, verdict)| (*likely == stream) == (final_stream(*verdict) == stream)) {
        return Ok(segments[stream as usize].clone());
    }
    let limit = if stream == Stream::Rejected { u64::MAX } else { plan.options.target.max_file_bytes };
    let folder = work.folder.join("moved");
    fs::create_dir_all(&folder)?;
    let mut files = Segments::new(&folder, stream.name(), limit);
    let mut sources = segments.each_ref().map(|segments| Rereader::new(segments));
    let mut line = Vec::new();
    for (record, (likely, verdict)) in scanned.records.rows().iter().zip(rows()) {
        let source = &mut sources[*likely as usize];
        match verdict {
            Verdict::Duplicate(_) | Verdict::Odd(_) if stream == Stream::Rejected => {
                source.skip(record.bytes)?;
                let finding = rejecting(plan, scanned, decision, *verdict).expect("these verdicts reject");
                files.append(&rejected_line(plan, record, finding)?)?;
            }
            _ if final_stream(*verdict) == stream => {
                source.line(record.bytes, &mut line)?;
                files.append(&line)?;
            }
            _ => source.skip(record.bytes)?,
        }
    }
    files.finish()
}

fn rejected_line(plan: &Plan, row: &Record, finding: Finding) -> io::Result<Vec<u8>> {
    let table = &plan.tables[row.input as usize];
    let bytes = table.row_at(row.offset, row.length, plan.options.max_row_bytes)?;
    let diagnostic = finding.at(&table.input.name, row.line);
    let mut line = diagnostic.to_rejected(&table.row_as_json(&bytes)).into_bytes();
    line.push(b'\n');
    Ok(line)
}

/// Gives the files of a stream their final names.
fn place(folder: &Path, stream: Stream, files: Vec<Segment>) -> io::Result<Vec<(String, Segment)>> {
    let count = files.len();
    let mut placed = Vec::with_capacity(count.max(1));
    if files.is_empty() {
        let path = folder.join(format!("{}.jsonl", stream.name()));
        File::create(&path)?.sync_all()?;
        let blake3 = blake3::hash(b"").to_hex().to_string();
        return Ok(vec![(format!("{}.jsonl", stream.name()), Segment { path, bytes: 0, lines: 0, blake3 })]);
    }
    for (index, file) in files.into_iter().enumerate() {
        let name = match count {
            1 => format!("{}.jsonl", stream.name()),
            _ => format!("{}-{:05}-of-{count:05}.jsonl", stream.name(), index + 1),
        };
        let path = folder.join(&name);
        // A link leaves the spool whole, so that a run killed right here can still go on.
        if fs::hard_link(&file.path, &path).is_err() {
            fs::copy(&file.path, &path)?;
        }
        File::open(&path)?.sync_all()?;
        placed.push((name, Segment { path, ..file }));
    }
    Ok(placed)
}

fn summarise(scanned: &Scanned, decision: &Decision) -> Summary {
    let mut summary =
        Summary { rows: scanned.records.rows().len() as u64, resumed: scanned.resumed, ..Summary::default() };
    let mut lengths = Vec::new();
    for (row, verdict) in scanned.records.rows().iter().zip(&decision.verdicts) {
        match verdict {
            Verdict::Train => summary.train += 1,
            Verdict::Validation => summary.validation += 1,
            Verdict::Rejected => summary.rejected += 1,
            Verdict::Duplicate(_) => {
                summary.rejected += 1;
                summary.duplicates += 1;
            }
            Verdict::Odd(_) => summary.rejected += 1,
        }
        if matches!(verdict, Verdict::Train | Verdict::Validation) {
            summary.images += u64::from(row.images);
            summary.shrunk += u64::from(row.shrunk);
            summary.tokens += u64::from(row.tokens);
            summary.image_tokens += u64::from(row.image_tokens);
            summary.trained_tokens += u64::from(row.trained_tokens);
            summary.max_tokens = summary.max_tokens.max(row.tokens);
            summary.max_bytes = summary.max_bytes.max(row.bytes);
            lengths.push(row.tokens);
        }
    }
    let middle = lengths.len() / 2;
    summary.median_tokens = if lengths.is_empty() { 0 } else { *lengths.select_nth_unstable(middle).1 };
    let named = |counts: &BTreeMap<u16, u64>| -> BTreeMap<String, u64> {
        counts.iter().map(|(rule, count)| (rules::ALL[usize::from(*rule)].id.to_owned(), *count)).collect()
    };
    summary.findings = named(&scanned.findings);
    summary.rejected_by_rule = named(&scanned.rejected_by_rule);
    for verdict in &decision.verdicts {
        let rule = match verdict {
            Verdict::Duplicate(Repeat { near: None, .. }) => &rules::DUPLICATE,
            Verdict::Duplicate(Repeat { near: Some(_), .. }) => &rules::NEAR_DUPLICATE,
            Verdict::Odd(place) => decision.odd[*place].rule,
            _ => continue,
        };
        *summary.rejected_by_rule.entry(rule.id.to_owned()).or_default() += 1;
    }
    summary
}

fn manifest(plan: &Plan, scanned: &Scanned, summary: &Summary, outputs: &[(String, Segment)]) -> String {
    let inputs = plan.tables.iter().zip(&scanned.inputs).map(|(table, (bytes, blake3))| {
        format!(
            "{{\"path\": {}, \"bytes\": {bytes}, \"blake3\": \"{blake3}\"}}",
            quoted(portable_name(&table.input.name))
        )
    });
    let outputs = outputs.iter().map(|(name, Segment { bytes, lines, blake3, .. })| {
        format!(
            "{{\"path\": {}, \"bytes\": {bytes}, \"lines\": {lines}, \"blake3\": \"{blake3}\"}}",
            quoted(name)
        )
    });
    let findings = summary.findings.iter().map(|(rule, count)| format!("{}: {count}", quoted(rule)));
    let list = |items: Vec<String>| items.join(",\n    ");
    let estimate = match plan.encoder().exactness() {
        Exactness::Exact => String::new(),
        Exactness::Estimate(why) => format!(", \"estimate\": {}", quoted(why)),
    };
    let Summary {
        rows,
        train,
        validation,
        rejected,
        duplicates,
        tokens,
        image_tokens,
        trained_tokens,
        max_tokens,
        ..
    } = summary;
    format!(
        "{{\n  \"pixtune\": {},\n  \"plan\": {},\n  \"inputs\": [\n    {}\n  ],\n  \"outputs\": [\n    {}\n  ],\n  \
         \"counts\": {{\"rows\": {rows}, \"train\": {train}, \"validation\": {validation}, \"rejected\": {rejected}, \"duplicates\": {duplicates}}},\n  \
         \"tokens\": {{\"total\": {tokens}, \"image\": {image_tokens}, \"trained\": {trained_tokens}, \"max_sample\": {max_tokens}{estimate}}},\n  \
         \"findings\": {{{}}}\n}}\n",
        quoted(env!("CARGO_PKG_VERSION")),
        plan.to_json(),
        list(inputs.collect()),
        list(outputs.collect()),
        findings.collect::<Vec<_>>().join(", "),
    )
}

/// What a finished run's manifest still tells of it.
fn summary_of(manifest: &str) -> Option<Summary> {
    let parsed = json::parse(manifest).ok()?;
    let number = |group: &str, key: &str| -> u64 {
        match parsed.value.get(group).and_then(|group| group.get(key)) {
            Some(Value::Number(text)) => text.parse().unwrap_or(0),
            _ => 0,
        }
    };
    let mut summary = Summary {
        rows: number("counts", "rows"),
        train: number("counts", "train"),
        validation: number("counts", "validation"),
        rejected: number("counts", "rejected"),
        duplicates: number("counts", "duplicates"),
        tokens: number("tokens", "total"),
        image_tokens: number("tokens", "image"),
        trained_tokens: number("tokens", "trained"),
        max_tokens: u32::try_from(number("tokens", "max_sample")).unwrap_or(u32::MAX),
        ..Summary::default()
    };
    summary.resumed = summary.rows;
    Some(summary)
}
