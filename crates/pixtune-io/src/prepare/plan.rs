//! A run resolved before it starts: inputs, columns, scanner, and the options as the manifest records them.

mod json;

use std::fs;
use std::path::{Path, PathBuf};

use pixtune_core::columns::Columns;
use pixtune_core::curate::{self, Dedup, Record, SplitKind, parse_size};
use pixtune_core::json::Value;
use pixtune_core::rules;
use pixtune_files::{Occupant, WorkDirectory};

use super::PrepareError;
use super::facts::Place;
use super::options::{MaxReject, Options, ScanOptions};
use super::scan::{Origin, Scanner};
use crate::fetch::Fetcher;
use crate::manifest::MANIFEST;
use crate::read::discover::refuse_all_but_directories;
use crate::read::file_state::FileState;
use crate::read::{Input, Rereader, RowRef, Schema, discover, keep_stdin};
use crate::tokens::TokenizerFile;
use crate::verify::Verify;

pub(super) use self::json::without_guesses;

/// The copy of standard input in the work directory.
pub(super) const STDIN: &str = "stdin";

/// A validated run: every check that needs no rows has passed.
#[derive(Debug)]
pub struct Preparation {
    /// The choices.
    pub options: Options,
    /// The inputs and their columns.
    pub inputs: Vec<PlannedInput>,
    /// Converts rows to finished lines.
    pub scanner: Scanner,
    sizes: Vec<u64>,
    value: Value<'static>,
}

/// An input, and how its rows become samples.
#[derive(Debug, Clone)]
pub struct PlannedInput {
    /// The file.
    pub input: Input,
    /// Its columns.
    pub schema: Schema,
    /// Whether relative paths start beside the table, in its directory or its archive.
    pub images_beside: bool,
}

impl PlannedInput {
    /// What the scanner needs to know of the input.
    pub(super) fn origin(&self) -> Origin<'_> {
        let PlannedInput { input, schema, images_beside } = self;
        Origin {
            name: &input.name,
            directory: &input.directory,
            strips_roots: input.strips_roots,
            member: input.member.as_ref().filter(|_| *images_beside),
            schema,
        }
    }
}

/// Where a row that was scanned is.
pub(super) fn row_ref(row: &Record) -> RowRef {
    RowRef { file: row.input, number: row.line, offset: row.offset, length: row.length }
}

impl Preparation {
    /// Resolves the options against the inputs.
    pub fn new(mut options: Options) -> Result<Preparation, PrepareError> {
        if options.out.file_name().is_none() {
            // `.` and `..` have no name beside which a run could work.
            let path = options.out.clone();
            options.out = fs::canonicalize(&path).map_err(|source| PrepareError::Write { path, source })?;
        }
        refuse_unmeasured(&options)?;
        refuse_existing(&options)?;
        let read = |path| TokenizerFile::read_for(path, options.scan.model);
        let tokenizer = options.tokenizer.as_deref().map(read).transpose()?;
        let stdin_copy = stdin_copy(&options.out)?;
        if options.inputs.iter().any(|input| input == "-") && !(options.resume && stdin_copy.exists()) {
            keep_stdin(&stdin_copy)?;
        }
        let mut inputs = Vec::new();
        options.image_folder.as_deref().map_or(Ok(()), refuse_all_but_directories)?;
        for mut input in discover(&options.inputs, &stdin_copy, &options.text)? {
            if let Some(directory) = &options.image_folder {
                input.directory.clone_from(directory);
                input.strips_roots = true;
            }
            let schema = Schema::detect(&input, &options.columns, options.max_row_bytes)?;
            inputs.push(PlannedInput { input, schema, images_beside: options.image_folder.is_none() });
        }
        require_labels(&inputs, options.split.kind)?;
        let size =
            |planned: &PlannedInput| FileState::of(&planned.input.path).map_or(0, |state| state.length());
        let sizes = inputs.iter().map(size).collect();
        options.threads = options.threads.max(1);
        let value = json::plan_value(&options, &inputs, tokenizer.as_ref());
        let fetcher = options.fetch.clone().map(|fetch| {
            let path = fetch.cache.clone();
            Fetcher::new(fetch).map_err(|source| PrepareError::Write { path, source })
        });
        let scanner = Scanner::new(options.scan.clone(), tokenizer).fetching(fetcher.transpose()?);
        Ok(Preparation { options, inputs, scanner, sizes, value })
    }

    /// The input that a row is from.
    pub(super) fn input_of(&self, row: &Record) -> &PlannedInput {
        &self.inputs[row.input as usize]
    }

    /// The place of a row, for messages.
    pub(super) fn location_of(&self, place: &Place) -> String {
        format!("{}:{}", self.inputs[place.input as usize].input.name, place.line)
    }

    /// Reads rows again.
    pub(super) fn rereader(&self) -> Rereader<'_> {
        Rereader::new(self.inputs.iter().map(|planned| &planned.input).collect(), self.options.max_row_bytes)
    }

    /// The policy for the decisions over all rows.
    pub(crate) fn decision(&self) -> curate::Policy {
        let Options { dedup, by, distance, split, threads, scan: ScanOptions { drop, .. }, .. } =
            &self.options;
        let threads = std::num::NonZeroUsize::new(*threads).unwrap_or(std::num::NonZeroUsize::MIN);
        let (dedup, by, distance, split) = (*dedup, *by, *distance, *split);
        curate::Policy { dedup, by, distance, drop: drop.clone(), split, threads }
    }

    /// The resolved options by their names, as the manifest keeps them.
    pub fn to_value(&self) -> &Value<'static> {
        &self.value
    }

    /// Bytes of each input when the plan was made.
    pub(super) fn sizes(&self) -> &[u64] {
        &self.sizes
    }

    pub(crate) fn input_bytes(&self) -> u64 {
        self.sizes.iter().sum()
    }

    pub(crate) fn bytes_before(&self, input: u32) -> u64 {
        self.sizes[..input as usize].iter().sum()
    }

    /// Whether so many rejected rows end the run. A share is judged when all rows are read.
    pub(crate) fn check_rejected(&self, rejected: u64, rows: u64, at_end: bool) -> Result<(), PrepareError> {
        let passed = match self.options.max_reject {
            None => false,
            Some(MaxReject::Rows(limit)) => rejected > limit,
            Some(MaxReject::Share(share)) => at_end && rejected as f64 > share * rows as f64,
        };
        match self.options.max_reject {
            Some(limit) if passed => {
                Err(PrepareError::TooManyRejected { rejected, rows, limit: limit.to_string() })
            }
            _ => Ok(()),
        }
    }
}

/// The copy of standard input in the work directory of an output.
fn stdin_copy(out: &Path) -> Result<PathBuf, PrepareError> {
    Ok(work_directory(out)?.join(STDIN))
}

/// Where the work directory of an output is.
fn work_directory(out: &Path) -> Result<PathBuf, PrepareError> {
    WorkDirectory::path_for(out).map_err(|source| PrepareError::Write { path: out.to_owned(), source })
}

/// Near duplicates and the quality of images are known only of images that are decoded and measured.
fn refuse_unmeasured(options: &Options) -> Result<(), PrepareError> {
    let of_pixels = options.scan.drop.iter().find(|rule| rules::OF_PIXELS.contains(rule));
    let wanted = match of_pixels {
        Some(rule) => format!("--drop {}", rule.id),
        None if options.dedup == Dedup::Near => "--dedup near".to_owned(),
        None => return Ok(()),
    };
    let because = match (options.scan.measure, options.scan.verify) {
        (false, _) => "--no-measure",
        (true, Verify::Header) => "--verify header",
        (true, Verify::Full) => return Ok(()),
    };
    Err(PrepareError::Unmeasured { wanted, because })
}

fn refuse_existing(options: &Options) -> Result<(), PrepareError> {
    let Options { out, resume, force, .. } = options;
    let partial = work_directory(out)?;
    if partial.exists() && !resume && !force {
        return Err(PrepareError::Unfinished { path: partial });
    }
    let occupant = Occupant::of(out, MANIFEST);
    match occupant.map_err(|source| PrepareError::Write { path: out.clone(), source })? {
        Occupant::Nothing => Ok(()),
        // `--force` does not replace a file: naming it would lead nowhere.
        Occupant::NotADirectory => Err(PrepareError::Foreign { path: out.clone() }),
        // A resumed run looks into what is there: it may be its own, finished just before it was killed.
        _ if !force && !resume => Err(PrepareError::Exists { path: out.clone() }),
        Occupant::Ours => Ok(()),
        Occupant::Foreign => Err(PrepareError::Foreign { path: out.clone() }),
    }
}

fn require_labels(inputs: &[PlannedInput], kind: SplitKind) -> Result<(), PrepareError> {
    for PlannedInput { input, schema, .. } in inputs {
        let (has, what): (fn(&Columns) -> bool, _) = match kind {
            SplitKind::Random | SplitKind::Auto => return Ok(()),
            SplitKind::Group => (|columns| columns.group.is_some(), "group"),
            SplitKind::Stratify => (|columns| columns.stratum.is_some(), "stratum"),
        };
        let in_conversations = match kind {
            SplitKind::Group => schema.aside.group.is_some(),
            _ => schema.aside.stratum.is_some(),
        };
        if !schema.columns.as_ref().map_or(in_conversations, has) {
            return Err(PrepareError::NoLabel { file: input.name.clone(), what });
        }
    }
    Ok(())
}

/// A size with or without a unit, as the limits on the command line take it.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    text.parse()
        .ok()
        .or_else(|| parse_size(text))
        .ok_or_else(|| format!("`{text}` is not a size; write `20MB`, `1GiB` or a number of bytes"))
}
