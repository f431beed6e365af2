//! `pixtune fix`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::Path;

use pixtune_core::diagnostic::{Diagnostic, Finding, Fix, Rule, Severity};
use pixtune_core::fix::Change;
use pixtune_core::json::quoted;
use pixtune_core::rules;
use pixtune_core::text::{counted, grouped};
use pixtune_files::{Existing, WholeFile};
use pixtune_io::check::Verify;
use pixtune_io::fix::{Fixed, Fixer, TooLarge};
use pixtune_io::parallel;
use pixtune_io::prepare::{Progress, Watch as _};
use pixtune_io::read::ReadError;
use pixtune_io::read::blocks::Block;
use pixtune_io::read::discover::refuse_all_but_directories;
use pixtune_io::read::shared::{Share, SharedLines};

use super::lines::Lines;
use super::{choice, ends_quietly, existing};
use crate::Outcome;
use crate::args::FixArgs;
use crate::color;
use crate::error::Error;
use crate::ui::{Format, Ui};

/// Repairs a file line by line into another.
pub fn run(args: FixArgs) -> Result<Outcome, Error> {
    match repair(&args) {
        Err(error @ Error::Output { .. }) => ends_quietly(error),
        result => result,
    }
}

fn repair(args: &FixArgs) -> Result<Outcome, Error> {
    let data = std::slice::from_ref(&args.file);
    let most = if args.guess { Fix::Unsafe } else { Fix::Safe };
    let fixer = Fixer { checker: choice::checker(&args.choice, data, Verify::Header)?, most };
    let max_line = choice::max_line(&args.choice)?;
    refuse_output(args)?;
    args.image_folder.as_deref().map_or(Ok(()), refuse_all_but_directories)?;
    let Lines { source, is_array, directory, before } = Lines::open(&args.file, max_line)?;
    let directory = args.image_folder.as_deref().unwrap_or(&directory);
    let mut out = Out::create(&args.out, existing(args.force))?;
    let mut log = Log::new(args, &fixer);

    let broken = |source| Error::from(ReadError::Io { path: args.file.clone(), source });
    let threads = choice::threads(&args.choice);
    let lines = SharedLines::new(source, max_line, threads);
    let next = || lines.next_share().map_err(broken);
    let work = |share: Share| {
        let mut repaired = Vec::new();
        let repair = |block: &Block| {
            let before = repaired.len();
            repaired.extend(block.rows().map(|row| fixer.fix(directory, row)));
            repaired.len() - before
        };
        lines.read(share, repair).map(|()| repaired)
    };
    let mut number = 0;
    let sink = |repaired: io::Result<Vec<Result<Fixed, TooLarge>>>| {
        for fixed in repaired.map_err(broken)? {
            number += 1;
            let fixed = fixed.map_err(|error| TooLarge { line: number, ..error })?;
            let fixed = Fixed { number, ..fixed };
            if let Some(line) = &fixed.line {
                out.write(line)?;
            }
            log.line(&fixed)?;
        }
        Ok(())
    };
    parallel::ordered(threads, next, work, sink)?;
    before.still_holds()?;
    if is_array {
        log.change_of_file(
            &rules::JSON_ARRAY,
            "its array written as lines; the numbers above count its elements",
        )?;
    }
    if lines.has_byte_order_mark() {
        log.change_of_file(&rules::JSON_BOM, "the byte order mark removed")?;
    }
    refuse_existing(args)?;
    out.finish()?;
    log.end()
}

/// Never in place, and nothing is replaced that was not meant to be.
fn refuse_output(args: &FixArgs) -> Result<(), Error> {
    let same = || match (fs::canonicalize(&args.file), fs::canonicalize(&args.out)) {
        (Ok(file), Ok(out)) => file == out,
        _ => args.file == args.out,
    };
    if args.out != Path::new("-") && same() {
        let message =
            format!("`{}` is the input, which is never changed; choose another --out", args.out.display());
        return Err(Error::argument(message));
    }
    refuse_existing(args)
}

fn refuse_existing(args: &FixArgs) -> Result<(), Error> {
    if args.out != Path::new("-") && args.out.exists() && !args.force {
        let message = format!("`{}` exists already; --force replaces it", args.out.display());
        return Err(Error::argument(message));
    }
    Ok(())
}

/// Where repaired lines go.
enum Out<'a> {
    File(&'a Path, WholeFile),
    Standard(BufWriter<io::Stdout>),
}

impl<'a> Out<'a> {
    fn create(path: &'a Path, existing: Existing) -> Result<Out<'a>, Error> {
        if path == Path::new("-") {
            return Ok(Out::Standard(BufWriter::new(io::stdout())));
        }
        let file = WholeFile::create(path, existing)
            .map_err(|source| Error::Write { path: path.to_owned(), source })?;
        Ok(Out::File(path, file))
    }

    fn write(&mut self, line: &[u8]) -> Result<(), Error> {
        match self {
            Out::File(path, file) => {
                file.write_all(line).map_err(|source| Error::Write { path: path.to_path_buf(), source })
            }
            Out::Standard(out) => out.write_all(line).map_err(|source| Error::Output { source }),
        }
    }

    fn finish(self) -> Result<(), Error> {
        match self {
            Out::File(path, file) => {
                file.commit().map_err(|source| Error::Write { path: path.to_path_buf(), source })
            }
            Out::Standard(mut out) => out.flush().map_err(|source| Error::Output { source }),
        }
    }
}

/// Tells every change and every error that is left, and counts them.
struct Log<'a> {
    args: &'a FixArgs,
    name: String,
    most: Fix,
    out: Box<dyn Write + Send>,
    on_terminal: bool,
    colored: bool,
    ui: Ui,
    progress: Progress,
    lines: u64,
    samples: u64,
    changed: u64,
    left_out: u64,
    bad: u64,
    changes: u64,
    errors: u64,
    warnings: u64,
    /// Errors left that guessing would repair, or leave out.
    for_unsafe: u64,
    by_rule: BTreeMap<&'static str, u64>,
}

impl<'a> Log<'a> {
    fn new(args: &'a FixArgs, fixer: &Fixer) -> Log<'a> {
        let to_standard_output = args.out == Path::new("-");
        let (out, on_terminal, colored): (Box<dyn Write + Send>, bool, bool) = if to_standard_output {
            let out = io::stderr();
            (Box::new(BufWriter::new(io::stderr())), out.is_terminal(), color::shows_colors(&out))
        } else {
            let out = io::stdout();
            (Box::new(BufWriter::new(io::stdout())), out.is_terminal(), color::shows_colors(&out))
        };
        let input_total = args.file.metadata().map_or(0, |about| about.len());
        Log {
            args,
            name: args.file.display().to_string(),
            most: fixer.most,
            out,
            on_terminal,
            colored: colored && args.format == Format::Human,
            ui: Ui::new(Format::Human, args.format != Format::Human || to_standard_output),
            progress: Progress { input_total, ..Progress::default() },
            lines: 0,
            samples: 0,
            changed: 0,
            left_out: 0,
            bad: 0,
            changes: 0,
            errors: 0,
            warnings: 0,
            for_unsafe: 0,
            by_rule: BTreeMap::new(),
        }
    }

    fn line(&mut self, fixed: &Fixed) -> Result<(), Error> {
        self.lines += u64::from(fixed.line.is_some());
        let is_sample = fixed.left.is_sample;
        self.samples += u64::from(is_sample && fixed.line.is_some());
        self.changed += u64::from(!fixed.changes.is_empty());
        self.left_out += u64::from(is_sample && fixed.line.is_none());
        for change in &fixed.changes {
            self.change(fixed.number, change)?;
        }
        let findings = || fixed.left.findings.iter().map(|(finding, ..)| finding);
        self.bad += u64::from(findings().any(|finding| finding.severity == Severity::Error));
        for (finding, column, _) in &fixed.left.findings {
            if finding.severity == Severity::Error {
                self.errors += 1;
                self.for_unsafe += u64::from(finding.rule.fix.is_some());
                self.tell(&Diagnostic { column: *column, ..finding.clone().at(&self.name, fixed.number) })?;
            } else {
                self.warnings += 1;
            }
        }
        self.progress.rows += 1;
        self.progress.images += fixed.left.images as u64;
        self.progress.input_read += fixed.length;
        self.ui.progress(self.progress);
        Ok(())
    }

    fn change_of_file(&mut self, rule: &'static Rule, message: &str) -> Result<(), Error> {
        self.changed += 1;
        let message = message.to_owned();
        self.change(1, &Change { rule, fix: Fix::Safe, pointer: String::new(), message })
    }

    fn change(&mut self, line: u64, change: &Change) -> Result<(), Error> {
        self.changes += 1;
        *self.by_rule.entry(change.rule.id).or_default() += 1;
        let Change { rule, fix, pointer, message } = change;
        let text = match self.args.format {
            Format::Human => {
                let guessed = if *fix == Fix::Unsafe { ", guessed" } else { "" };
                let place = if pointer.is_empty() { String::new() } else { format!(" {pointer}") };
                format!("fixed[{}{guessed}]: {}:{line}{place}: {message}", rule.id, self.name)
            }
            Format::Json => format!(
                "{{\"rule\":\"{}\",\"fixed\":\"{}\",\"file\":{},\"line\":{line},\"pointer\":{},\"message\":{}}}",
                rule.id,
                fix.as_str(),
                quoted(&self.name),
                quoted(pointer),
                quoted(message)
            ),
        };
        self.write(&text)
    }

    /// Tells an error that stays, at its line of the input.
    fn tell(&mut self, left: &Diagnostic) -> Result<(), Error> {
        let text = match self.args.format {
            Format::Human => left.to_string(),
            Format::Json => left.to_json(),
        };
        self.write(&text)
    }

    fn write(&mut self, text: &str) -> Result<(), Error> {
        let text = color::paint(text, self.colored);
        let out = &mut self.out;
        let write = || {
            writeln!(out, "{text}")?;
            if self.on_terminal { out.flush() } else { Ok(()) }
        };
        self.ui.aside(write).map_err(|source| Error::Output { source })
    }

    fn end(mut self) -> Result<Outcome, Error> {
        self.ui.end();
        if self.samples == 0 {
            let finding = Finding::new(&rules::FILE_EMPTY, "", "the repaired file holds no sample");
            self.errors += 1;
            self.tell(&finding.at(&self.name, 1))?;
        }
        if self.args.format == Format::Human {
            let summary = self.summary();
            self.write(&summary)?;
        }
        self.out.flush().map_err(|source| Error::Output { source })?;
        Ok(if self.errors > 0 { Outcome::Findings } else { Outcome::Fine })
    }

    fn summary(&self) -> String {
        let mut out = format!(
            "{} written: {} in {}",
            counted(self.samples, "sample"),
            counted(self.changes, "change"),
            counted(self.changed, "line")
        );
        if self.left_out > 0 {
            out.push_str(&format!(", {} of them left out", grouped(self.left_out)));
        }
        match (self.errors, self.bad) {
            (0, _) => {}
            (errors, bad) => {
                out.push_str(&format!("; {} left in {}", counted(errors, "error"), counted(bad, "sample")));
            }
        }
        if self.warnings > 0 {
            out.push_str(&format!(
                "; {} left, `pixtune check` tells them",
                counted(self.warnings, "warning")
            ));
        }
        if self.for_unsafe > 0 && self.most == Fix::Safe {
            out.push_str(
                "\n--unsafe leaves out samples that stay bad, and draws images anew that nobody takes",
            );
        }
        out
    }
}
