//! AdamW, and the norm of the gradients.

use rayon::prelude::*;

use super::{CHUNK, CpuKernels};
use crate::kernels::AdamW;
use crate::simd::vectorized;

/// The factors of one AdamW step.
#[derive(Clone, Copy)]
struct Factors {
    decay: f32,
    beta1: f32,
    beta2: f32,
    one_minus_beta1: f32,
    one_minus_beta2: f32,
    step_size: f32,
    bias_correction2_sqrt: f32,
    epsilon: f32,
}

impl Factors {
    /// Rounded as `torch.optim.AdamW` rounds them: computed in double precision, then used in single.
    fn new(step: &AdamW, steps: u64) -> Factors {
        let correction = |beta: f64| 1.0 - beta.powf(steps as f64);
        Factors {
            decay: (1.0 - step.learning_rate * step.weight_decay) as f32,
            beta1: step.beta1 as f32,
            beta2: step.beta2 as f32,
            one_minus_beta1: (1.0 - step.beta1) as f32,
            one_minus_beta2: (1.0 - step.beta2) as f32,
            step_size: (step.learning_rate / correction(step.beta1)) as f32,
            bias_correction2_sqrt: correction(step.beta2).sqrt() as f32,
            epsilon: step.epsilon as f32,
        }
    }
}

vectorized! {
    fn adamw(factors: Factors, gradients: &[f32], parameters: &mut [f32], first: &mut [f32], second: &mut [f32]) {
        let f = factors;
        let state = parameters.iter_mut().zip(first).zip(second);
        for (gradient, ((parameter, first), second)) in gradients.iter().zip(state) {
            *first = *first * f.beta1 + gradient * f.one_minus_beta1;
            *second = *second * f.beta2 + gradient * gradient * f.one_minus_beta2;
            let denominator = second.sqrt() / f.bias_correction2_sqrt + f.epsilon;
            *parameter = *parameter * f.decay - f.step_size * (*first / denominator);
        }
    }
}

impl CpuKernels {
    pub(super) fn adamw_step(
        &self,
        step: &AdamW,
        steps: u64,
        gradients: &[f32],
        (parameters, first, second): (&mut [f32], &mut [f32], &mut [f32]),
    ) {
        let factors = Factors::new(step, steps);
        let chunks = gradients.par_chunks(CHUNK).zip(parameters.par_chunks_mut(CHUNK));
        let moments = first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK));
        self.run(|| {
            chunks.zip(moments).for_each(|((gradients, parameters), (first, second))| {
                adamw(factors, gradients, parameters, first, second);
            });
        });
    }

    /// The Euclidean norm. The sums of chunks are added in order, so the number of threads does not change the result.
    pub(super) fn l2_norm_of(&self, values: &[f32]) -> f64 {
        let square = |chunk: &[f32]| chunk.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>();
        let sums: Vec<f64> = self.run(|| values.par_chunks(CHUNK).map(square).collect());
        sums.iter().sum::<f64>().sqrt()
    }
}
