//! Counting tokens: of one line, of files of conversations, of texts.

mod count;
mod json;
mod rows;
mod tokenizer;
mod totals;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use pixtune_core::diagnostic::{Diagnostic, Finding};
use pixtune_core::json::{append_line, inner, line, numbers, object, parse};
use pixtune_core::tokens::{ChatEncoder, Tokenizer};

use crate::image::Limits;
use crate::progress::Progress;
use crate::read::{Elements, LineFile, MAX_LINE, ReadError, Row, RowRef};

pub(crate) use count::thin_image;
pub use count::{Counted, Ids, count_line, parse_row, read_sample};
pub use rows::{RowCounter, conversation};
pub use tokenizer::{TokenizerError, TokenizerFile};
pub use totals::Totals;

/// What to count, and how.
pub struct TokensPlan<'e> {
    /// The files, in order.
    pub files: Vec<PathBuf>,
    /// What counts.
    pub encoder: ChatEncoder<'e>,
    /// Whether ids are wanted.
    pub ids: Ids,
    /// How large an image may be.
    pub limits: Limits,
    /// What is reported of each row.
    pub output: Output,
    /// Threads to work on.
    pub threads: usize,
}

/// What is reported of each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Findings.
    Findings,
    /// A JSON object with counts or the refusal.
    Json,
}

/// What counting reports to.
pub trait TokensReporter: Send {
    /// A file that is one array: lines are numbered by element.
    fn elements(&mut self, file: &str, elements: Elements);
    /// A finding, in the order of files and lines.
    fn finding(&mut self, diagnostic: &Diagnostic);
    /// An object with its line end, in the same order. An error ends the run.
    fn json(&mut self, line: &str) -> io::Result<()>;
    /// How far the run is.
    fn progress(&mut self, progress: Progress);
}

/// What ends counting.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// A file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A line of texts is something else.
    #[error("line {line} of `{}` is not a JSON string", path.display())]
    NotAString {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
    },
    /// What was counted could not be written.
    #[error("cannot write what was counted")]
    Output {
        /// Why.
        source: io::Error,
    },
}

/// Counts every row of the files of a plan.
pub fn run(plan: &TokensPlan<'_>, reporter: &mut dyn TokensReporter) -> Result<Totals, TokensError> {
    let input_total =
        plan.files.iter().filter_map(|file| file.metadata().ok()).map(|about| about.len()).sum();
    let progress = Progress { input_total, ..Progress::default() };
    let mut run = Run { reporter, totals: Totals::default(), progress, line: String::new() };
    for file in &plan.files {
        let lines = LineFile::open(file, MAX_LINE)?;
        if let Some(elements) = lines.elements {
            run.reporter.elements(&lines.name, elements);
        }
        let (name, directory) = (lines.name.clone(), lines.directory.clone());
        lines.each_row(
            plan.threads,
            |row| (!row.is_blank()).then(|| plan.count(&name, &directory, &row)),
            |at, counted| counted.map_or(Ok(()), |counted| run.row(&name, at, counted)),
        )?;
    }
    Ok(run.totals)
}

/// What was counted of a row, and the members of its JSON object.
struct CountedRow {
    counted: Result<Counted, Finding>,
    members: Option<String>,
}

impl TokensPlan<'_> {
    fn count(&self, name: &str, directory: &Path, row: &Row) -> CountedRow {
        let counted = count_line(&self.encoder, directory, row, &self.limits, self.ids);
        let file = (self.files.len() > 1).then_some(name);
        let members = (self.output == Output::Json)
            .then(|| json::counted(file, &counted, self.encoder.special_tokens()));
        CountedRow { counted, members }
    }
}

struct Run<'r> {
    reporter: &'r mut dyn TokensReporter,
    totals: Totals,
    progress: Progress,
    /// The line of JSON that is being written, kept for its memory.
    line: String,
}

impl Run<'_> {
    fn row(&mut self, file: &str, at: RowRef, row: CountedRow) -> Result<(), TokensError> {
        let CountedRow { counted, members } = row;
        self.totals.add(at.number, &counted);
        self.progress.rows += 1;
        self.progress.images = self.totals.images;
        self.progress.input_read += at.length;
        self.reporter.progress(self.progress);
        if let Some(members) = members {
            self.line.clear();
            append_line(
                &mut self.line,
                object(|line| {
                    line.field("line", at.number).splice(&members);
                }),
            );
            return self.reporter.json(&self.line).map_err(output);
        }
        let findings = counted.map_or_else(|refusal| vec![refusal], |counted| counted.warnings);
        for finding in findings {
            self.reporter.finding(&finding.at(file, at.number));
        }
        Ok(())
    }
}

/// Writes the ids of each text of a file: a JSON string per line.
pub fn encode_texts(
    path: &Path,
    tokenizer: &Tokenizer,
    threads: usize,
    out: &mut (dyn Write + Send),
) -> Result<(), TokensError> {
    let encode = |row: Row| {
        (!row.is_blank()).then(|| {
            let text = std::str::from_utf8(&row.bytes).ok()?;
            let text = parse(text).ok()?;
            let ids = tokenizer.encode(text.value.as_str()?);
            Some(inner(|line| {
                line.field("ids", numbers(&ids));
            }))
        })
    };
    let write = |at: RowRef, ids: Option<Option<String>>| {
        let Some(ids) = ids else { return Ok(()) };
        let ids = ids.ok_or_else(|| TokensError::NotAString { path: path.to_owned(), line: at.number })?;
        let line = line(object(|line| {
            line.field("line", at.number).splice(&ids);
        }));
        out.write_all(line.as_bytes()).map_err(output)
    };
    LineFile::open(path, MAX_LINE)?.each_row(threads, encode, write)?;
    out.flush().map_err(output)
}

fn output(source: io::Error) -> TokensError {
    TokensError::Output { source }
}
