//! What a run will take, before it is started: memory by part, and the time of a step measured on two.

use std::time::Instant;

use pixtune_model::kernels::{AdamW, Kernels};
use pixtune_model::network::{Batch, MemoryEstimate, Network, Pass};

use crate::data::{Cache, Dataset, Epoch, Loading, with_loader};
use crate::error::TrainError;
use crate::settings::Plan;
use crate::steps::Steps;

/// A step that was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Tokens it read.
    pub tokens: u64,
    /// Seconds it took.
    pub seconds: f64,
}

/// What is known about a run before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// Numbers that are trained.
    pub trained_parameters: usize,
    /// Memory of the largest batch of the first epoch, by part.
    pub memory: MemoryEstimate,
    /// Images and ids that wait to be trained on, and samples that are kept for the next epoch.
    pub waiting: u64,
    /// Tokens of the largest batch of the first epoch.
    pub largest_batch: u64,
    /// The steps that were measured.
    pub steps: Vec<Measured>,
}

impl Forecast {
    /// Seconds for so many tokens. The first step is left out where there is another: it also pays for what is made once.
    pub fn seconds(&self, tokens: u64) -> Option<f64> {
        let last = self.steps.last()?;
        Some(last.seconds / last.tokens.max(1) as f64 * tokens as f64)
    }
}

/// So many steps are measured.
const MEASURED: u64 = 2;

/// Finds out by looking at the batches and taking two steps, which change the network but nothing on disk.
pub fn forecast<K: Kernels>(
    plan: &Plan,
    network: &mut Network<'_, K>,
    train: &Dataset<'_>,
) -> Result<Forecast, TrainError> {
    let largest = Largest::of(&Epoch::new(train.entries(), plan.packing, 0), train);
    let memory = network.memory(largest.tokens as usize, largest.patches as usize, largest.trained as usize);
    let threads = plan.settings.threads.clamp(1, crate::trainer::MOST_LOADING_THREADS) as u64;
    let (cache, steps) =
        (Cache::new(0), Steps::new(train.entries(), plan.packing, 0, 0, MEASURED.min(plan.steps)));
    let loading = Loading { dataset: train, cache: &cache, threads: threads as usize };
    let jobs = steps.clone().flat_map(|step| step.batches);
    let measured = with_loader(loading, jobs, |mut batches| {
        let mut measured = Vec::new();
        for step in steps {
            let start = Instant::now();
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
            measured.push(Measured { tokens, seconds: start.elapsed().as_secs_f64() });
        }
        Ok::<_, TrainError>(measured)
    })?;
    Ok(Forecast {
        trained_parameters: network.trained_parameters(),
        memory,
        waiting: largest.waiting(plan, threads)
            + (plan.settings.cache_bytes as u64).min(train.loaded_bytes()),
        largest_batch: largest.tokens,
        steps: measured,
    })
}

/// The largest batch of an epoch, in each respect.
#[derive(Default)]
struct Largest {
    tokens: u64,
    patches: u64,
    trained: u64,
    patch_bytes: u64,
}

impl Largest {
    fn of(epoch: &Epoch, train: &Dataset<'_>) -> Largest {
        let entries = train.entries();
        let mut largest = Largest { patch_bytes: train.patch_bytes(), ..Largest::default() };
        for step in 0..epoch.steps() {
            for batch in epoch.batches(entries, step) {
                let sum = |of: fn(&crate::data::Entry) -> u32| -> u64 {
                    batch.iter().map(|&sample| u64::from(of(&entries[sample as usize]))).sum()
                };
                largest.tokens = largest.tokens.max(sum(|entry| entry.tokens));
                largest.patches = largest.patches.max(sum(|entry| entry.image_tokens));
                largest.trained = largest.trained.max(sum(|entry| entry.trained));
            }
        }
        largest
    }

    /// Bytes of the batches that are loaded ahead, and of the step's own.
    fn waiting(&self, plan: &Plan, threads: u64) -> u64 {
        let batch = self.patches * self.patch_bytes + 5 * self.tokens;
        batch * (4 * threads + 1 + u64::from(plan.packing.accumulate))
    }
}
