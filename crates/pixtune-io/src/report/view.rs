//! What the sections of a report are made from.

use std::cell::RefCell;

use pixtune_core::spec::ModelSpec;

use super::problems::Problem;
use super::shown::ShownSamples;
use crate::provenance::Sources;
use crate::read::LinePlace;
use crate::survey::{FileSide, Source, Survey};

/// What sections are made from.
#[derive(Clone, Copy)]
pub(super) struct View<'v> {
    pub(super) source: &'v Source,
    pub(super) found: &'v Survey,
    pub(super) spec: &'v ModelSpec,
    /// Where the special tokens come from, if not from a file.
    pub(super) special_tokens: Option<&'v str>,
    /// Everything that was found, the most important first.
    pub(super) problems: &'v [Problem],
    /// The samples on the page.
    pub(super) shown: &'v ShownSamples,
    /// The source rows of prepared samples.
    pub(super) sources: &'v RefCell<Sources>,
}

impl View<'_> {
    /// A place as people read it.
    pub(super) fn name(&self, place: LinePlace) -> String {
        let name = self.found.file_name(self.source, place.file);
        if self.source.files.is_empty() { name.to_owned() } else { format!("{name}:{}", place.line) }
    }

    /// The source row of the sample at a place, if it was prepared: `labels.csv:20`.
    pub(super) fn origin(&self, place: LinePlace) -> Option<String> {
        let file = self.source.files.get(place.file as usize)?;
        self.sources.borrow_mut().source(&file.path, place.line).map(|source| source.to_string())
    }

    /// The split of a place, as filters name it.
    pub(super) fn split(&self, place: LinePlace) -> &'static str {
        match self.source.files.get(place.file as usize).map(|file| file.side) {
            Some(FileSide::Validation) => "validation",
            _ => "train",
        }
    }
}
