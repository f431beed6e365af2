//! What people see: findings as they come, a progress bar, numbers they can read.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pixtune_core::diagnostic::Diagnostic;
use pixtune_core::text::grouped;
use pixtune_io::prepare::{Progress, Watch};

use crate::color::{paint, seen_on};
use crate::error::Error;

/// After so many findings of one rule only their number is told.
const SHOWN_PER_RULE: u64 = 5;

/// How findings and results are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: findings and progress on standard error, the result on standard output.
    Human,
    /// For machines: one JSON object a line on standard output, every finding and then the result.
    Json,
}

/// Prints what ended the run.
pub fn complain(error: &Error) {
    let mut text = format!("error: {error}");
    let mut cause = error.source();
    while let Some(source) = cause {
        let source_text = source.to_string();
        if !text.ends_with(&source_text) {
            text.push_str(&format!(": {source_text}"));
        }
        cause = source.source();
    }
    if let Some(hint) = error.hint() {
        text.push_str(&format!("\n  hint: {hint}"));
    }
    let _ = writeln!(io::stderr(), "{}", paint(&text, seen_on(&io::stderr())));
}

/// Prints a result to standard output. A reader that went away is no error; a full disk is.
pub fn put(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(paint(text, seen_on(&io::stdout())).as_bytes()).and_then(|()| out.flush()) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output { source }),
        _ => Ok(()),
    }
}

/// The eyes of a person or the ears of a machine on a run.
pub struct Ui {
    format: Format,
    quiet: bool,
    /// Whether a bar may be shown. It is from the first progress on: before it there is nothing to show, 0 of 0.
    visible: bool,
    bar: ProgressBar,
    told: BTreeMap<&'static str, u64>,
}

impl Ui {
    /// A view that shows a progress bar where someone can see it.
    pub fn new(format: Format, quiet: bool) -> Ui {
        let visible = format == Format::Human && !quiet && io::stderr().is_terminal();
        let bar = ProgressBar::hidden();
        set_style(&bar, "{bar:24} {percent:>3}%  {msg}  {eta_precise} left");
        Ui { format, quiet, visible, bar, told: BTreeMap::new() }
    }

    /// A remark for people.
    pub fn note(&self, text: &str) {
        if self.format == Format::Human && !self.quiet {
            self.above_the_bar(text);
        }
    }

    /// Bytes that were moved, of so many.
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

    /// Another part of the run begins, with a bar of its own kind: `template` as indicatif reads it.
    pub fn start_bar(&self, template: &str, length: u64, position: u64) {
        self.bar.reset();
        set_style(&self.bar, template);
        self.bar.set_message("");
        self.bar.set_length(length);
        self.bar.set_position(position);
        self.show();
    }

    /// Moves the bar to a position, with a text beside it. Whether anyone can see it.
    pub fn advance(&self, position: u64, text: &str) -> bool {
        self.bar.set_position(position);
        self.say(text);
        self.visible
    }

    /// Puts a text beside the bar.
    pub fn say(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }

    /// Takes the bar away: what follows is written where it stood.
    pub fn clear_bar(&self) {
        self.bar.finish_and_clear();
    }

    /// Ends the progress bar and tells how many findings were not shown one by one.
    pub fn end(&mut self) {
        self.bar.finish_and_clear();
        for (rule, count) in &self.told {
            if *count > SHOWN_PER_RULE {
                self.note(&format!("… and {} more of {rule}", count - SHOWN_PER_RULE));
            }
        }
    }

    /// Writes to standard output where the bar may stand on the same terminal.
    pub fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }

    /// Shows the bar where someone can see it. Whether someone can.
    fn show(&self) -> bool {
        if self.visible && self.bar.is_hidden() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.bar.enable_steady_tick(Duration::from_millis(200));
        }
        self.visible
    }

    fn above_the_bar(&self, text: &str) {
        self.bar.suspend(|| {
            let _ = writeln!(io::stderr(), "{}", paint(text, seen_on(&io::stderr())));
        });
    }
}

fn set_style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("█▌ "));
    }
}

/// An error on the way leaves no half bar behind.
impl Drop for Ui {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Watch for Ui {
    fn finding(&mut self, diagnostic: &Diagnostic) {
        if self.format == Format::Json {
            // Where this cannot be written, the result cannot either, and that ends the run.
            let _ = put(&(diagnostic.to_json() + "\n"));
            return;
        }
        let told = self.told.entry(diagnostic.finding.rule.id).or_default();
        *told += 1;
        if *told <= SHOWN_PER_RULE && !self.quiet {
            self.above_the_bar(&diagnostic.to_string());
        }
    }

    fn progress(&mut self, progress: Progress) {
        if !self.show() {
            return;
        }
        self.bar.set_length(progress.input_total.max(1));
        self.bar.set_position(progress.input_read);
        let seconds = self.bar.elapsed().as_secs_f64().max(0.001);
        let rate = progress.images as f64 / seconds;
        self.bar.set_message(format!(
            "{} rows  {}  {rate:.0} images/s",
            grouped(progress.rows),
            bytes(progress.bytes.max(progress.input_read))
        ));
    }

    fn finishing(&mut self) {
        self.bar.set_message("putting the files together");
    }
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
    fn numbers_can_be_read() {
        assert_eq!(
            [0, 999, 1000, 9_940, 999_499, 999_500, 12_345_678].map(bytes),
            ["0 B", "999 B", "1.0 kB", "9.9 kB", "999 kB", "1.0 MB", "12 MB"]
        );
    }
}
