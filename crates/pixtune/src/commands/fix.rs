//! `pixtune fix`.

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::Path;

use pixtune_core::diagnostic::{Diagnostic, Fix};
use pixtune_core::fix::Change;
use pixtune_core::json::{self, object};
use pixtune_core::text::counted;
use pixtune_io::fix::{self, FixPlan, FixReporter, FixSummary, Fixer};
use pixtune_io::prepare::Watch as _;
use pixtune_io::progress::Progress;

use super::{ends_quietly, lint, threads};
use crate::Outcome;
use crate::args::FixArgs;
use crate::color;
use crate::error::Error;
use crate::ui::{Format, Ui, UntilClosed, Verbosity};

/// Fixes a file into another and prints every change, then a summary.
pub fn run(args: FixArgs, verbosity: Verbosity) -> Result<Outcome, Error> {
    let plan = plan(&args)?;
    let mut printer = Printer::new(&args, verbosity);
    match fix::run(&plan, &mut printer).map_err(Error::from) {
        Ok(summary) => printer.end(&summary).or_else(ends_quietly),
        Err(error) => ends_quietly(error),
    }
}

/// The plan of the arguments.
pub(crate) fn plan(args: &FixArgs) -> Result<FixPlan, Error> {
    let checker = lint::checker(&args.lint, std::slice::from_ref(&args.file), args.verify.into())?;
    let most = if args.guess { Fix::Unsafe } else { Fix::Safe };
    Ok(FixPlan {
        file: args.file.clone(),
        out: args.out.clone(),
        force: args.force,
        image_folder: args.image_folder.clone(),
        fixer: Fixer { checker, most, strips_roots: args.image_folder.is_some() },
        max_line: lint::max_line(&args.lint)?,
        threads: threads(args.lint.threads),
    })
}

/// Prints changes and the errors that are left.
struct Printer {
    file: String,
    format: Format,
    guesses: bool,
    /// Only errors are printed: no changes, no summary. Other programs get everything.
    is_quiet: bool,
    out: Box<dyn Write + Send>,
    on_terminal: bool,
    colored: bool,
    ui: Ui,
}

impl FixReporter for Printer {
    fn change(&mut self, line: u64, change: &Change) -> io::Result<()> {
        if self.is_quiet {
            return Ok(());
        }
        let Change { rule, fix, pointer, message } = change;
        let text = match self.format {
            Format::Human => {
                let guessed = if *fix == Fix::Unsafe { ", guessed" } else { "" };
                let place = if pointer.is_empty() { String::new() } else { format!(" {pointer}") };
                format!("fixed[{}{guessed}]: {}:{line}{place}: {message}", rule.id, self.file)
            }
            Format::Json => json::text(object(|out| {
                out.field("rule", rule.id).field("fixed", fix.as_str()).field("file", &self.file);
                out.field("line", line).field("pointer", pointer).field("message", message);
            })),
        };
        self.write(&text)
    }

    fn remaining(&mut self, error: &Diagnostic) -> io::Result<()> {
        let text = match self.format {
            Format::Human => error.to_string(),
            Format::Json => error.to_json(),
        };
        self.write(&text)
    }

    fn progress(&mut self, progress: Progress) {
        self.ui.progress(progress);
    }
}

impl Printer {
    /// Prints to standard output, or to standard error where the fixed lines go to standard output.
    fn new(args: &FixArgs, verbosity: Verbosity) -> Printer {
        let to_standard_output = args.out == Path::new("-");
        let (out, on_terminal, colored): (Box<dyn Write + Send>, bool, bool) = if to_standard_output {
            let out = io::stderr();
            (Box::new(BufWriter::new(io::stderr())), out.is_terminal(), color::shows_colors(&out))
        } else {
            let out = io::stdout();
            (Box::new(BufWriter::new(UntilClosed::stdout())), out.is_terminal(), color::shows_colors(&out))
        };
        let shows_bar = args.format == Format::Human && !to_standard_output;
        Printer {
            file: args.file.display().to_string(),
            format: args.format,
            guesses: args.guess,
            is_quiet: verbosity == Verbosity::Quiet && args.format == Format::Human,
            out,
            on_terminal,
            colored: colored && args.format == Format::Human,
            ui: Ui::new(Format::Human, if shows_bar { verbosity } else { Verbosity::Quiet }),
        }
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        let text = color::paint(text, self.colored);
        let out = &mut self.out;
        self.ui.aside(|| {
            writeln!(out, "{text}")?;
            if self.on_terminal { out.flush() } else { Ok(()) }
        })
    }

    fn end(mut self, summary: &FixSummary) -> Result<Outcome, Error> {
        self.ui.end();
        let human = match self.format {
            Format::Human if self.is_quiet => Ok(()),
            Format::Human => self.write(&self.summary(summary)),
            Format::Json => Ok(()),
        };
        human.and_then(|()| self.out.flush()).map_err(|source| Error::Output { source })?;
        Ok(Outcome::of(summary.errors > 0, || {
            let (errors, bad) = (counted(summary.errors, "error"), counted(summary.bad_samples, "sample"));
            format!("{errors} left in {bad}")
        }))
    }

    fn summary(&self, summary: &FixSummary) -> String {
        let mut out = format!(
            "{} written: {} in {}",
            counted(summary.samples, "sample"),
            counted(summary.changes, "change"),
            counted(summary.changed_lines, "line")
        );
        if summary.dropped > 0 {
            out.push_str(&format!(", {} dropped", counted(summary.dropped, "sample")));
        }
        if summary.errors > 0 {
            let (errors, bad) = (counted(summary.errors, "error"), counted(summary.bad_samples, "sample"));
            out.push_str(&format!("; {errors} left in {bad}"));
        }
        if summary.warnings > 0 {
            let warnings = counted(summary.warnings, "warning");
            out.push_str(&format!("; {warnings} left, shown by `pixtune check`"));
        }
        if summary.fixable_errors > 0 && !self.guesses {
            out.push_str("\n--unsafe re-encodes images that are not accepted and drops samples with errors");
        }
        out
    }
}
