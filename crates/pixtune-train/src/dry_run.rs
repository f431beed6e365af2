//! What a run will take, before it is started: memory by part, and the time of a step measured on two.

use std::time::Instant;

use pixtune_model::kernels::{AdamW, Kernels};
use pixtune_model::network::{Batch, MemoryEstimate, Network, Pass};

use crate::data::{Cache, Dataset, Entry, Epoch, Loader, Loading, with_loader};
use crate::error::TrainError;
use crate::plan::RunPlan;
use crate::steps::{StepPlan, Steps};
use crate::trainer::loading_threads;

/// A measured step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeasuredStep {
    /// Tokens it read.
    pub tokens: u64,
    /// Seconds it took.
    pub seconds: f64,
}

/// What is known about a run before it starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// Trained parameters.
    pub trained_parameters: usize,
    /// Memory of the largest batch of the first epoch, by part.
    pub memory: MemoryEstimate,
    /// Bytes of samples: those that wait to be trained on, and those that are cached for the next epoch.
    pub sample_bytes: u64,
    /// Tokens of the largest batch of the first epoch.
    pub largest_batch: u64,
    /// The measured steps.
    pub steps: Vec<MeasuredStep>,
}

impl Forecast {
    /// Estimated seconds for this many tokens. The first of several steps is not counted: it includes one-time work.
    pub fn seconds(&self, tokens: u64) -> Option<f64> {
        let last = self.steps.last()?;
        Some(last.seconds / last.tokens.max(1) as f64 * tokens as f64)
    }
}

/// How many steps are measured.
const MEASURED_STEPS: u64 = 2;

/// Inspects the batches of the first epoch and takes two steps, which change the network but nothing on disk.
pub fn forecast<K: Kernels>(
    plan: &RunPlan,
    network: &mut Network<'_, K>,
    train: &Dataset<'_>,
) -> Result<Forecast, TrainError> {
    let largest = {
        let squares = network.shape().merge.pow(2) as u64;
        Largest::of(&Epoch::new(train.entries(), plan.packing, 0), train.entries(), squares)
    };
    let memory = network.memory(largest.tokens as usize, largest.patches as usize, largest.trained as usize);
    let cached = (plan.settings.cache_bytes as u64).min(train.loaded_bytes());
    Ok(Forecast {
        trained_parameters: network.trained_parameters(),
        memory,
        sample_bytes: largest.waiting_bytes(plan, train.patch_bytes()) + cached,
        largest_batch: largest.tokens,
        steps: measure(plan, network, train)?,
    })
}

fn measure<K: Kernels>(
    plan: &RunPlan,
    network: &mut Network<'_, K>,
    train: &Dataset<'_>,
) -> Result<Vec<MeasuredStep>, TrainError> {
    let cache = Cache::new(0);
    let loading = Loading { dataset: train, cache: &cache, threads: loading_threads(plan) };
    let steps = Steps::new(train.entries(), plan.packing, 0, 0, MEASURED_STEPS.min(plan.steps));
    let jobs = steps.clone().flat_map(|step| step.batches);
    with_loader(loading, jobs, |mut batches| {
        let measured = steps.map(|step| {
            let start = Instant::now();
            let tokens = take_step(plan, network, &step, &mut batches)?;
            Ok(MeasuredStep { tokens, seconds: start.elapsed().as_secs_f64() })
        });
        measured.collect()
    })
}

/// Does the work of a training step; returns its tokens.
fn take_step<K: Kernels>(
    plan: &RunPlan,
    network: &mut Network<'_, K>,
    step: &StepPlan,
    batches: &mut Loader,
) -> Result<u64, TrainError> {
    let mut tokens = 0;
    network.zero_gradients();
    for _ in &step.batches {
        let loaded = batches.next().expect("the loader has a batch for each of the plan")?;
        if loaded.sequences.is_empty() {
            continue;
        }
        let batch = Batch::pack(&loaded.sequences, network.shape().image_token)?;
        let scale = 1.0 / batch.trained_tokens().max(1) as f32;
        network.forward_backward(&batch, Pass { scale, dropout_seed: 0 })?;
        tokens += batch.tokens() as u64;
    }
    network.clip_gradients(Some(plan.settings.max_grad_norm));
    network.adamw(&AdamW { learning_rate: plan.settings.learning_rate, ..AdamW::default() });
    Ok(tokens)
}

/// The largest batch of an epoch, in each respect.
#[derive(Default)]
struct Largest {
    tokens: u64,
    patches: u64,
    trained: u64,
}

impl Largest {
    /// `squares` are the patches that one token of an image stands for.
    fn of(epoch: &Epoch, entries: &[Entry], squares: u64) -> Largest {
        let mut largest = Largest::default();
        for batch in (0..epoch.steps()).flat_map(|step| epoch.batches(entries, step)) {
            let sum = |of: fn(&Entry) -> u32| -> u64 {
                batch.iter().map(|&sample| u64::from(of(&entries[sample as usize]))).sum()
            };
            largest.tokens = largest.tokens.max(sum(|entry| entry.tokens));
            largest.patches = largest.patches.max(squares * sum(|entry| entry.image_tokens));
            largest.trained = largest.trained.max(sum(|entry| entry.trained));
        }
        largest
    }

    /// Bytes of the batches that are loaded ahead, and of the step's own.
    fn waiting_bytes(&self, plan: &RunPlan, patch_bytes: u64) -> u64 {
        let batch = self.patches * patch_bytes + 5 * self.tokens;
        batch * (4 * loading_threads(plan) as u64 + 1 + u64::from(plan.packing.accumulate))
    }
}
