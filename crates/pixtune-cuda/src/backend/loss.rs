//! Cross-entropy of logits that exist for a chunk of rows at a time.

use pixtune_model::kernels::{Head, TokenLoss, Write};
use pixtune_model::weights::Dtype;

use super::memory::{CudaBuffer, CudaIndices};
use super::{CudaKernels, int, linear};
use crate::gpu::{Address, Gpu, Launch};
use crate::launch;

/// Maximum logits that exist at once: 256 MiB of them, and 128 MiB of their gradients.
const LOGITS: usize = 1 << 26;
/// Threads of the kernel, and the numbers that each of them has at a time.
const THREADS: usize = 1024;
const PER_THREAD: usize = 8;

/// Rows whose logits exist at once.
pub(super) fn rows_at_once(rows: usize, vocabulary: usize) -> usize {
    (LOGITS / vocabulary.max(1)).clamp(8, 1024).min(rows.max(1))
}

impl<G: Gpu> CudaKernels<G> {
    pub(super) fn losses(
        &self,
        head: Head<'_, '_, Self>,
        targets: &CudaIndices<G>,
        scale: f32,
        gradient: Option<&CudaBuffer<G>>,
    ) -> Vec<TokenLoss> {
        let (count, vocabulary, hidden) = (targets.len(), head.weight.rows, head.weight.columns);
        let chunk = rows_at_once(count, vocabulary);
        let logits = self.new_buffer(chunk * vocabulary, Dtype::F32);
        let logits_gradient = gradient.map(|_| self.new_buffer(chunk * vocabulary, Dtype::BF16));
        // A loss, then for each target whether it was the most likely token.
        let losses = self.new_buffer(count, Dtype::F32);
        let correct = self.allocate(count * size_of::<u32>());
        let numbers = self.numbers(head.weight);
        let read = self.run(|gpu| {
            let weight = (numbers.matrix(hidden)?, [vocabulary, hidden]);
            for first in (0..count).step_by(chunk) {
                let rows = chunk.min(count - first);
                let x = head.x.matrix_at(first * hidden, hidden)?;
                linear::multiply(
                    gpu,
                    &linear::forward(rows, x, weight, (logits.matrix(vocabulary)?, Write::Set)),
                )?;
                let threads = vocabulary.div_ceil(PER_THREAD).next_multiple_of(32).min(THREADS) as u32;
                let launch =
                    Launch { kernel: "cross_entropy", blocks: [rows, 1], threads, shared_bytes: 32 * 4 };
                let gradient_address =
                    logits_gradient.as_ref().map_or(Ok(Address::NULL), CudaBuffer::address)?;
                launch!(
                    gpu,
                    launch,
                    logits.address()?,
                    targets.address()?.after(first * size_of::<u32>()),
                    gradient_address,
                    losses.address_of(first)?,
                    correct.address()?.after(first * size_of::<u32>()),
                    int(vocabulary)?,
                    scale
                )?;
                if let (Some(to), Some(from)) = (gradient, &logits_gradient) {
                    let out = (to.matrix_at(first * hidden, hidden)?, Write::Set);
                    linear::multiply(gpu, &linear::backward(rows, from.matrix(vocabulary)?, weight, out))?;
                }
            }
            let mut bytes = vec![0; count * size_of::<u32>()];
            if count > 0 {
                gpu.read(correct.address()?, &mut bytes)?;
            }
            Ok(bytes)
        });
        let values = self.downloaded(&losses);
        let flags = read.unwrap_or_else(|| vec![0; count * size_of::<u32>()]);
        let flags = flags.as_chunks().0.iter().map(|flag| u32::from_le_bytes(*flag) != 0);
        values.into_iter().zip(flags).map(|(loss, correct)| TokenLoss { loss, correct }).collect()
    }
}
