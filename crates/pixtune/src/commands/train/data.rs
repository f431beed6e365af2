//! The data of a run, and whether it can be trained on.

use std::path::{Path, PathBuf};

use pixtune_core::plan::defaults::{self, Batching};
use pixtune_core::text::counted;
use pixtune_infer::ModelDirectory;
use pixtune_train::TrainError;
use pixtune_train::data::{DataFiles, Dataset};
use pixtune_train::settings::{InvalidSamples, Length, Settings};

use super::view::View;
use crate::Outcome;
use crate::args::TrainArgs;
use crate::error::Error;

/// The indexed data of a run.
pub struct Data<'m> {
    pub train: Dataset<'m>,
    pub validation: Option<Dataset<'m>>,
}

impl<'m> Data<'m> {
    /// Reads every sample once. Refuses data that has nothing to train on, or invalid samples that are not to be skipped.
    pub fn index(
        args: &TrainArgs,
        files: &DataFiles,
        model: &'m ModelDirectory,
        settings: &Settings,
        view: &mut View,
    ) -> Result<Data<'m>, Error> {
        let index = |paths: &[PathBuf], view: &mut View| {
            let Settings { batch_tokens, threads, .. } = *settings;
            Dataset::index(paths, model.encoder(), batch_tokens as usize, threads, view)
                .map_err(TrainError::from)
        };
        let train = index(&files.train, view)?;
        let validation = match &files.validation[..] {
            [] => None,
            paths => Some(index(paths, view)?),
        };
        let mut data = Data { train, validation };
        data.warn_of_changed_files(files, view);
        data.refuse_invalid(settings)?;
        data.refuse_empty(args, view)?;
        Ok(data)
    }

    /// Sets what depends on the data and was not given, as `pixtune plan` does.
    pub fn set_defaults(&self, args: &TrainArgs, settings: &mut Settings) {
        let entries = self.train.entries();
        let samples = entries.len() as u64;
        let tokens = entries.iter().map(|entry| u64::from(entry.tokens)).sum();
        let lengths = self.datasets().flat_map(Dataset::entries).map(|entry| u64::from(entry.tokens));
        let longest = lengths.max().unwrap_or(0);
        if args.batch_tokens.is_none() {
            let batching = match (args.accumulate, args.samples_per_step) {
                (Some(batches), _) => Batching::of_batches(samples, tokens, longest, batches),
                (None, Some(per_step)) => Batching::of_samples(samples, tokens, longest, per_step),
                (None, None) => Batching::of(samples, tokens, longest),
            };
            (settings.batch_tokens, settings.accumulate) = (batching.tokens, batching.batches);
        }
        if args.steps.is_none() && args.epochs.is_none() {
            settings.length = Length::Epochs(defaults::epochs(samples));
        }
    }

    fn datasets(&self) -> impl Iterator<Item = &Dataset<'m>> {
        std::iter::once(&self.train).chain(&self.validation)
    }

    fn invalid(&self) -> u64 {
        self.datasets().flat_map(|dataset| dataset.unusable().values()).sum()
    }

    fn refuse_invalid(&self, settings: &Settings) -> Result<(), TrainError> {
        let invalid = self.invalid();
        if invalid == 0 || settings.invalid_samples == InvalidSamples::Skip {
            return Ok(());
        }
        let valid: u64 = self.datasets().map(|dataset| dataset.entries().len() as u64).sum();
        Err(TrainError::InvalidSamples { invalid, samples: valid + invalid })
    }

    fn refuse_empty(&mut self, args: &TrainArgs, view: &View) -> Result<(), TrainError> {
        if self.train.entries().is_empty() {
            return Err(TrainError::NoSamples { files: names(&self.train) });
        }
        let empty = self.validation.take_if(|dataset| dataset.entries().is_empty());
        if let Some(empty) = empty {
            if args.validation.is_some() {
                return Err(TrainError::NoSamples { files: names(&empty) });
            }
            view.note(&format!("no sample in {}", names(&empty)));
        }
        match (&self.validation, args.patience) {
            (Some(_), _) => Ok(()),
            (None, Some(_)) => Err(TrainError::Setting {
                reason: "--patience needs validation data: without it there are no evaluations".to_owned(),
            }),
            (None, None) if args.eval_metric.is_some() => Err(TrainError::Setting {
                reason: "--eval-metric needs validation data: its samples are answered".to_owned(),
            }),
            (None, None) if args.samples > 0 => Err(TrainError::Setting {
                reason: "--samples needs validation data: its samples are answered".to_owned(),
            }),
            (None, None) => {
                view.note("no validation data: the last adapter is kept, and overfitting cannot be detected");
                Ok(())
            }
        }
    }

    /// The data may have been edited since it was prepared. That is allowed, but worth knowing.
    fn warn_of_changed_files(&self, files: &DataFiles, view: &View) {
        let Some(manifest) = &files.manifest else { return };
        for file in self.datasets().flat_map(Dataset::files) {
            let output = manifest.output(Path::new(&file.name));
            if output.is_some_and(|output| output.blake3 != file.blake3) {
                view.note(&format!("warning: `{}` was changed after `prepare` wrote it", file.name));
            }
        }
    }

    /// The outcome of a run that skipped `skipped` samples on the way.
    pub fn outcome(&self, skipped: u64) -> Outcome {
        let invalid = self.invalid() + skipped;
        Outcome::of(invalid > 0, || format!("{} skipped", counted(invalid, "invalid sample")))
    }
}

fn names(dataset: &Dataset<'_>) -> String {
    dataset.files().iter().map(|file| format!("`{}`", file.name)).collect::<Vec<_>>().join(", ")
}
