//! `pixtune check`.

use std::io::{self, BufWriter, IsTerminal as _, Write};

use pixtune_core::diagnostic::{Diagnostic, Severity};
use pixtune_core::json::{line, object};
use pixtune_core::text::{counted, grouped};
use pixtune_io::check::{self, CheckPlan, CheckReporter, CheckSummary, Reported};
use pixtune_io::prepare::Watch as _;
use pixtune_io::progress::Progress;
use pixtune_io::read::discover::conversation_files;

use super::{lint, threads};
use crate::Outcome;
use crate::args::{CheckArgs, CheckFormat, VerifyArg};
use crate::color;
use crate::error::Error;
use crate::ui::{Format, Ui, UntilClosed};

/// Checks every file and prints the findings as they come, then a summary.
pub fn run(args: CheckArgs) -> Result<Outcome, Error> {
    let plan = plan(&args)?;
    let mut printer = Printer::new(&args);
    let summary = check::run(plan, &mut printer)?;
    printer.end(&summary)
}

fn plan(args: &CheckArgs) -> Result<CheckPlan, Error> {
    let files = conversation_files(&args.files)?;
    let mut checker = lint::checker(&args.lint, &files, args.verify.into())?;
    checker.measure = args.measure.measure();
    checker.excerpts = args.format == CheckFormat::Human && !args.statistics;
    let (max_line, threads) = (lint::max_line(&args.lint)?, threads(args.lint.threads));
    Ok(CheckPlan { files, checker, max_line, threads })
}

/// Prints findings, and how often each rule is broken.
struct Printer {
    format: CheckFormat,
    statistics: bool,
    verify: VerifyArg,
    out: BufWriter<UntilClosed>,
    on_terminal: bool,
    colored: bool,
    ui: Ui,
}

impl CheckReporter for Printer {
    fn finding(&mut self, reported: &Reported) -> io::Result<()> {
        if self.statistics {
            return Ok(());
        }
        let text = match self.format {
            CheckFormat::Human => human(reported),
            CheckFormat::Json => reported.diagnostic.to_json(),
            CheckFormat::Github => github(&reported.diagnostic),
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
    fn new(args: &CheckArgs) -> Printer {
        Printer {
            format: args.format,
            statistics: args.statistics,
            verify: args.verify,
            out: BufWriter::new(UntilClosed::stdout()),
            on_terminal: io::stdout().is_terminal(),
            colored: args.format == CheckFormat::Human && color::shows_colors(&io::stdout()),
            ui: Ui::new(Format::Human, args.format != CheckFormat::Human),
        }
    }

    fn end(mut self, summary: &CheckSummary) -> Result<Outcome, Error> {
        self.ui.end();
        let text = match (self.format, self.statistics) {
            (CheckFormat::Human, false) => self.summary(summary),
            (CheckFormat::Human, true) => statistics_table(summary) + &self.summary(summary),
            (CheckFormat::Json, true) => statistics_json(summary),
            (CheckFormat::Github, true) => statistics_table(summary),
            (_, false) => String::new(),
        };
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        written.map_err(|source| Error::Output { source })?;
        Ok(if summary.count(Severity::Error) > 0 { Outcome::Findings } else { Outcome::Fine })
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
