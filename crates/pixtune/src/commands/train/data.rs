//! What a run trains on, and whether it may.

use std::path::{Path, PathBuf};

use pixtune_train::TrainError;
use pixtune_train::data::{DataFiles, Dataset};
use pixtune_train::model::Model;
use pixtune_train::settings::{Settings, Unusable};

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
    /// Reads every line once, and refuses a run that has nothing to train on or would leave out samples unasked.
    pub fn index(
        args: &TrainArgs,
        files: &DataFiles,
        model: &'m Model,
        settings: &Settings,
        ui: &mut View,
    ) -> Result<Data<'m>, Error> {
        let index = |paths: &[PathBuf], ui: &mut View| {
            let Settings { batch_tokens, threads, .. } = *settings;
            Dataset::index(paths, model.encoder(), batch_tokens as usize, threads, ui)
                .map_err(TrainError::from)
        };
        let train = index(&files.train, ui)?;
        let validation = match &files.validation[..] {
            [] => None,
            paths => Some(index(paths, ui)?),
        };
        let mut data = Data { train, validation };
        data.tell_changed_files(files, ui);
        data.refuse_unusable(settings)?;
        data.refuse_empty(args, ui)?;
        Ok(data)
    }

    fn sets(&self) -> impl Iterator<Item = &Dataset<'m>> {
        std::iter::once(&self.train).chain(&self.validation)
    }

    fn unusable(&self) -> u64 {
        self.sets().flat_map(|data| data.unusable().values()).sum()
    }

    fn refuse_unusable(&self, settings: &Settings) -> Result<(), TrainError> {
        let (unusable, usable) =
            (self.unusable(), self.sets().map(|data| data.entries().len() as u64).sum::<u64>());
        if unusable > 0 && settings.unusable == Unusable::Refuse {
            return Err(TrainError::Unusable { unusable, samples: usable + unusable });
        }
        Ok(())
    }

    fn refuse_empty(&mut self, args: &TrainArgs, ui: &View) -> Result<(), TrainError> {
        let names = |data: &Dataset<'_>| {
            data.files().iter().map(|file| format!("`{}`", file.name)).collect::<Vec<_>>().join(", ")
        };
        if self.train.entries().is_empty() {
            return Err(TrainError::NoSamples { what: names(&self.train) });
        }
        let empty = self.validation.take_if(|data| data.entries().is_empty());
        if let Some(empty) = empty {
            if args.validation.is_some() {
                return Err(TrainError::NoSamples { what: names(&empty) });
            }
            ui.note(&format!("{} has no sample", names(&empty)));
        }
        match (&self.validation, args.patience) {
            (None, Some(_)) => Err(TrainError::Setting {
                reason: "--patience needs validation data: without it no evaluation can be better or worse"
                    .to_owned(),
            }),
            (None, None) => {
                ui.note("nothing is held out: the last adapter is kept, and overfitting cannot be seen");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The data may have been edited since it was prepared; that is allowed, but it is told.
    fn tell_changed_files(&self, files: &DataFiles, ui: &View) {
        let Some(manifest) = &files.manifest else { return };
        for file in self.sets().flat_map(Dataset::files) {
            if manifest.hash_of(Path::new(&file.name)).is_some_and(|hash| hash != file.blake3) {
                ui.note(&format!("`{}` is not as `prepare` wrote it: it was changed since", file.name));
            }
        }
    }

    pub fn outcome(&self, left_out: u64) -> Outcome {
        if self.unusable() + left_out > 0 { Outcome::Findings } else { Outcome::Fine }
    }
}
