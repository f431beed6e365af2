//! Loss and accuracy on held-out samples.

use std::sync::atomic::{AtomicBool, Ordering};

use pixtune_model::kernels::Kernels;
use pixtune_model::network::{Batch, LossSum, Network};

use crate::data::{Epoch, Loading, with_loader};
use crate::error::TrainError;
use crate::settings::Unusable;

/// Sums over all samples, each once, in the order of the files; `None` when it was told to stop on the way.
pub fn evaluate<K: Kernels>(
    network: &Network<'_, K>,
    loading: Loading<'_>,
    batch_tokens: u32,
    unusable: Unusable,
    stop: &AtomicBool,
    hear: &mut dyn FnMut(Heard<'_>),
) -> Result<Option<LossSum>, TrainError> {
    let entries = loading.dataset.entries();
    let epoch = Epoch::in_file_order(entries, batch_tokens);
    let count = epoch.steps();
    let jobs = (0..count).flat_map(|step| epoch.batches(entries, step));
    with_loader(loading, jobs, |batches| {
        let mut sum = LossSum::default();
        for (done, loaded) in (1..).zip(batches) {
            let loaded = loaded?;
            for finding in &loaded.findings {
                hear(Heard::Finding(finding));
                if unusable == Unusable::Refuse {
                    return Err(TrainError::UnusableOnTheWay { place: finding.to_string() });
                }
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            if !loaded.sequences.is_empty() {
                let batch = Batch::pack(&loaded.sequences, network.shape().image_token)?;
                sum += network.forward_loss(&batch)?;
            }
            hear(Heard::Batch { done, of: count });
        }
        Ok(Some(sum))
    })
}

/// What happens during an evaluation.
#[derive(Debug)]
pub enum Heard<'f> {
    /// A sample turned out to be unusable.
    Finding(&'f pixtune_core::diagnostic::Diagnostic),
    /// A batch is done.
    Batch {
        /// How many are.
        done: usize,
        /// Of how many.
        of: usize,
    },
}
