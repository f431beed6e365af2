//! Terminal output: findings, the progress bar, formatted numbers.

mod bar_terminal;

use std::collections::BTreeMap;
use std::env;
use std::error::Error as _;
use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pixtune_core::diagnostic::{Diagnostic, Rule, Severity};
use pixtune_core::rules;
use pixtune_core::text::{counted, grouped};
use pixtune_io::fetch::FetchCounts;
use pixtune_io::prepare::Watch;
use pixtune_io::progress::Progress;
use pixtune_io::provenance::Sources;

use self::bar_terminal::BarTerminal;
use crate::color::{paint, shows_colors};
use crate::error::Error;

/// Findings that are printed of a rule; further ones are only counted. One shows what an observation is about, and many would
/// hide the errors between them.
fn shown(rule: &Rule) -> u64 {
    if rules::is_observation(rule) { 1 } else { 5 }
}

const FRAMES_PER_SECOND: u8 = 20;

/// Output format of findings and results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Findings and progress on standard error, the result on standard output.
    #[value(alias = "text")]
    Human,
    /// One JSON object per line on standard output: findings, then the result.
    Json,
}

/// How much a command prints besides errors and results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// Progress, notes and warnings too.
    Normal,
    /// Nothing else.
    Quiet,
}

/// Prints the last line of a run that ends with exit code 1.
pub fn print_reason(reason: &str) {
    let _ = writeln!(io::stderr(), "exit code 1: {reason}");
}

/// Prints the error that ended the run, with its causes and hint.
pub fn print_error(error: &Error) {
    let mut text = format!("error: {}", with_causes(error));
    if let Some(hint) = error.hint() {
        text.push_str(&format!("\n  hint: {hint}"));
    }
    let _ = writeln!(io::stderr(), "{}", paint(&text, shows_colors(&io::stderr())));
}

/// An error and what caused it.
pub fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let source_text = source.to_string();
        if !text.ends_with(&source_text) {
            text.push_str(&format!(": {source_text}"));
        }
        cause = source.source();
    }
    text
}

/// Prints a result to standard output. A closed pipe is not an error; a full disk is.
pub fn put(text: &str) -> Result<(), Error> {
    put_plain(paint(text, shows_colors(&io::stdout())).as_bytes())
}

/// Prints a result to standard output that is for another program.
pub fn put_plain(bytes: &[u8]) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output { source }),
        _ => Ok(()),
    }
}

/// Standard output for messages about a run, whose work and verdict matter even where nobody reads on, as behind `| head`: what
/// is written after the pipe was closed is dropped.
#[derive(Debug)]
pub struct UntilClosed {
    out: io::Stdout,
    is_closed: bool,
}

impl UntilClosed {
    /// Standard output.
    pub fn stdout() -> UntilClosed {
        UntilClosed { out: io::stdout(), is_closed: false }
    }

    fn unless_closed<T>(
        &mut self,
        otherwise: T,
        write: impl FnOnce(&mut io::Stdout) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.is_closed {
            return Ok(otherwise);
        }
        match write(&mut self.out) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(otherwise)
            }
            result => result,
        }
    }
}

impl Write for UntilClosed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_closed(bytes.len(), |out| out.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_closed((), Write::flush)
    }
}

/// Prints the findings and the progress of a run.
pub struct Ui {
    format: Format,
    verbosity: Verbosity,
    /// Whether a progress bar may be shown. It appears with the first progress report: before, it would show 0 of 0.
    visible: bool,
    bar: ProgressBar,
    printed: BTreeMap<&'static str, u64>,
    /// The source rows of prepared samples.
    sources: Sources,
    /// What was downloaded, when images are.
    fetched: Option<FetchCounts>,
    progress: Progress,
}

impl Ui {
    /// Shows a progress bar only if standard error is a terminal.
    pub fn new(format: Format, verbosity: Verbosity) -> Ui {
        let visible = format == Format::Human && verbosity == Verbosity::Normal && shows_bars();
        let bar = ProgressBar::hidden();
        set_style(&bar, "{bar:20} {percent:>3}%  {eta_precise} left  {wide_msg}");
        Ui {
            format,
            verbosity,
            visible,
            bar,
            printed: BTreeMap::new(),
            sources: Sources::default(),
            fetched: None,
            progress: Progress::default(),
        }
    }

    /// Prints a note, unless the output is JSON or quiet.
    pub fn note(&self, text: &str) {
        if self.format == Format::Human && !self.is_quiet() {
            self.print_above_bar(text);
        }
    }

    /// Shows how many of `total` bytes were read or written.
    pub fn moved(&self, what: &str, done: u64, total: u64) {
        if !self.show() {
            return;
        }
        if done < self.bar.position() {
            self.bar.reset();
        }
        self.bar.set_length(total.max(1));
        self.bar.set_position(done);
        let rate = done as f64 / self.bar.elapsed().as_secs_f64().max(0.001);
        self.bar.set_message(format!("{what} {} of {}  {}/s", bytes(done), bytes(total), bytes(rate as u64)));
    }

    /// Starts a progress bar for the next phase of the run; `template` is in indicatif's syntax, with what may be cut off in a
    /// narrow terminal at its end.
    pub fn start_bar(&self, template: &str, length: u64, position: u64) {
        self.bar.reset();
        set_style(&self.bar, template);
        self.bar.set_message("");
        self.bar.set_length(length);
        self.bar.set_position(position);
        self.show();
    }

    /// Sets the position of the bar and the text beside it. Returns whether the bar is visible.
    pub fn advance(&self, position: u64, text: &str) -> bool {
        self.bar.set_position(position);
        self.set_text(text);
        self.visible
    }

    /// Sets the text beside the bar.
    pub fn set_text(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }

    /// Removes the bar.
    pub fn clear_bar(&self) {
        self.bar.finish_and_clear();
    }

    /// The bar, to be removed by another thread.
    pub fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// Removes the bar and prints how many findings of each rule were not printed.
    pub fn end(&mut self) {
        self.bar.finish_and_clear();
        let more = self.printed.iter().filter_map(|(rule, count)| {
            let more = count - shown(rules::find(rule)?).min(*count);
            (more > 0).then(|| format!("{} more of {rule}", grouped(more)))
        });
        let more: Vec<String> = more.collect();
        if !more.is_empty() {
            self.print_above_bar(&format!("… and {}; `--format json` lists all", more.join(", ")));
        }
    }

    /// Hides the bar while `write` writes to standard output, which may be the same terminal.
    pub fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }

    /// Shows the bar if standard error is a terminal. Returns whether the bar is visible.
    fn show(&self) -> bool {
        if self.visible && self.bar.is_hidden() {
            let terminal = Box::new(BarTerminal::stderr());
            self.bar.set_draw_target(ProgressDrawTarget::term_like_with_hz(terminal, FRAMES_PER_SECOND));
            self.bar.enable_steady_tick(Duration::from_millis(200));
        }
        self.visible
    }

    /// What was downloaded, when images are.
    pub fn fetched(&self) -> Option<&FetchCounts> {
        self.fetched.as_ref()
    }

    fn is_quiet(&self) -> bool {
        self.verbosity == Verbosity::Quiet
    }

    fn print_above_bar(&self, text: &str) {
        self.bar.suspend(|| {
            let _ = writeln!(io::stderr(), "{}", paint(text, shows_colors(&io::stderr())));
        });
    }
}

/// Whether standard error is a terminal that can draw a line again.
fn shows_bars() -> bool {
    io::stderr().is_terminal() && env::var_os("TERM").is_some_and(|name| name != "dumb")
}

fn set_style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("█▌ "));
    }
}

/// An error must not leave a partial bar on the terminal.
impl Drop for Ui {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Watch for Ui {
    fn finding(&mut self, diagnostic: &Diagnostic) {
        if self.format == Format::Json {
            // If this fails, printing the result fails too, and that error ends the run.
            let _ = put(&(self.sources.locate(diagnostic).to_json() + "\n"));
            return;
        }
        if self.is_quiet() && diagnostic.finding.severity != Severity::Error {
            return;
        }
        let printed = self.printed.entry(diagnostic.finding.rule.id).or_default();
        *printed += 1;
        if *printed <= shown(diagnostic.finding.rule) {
            let located = self.sources.locate(diagnostic);
            self.print_above_bar(&located.to_string());
        }
    }

    fn progress(&mut self, progress: Progress) {
        self.progress = progress;
        if !self.show() {
            return;
        }
        self.bar.set_length(progress.input_total.max(1));
        self.bar.set_position(progress.input_read);
        let seconds = self.bar.elapsed().as_secs_f64().max(0.001);
        let rate = progress.images as f64 / seconds;
        let mut message = format!(
            "{}  {}  {rate:.0} images/s",
            counted(progress.rows, "row"),
            bytes(progress.bytes.max(progress.input_read))
        );
        if let Some(fetched) = &self.fetched {
            let rate = bytes((fetched.bytes as f64 / seconds) as u64);
            message.push_str(&format!("  {}  {rate}/s", counted(fetched.requests, "request")));
            if !fetched.failures.is_empty() {
                message.push_str(&format!("  failed: {}", causes(fetched)));
            }
        }
        self.bar.set_message(message);
    }

    fn fetching(&mut self, counts: &FetchCounts) {
        self.fetched = Some(counts.clone());
        self.progress(self.progress);
    }

    fn finishing(&mut self) {
        self.bar.set_message("writing the output files");
    }
}

/// URLs without an image by cause, the most frequent first: `12 status 404, 3 timeout`.
pub fn causes(counts: &FetchCounts) -> String {
    let mut causes: Vec<_> = counts.failures.iter().collect();
    causes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    causes.iter().map(|(cause, count)| format!("{count} {cause}")).collect::<Vec<_>>().join(", ")
}

/// A size with a decimal unit: `12.3 MB`.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut size = number as f64;
    let mut unit = 0;
    while size >= 999.5 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{number} B")
    } else if size < 9.95 {
        format!("{size:.1} {}", UNITS[unit])
    } else {
        format!("{size:.0} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_sizes() {
        assert_eq!(
            [0, 999, 1000, 9_940, 999_499, 999_500, 12_345_678].map(bytes),
            ["0 B", "999 B", "1.0 kB", "9.9 kB", "999 kB", "1.0 MB", "12 MB"]
        );
    }
}
