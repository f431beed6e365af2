//! The samples of an evaluation: where each is, and what an answer to it is compared with.

mod keys;
mod row;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use pixtune_core::diagnostic::{Diagnostic, Finding};
use pixtune_core::rules;
use pixtune_io::fetch::{FetchOptions, Fetcher};
use pixtune_io::image::Resolver;
use pixtune_io::read::{FileReader, Format, LineFile, MAX_LINE, ReadError, Row, RowReader as _, RowRef};
use pixtune_io::survey::{FileSide, Source};
use pixtune_io::tokens::parse_row;

use crate::error::EvaluateError;
use crate::metric::Profile;
use crate::plan::EvaluatePlan;

pub(crate) use keys::{Key, hash, key_of};
pub(crate) use row::{
    Kind, SampleRow, instructions, last_prompt, message_text, read_text, references, with_row,
};

/// The samples that can be evaluated.
pub(crate) struct Dataset {
    files: Vec<DataFile>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) kind: Kind,
    /// Rows that cannot be evaluated.
    pub(crate) invalid: u64,
    /// Samples without a reference cannot be used; otherwise predictions may have them.
    references_needed: bool,
    /// What the references look like.
    pub(crate) profile: Profile,
    references: HashMap<Key, Vec<String>>,
    /// Downloads images at URLs.
    fetcher: Option<Fetcher>,
}

/// A file of samples.
struct DataFile {
    /// As the user named it.
    name: String,
    /// Its last part, in ids.
    short: String,
    directory: PathBuf,
    path: PathBuf,
    reader: FileReader,
}

/// Where a sample is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) place: RowRef,
    /// Its index among all rows of the data that are not blank, from 0.
    pub(crate) position: u64,
    /// What names it: the id of the row; of a prediction also its line in other data.
    id: Option<Key>,
}

/// Who hears of rows that cannot be used.
pub(crate) type Hear<'h> = dyn FnMut(&Diagnostic) + Send + 'h;

impl Dataset {
    /// Reads every row once.
    pub(crate) fn open(
        data: &Path,
        kind: Kind,
        plan: &EvaluatePlan,
        hear: &mut Hear<'_>,
    ) -> Result<Dataset, EvaluateError> {
        let threads = plan.threads;
        let mut dataset = Dataset {
            files: Vec::new(),
            entries: Vec::new(),
            kind,
            invalid: 0,
            references_needed: kind == Kind::Predictions || plan.contestant.source.predictions().is_none(),
            profile: Profile::default(),
            references: HashMap::new(),
            fetcher: plan.fetch.clone().map(fetcher).transpose()?,
        };
        if let Some(path) = &plan.references {
            dataset.references = read_references(path, threads, hear)?;
        }
        let mut ids = HashSet::new();
        for (index, path) in (0..).zip(files(data, kind)?) {
            dataset.add(index, &path, plan.limit.unwrap_or(u64::MAX), threads, &mut ids, hear)?;
        }
        match dataset.entries.is_empty() {
            true => Err(EvaluateError::NoSamples { name: data.display().to_string() }),
            false => Ok(dataset),
        }
    }

    fn add(
        &mut self,
        index: u32,
        path: &Path,
        limit: u64,
        threads: usize,
        ids: &mut HashSet<Key>,
        hear: &mut Hear<'_>,
    ) -> Result<(), EvaluateError> {
        let lines = LineFile::open_rereadable(path, MAX_LINE)?;
        self.files.push(DataFile {
            name: path.display().to_string(),
            short: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            directory: lines.directory.clone(),
            path: path.to_owned(),
            reader: FileReader::open(path, Format::JsonLines, index, MAX_LINE)?,
        });
        let kind = self.kind;
        let work = |row: Row| (!row.is_blank()).then(|| profile_row(&row, kind));
        let mut position = self.entries.len() as u64 + self.invalid;
        let sink = |place: RowRef, read: Option<Result<RowFacts, Finding>>| {
            let Some(read) = read else { return Ok(()) };
            if position >= limit {
                return Ok(());
            }
            let id = read.as_ref().ok().and_then(|facts| facts.key);
            let entry = Entry { place: RowRef { file: index, ..place }, position, id };
            position += 1;
            self.keep(entry, read, ids, hear);
            Ok::<(), EvaluateError>(())
        };
        lines.each_row(threads, work, sink)?;
        Ok(())
    }

    fn keep(
        &mut self,
        entry: Entry,
        read: Result<RowFacts, Finding>,
        ids: &mut HashSet<Key>,
        hear: &mut Hear<'_>,
    ) {
        let checked = read.and_then(|facts| {
            let is_new = entry.id.is_none_or(|id| ids.insert(id));
            let repeated = self.kind == Kind::Predictions && !is_new;
            // Further phrasings of a sample repeat its id.
            if repeated {
                return Ok(None);
            }
            if !is_new {
                let id = facts.id.unwrap_or_default();
                let message = format!("the id `{}` is that of an earlier sample", shortened(&id));
                return Err(Finding::new(&rules::SAMPLE_REPEATED, "/id", message));
            }
            let listed = self.listed(entry).is_some();
            match facts.references.is_empty() && !listed && self.references_needed {
                true => Err(facts.why_none.unwrap_or_else(no_reference)),
                false => Ok(Some(facts)),
            }
        });
        match checked {
            Ok(None) => {}
            Ok(Some(facts)) => {
                let listed = self.listed(entry).cloned();
                self.profile.add(listed.as_deref().unwrap_or(&facts.references), facts.is_choice);
                self.entries.push(entry);
            }
            Err(finding) => {
                self.invalid += 1;
                hear(&finding.at(self.file_name(entry), entry.place.number));
            }
        }
    }

    /// The references that the side file has for a sample.
    fn listed(&self, entry: Entry) -> Option<&Vec<String>> {
        self.keys(entry).iter().find_map(|key| self.references.get(key))
    }

    /// The keys by which a sample is found, the most exact first.
    pub(crate) fn keys(&self, entry: Entry) -> [Key; 3] {
        if self.kind == Kind::Predictions {
            let position = Key::Position(entry.position);
            return [entry.id.unwrap_or(position), position, position];
        }
        let id = entry.id.unwrap_or_else(|| Key::of_id(&self.name(entry)));
        // A line number alone is of the only file.
        let line = if self.files.len() > 1 { id } else { Key::Line(entry.place.number) };
        [id, line, Key::Position(entry.position)]
    }

    /// The id of a sample that has none: file and line.
    pub(crate) fn name(&self, entry: Entry) -> String {
        format!("{}:{}", self.files[entry.place.file as usize].short, entry.place.number)
    }

    /// The file of a sample, as the user named it.
    pub(crate) fn file_name(&self, entry: Entry) -> &str {
        &self.files[entry.place.file as usize].name
    }

    /// Gives the only file the name that it has when the run is complete.
    pub(crate) fn rename(&mut self, path: PathBuf) {
        if let [file] = &mut self.files[..] {
            file.name = path.display().to_string();
        }
    }

    /// Finds the images of a sample.
    pub(crate) fn resolver(&self, entry: Entry) -> Resolver<'_> {
        let directory = &self.files[entry.place.file as usize].directory;
        Resolver::new(directory).fetching(self.fetcher.as_ref())
    }

    /// The names of the files.
    pub(crate) fn file_names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.name.as_str())
    }

    /// Whether a sample is the line of this file at this place.
    pub(crate) fn is_at(&self, entry: Entry, path: &Path, place: RowRef) -> bool {
        self.files[entry.place.file as usize].path == path && entry.place.offset == place.offset
    }

    /// Whether the side file has the references of a sample.
    pub(crate) fn is_listed(&self, entry: Entry) -> bool {
        self.listed(entry).is_some()
    }

    /// Reads a sample again and does something with it.
    pub(crate) fn sample<T>(
        &self,
        entry: Entry,
        work: impl FnOnce(SampleRow<'_>) -> T,
    ) -> Result<T, EvaluateError> {
        let file = &self.files[entry.place.file as usize];
        let changed = || EvaluateError::Read(ReadError::Changed { path: file.path.clone() });
        let row = file.reader.reread(entry.place)?;
        let parsed = parse_row(&row).map_err(|_| changed())?;
        let kind = self.kind;
        let read = with_row(parsed.value, kind, |mut sample| {
            if let Some(listed) = self.listed(entry) {
                sample.references.clone_from(listed);
                sample.part = None;
            }
            if sample.id.is_none() {
                sample.id = Some(self.name(entry));
            }
            work(sample)
        });
        read.map_err(|_| changed())
    }
}

fn fetcher(options: FetchOptions) -> Result<Fetcher, EvaluateError> {
    let path = options.cache.clone();
    Fetcher::new(options).map_err(|source| EvaluateError::Write { path, source })
}

/// What the index needs of a row.
struct RowFacts {
    key: Option<Key>,
    id: Option<String>,
    references: Vec<String>,
    why_none: Option<Finding>,
    is_choice: bool,
}

fn profile_row(row: &Row, kind: Kind) -> Result<RowFacts, Finding> {
    let parsed = parse_row(row)?;
    let of_prediction = (kind == Kind::Predictions).then(|| key_of(&parsed.value)).transpose()?.flatten();
    with_row(parsed.value, kind, |sample| RowFacts {
        key: of_prediction.or_else(|| sample.id.as_deref().map(Key::of_id)),
        is_choice: sample.options.len() >= 2,
        id: sample.id,
        references: sample.references,
        why_none: sample.why_none,
    })
}

fn no_reference() -> Finding {
    let message = "the sample has no reference answer";
    Finding::new(&rules::REFERENCE_MISSING, "", message)
        .hint("end it with the assistant's answer, or give references with `--references`")
}

/// A text from outside in a message.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The files of samples: those for validation of a directory.
fn files(data: &Path, kind: Kind) -> Result<Vec<PathBuf>, EvaluateError> {
    if kind == Kind::Predictions || !data.is_dir() {
        return Ok(vec![data.to_owned()]);
    }
    let source = Source::open(&[data.to_owned()])?;
    let files: Vec<PathBuf> = source
        .files
        .into_iter()
        .filter(|file| file.side == FileSide::Validation)
        .map(|file| file.path)
        .collect();
    if files.is_empty() { Err(EvaluateError::NoValidation { path: data.to_owned() }) } else { Ok(files) }
}

/// Reads a file of references, one sample to a line.
pub(crate) fn read_references(
    path: &Path,
    threads: usize,
    hear: &mut Hear<'_>,
) -> Result<HashMap<Key, Vec<String>>, EvaluateError> {
    let lines = LineFile::open(path, MAX_LINE)?;
    let name = lines.name.clone();
    let work = |row: Row| {
        (!row.is_blank()).then(|| {
            let parsed = parse_row(&row)?;
            let references = references(&parsed.value)?;
            if references.is_empty() {
                let message = "the line has no `references`";
                return Err(Finding::new(&rules::MISSING_FIELD, "/references", message));
            }
            Ok((key_of(&parsed.value)?, references))
        })
    };
    let mut found = HashMap::new();
    let mut position = 0;
    lines.each_row(threads, work, |place: RowRef, read| {
        match read {
            None => return Ok(()),
            Some(Ok((key, references))) => {
                if found.insert(key.unwrap_or(Key::Position(position)), references).is_some() {
                    let message = "a second line with references for the same sample";
                    hear(&Finding::new(&rules::SAMPLE_REPEATED, "/id", message).at(&name, place.number));
                }
            }
            Some(Err(finding)) => hear(&finding.at(&name, place.number)),
        }
        position += 1;
        Ok::<(), EvaluateError>(())
    })?;
    Ok(found)
}
