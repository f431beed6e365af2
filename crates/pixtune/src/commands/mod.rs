//! One file per command.

pub mod adapter;
pub mod check;
pub mod completions;
pub mod convert;
mod counting;
pub mod deploy;
pub mod evaluate;
pub mod export;
pub mod fix;
pub mod generate;
mod gpu;
mod lint;
pub mod man;
pub mod plan;
pub mod prepare;
pub mod remote;
pub mod report;
pub mod rules;
pub mod run;
pub mod serve;
pub mod stats;
pub mod tokens;
pub mod train;
pub mod train_with;

use std::io;

use pixtune_core::spec::ModelSpec;
use pixtune_core::tokens::ChatEncoder;
use pixtune_files::Existing;
use pixtune_io::tokens::TokenizerFile;

use crate::Outcome;
use crate::error::Error;
use crate::ui::{Format, Ui, Verbosity};

/// What `--force` allows.
fn existing(force: bool) -> Existing {
    if force { Existing::Replace } else { Existing::Keep }
}

/// The threads to work on: all CPUs unless a number is given.
fn threads(given: Option<usize>) -> usize {
    given.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Prints notes about files that are not read, also where the output is for another program: it does not have these files.
fn note_passed_over(notes: &[String], verbosity: Verbosity) {
    let ui = Ui::new(Format::Human, verbosity);
    notes.iter().for_each(|note| ui.note(note));
}

/// Notes where special tokens come from, and where a tokenizer file contradicts the model.
fn note_counting(encoder: &ChatEncoder<'_>, tokenizer: Option<&TokenizerFile>, note: &dyn Fn(&str)) {
    if let Some(origin) = encoder.special_tokens() {
        note(&format!("the special tokens of tokenizer {} are {origin}", encoder.tokenizer.version()));
    }
    if let (Some(file), Some(images)) = (tokenizer, encoder.other_images()) {
        let cut = |patch, merge, max_side| {
            format!("patches of {patch} pixels merged {merge}x{merge}, sides up to {max_side}")
        };
        let ModelSpec { id, patch, merge, max_side, .. } = *encoder.spec;
        note(&format!(
            "`{}` divides images differently ({}) than {id} ({}); counts follow {id}",
            file.path.display(),
            cut(images.patch, images.merge, images.max_side),
            cut(patch, merge, max_side)
        ));
    }
}

/// A closed pipe ends the output and is not an error.
fn ends_quietly(error: Error) -> Result<Outcome, Error> {
    match error {
        Error::Output { source } if source.kind() == io::ErrorKind::BrokenPipe => Ok(Outcome::Fine),
        error => Err(error),
    }
}
