//! `pixtune check`.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, IsTerminal as _, Write};

use pixtune_core::diagnostic::{Diagnostic, Severity};
use pixtune_core::json::{line, object};
use pixtune_core::text::{counted, grouped};
use pixtune_io::check::{self, CheckPlan, CheckReporter, CheckSummary, Excerpt, Reported};
use pixtune_io::prepare::Watch as _;
use pixtune_io::progress::Progress;
use pixtune_io::provenance::Sources;
use pixtune_io::read::discover::{Conversations, conversation_files};

use super::{lint, note_passed_over, threads};
use crate::Outcome;
use crate::args::{CheckArgs, CheckFormat, VerifyArg};
use crate::color;
use crate::error::Error;
use crate::ui::{Format, Ui, UntilClosed, Verbosity};

/// Checks every file and prints findings while it runs, then a summary.
pub fn run(args: CheckArgs, verbosity: Verbosity) -> Result<Outcome, Error> {
    let (plan, notes) = plan(&args)?;
    note_passed_over(&notes, verbosity);
    let mut printer = Printer::new(&args, verbosity);
    let summary = check::run(plan, &mut printer)?;
    printer.end(&summary)
}

/// The plan, and notes about files that are not read.
pub(crate) fn plan(args: &CheckArgs) -> Result<(CheckPlan<'static>, Vec<String>), Error> {
    let Conversations { files, notes } = conversation_files(&args.files)?;
    let mut checker = lint::checker(&args.lint, &files, args.verify.into())?;
    checker.measure = args.measure.measure();
    checker.excerpts = args.format == CheckFormat::Human && !args.statistics;
    let (max_line, threads) = (lint::max_line(&args.lint)?, threads(args.lint.threads));
    Ok((CheckPlan { files, checker, max_line, threads }, notes))
}

/// Prints findings, and how often each rule is broken.
struct Printer {
    format: CheckFormat,
    statistics: bool,
    /// Only errors are printed, and no summary. Other programs get everything.
    is_quiet: bool,
    verify: VerifyArg,
    errors: BTreeMap<&'static str, Errors>,
    out: BufWriter<UntilClosed>,
    on_terminal: bool,
    colored: bool,
    sources: Sources,
    ui: Ui,
}

/// The errors of a rule: all counted, the first ones with their places.
#[derive(Default)]
struct Errors {
    count: u64,
    first: Vec<String>,
}

/// Findings that are seen at once.
const SCREEN: u64 = 10;

/// Places that are listed again at the end.
const PLACES: usize = 3;

impl CheckReporter for Printer {
    fn finding(&mut self, reported: &Reported) -> io::Result<()> {
        let is_hidden = self.is_quiet && reported.diagnostic.finding.severity != Severity::Error;
        if self.statistics || is_hidden {
            return Ok(());
        }
        let diagnostic = self.sources.locate(&reported.diagnostic);
        self.remember(&diagnostic);
        let text = match self.format {
            CheckFormat::Human => human(&diagnostic, reported.excerpt.as_ref()),
            CheckFormat::Json => diagnostic.to_json(),
            CheckFormat::Github => github(&diagnostic),
        };
        let text = color::paint(&text, self.colored);
        if self.on_terminal {
            let out = &mut self.out;
            return self.ui.aside(|| writeln!(out, "{text}").and_then(|()| out.flush()));
        }
        writeln!(self.out, "{text}")
    }

    fn progress(&mut self, progress: Progress) {
        self.ui.progress(progress);
    }
}

impl Printer {
    fn new(args: &CheckArgs, verbosity: Verbosity) -> Printer {
        Printer {
            format: args.format,
            statistics: args.statistics,
            is_quiet: verbosity == Verbosity::Quiet && args.format == CheckFormat::Human,
            verify: args.verify,
            errors: BTreeMap::new(),
            out: BufWriter::new(UntilClosed::stdout()),
            on_terminal: io::stdout().is_terminal(),
            colored: args.format == CheckFormat::Human && color::shows_colors(&io::stdout()),
            sources: Sources::default(),
            ui: Ui::new(
                Format::Human,
                if args.format == CheckFormat::Human { verbosity } else { Verbosity::Quiet },
            ),
        }
    }

    fn end(mut self, summary: &CheckSummary) -> Result<Outcome, Error> {
        self.ui.end();
        let text = match (self.format, self.statistics) {
            (CheckFormat::Human, false) if self.is_quiet => String::new(),
            (CheckFormat::Human, true) if self.is_quiet => statistics_table(summary),
            (CheckFormat::Human, false) => self.errors_by_rule(summary) + &self.summary(summary),
            (CheckFormat::Human, true) => statistics_table(summary) + &self.summary(summary),
            (CheckFormat::Json, true) => statistics_json(summary),
            (CheckFormat::Github, true) => statistics_table(summary),
            (_, false) => String::new(),
        };
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        written.map_err(|source| Error::Output { source })?;
        let errors = summary.count(Severity::Error);
        Ok(Outcome::of(errors > 0, || match summary.bad_samples {
            // An error may concern the file alone.
            0 => counted(errors, "error"),
            bad => format!("{} in {}", counted(errors, "error"), counted(bad, "sample")),
        }))
    }

    fn remember(&mut self, diagnostic: &Diagnostic) {
        if diagnostic.finding.severity != Severity::Error {
            return;
        }
        let errors = self.errors.entry(diagnostic.finding.rule.id).or_default();
        errors.count += 1;
        if errors.first.len() < PLACES {
            errors.first.push(format!("{}:{}", diagnostic.file, diagnostic.line));
        }
    }

    /// The errors once more, by rule, where warnings stand between them on more than a screen.
    fn errors_by_rule(&self, summary: &CheckSummary) -> String {
        let (errors, warnings) = (summary.count(Severity::Error), summary.count(Severity::Warning));
        if errors == 0 || warnings == 0 || errors + warnings <= SCREEN {
            return String::new();
        }
        let row = |(rule, Errors { count, first }): (&&str, &Errors)| {
            let more = if *count > first.len() as u64 { ", …" } else { "" };
            format!("{:>9}  {rule:<22} {}{more}\n", grouped(*count), first.join(", "))
        };
        format!("errors by rule\n{}", self.errors.iter().map(row).collect::<String>())
    }

    fn summary(&self, summary: &CheckSummary) -> String {
        let checked = format!("{} in {}", counted(summary.samples, "sample"), counted(summary.files, "file"));
        let (errors, warnings) = (summary.count(Severity::Error), summary.count(Severity::Warning));
        let mut out = match (errors, summary.bad_samples) {
            (0, _) if warnings == 0 => format!("{checked}: nothing to report\n"),
            // An error may concern the file alone.
            (1.., 0) => {
                format!("{checked}: {}, {}\n", counted(errors, "error"), counted(warnings, "warning"))
            }
            (_, bad) => format!(
                "{checked}: {} in {}, {}\n",
                counted(errors, "error"),
                counted(bad, "sample"),
                counted(warnings, "warning")
            ),
        };
        out.push_str(&fixes(summary));
        if self.verify == VerifyArg::Header && summary.images > 0 {
            out.push_str("images were verified by their headers and ends; --verify full decodes them\n");
            if summary.compared_images {
                out.push_str(
                    "images shared by the training and validation files were found by their bytes; --verify full also finds \
                     those that were re-encoded, resized or cropped\n",
                );
            }
        }
        out
    }
}

/// What `pixtune fix` would do about the findings.
fn fixes(summary: &CheckSummary) -> String {
    match (summary.safe_fixes, summary.unsafe_fixes) {
        (0, 0) => String::new(),
        (0, guesses) => format!("{} fixable with `pixtune fix --unsafe`\n", grouped(guesses)),
        (safe, 0) => format!("{} fixable with `pixtune fix`\n", grouped(safe)),
        (safe, guesses) => {
            format!("{} fixable with `pixtune fix`, {} more with --unsafe\n", grouped(safe), grouped(guesses))
        }
    }
}

/// How often each rule is broken.
fn statistics_table(summary: &CheckSummary) -> String {
    let mut rows: Vec<_> = summary.findings.iter().collect();
    rows.sort_by_key(|((severity, id), count)| {
        (std::cmp::Reverse(*severity), std::cmp::Reverse(**count), *id)
    });
    let row = |((severity, id), count): (&(Severity, &str), &u64)| {
        format!("{:>9}  {:<7}  {id}\n", grouped(*count), severity.as_str())
    };
    rows.into_iter().map(row).collect()
}

fn statistics_json(summary: &CheckSummary) -> String {
    let row = |((severity, id), count): (&(Severity, &str), &u64)| {
        line(object(|out| {
            out.field("rule", id).field("severity", severity.as_str()).field("count", count);
        }))
    };
    summary.findings.iter().map(row).collect()
}

fn human(diagnostic: &Diagnostic, excerpt: Option<&Excerpt>) -> String {
    let text = diagnostic.to_string();
    let Some(excerpt) = excerpt else { return text };
    let spot = format!("  | {}\n  | {}^", excerpt.text, " ".repeat(excerpt.before));
    match text.split_once("\n  hint: ") {
        Some((message, hint)) => format!("{message}\n{spot}\n  hint: {hint}"),
        None => format!("{text}\n{spot}"),
    }
}

/// A workflow command of GitHub Actions, escaped as its toolkit does it (`packages/core/src/command.ts`).
fn github(diagnostic: &Diagnostic) -> String {
    let Diagnostic { file, line, column, source, finding } = diagnostic;
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let column = column.map(|column| format!(",col={column}")).unwrap_or_default();
    let hint = finding.hint.as_deref().map(|hint| format!("\n{hint}")).unwrap_or_default();
    let source = source.as_ref().map(|source| format!(" ({source})")).unwrap_or_default();
    let place = if finding.pointer.is_empty() { String::new() } else { format!("{}: ", finding.pointer) };
    format!(
        "::{} file={},line={line}{column},title={}::{}",
        finding.severity.as_str(),
        property(file),
        property(finding.rule.id),
        data(&format!("{place}{}{source}{hint}", finding.message))
    )
}
