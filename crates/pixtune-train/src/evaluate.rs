//! Loss and accuracy on the validation split.

use std::sync::atomic::{AtomicBool, Ordering};

use pixtune_core::diagnostic::Diagnostic;
use pixtune_model::kernels::Kernels;
use pixtune_model::network::{Batch, LossSum, Network};

use crate::data::{Epoch, Loading, with_loader};
use crate::error::TrainError;
use crate::settings::InvalidSamples;

/// Sums over all samples, each once, in the order of the files; `None` if `stop` was set meanwhile.
pub fn evaluate<K: Kernels>(
    network: &Network<'_, K>,
    loading: Loading<'_>,
    batch_tokens: u32,
    invalid_samples: InvalidSamples,
    stop: &AtomicBool,
    report: &mut dyn FnMut(EvaluationEvent<'_>),
) -> Result<Option<LossSum>, TrainError> {
    let entries = loading.dataset.entries();
    let epoch = Epoch::in_file_order(entries, batch_tokens);
    let total = epoch.steps();
    let jobs = (0..total).flat_map(|step| epoch.batches(entries, step));
    with_loader(loading, jobs, |batches| {
        let mut sum = LossSum::default();
        for (done, loaded) in (1..).zip(batches) {
            let loaded = loaded?;
            for finding in &loaded.findings {
                report(EvaluationEvent::Finding(finding));
                if invalid_samples == InvalidSamples::Refuse {
                    return Err(TrainError::InvalidDuringRun { finding: finding.to_string() });
                }
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            if !loaded.sequences.is_empty() {
                let batch = Batch::pack(&loaded.sequences, network.shape().image_token)?;
                sum += network.forward_loss(&batch)?;
            }
            report(EvaluationEvent::Batch { done, total });
        }
        Ok(Some(sum))
    })
}

/// What happens during an evaluation.
#[derive(Debug)]
pub enum EvaluationEvent<'f> {
    /// A sample turned out to be invalid.
    Finding(&'f Diagnostic),
    /// A batch is done.
    Batch {
        /// Batches done.
        done: usize,
        /// All batches.
        total: usize,
    },
}
