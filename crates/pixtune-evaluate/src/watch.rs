//! Progress and findings of an evaluation.

use pixtune_core::diagnostic::Diagnostic;

/// Receives the findings, notes and progress of a run.
pub trait Watch {
    /// A row, a prediction or an answer that cannot be used.
    fn finding(&mut self, diagnostic: &Diagnostic);
    /// A note about the run for people.
    fn note(&mut self, text: &str);
    /// Progress: `done` of `of` answers of the contestant `name` are scored.
    fn answered(&mut self, done: u64, of: u64, name: &str);
}
