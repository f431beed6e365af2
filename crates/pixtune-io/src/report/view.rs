//! What the sections of a report are made from.

use pixtune_core::spec::ModelSpec;

use super::origin::Origins;
use super::problems::Problem;
use super::shown::ShownSamples;
use crate::read::LinePlace;
use crate::survey::{FileSide, Source, Survey};

/// What sections are made from.
#[derive(Clone, Copy)]
pub(super) struct View<'v> {
    pub(super) source: &'v Source,
    pub(super) found: &'v Survey,
    pub(super) spec: &'v ModelSpec,
    /// Why the counts are an estimate, if they are.
    pub(super) estimate: Option<&'v str>,
    /// Everything that was found, the most important first.
    pub(super) problems: &'v [Problem],
    /// The samples on the page.
    pub(super) shown: &'v ShownSamples,
    /// Where samples came from.
    pub(super) origins: Option<&'v dyn Origins>,
}

impl View<'_> {
    /// A place as people read it.
    pub(super) fn name(&self, place: LinePlace) -> String {
        let name = self.found.file_name(self.source, place.file);
        if self.source.files.is_empty() { name.to_owned() } else { format!("{name}:{}", place.line) }
    }

    /// Where the sample at a place came from, if that is known.
    pub(super) fn origin(&self, place: LinePlace) -> Option<String> {
        self.origins?.origin(self.source.files.get(place.file as usize)?, place.line)
    }

    /// The split of a place, as filters name it.
    pub(super) fn split(&self, place: LinePlace) -> &'static str {
        match self.source.files.get(place.file as usize).map(|file| file.side) {
            Some(FileSide::Validation) => "validation",
            _ => "train",
        }
    }
}
