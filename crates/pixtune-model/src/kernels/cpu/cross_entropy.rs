//! Cross-entropy of logits that exist for a chunk of rows at a time.

use rayon::prelude::*;

use super::CpuKernels;
use super::simd::{LANES, exp, sum_lanes};
use super::weight::CpuWeight;
use crate::kernels::{TokenLoss, Write};
use crate::simd::vectorized;

/// Maximum logits that exist at once.
const LOGITS: usize = 1 << 23;

/// The target of a row of logits, and the factor of its gradient.
struct Row {
    target: usize,
    scale: f32,
    gradient: bool,
}

/// Rows whose logits exist at once.
pub(super) fn rows_at_once(rows: usize, vocabulary: usize) -> usize {
    (LOGITS / vocabulary.max(1)).clamp(8, 1024).min(rows.max(1))
}

impl CpuKernels {
    pub(super) fn cross_entropy_rows(
        &self,
        (x, weight): (&[f32], &CpuWeight),
        targets: &[u32],
        scale: f32,
        mut gradient: Option<&mut [f32]>,
    ) -> Vec<TokenLoss> {
        let (hidden, vocabulary) = (weight.columns, weight.rows);
        let rows = rows_at_once(targets.len(), vocabulary);
        let mut logits = self.pool.take(rows * vocabulary);
        let mut losses = Vec::with_capacity(targets.len());
        for (chunk, targets) in targets.chunks(rows).enumerate() {
            let range = chunk * rows * hidden..(chunk * rows + targets.len()) * hidden;
            let logits = &mut logits[..targets.len() * vocabulary];
            self.weight_times(&x[range.clone()], weight, None, logits, Write::Set);
            let gradient_wanted = gradient.is_some();
            self.run(|| {
                let rows = logits.par_chunks_exact_mut(vocabulary).zip(targets);
                let rows = rows.map(|(logits, target)| {
                    let row = Row { target: *target as usize, scale, gradient: gradient_wanted };
                    cross_entropy(logits, &row)
                });
                losses.par_extend(rows);
            });
            if let Some(gradient) = &mut gradient {
                self.weight_transposed_times(logits, weight, None, &mut gradient[range], Write::Set);
            }
        }
        losses
    }
}

vectorized! {
    /// The loss of one row; its logits are replaced with their gradients if those are requested.
    fn cross_entropy(logits: &mut [f32], row: &Row) -> TokenLoss {
        let target = logits[row.target];
        let mut max = f32::NEG_INFINITY;
        let mut best = 0;
        for (index, &logit) in logits.iter().enumerate() {
            // A NaN is never larger; the sum below propagates it into the loss.
            if logit > max {
                (max, best) = (logit, index);
            }
        }
        let (chunks, rest) = logits.as_chunks::<LANES>();
        let mut sums = [0.0f32; LANES];
        for chunk in chunks {
            for lane in 0..LANES {
                sums[lane] += exp(chunk[lane] - max);
            }
        }
        let sum = sum_lanes(sums) + rest.iter().map(|logit| exp(logit - max)).sum::<f32>();
        let log_sum_exp = max + sum.ln();
        if row.gradient {
            let factor = row.scale / sum;
            for logit in logits.iter_mut() {
                *logit = exp(*logit - max) * factor;
            }
            logits[row.target] -= row.scale;
        }
        TokenLoss { loss: log_sum_exp - target, correct: best == row.target }
    }
}
