//! A report on a set: one HTML file that needs nothing else, of a size that does not grow with the set.
//!
//! [`page`] and [`chart`] are the frame, for any report; the rest shows what a [`Survey`] found.

pub mod chart;
mod collect;
mod conversation;
mod fetch;
pub mod page;
mod room;
mod sections;

use pixtune_core::text::grouped;

use crate::progress::Progress;
use crate::survey::{Inspector, Source, Survey, SurveyError, survey};
use collect::Picks;
use fetch::Fetch;
use page::Page;
use room::Room;
use sections::View;

/// What a report shows.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    /// Seed of the random choice.
    pub seed: u64,
    /// Conversations in the browser.
    pub samples: usize,
    /// Images in the gallery.
    pub images: usize,
    /// Threads to work on.
    pub threads: usize,
}

/// Surveys a source and writes a page about it.
pub fn report(
    source: &Source,
    title: &str,
    inspector: &Inspector<'_>,
    estimate: Option<&str>,
    choice: Choice,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<(Survey, String), SurveyError> {
    let encoder = &inspector.encoder;
    let mut picks = Picks::new(choice.seed, (choice.samples, choice.images), progress);
    let found = survey(source, inspector, choice.threads, &mut picks)?;
    let Picks { samples, gallery, .. } = picks;
    let view = View { source, found: &found, spec: encoder.spec, estimate };
    let mut fetch = Fetch { source, found: &found, spec: encoder.spec, room: Room::new() };
    let mut sections =
        vec![sections::overview(view, &mut fetch.room), sections::findings(view, &mut fetch.room)];
    if found.samples() > 0 {
        sections.push(sections::tokens(view));
    }
    sections.push(sections::images(view, &gallery.into_sorted(), &mut fetch));
    sections.extend(sections::worst(view, &mut fetch));
    sections.push(sections::alike(view, &mut fetch));
    if found.texts.answers > 0 {
        sections.push(sections::texts(view));
        sections.push(sections::split(view));
    }
    if !source.rejected.is_empty() {
        sections.push(sections::rejected(view, &mut fetch.room));
    }
    sections.extend(sections::samples(view, encoder, &samples.into_sorted(), &mut fetch));
    let left_out = match fetch.room.images_left_out {
        0 => String::new(),
        1 => " 1 image was left out to keep the file small.".to_owned(),
        more => format!(" {} images were left out to keep the file small.", grouped(more)),
    };
    let page = Page {
        title: title.to_owned(),
        lead: format!("counted for {}", encoder.spec.id),
        foot: format!(
            "pixtune {}. Random choices were made with the seed {}. Images are shown smaller than they are.{left_out}",
            env!("CARGO_PKG_VERSION"),
            choice.seed
        ),
        sections,
    };
    let html = page.html();
    Ok((found, html))
}
