//! A survey as `stats`, `plan` and `report` make it: whose tokens count, on how many threads, watched by the bar.

use pixtune_core::spec::{Exactness, ModelSpec};
use pixtune_core::tokens::{ChatEncoder, Layout, Tekken};
use pixtune_io::prepare::{Progress, Watch as _};
use pixtune_io::survey::{ImageLook, LinePlace, Look, Looker, SampleLook, Source, Survey, Witness, survey};
use pixtune_io::tokens::TokenizerFile;

use super::{choose_model, tell_counting};
use crate::args::CountingArgs;
use crate::error::Error;
use crate::ui::Ui;

/// Whose tokens count, and on how many threads.
pub(super) struct Counting {
    pub(super) model: &'static ModelSpec,
    tokenizer: Option<TokenizerFile>,
    pub(super) threads: usize,
}

impl Counting {
    pub(super) fn new(args: &CountingArgs) -> Result<Counting, Error> {
        let model = choose_model(&args.model)?;
        let tokenizer = args.tokenizer.as_deref().map(TokenizerFile::read).transpose()?;
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Counting { model, tokenizer, threads: args.threads.unwrap_or_else(all) })
    }

    fn encoder(&self) -> ChatEncoder<'_> {
        let tekken = self.tokenizer.as_ref().map_or_else(|| Tekken::embedded(), |file| &file.tekken);
        ChatEncoder { spec: self.model, tekken, layout: Layout::MistralCommon }
    }

    /// Looks this closely; what keeps the counts from being exact is told.
    pub(super) fn looker(&self, look: Look, ui: &Ui) -> Looker<'_> {
        let encoder = self.encoder();
        tell_counting(&encoder, self.tokenizer.as_ref(), ui);
        Looker { encoder, look }
    }

    /// Why counts are an estimate, if they are.
    pub(super) fn estimate(&self) -> Option<&'static str> {
        match self.encoder().exactness() {
            Exactness::Exact => None,
            Exactness::Estimate(why) => Some(why),
        }
    }

    /// Surveys a source.
    pub(super) fn survey(&self, source: &Source, look: Look, ui: &mut Ui) -> Result<Survey, Error> {
        let looker = self.looker(look, ui);
        let found = survey(source, &looker, self.threads, &mut Onlooker(ui))?;
        ui.end();
        Ok(found)
    }
}

/// Watches the progress and nothing else.
struct Onlooker<'u>(&'u mut Ui);

impl Witness for Onlooker<'_> {
    fn sample(&mut self, _: LinePlace, _: &SampleLook) {}

    fn image(&mut self, _: LinePlace, _: &ImageLook) {}

    fn progress(&mut self, progress: Progress) {
        self.0.progress(progress);
    }
}
