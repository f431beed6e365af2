//! The end of an export: the configuration, the manifest, and the name of the directory.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::mem;
use std::path::Path;

use pixtune_core::plan::{Dataset, SplitCounts, TrainingPlan};
use pixtune_core::text::{counted, counted_as, grouped};
use pixtune_io::manifest::{Counts, MANIFEST, Manifest, OutputFile, TokenCounts};

use super::start::CHECKPOINT;
use super::{ExportSummary, REJECTED, Run, State};
use crate::ExportError;
use crate::config::{self, Context};
use crate::store::Store;

impl Run<'_, '_> {
    /// Writes the configuration and the manifest, and gives the directory its name.
    pub(super) fn finish(mut self, mut stores: Vec<Box<dyn Store>>) -> Result<ExportSummary, ExportError> {
        self.rejected.flush().map_err(|source| failed(&self.root, source))?;
        self.refuse_counts()?;
        for store in stores.iter_mut().filter(|store| !store.files().is_empty()) {
            store.publish(&self.root).map_err(|source| failed(&self.root, source))?;
        }
        let outputs: Vec<Vec<OutputFile>> = stores.iter().map(|store| store.files().to_vec()).collect();
        let wish = self.plan.settings.wish;
        let training = wish.map(|wish| pixtune_core::plan::plan(self.dataset(), wish));
        let written = self.write_configuration(&outputs, training.as_ref())?;
        let rejected = hashed(&self.root, REJECTED, self.state.rejected);
        let mut all: Vec<OutputFile> = outputs.into_iter().flatten().collect();
        all.extend(written);
        all.push(rejected.map_err(|source| failed(&self.root, source))?);
        let summary = self.summary(all, training);
        let path = self.root.join(MANIFEST);
        fs::write(&path, self.manifest(&summary).to_json()).map_err(|source| failed(&path, source))?;
        // What it names is about to move. An export that is killed from here on is written again.
        let _ = fs::remove_file(self.work.path().join(CHECKPOINT));
        let published = self.work.stage_from(&self.root).and_then(|()| self.work.publish());
        published.map_err(|source| failed(&self.plan.out, source))?;
        Ok(summary)
    }

    fn special_tokens(&self) -> Option<&'static str> {
        self.plan.encoder.special_tokens()
    }

    fn dataset(&self) -> Dataset {
        let [train, validation, _] = self.state.splits.clone();
        let (refused, special_tokens) = (self.state.rejected, self.special_tokens());
        Dataset { train, validation, refused, special_tokens, ..Dataset::default() }
    }

    fn write_configuration(
        &self,
        outputs: &[Vec<OutputFile>],
        training: Option<&TrainingPlan>,
    ) -> Result<Vec<OutputFile>, ExportError> {
        let [train, validation, test] = &self.state.splits;
        let files = config::files(&Context {
            trainer: self.plan.trainer,
            spec: self.plan.encoder.spec,
            settings: &self.plan.settings,
            training,
            samples: [train.samples, validation.samples],
            files: outputs,
            longest: train.lengths.max().max(validation.lengths.max()),
            test_samples: test.samples,
        });
        let written = files.into_iter().map(|file| {
            let path = self.root.join(file.name);
            fs::write(&path, &file.text).map_err(|source| failed(&path, source))?;
            Ok(OutputFile {
                path: file.name.to_owned(),
                bytes: file.text.len() as u64,
                lines: file.text.lines().count() as u64,
                blake3: blake3::hash(file.text.as_bytes()).to_hex().to_string(),
            })
        });
        written.collect()
    }

    fn summary(&self, outputs: Vec<OutputFile>, training: Option<TrainingPlan>) -> ExportSummary {
        let State { rows, splits, rejected, findings, resized_by_trainer, .. } = &self.state;
        let sum = |of: fn(&SplitCounts) -> u64| splits.iter().map(of).sum::<u64>();
        ExportSummary {
            rows: *rows,
            samples: splits.each_ref().map(|split| split.samples),
            rejected: *rejected,
            images: sum(|split| split.images),
            resized_by_trainer: *resized_by_trainer,
            tokens: sum(|split| split.tokens),
            trained_tokens: sum(|split| split.trained_tokens),
            longest: splits.iter().map(|split| split.lengths.max()).max().unwrap_or_default(),
            outputs,
            findings: findings.clone(),
            training,
        }
    }

    fn manifest(&mut self, summary: &ExportSummary) -> Manifest {
        let [train, validation, test] = summary.samples;
        Manifest {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            plan: self.plan.to_value(),
            inputs: mem::take(&mut self.inputs),
            outputs: summary.outputs.clone(),
            counts: Counts {
                rows: summary.rows,
                train,
                validation,
                test,
                rejected: summary.rejected,
                duplicates: 0,
            },
            tokens: TokenCounts {
                total: summary.tokens,
                image: self.state.splits.iter().map(|split| split.image_tokens).sum(),
                trained: summary.trained_tokens,
                max_sample: summary.longest,
                special_tokens: self.special_tokens().map(str::to_owned),
            },
            findings: summary.findings.iter().map(|(rule, count)| ((*rule).to_owned(), *count)).collect(),
        }
    }

    /// Refuses an export that nothing can be trained with.
    fn refuse_counts(&self) -> Result<(), ExportError> {
        let (state, trainer) = (&self.state, self.plan.trainer);
        let samples = state.splits[0].samples;
        let all: u64 = state.splits.iter().map(|split| split.samples).sum();
        let limits = &trainer.limits;
        let refused = if all == 0 {
            let rows = counted_as(state.rows, "row", "rows");
            Some(ExportError::NothingLeft { rows })
        } else if samples < limits.min_samples || samples > limits.max_samples {
            let range = match limits.max_samples {
                u64::MAX => format!("at least {}", counted(limits.min_samples, "sample")),
                most => format!("{} to {}", grouped(limits.min_samples), counted(most, "sample")),
            };
            let (name, samples) = (trainer.name, counted(samples, "sample"));
            Some(ExportError::SampleCount { name, range, samples })
        } else {
            None
        };
        refused.map_or(Ok(()), |error| {
            // The same would come of resuming it.
            let _ = self.work.discard();
            Err(error)
        })
    }
}

fn failed(path: &Path, source: io::Error) -> ExportError {
    ExportError::Write { path: path.to_owned(), source }
}

fn hashed(root: &Path, name: &str, lines: u64) -> io::Result<OutputFile> {
    let mut hash = blake3::Hasher::new();
    let mut file = File::open(root.join(name))?;
    let bytes = io::copy(&mut file, &mut hash)?;
    Ok(OutputFile { path: name.to_owned(), bytes, lines, blake3: hash.finalize().to_hex().to_string() })
}
