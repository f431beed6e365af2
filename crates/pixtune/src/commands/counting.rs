//! What `stats`, `plan` and `report` share: the model that counts, threads, and a survey with a progress bar.

use pixtune_core::text::counted;
use pixtune_core::tokens::{ChatEncoder, Layout};
use pixtune_io::image::Limits;
use pixtune_io::prepare::Watch as _;
use pixtune_io::progress::Progress;
use pixtune_io::survey::{
    InspectedImage, InspectedSample, Inspector, Source, Survey, SurveyObserver, survey,
};
use pixtune_io::verify::Inspection;

use super::{note_counting, threads};
use crate::Outcome;
use crate::args::CountingArgs;
use crate::error::Error;
use crate::model::Model;
use crate::ui::Ui;
use pixtune_io::read::LinePlace;

/// The model whose tokens are counted, and the number of threads.
pub(super) struct Counting {
    pub(super) model: Model,
    pub(super) threads: usize,
}

impl Counting {
    pub(super) fn new(args: &CountingArgs) -> Result<Counting, Error> {
        let model = Model::open(&args.model, args.tokenizer.as_deref())?;
        Ok(Counting { model, threads: threads(args.threads) })
    }

    fn encoder(&self) -> ChatEncoder<'_> {
        let (spec, tokenizer) = (self.model.spec, self.model.vocabulary());
        ChatEncoder { spec, tokenizer, layout: Layout::MistralCommon }
    }

    /// What inspects samples and images; notes where special tokens come from.
    pub(super) fn inspector(&self, inspection: Inspection, ui: &Ui) -> Inspector<'_> {
        let encoder = self.encoder();
        note_counting(&encoder, self.model.tokenizer, &|text| ui.note(text));
        Inspector { encoder, inspection, limits: Limits::default() }
    }

    /// Where the special tokens come from, if not from a file.
    pub(super) fn special_tokens(&self) -> Option<&'static str> {
        self.encoder().special_tokens()
    }

    /// Surveys a source.
    pub(super) fn survey(
        &self,
        source: &Source,
        inspection: Inspection,
        ui: &mut Ui,
    ) -> Result<Survey, Error> {
        let inspector = self.inspector(inspection, ui);
        let found = survey(source, &inspector, self.threads, &mut ProgressBar(ui))?;
        ui.end();
        Ok(found)
    }
}

/// Samples that cannot be used are findings.
pub(super) fn outcome(found: &Survey) -> Outcome {
    Outcome::of(found.has_errors(), || {
        let invalid = counted(found.refused(), "invalid sample");
        format!("{invalid}, listed by `pixtune check`")
    })
}

/// Shows the progress of a survey.
struct ProgressBar<'u>(&'u mut Ui);

impl SurveyObserver for ProgressBar<'_> {
    fn sample(&mut self, _: LinePlace, _: &InspectedSample) {}

    fn image(&mut self, _: LinePlace, _: &InspectedImage) {}

    fn progress(&mut self, progress: Progress) {
        self.0.progress(progress);
    }
}
