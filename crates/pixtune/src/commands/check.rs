//! `pixtune check`.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::num::NonZeroUsize;
use std::path::Path;

use pixtune_core::diagnostic::{Diagnostic, Fix, Severity};
use pixtune_core::text::{counted, grouped};
use pixtune_io::check::{Across, Checker, Form, Line, Reported, Verify};
use pixtune_io::parallel;
use pixtune_io::prepare::{Progress, Watch as _};
use pixtune_io::read::ReadError;
use pixtune_io::read::blocks::Block;
use pixtune_io::read::discover::conversation_files;
use pixtune_io::read::shared::{Share, SharedLines};

use super::lines::Lines;
use super::{choice, ends_quietly};
use crate::Outcome;
use crate::args::{CheckArgs, CheckFormat, VerifyArg};
use crate::color;
use crate::error::Error;
use crate::ui::{Format, Ui};

/// Checks every file, line by line, and says what it came to.
pub fn run(mut args: CheckArgs) -> Result<Outcome, Error> {
    args.files = conversation_files(&args.files)?;
    let verify = match args.verify {
        VerifyArg::Full => Verify::Full,
        VerifyArg::Header => Verify::Header,
    };
    let mut checker = choice::checker(&args.choice, &args.files, verify)?;
    checker.excerpts = args.format == CheckFormat::Human && !args.statistics;
    let names: Vec<String> = args.files.iter().map(|file| file.display().to_string()).collect();
    let selection = checker.selection.clone();
    let target = checker.target;
    let mut across = Across::new(&names, &selection, &target);
    if verify == Verify::Full && across.compares_images() {
        checker.verify = Verify::Compare;
    }
    let mut report = Report::new(&args, across.compares_images());
    for (index, file) in args.files.iter().enumerate() {
        match check_file(&args, &checker, index, file, &mut across, &mut report) {
            Err(error @ Error::Output { .. }) => return ends_quietly(error),
            result => result?,
        }
    }
    let threads = NonZeroUsize::new(choice::threads(&args.choice)).unwrap_or(NonZeroUsize::MIN);
    let temporary = |source| Error::Write { path: std::env::temp_dir(), source };
    let told = across.end(threads).map_err(temporary)?.iter().try_for_each(|reported| report.tell(reported));
    match told {
        Err(source) => ends_quietly(written(source)),
        Ok(()) => report.end(),
    }
}

fn check_file(
    args: &CheckArgs,
    checker: &Checker<'_>,
    index: usize,
    file: &Path,
    across: &mut Across<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    let max_line = choice::max_line(&args.choice)?;
    let Lines { source, is_array, directory, before } = Lines::open(file, max_line)?;
    let name = file.display().to_string();
    let broken = |source| Error::from(ReadError::Io { path: file.to_owned(), source });
    let threads = choice::threads(&args.choice);
    let lines = SharedLines::new(source, max_line, threads);
    let next = || lines.next_share().map_err(broken);
    let work = |share: Share| {
        let mut checked = Vec::new();
        let look = |block: &Block| {
            let before = checked.len();
            checker.check_block(&directory, block, &mut checked);
            checked.len() - before
        };
        lines.read(share, look).map(|()| checked)
    };
    let mut lines_before = 0;
    let sink = |checked: io::Result<Vec<Line>>| {
        let checked = checked.map_err(broken)?;
        across.look_ahead(&checked);
        for mut line in checked {
            lines_before += 1;
            line.number = lines_before;
            across.add(index, &mut line);
            report.count(&line);
            line.reported(&name).try_for_each(|reported| report.tell(&reported)).map_err(written)?;
        }
        report.progress();
        Ok(())
    };
    parallel::ordered(threads, next, work, sink)?;
    before.still_holds()?;
    report.files += 1;
    let found =
        across.end_of_file(index, Form { is_array, has_byte_order_mark: lines.has_byte_order_mark() });
    found.iter().try_for_each(|reported| report.tell(reported)).map_err(written)
}

/// Standard output could not be written to.
fn written(source: io::Error) -> Error {
    Error::Output { source }
}

/// Tells findings as they come and counts them.
struct Report {
    format: CheckFormat,
    statistics: bool,
    verify: VerifyArg,
    /// Images can leak from one file to another.
    compares_images: bool,
    out: BufWriter<io::Stdout>,
    on_terminal: bool,
    colored: bool,
    ui: Ui,
    progress: Progress,
    files: u64,
    samples: u64,
    bad_samples: u64,
    counts: BTreeMap<(Severity, &'static str), u64>,
    /// Findings of rules that `pixtune fix` repairs without guessing, and of those it repairs by guessing.
    fixable: [u64; 2],
}

impl Report {
    fn new(args: &CheckArgs, compares_images: bool) -> Report {
        let input_total =
            args.files.iter().filter_map(|file| file.metadata().ok()).map(|about| about.len()).sum();
        Report {
            format: args.format,
            statistics: args.statistics,
            verify: args.verify,
            compares_images,
            out: BufWriter::new(io::stdout()),
            on_terminal: io::stdout().is_terminal(),
            colored: args.format == CheckFormat::Human && color::shows_colors(&io::stdout()),
            ui: Ui::new(Format::Human, args.format != CheckFormat::Human),
            progress: Progress { input_total, ..Progress::default() },
            files: 0,
            samples: 0,
            bad_samples: 0,
            counts: BTreeMap::new(),
            fixable: [0; 2],
        }
    }

    fn count(&mut self, line: &Line) {
        let is_error = line.findings.iter().any(|(finding, ..)| finding.severity == Severity::Error);
        self.samples += u64::from(line.is_sample);
        self.bad_samples += u64::from(line.is_sample && is_error);
        self.progress.rows += 1;
        self.progress.images += line.images as u64;
        self.progress.input_read += line.length;
    }

    fn progress(&mut self) {
        self.ui.progress(self.progress);
    }

    fn tell(&mut self, reported: &Reported) -> io::Result<()> {
        let diagnostic = &reported.diagnostic;
        let finding = &diagnostic.finding;
        *self.counts.entry((finding.severity, finding.rule.id)).or_default() += 1;
        match finding.rule.fix {
            Some(Fix::Safe) => self.fixable[0] += 1,
            Some(Fix::Unsafe) => self.fixable[1] += 1,
            None => {}
        }
        if self.statistics {
            return Ok(());
        }
        let text = match self.format {
            CheckFormat::Human => human(reported),
            CheckFormat::Json => diagnostic.to_json(),
            CheckFormat::Github => github(diagnostic),
        };
        let text = color::paint(&text, self.colored);
        if self.on_terminal {
            let out = &mut self.out;
            return self.ui.aside(|| writeln!(out, "{text}").and_then(|()| out.flush()));
        }
        writeln!(self.out, "{text}")
    }

    fn end(mut self) -> Result<Outcome, Error> {
        self.ui.end();
        let summary = match (self.format, self.statistics) {
            (CheckFormat::Human, _) => self.table() + &self.summary(),
            (CheckFormat::Json, true) => self.statistics_json(),
            (CheckFormat::Github, true) => self.table(),
            (_, false) => String::new(),
        };
        if let Err(error) = self.out.write_all(summary.as_bytes()).and_then(|()| self.out.flush()) {
            return ends_quietly(written(error));
        }
        let errors = self.counts.keys().any(|(severity, _)| *severity == Severity::Error);
        Ok(if errors { Outcome::Findings } else { Outcome::Fine })
    }

    /// How often each rule is broken, where that was asked for.
    fn table(&self) -> String {
        let mut out = String::new();
        if self.statistics {
            let mut rows: Vec<_> = self.counts.iter().collect();
            rows.sort_by_key(|((severity, id), count)| {
                (std::cmp::Reverse(*severity), std::cmp::Reverse(**count), *id)
            });
            for ((severity, id), count) in rows {
                out.push_str(&format!("{:>9}  {:<7}  {id}\n", grouped(*count), severity.as_str()));
            }
        }
        out
    }

    fn statistics_json(&self) -> String {
        let row = |((severity, id), count): (&(Severity, &str), &u64)| {
            format!("{{\"rule\":\"{id}\",\"severity\":\"{}\",\"count\":{count}}}\n", severity.as_str())
        };
        self.counts.iter().map(row).collect()
    }

    fn summary(&self) -> String {
        let total = |wanted| {
            self.counts.iter().filter(|((severity, _), _)| *severity == wanted).map(|(_, count)| count).sum()
        };
        let (errors, warnings): (u64, u64) = (total(Severity::Error), total(Severity::Warning));
        let checked = format!("{} in {}", counted(self.samples, "sample"), counted(self.files, "file"));
        let mut out = if errors + warnings == 0 {
            format!("{checked}: nothing to report\n")
        } else {
            // An error may be the file's alone.
            let of_samples = match (errors, self.bad_samples) {
                (1.., 0) => counted(errors, "error"),
                (_, bad) => format!("{} in {}", counted(errors, "error"), counted(bad, "sample")),
            };
            format!("{checked}: {of_samples}, {}\n", counted(warnings, "warning"))
        };
        match self.fixable {
            [0, 0] => {}
            [0, guessed] => {
                out.push_str(&format!("{} may be repaired by `pixtune fix --unsafe`\n", grouped(guessed)));
            }
            [safe, 0] => out.push_str(&format!("{} may be repaired by `pixtune fix`\n", grouped(safe))),
            [safe, guessed] => out.push_str(&format!(
                "{} may be repaired by `pixtune fix`, {} more by its --unsafe\n",
                grouped(safe),
                grouped(guessed)
            )),
        }
        if self.verify == VerifyArg::Header && self.progress.images > 0 {
            out.push_str("images were checked by their headers and ends; --verify full decodes them\n");
            if self.compares_images {
                out.push_str(
                    "images on both sides were found by their bytes; --verify full also finds those that were \
                     re-encoded, scaled or cropped\n",
                );
            }
        }
        out
    }
}

fn human(reported: &Reported) -> String {
    let text = reported.diagnostic.to_string();
    let Some(excerpt) = &reported.excerpt else { return text };
    let spot = format!("  | {}\n  | {}^", excerpt.text, " ".repeat(excerpt.before));
    match text.split_once("\n  hint: ") {
        Some((message, hint)) => format!("{message}\n{spot}\n  hint: {hint}"),
        None => format!("{text}\n{spot}"),
    }
}

/// A workflow command of GitHub Actions, escaped as its toolkit does it (`packages/core/src/command.ts`).
fn github(diagnostic: &Diagnostic) -> String {
    let Diagnostic { file, line, column, finding } = diagnostic;
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let column = column.map(|column| format!(",col={column}")).unwrap_or_default();
    let hint = finding.hint.as_deref().map(|hint| format!("\n{hint}")).unwrap_or_default();
    let place = if finding.pointer.is_empty() { String::new() } else { format!("{}: ", finding.pointer) };
    format!(
        "::{} file={},line={line}{column},title={}::{}",
        finding.severity.as_str(),
        property(file),
        property(finding.rule.id),
        data(&format!("{place}{}{hint}", finding.message))
    )
}
