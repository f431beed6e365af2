//! A report on a dataset: one self-contained HTML file, whose size does not grow with the dataset.
//!
//! [`page`] and [`chart`] are the frame, for any report; the rest shows the results of a [`Survey`].

mod actions;
mod again;
mod budget;
pub mod chart;
mod conversation;
mod embed;
pub mod page;
mod picks;
mod problems;
mod sections;
mod shown;
mod turns;
mod view;

use std::cell::RefCell;

use pixtune_core::text::counted_as;

use crate::progress::Progress;
use crate::survey::{Inspector, Source, Survey, SurveyError, survey};
use budget::SizeBudget;
use embed::Embedder;
pub use embed::{SmallImage, small_image};
use page::Page;
use picks::Picks;
use shown::ShownSamples;
use view::View;

/// What a report shows.
#[derive(Debug, Clone, Copy)]
pub struct ReportOptions {
    /// Seed of the random options.
    pub seed: u64,
    /// Conversations in the browser, besides those of findings.
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
    special_tokens: Option<&str>,
    options: ReportOptions,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<(Survey, String), SurveyError> {
    let encoder = &inspector.encoder;
    let mut picks = Picks::new(options.seed, (options.samples, options.images), progress);
    let found = survey(source, inspector, options.threads, &mut picks)?;
    let Picks { samples, gallery, .. } = picks;
    let problems = problems::problems(source, &found, encoder.spec.context as u64);
    let shown = ShownSamples::new(samples.into_sorted(), &problems, &found);
    let (problems, sources) = (&problems[..], &RefCell::default());
    let view =
        View { source, found: &found, spec: encoder.spec, special_tokens, problems, shown: &shown, sources };
    let mut embedder = Embedder { view, budget: SizeBudget::new() };
    let mut sections =
        vec![sections::overview(view, &mut embedder.budget), sections::findings(view, &mut embedder)];
    if found.samples() > 0 {
        sections.push(sections::tokens(view));
    }
    sections.push(sections::images(view, &gallery.into_sorted(), &mut embedder));
    sections.extend(sections::worst(view, &mut embedder));
    sections.push(sections::duplicates(view, &mut embedder));
    if found.texts.responses > 0 {
        sections.push(sections::texts(view));
        sections.push(sections::split(view));
    }
    if !source.rejected.is_empty() {
        sections.push(sections::rejected(view, &mut embedder.budget));
    }
    sections.extend(sections::samples(view, encoder, &mut embedder));
    let omitted = match embedder.budget.images_omitted {
        0 => String::new(),
        omitted => {
            format!(" {} omitted to limit the file size.", counted_as(omitted, "image was", "images were"))
        }
    };
    let page = Page {
        title: title.to_owned(),
        lead: format!("counted for {}", encoder.spec.id),
        foot: format!(
            "pixtune {}. Random selections use the seed {}. Images are downscaled.{omitted}",
            env!("CARGO_PKG_VERSION"),
            options.seed
        ),
        sections,
    };
    let html = page.html();
    Ok((found, html))
}
