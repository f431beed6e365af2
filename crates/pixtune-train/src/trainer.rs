//! The training loop: load, forward and backward, clip, step, evaluate, save.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use pixtune_core::diagnostic::Diagnostic;
use pixtune_core::metrics::{EvaluationRecord, Record, StepRecord};
use pixtune_core::random::SplitMix64;
use pixtune_evaluate::References;
use pixtune_model::kernels::{AdamW, Kernels};
use pixtune_model::network::{Batch, LossSum, Network, NetworkError, Pass};

use crate::checkpoint;
use crate::data::{Cache, Dataset, Loaded, Loader, Loading, with_loader};
use crate::directory::{RunDirectory, names};
use crate::error::TrainError;
use crate::evaluate::{EvaluationEvent, evaluate};
use crate::examples::{self, Answers, Wanted};
use crate::guard::{Divergence, Guard};
use crate::metrics::{MetricsWriter, peak_memory};
use crate::plan::RunPlan;
use crate::recent::RecentLosses;
use crate::report;
use crate::settings::InvalidSamples;
use crate::state::{Overfitting, RunState};
use crate::steps::{StepPlan, Steps};

/// Validation samples below which a loss is too uncertain to be called overfitting.
const ENOUGH_SAMPLES: u64 = 20;

/// Receives the events of a run.
pub trait Observer {
    /// A sample cannot be trained on.
    fn finding(&mut self, diagnostic: &Diagnostic);
    /// A step finished.
    fn step(&mut self, record: &StepRecord, plan: &RunPlan);
    /// An evaluation has read `done` of `total` batches.
    fn evaluating(&mut self, done: usize, total: usize);
    /// An evaluation is complete.
    fn evaluation(&mut self, record: &EvaluationRecord, best: bool);
    /// Validation gets worse while training gets better.
    fn overfitting(&mut self, overfitting: &Overfitting);
    /// The device had no memory for this step: it is repeated, and from now on activations are recomputed.
    fn recomputing(&mut self, step: u64);
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The state at the end.
    pub state: RunState,
    /// Whether `--patience` ended the run before its last step.
    pub stopped_early: bool,
    /// The mean loss of the last steps, a tenth of the run at most.
    pub final_loss: Option<f64>,
    /// Samples that turned out to be invalid and were skipped.
    pub skipped: u64,
}

/// A run and everything it works with.
pub struct Run<'r, 'w, K: Kernels> {
    /// What to do.
    pub plan: &'r RunPlan,
    /// The network to train.
    pub network: &'r mut Network<'w, K>,
    /// The training split.
    pub train: &'r Dataset<'r>,
    /// The validation split.
    pub validation: Option<&'r Dataset<'r>>,
    /// The output.
    pub directory: &'r RunDirectory,
    /// Set from outside, it ends the run after the current batch.
    pub stop: &'r AtomicBool,
    /// Whether the metrics are written for TensorBoard as well.
    pub events: bool,
    /// Samples of the validation split that the model answers at every evaluation, for people to read.
    pub examples: usize,
    /// References of validation samples beside their own responses, for the metric of the plan.
    pub references: &'r References,
}

/// Trains from the beginning, or from `state` with the network as its checkpoint left it.
pub fn train<K: Kernels>(
    run: Run<'_, '_, K>,
    state: RunState,
    observer: &mut dyn Observer,
) -> Result<Summary, TrainError> {
    let mut metrics = MetricsWriter::open(run.directory.join(names::METRICS), state.metrics_bytes)?;
    if run.events {
        metrics.write_events(run.directory.join(names::EVENTS))?;
    }
    let [train_cache, validation_cache] = caches(&run);
    let threads = loading_threads(run.plan);
    let loading = Loading { dataset: run.train, cache: &train_cache, threads };
    let validation = run.validation.map(|dataset| Loading { dataset, cache: &validation_cache, threads });
    let remaining = run.plan.steps.saturating_sub(state.step);
    let steps =
        Steps::new(run.train.entries(), run.plan.packing, state.epoch, state.step_in_epoch, remaining);
    let jobs = steps.clone().flat_map(|step| step.batches);
    let mut trainer = Trainer {
        plan: run.plan,
        validation,
        directory: run.directory,
        stop: run.stop,
        metrics,
        // Nothing has to be saved before the first step, and a resumed run was saved where it stands.
        saved_at: Some(state.step),
        guard: Guard::new(run.network.shape().vocabulary, state.guard),
        network: run.network,
        state,
        skipped: 0,
        examples: run.examples,
        references: run.references,
        observer,
    };
    with_loader(loading, jobs, |batches| trainer.run(steps, batches))
}

/// Caches for the training and the validation split; both share the memory by their numbers of samples.
fn caches<K: Kernels>(run: &Run<'_, '_, K>) -> [Cache; 2] {
    let samples = [run.train.entries().len(), run.validation.map_or(0, |dataset| dataset.entries().len())];
    let all = samples.iter().sum::<usize>().max(1);
    let bytes = run.plan.settings.cache_bytes as f64;
    samples.map(|part| Cache::new((bytes * part as f64 / all as f64) as usize))
}

/// Threads that decode samples. Decoding is far quicker than training: more threads would only keep more images in memory.
pub(crate) fn loading_threads(plan: &RunPlan) -> usize {
    plan.settings.threads.clamp(1, 4)
}

struct Trainer<'r, 'w, K: Kernels> {
    plan: &'r RunPlan,
    network: &'r mut Network<'w, K>,
    validation: Option<Loading<'r>>,
    directory: &'r RunDirectory,
    stop: &'r AtomicBool,
    metrics: MetricsWriter,
    state: RunState,
    saved_at: Option<u64>,
    guard: Guard,
    skipped: u64,
    examples: usize,
    references: &'r References,
    observer: &'r mut dyn Observer,
}

impl<K: Kernels> Trainer<'_, '_, K> {
    fn run(&mut self, mut steps: Steps<'_>, mut batches: Loader) -> Result<Summary, TrainError> {
        let mut recent = RecentLosses::new(self.plan.steps);
        let mut start = Instant::now();
        let stopped_early = loop {
            if self.validation.is_some() && self.evaluation_is_due() {
                if self.evaluate()?.is_break() {
                    return self.stopped();
                }
                start = Instant::now();
            }
            let done = self.state.step >= self.plan.steps;
            let stopped_early = !done && self.out_of_patience();
            if let Some(divergence) = self.guard.at_end().filter(|_| done) {
                return Err(self.diverged(divergence)?);
            }
            let is_due = self.state.step.is_multiple_of(self.plan.save_every) && !self.guard.is_suspicious();
            if done || stopped_early || is_due {
                self.save()?;
            }
            if done || stopped_early {
                break stopped_early;
            }
            let Some(step) = steps.next() else { break false };
            let Some((loss, tokens)) = self.forward_backward(&step, &mut batches)? else {
                return self.stopped();
            };
            recent.push(self.update(&step, loss, tokens, start)?.loss);
            start = Instant::now();
        };
        if self.validation.is_none() {
            self.save_adapter()?;
        }
        self.metrics.sync()?;
        let (state, skipped) = (self.state.clone(), self.skipped);
        Ok(Summary { state, stopped_early, final_loss: recent.mean(), skipped })
    }

    fn evaluation_is_due(&self) -> bool {
        self.state.evaluation_is_due(self.plan.eval_every, self.plan.steps)
    }

    /// The gradients of a step, with the sum of its losses and its tokens; `None` if the run is stopped meanwhile, with the
    /// network as it was before.
    fn forward_backward(
        &mut self,
        step: &StepPlan,
        batches: &mut Loader,
    ) -> Result<Option<(LossSum, u64)>, TrainError> {
        // All batches first: the loss is divided by the trained tokens of the whole step, and a sample may turn out to be
        // invalid.
        let mut ready = Vec::with_capacity(step.batches.len());
        for _ in &step.batches {
            let loaded = batches.next().expect("the loader has a batch for each of the plan")?;
            ready.extend(self.pack(loaded)?);
        }
        match self.gradients(&ready) {
            // Less memory, and the same gradients to the bit.
            Err(error) if error.is_out_of_memory() && self.network.recompute_all() => {
                self.observer.recomputing(self.state.step + 1);
                Ok(self.gradients(&ready)?)
            }
            result => Ok(result?),
        }
    }

    /// The gradients of the batches of a step; `None` if the run is stopped meanwhile.
    fn gradients(&mut self, ready: &[Batch]) -> Result<Option<(LossSum, u64)>, NetworkError> {
        let trained: usize = ready.iter().map(Batch::trained_tokens).sum();
        let scale = 1.0 / trained.max(1) as f32;
        let (mut sum, mut tokens) = (LossSum::default(), 0);
        self.network.zero_gradients();
        for (index, batch) in (0_u64..).zip(ready) {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let pass = Pass { scale, dropout_seed: self.dropout_seed(index) };
            sum += self.network.forward_backward(batch, pass)?;
            tokens += batch.tokens() as u64;
        }
        Ok(Some((sum, tokens)))
    }

    fn pack(&mut self, loaded: Loaded) -> Result<Option<Batch>, TrainError> {
        for finding in &loaded.findings {
            self.observer.finding(finding);
            self.skipped += 1;
            if self.plan.settings.invalid_samples == InvalidSamples::Refuse {
                self.save()?;
                return Err(TrainError::InvalidDuringRun { finding: finding.to_string() });
            }
        }
        if loaded.sequences.is_empty() {
            return Ok(None);
        }
        Ok(Some(Batch::pack(&loaded.sequences, self.network.shape().image_token)?))
    }

    /// A different seed for every batch of the run, the same whenever the run is repeated or resumed.
    fn dropout_seed(&self, batch: u64) -> u64 {
        SplitMix64::stream(self.plan.packing.seed, (self.state.step << 16) | batch).bits()
    }

    fn update(
        &mut self,
        step: &StepPlan,
        sum: LossSum,
        tokens: u64,
        start: Instant,
    ) -> Result<StepRecord, TrainError> {
        let number = self.state.step + 1;
        let learning_rate = self.plan.schedule.learning_rate(self.state.step);
        let loss = self.finite(number, "loss", sum.loss / sum.trained_tokens.max(1) as f64)?;
        let max_norm = Some(self.plan.settings.max_grad_norm);
        let grad_norm = self.network.clip_gradients(max_norm);
        let grad_norm = self.finite(number, "gradient norm", grad_norm)?;
        let weight_decay = self.plan.settings.weight_decay;
        self.network.adamw(&AdamW { learning_rate, weight_decay, ..AdamW::default() });
        let record = StepRecord {
            step: number,
            loss,
            learning_rate,
            grad_norm,
            tokens,
            trained_tokens: sum.trained_tokens as u64,
            seconds: start.elapsed().as_secs_f64(),
            peak_memory_bytes: peak_memory(),
        };
        self.metrics.push(&Record::Step(record))?;
        self.state.record_step(&record);
        self.state.epoch = step.epoch;
        self.state.step_in_epoch = step.in_epoch + 1;
        self.observer.step(&record, self.plan);
        let found = self.guard.step(&record);
        self.state.guard = self.guard.memory();
        match found {
            None => Ok(record),
            Some(divergence) => Err(self.diverged(divergence)?),
        }
    }

    /// The error that ends a run in which nothing is learned any more.
    fn diverged(&self, divergence: Divergence) -> Result<TrainError, TrainError> {
        let learning_rate = self.plan.schedule.learning_rate(self.state.step.saturating_sub(1));
        let kept = self.keep_sound(divergence.since)?;
        Ok(TrainError::Diverged { divergence, learning_rate, kept })
    }

    /// A number of a step, unless the step failed.
    fn finite(&self, step: u64, what: &'static str, value: f64) -> Result<f64, TrainError> {
        if value.is_finite() {
            return Ok(value);
        }
        let learning_rate = self.plan.schedule.learning_rate(step.saturating_sub(1));
        let bad = self.guard.since().unwrap_or(step);
        Err(TrainError::NotFinite { step, what, value, learning_rate, kept: self.keep_sound(bad)? })
    }

    /// Leaves the last sound adapter in the output of a run that went wrong at step `bad`.
    fn keep_sound(&self, bad: u64) -> Result<crate::Kept, TrainError> {
        let best = self.validation.and(self.state.best).map(|best| best.step);
        checkpoint::keep_sound(self.directory, bad, best)
    }

    /// Evaluates the validation split; `Break` if the run is stopped meanwhile.
    fn evaluate(&mut self) -> Result<ControlFlow<()>, TrainError> {
        let Some(validation) = self.validation else { return Ok(ControlFlow::Continue(())) };
        let start = Instant::now();
        let observer = &mut *self.observer;
        let mut report = |event: EvaluationEvent<'_>| match event {
            EvaluationEvent::Finding(finding) => observer.finding(finding),
            EvaluationEvent::Batch { done, total } => observer.evaluating(done, total),
        };
        let invalid_samples = self.plan.settings.invalid_samples;
        let batch_tokens = self.plan.packing.batch_tokens;
        let sum = evaluate(self.network, validation, batch_tokens, invalid_samples, self.stop, &mut report)?;
        let Some(sum) = sum else { return Ok(ControlFlow::Break(())) };
        let score = match self.answer(validation.dataset)? {
            Answers::Stopped => return Ok(ControlFlow::Break(())),
            Answers::Written(score) => score,
        };
        self.record_evaluation(sum, score, start)?;
        Ok(ControlFlow::Continue(()))
    }

    /// Lets the model answer samples, as many as are to be shown and as many as are to be scored.
    fn answer(&self, dataset: &Dataset<'_>) -> Result<Answers, TrainError> {
        let metric = self.plan.settings.metric;
        let samples = self.examples.max(metric.map_or(0, |metric| metric.samples));
        if samples == 0 {
            return Ok(Answers::Written(None));
        }
        let metric = metric.map(|metric| (metric.scorer, self.references));
        let wanted = Wanted { samples, step: self.state.step, metric };
        examples::write(self.directory, self.network, dataset, wanted, self.stop)
    }

    /// Writes an evaluation down and keeps the adapter where it is the best so far.
    fn record_evaluation(
        &mut self,
        sum: LossSum,
        valid_score: Option<f64>,
        start: Instant,
    ) -> Result<(), TrainError> {
        let step = self.state.step;
        let tokens = sum.trained_tokens.max(1) as f64;
        let valid_loss = sum.loss / tokens;
        let valid_loss = self.finite(step + 1, "validation loss", valid_loss)?;
        let record = EvaluationRecord {
            step,
            valid_loss,
            valid_token_accuracy: sum.correct_tokens as f64 / tokens,
            valid_tokens: sum.trained_tokens as u64,
            valid_score,
            seconds: start.elapsed().as_secs_f64(),
        };
        self.metrics.push(&Record::Evaluation(record))?;
        let judgment = self.state.record_evaluation(&record);
        self.observer.evaluation(&record, judgment.best);
        let samples = self.plan.validation.as_ref().map_or(0, |validation| validation.samples);
        if let Some(overfitting) = judgment.overfitting.as_ref().filter(|_| samples >= ENOUGH_SAMPLES) {
            self.observer.overfitting(overfitting);
        }
        if judgment.best {
            self.save_adapter()?;
        }
        // A run can be followed in a browser, too.
        report::write(self.directory, self.plan)
    }

    fn out_of_patience(&self) -> bool {
        let evaluations = self.state.evaluations_since_best;
        self.plan.settings.patience.is_some_and(|patience| evaluations >= patience)
    }

    fn save_adapter(&self) -> Result<(), TrainError> {
        let base = self.plan.model.display().to_string();
        self.directory
            .write_directory(names::ADAPTER, |inside| checkpoint::save_adapter(self.network, inside, &base))
    }

    fn save(&mut self) -> Result<(), TrainError> {
        if self.saved_at == Some(self.state.step) {
            return Ok(());
        }
        self.metrics.sync()?;
        self.state.metrics_bytes = self.metrics.bytes();
        let base = self.plan.model.display().to_string();
        let keep = self.plan.settings.keep;
        checkpoint::save(self.directory, self.network, &self.state, &base, keep)?;
        self.saved_at = Some(self.state.step);
        Ok(())
    }

    /// Saves the state of a run that was stopped from outside.
    fn stopped(&mut self) -> Result<Summary, TrainError> {
        self.save()?;
        Err(TrainError::Stopped { step: self.state.step, total: self.plan.steps })
    }
}
