//! The loop: load, forward and backward, clip, step, evaluate, save.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use pixtune_core::diagnostic::Diagnostic;
use pixtune_model::kernels::{AdamW, Kernels};
use pixtune_model::network::{Batch, LossSum, Network, Pass};

use crate::checkpoint;
use crate::data::{Cache, Dataset, Loaded, Loader, Loading, with_loader};
use crate::directory::{Directory, names};
use crate::error::TrainError;
use crate::evaluate::{Heard, evaluate};
use crate::metrics::{EvaluationRecord, Metrics, StepRecord};
use crate::progress::{Overfitting, Progress};
use crate::settings::{Plan, Unusable};
use crate::steps::{StepPlan, Steps};

/// What hears of a run.
pub trait Watch {
    /// A sample that cannot be trained on.
    fn finding(&mut self, diagnostic: &Diagnostic);
    /// A step was taken.
    fn step(&mut self, record: &StepRecord, plan: &Plan);
    /// So many batches of the validation data are done.
    fn evaluating(&mut self, done: usize, of: usize);
    /// An evaluation is done.
    fn evaluation(&mut self, record: &EvaluationRecord, best: bool);
    /// Validation gets worse while training gets better.
    fn overfitting(&mut self, overfitting: &Overfitting);
    /// A checkpoint was written.
    fn saved(&mut self, step: u64);
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Where it stood at the end.
    pub progress: Progress,
    /// Whether `--patience` ended it before its last step.
    pub stopped_early: bool,
    /// The mean loss of the last steps, a tenth of the run at most.
    pub final_loss: Option<f64>,
    /// Samples that were left out on the way.
    pub left_out: u64,
}

/// A run and what it works with.
pub struct Run<'r, 'w, K: Kernels> {
    /// What is to be done.
    pub plan: &'r Plan,
    /// What is trained.
    pub network: &'r mut Network<'w, K>,
    /// What it is trained on.
    pub train: &'r Dataset<'r>,
    /// What it is evaluated on.
    pub validation: Option<&'r Dataset<'r>>,
    /// Where the output goes.
    pub directory: &'r Directory,
    /// Set from outside, it ends the run after the batch under way.
    pub stop: &'r AtomicBool,
}

/// Trains from the beginning, or from where `progress` stands with the network as its checkpoint left it.
pub fn train<K: Kernels>(
    run: Run<'_, '_, K>,
    progress: Progress,
    watch: &mut dyn Watch,
) -> Result<Summary, TrainError> {
    let metrics = Metrics::open(run.directory.join(names::METRICS), progress.metrics_bytes)?;
    let caches = [run.train.entries().len(), run.validation.map_or(0, |data| data.entries().len())];
    let share = |part: usize| {
        let whole: usize = caches.iter().sum();
        (run.plan.settings.cache_bytes as f64 * part as f64 / whole.max(1) as f64) as usize
    };
    let (train_cache, validation_cache) = (Cache::new(share(caches[0])), Cache::new(share(caches[1])));
    let threads = run.plan.settings.threads.clamp(1, MOST_LOADING_THREADS);
    let loading = Loading { dataset: run.train, cache: &train_cache, threads };
    let validation = run.validation.map(|dataset| Loading { dataset, cache: &validation_cache, threads });
    let Plan { packing, steps, .. } = *run.plan;
    let left = steps.saturating_sub(progress.step);
    let steps = Steps::new(run.train.entries(), packing, progress.epoch, progress.step_in_epoch, left);
    let jobs = steps.clone().flat_map(|step| step.batches);
    let mut trainer = Trainer {
        plan: run.plan,
        network: run.network,
        validation,
        directory: run.directory,
        stop: run.stop,
        metrics,
        // Nothing has to be saved before the first step; a resumed run stands where it was saved.
        saved_at: Some(progress.step),
        progress,
        left_out: 0,
        watch,
    };
    with_loader(loading, jobs, |batches| trainer.run(steps, batches))
}

/// Decoding is far quicker than training; more threads would only hold more images ready.
pub(crate) const MOST_LOADING_THREADS: usize = 4;

struct Trainer<'r, 'w, K: Kernels> {
    plan: &'r Plan,
    network: &'r mut Network<'w, K>,
    validation: Option<Loading<'r>>,
    directory: &'r Directory,
    stop: &'r AtomicBool,
    metrics: Metrics,
    progress: Progress,
    saved_at: Option<u64>,
    left_out: u64,
    watch: &'r mut dyn Watch,
}

/// Whether the run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goes {
    On,
    /// It was told to stop.
    Stopped,
}

impl<K: Kernels> Trainer<'_, '_, K> {
    fn run(&mut self, mut steps: Steps<'_>, mut batches: Loader) -> Result<Summary, TrainError> {
        let mut recent = Recent::new(self.plan.steps);
        let mut before = Instant::now();
        let stopped_early = loop {
            if self.validation.is_some() && self.evaluation_is_due() {
                if self.evaluate()? == Goes::Stopped {
                    return self.stopped();
                }
                before = Instant::now();
            }
            let done = self.progress.step >= self.plan.steps;
            let stopped_early = !done && self.out_of_patience();
            if done || stopped_early || self.progress.step.is_multiple_of(self.plan.save_every) {
                self.save()?;
            }
            if done || stopped_early {
                break stopped_early;
            }
            let Some(step) = steps.next() else { break false };
            let Some((loss, tokens)) = self.forward_backward(&step, &mut batches)? else {
                return self.stopped();
            };
            recent.push(self.update(&step, loss, tokens, before)?.loss);
            before = Instant::now();
        };
        if self.validation.is_none() {
            self.save_adapter()?;
        }
        self.metrics.sync()?;
        let Trainer { left_out, .. } = *self;
        Ok(Summary { progress: self.progress.clone(), stopped_early, final_loss: recent.mean(), left_out })
    }

    fn evaluation_is_due(&self) -> bool {
        self.progress.evaluation_is_due(self.plan.eval_every, self.plan.steps)
    }

    /// The gradients of a step; `None` when it was told to stop on the way, with the network as it was before.
    fn forward_backward(
        &mut self,
        step: &StepPlan,
        batches: &mut Loader,
    ) -> Result<Option<(LossSum, u64)>, TrainError> {
        // All batches first: the loss is divided by the trained tokens of the whole step, and a sample may have turned out
        // to be unreadable.
        let mut ready = Vec::with_capacity(step.batches.len());
        for _ in &step.batches {
            let loaded = batches.next().expect("the loader has a batch for each of the plan")?;
            ready.extend(self.pack(loaded)?);
        }
        let trained: usize = ready.iter().map(Batch::trained_tokens).sum();
        let scale = 1.0 / trained.max(1) as f32;
        let (mut sum, mut tokens) = (LossSum::default(), 0);
        self.network.zero_gradients();
        for (index, batch) in (0_u64..).zip(&ready) {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            sum += self
                .network
                .forward_backward(batch, Pass { scale, dropout_seed: self.dropout_seed(index) })?;
            tokens += batch.tokens() as u64;
        }
        Ok(Some((sum, tokens)))
    }

    fn pack(&mut self, loaded: Loaded) -> Result<Option<Batch>, TrainError> {
        for finding in &loaded.findings {
            self.watch.finding(finding);
            self.left_out += 1;
            if self.plan.settings.unusable == Unusable::Refuse {
                self.save()?;
                return Err(TrainError::UnusableOnTheWay { place: finding.to_string() });
            }
        }
        if loaded.sequences.is_empty() {
            return Ok(None);
        }
        Ok(Some(Batch::pack(&loaded.sequences, self.network.shape().image_token)?))
    }

    /// A number of its own for every batch of the run, the same whenever the run is repeated or resumed.
    fn dropout_seed(&self, batch: u64) -> u64 {
        crate::random::Random::new(self.plan.packing.seed, (self.progress.step << 16) | batch).draw()
    }

    fn update(
        &mut self,
        step: &StepPlan,
        sum: LossSum,
        tokens: u64,
        before: Instant,
    ) -> Result<StepRecord, TrainError> {
        let number = self.progress.step + 1;
        let learning_rate = self.plan.schedule.learning_rate(self.progress.step);
        let loss = sum.loss / sum.trained_tokens.max(1) as f64;
        let not_finite =
            |what, value| Err(TrainError::NotFinite { step: number, what, value, learning_rate });
        if !loss.is_finite() {
            return not_finite("loss", loss);
        }
        let grad_norm = self.network.clip_gradients(Some(self.plan.settings.max_grad_norm));
        if !grad_norm.is_finite() {
            return not_finite("gradient norm", grad_norm);
        }
        let weight_decay = self.plan.settings.weight_decay;
        self.network.adamw(&AdamW { learning_rate, weight_decay, ..AdamW::default() });
        let seconds = before.elapsed().as_secs_f64();
        let trained_tokens = sum.trained_tokens as u64;
        let record =
            StepRecord { step: number, loss, learning_rate, grad_norm, tokens, trained_tokens, seconds };
        self.metrics.push(&record.to_json())?;
        self.progress.stepped(&record);
        self.progress.epoch = step.epoch;
        self.progress.step_in_epoch = step.in_epoch + 1;
        self.watch.step(&record, self.plan);
        Ok(record)
    }

    fn evaluate(&mut self) -> Result<Goes, TrainError> {
        let Some(validation) = self.validation else { return Ok(Goes::On) };
        let start = Instant::now();
        let Plan { packing, settings, .. } = self.plan;
        let watch = &mut *self.watch;
        let mut hear = |heard: Heard<'_>| match heard {
            Heard::Finding(finding) => watch.finding(finding),
            Heard::Batch { done, of } => watch.evaluating(done, of),
        };
        let (network, stop) = (&*self.network, self.stop);
        let sum = evaluate(network, validation, packing.batch_tokens, settings.unusable, stop, &mut hear)?;
        let Some(sum) = sum else { return Ok(Goes::Stopped) };
        let tokens = sum.trained_tokens.max(1) as f64;
        let record = EvaluationRecord {
            step: self.progress.step,
            valid_loss: sum.loss / tokens,
            valid_token_accuracy: sum.correct_tokens as f64 / tokens,
            valid_tokens: sum.trained_tokens as u64,
            seconds: start.elapsed().as_secs_f64(),
        };
        if !record.valid_loss.is_finite() {
            let learning_rate = self.plan.schedule.learning_rate(record.step);
            let (step, value) = (record.step, record.valid_loss);
            return Err(TrainError::NotFinite { step, what: "validation loss", value, learning_rate });
        }
        self.metrics.push(&record.to_json())?;
        let judged = self.progress.evaluated(&record);
        self.watch.evaluation(&record, judged.best);
        if let Some(overfitting) = &judged.overfitting {
            self.watch.overfitting(overfitting);
        }
        if judged.best {
            self.save_adapter()?;
        }
        Ok(Goes::On)
    }

    fn out_of_patience(&self) -> bool {
        let Progress { evaluations_since_best, .. } = self.progress;
        self.plan.settings.patience.is_some_and(|patience| evaluations_since_best >= patience)
    }

    fn save_adapter(&self) -> Result<(), TrainError> {
        let base = self.plan.model.display().to_string();
        self.directory
            .write_directory(names::ADAPTER, |inside| checkpoint::save_adapter(self.network, inside, &base))
    }

    fn save(&mut self) -> Result<(), TrainError> {
        if self.saved_at == Some(self.progress.step) {
            return Ok(());
        }
        self.metrics.sync()?;
        self.progress.metrics_bytes = self.metrics.bytes();
        let base = self.plan.model.display().to_string();
        let keep = self.plan.settings.keep;
        checkpoint::save(self.directory, self.network, &self.progress, &base, keep)?;
        self.saved_at = Some(self.progress.step);
        self.watch.saved(self.progress.step);
        Ok(())
    }

    /// Saves where the run stands, because it was told to stop.
    fn stopped(&mut self) -> Result<Summary, TrainError> {
        self.save()?;
        Err(TrainError::Stopped { step: self.progress.step, total: self.plan.steps })
    }
}

/// The losses of the last steps.
struct Recent {
    losses: std::collections::VecDeque<f64>,
    most: usize,
}

impl Recent {
    fn new(total: u64) -> Recent {
        Recent { losses: Default::default(), most: (total / 10).clamp(1, 100) as usize }
    }

    fn push(&mut self, loss: f64) {
        if self.losses.len() == self.most {
            self.losses.pop_front();
        }
        self.losses.push_back(loss);
    }

    fn mean(&self) -> Option<f64> {
        (!self.losses.is_empty()).then(|| self.losses.iter().sum::<f64>() / self.losses.len() as f64)
    }
}
