//! One file per command.

pub mod adapter;
pub mod check;
mod choice;
pub mod convert;
mod counting;
pub mod fix;
pub mod generate;
mod lines;
pub mod plan;
pub mod prepare;
pub mod report;
pub mod rules;
pub mod stats;
pub mod tokens;
pub mod train;

use std::io;

use pixtune_core::spec::{self, Exactness, ModelSpec};
use pixtune_core::tokens::ChatEncoder;
use pixtune_files::Existing;
use pixtune_io::tokens::TokenizerFile;

use crate::Outcome;
use crate::error::Error;
use crate::ui::Ui;

/// What `--force` allows.
fn existing(force: bool) -> Existing {
    if force { Existing::Replace } else { Existing::Keep }
}

/// The model of this name.
fn choose_model(name: &str) -> Result<&'static ModelSpec, Error> {
    choose("model", name, spec::find(name), spec::ALL.iter().map(|model| model.id))
}

/// Prints why counts are estimates, and where a tokenizer file differs from the model.
fn tell_counting(encoder: &ChatEncoder<'_>, tokenizer: Option<&TokenizerFile>, ui: &Ui) {
    if let Exactness::Estimate(why) = encoder.exactness() {
        ui.note(&format!("estimate: {why}"));
    }
    if let (Some(file), Some(images)) = (tokenizer, encoder.other_images()) {
        let cut = |patch, merge, max_side| {
            format!("patches of {patch} pixels merged {merge}x{merge}, sides up to {max_side}")
        };
        let ModelSpec { id, patch, merge, max_side, .. } = *encoder.spec;
        ui.note(&format!(
            "`{}` divides images differently ({}) than {id} ({}); counts follow {id}",
            file.path.display(),
            cut(images.patch, images.merge, images.max_side),
            cut(patch, merge, max_side)
        ));
    }
}

/// The value found for a name, or an error that lists the valid names.
fn choose<T>(
    what: &str,
    name: &str,
    found: Option<T>,
    valid: impl Iterator<Item = &'static str>,
) -> Result<T, Error> {
    let unknown = || {
        let valid: Vec<&str> = valid.collect();
        Error::argument(format!("`{name}` is not a {what}; choose one of {}", valid.join(", ")))
    };
    found.ok_or_else(unknown)
}

/// A closed pipe ends the output and is not an error.
fn ends_quietly(error: Error) -> Result<Outcome, Error> {
    match error {
        Error::Output { source } if source.kind() == io::ErrorKind::BrokenPipe => Ok(Outcome::Fine),
        error => Err(error),
    }
}
