//! Low-rank updates and the optimizer.

use rayon::prelude::*;

use super::CpuKernels;
use super::matrix::{Matrix, MatrixMut};
use super::product::Term;
use super::simd::vectorised;
use crate::kernels::{Lora, LoraBackward, Write};
use crate::network::AdamW;

impl CpuKernels {
    /// `dB += s dy^T h`, `dh = s dy B`, `dA += dh^T x`, `dx = dy W + dh A`.
    pub(super) fn lora_gradients(
        &self,
        lora: &Lora,
        pass: LoraBackward<'_, '_, CpuKernels>,
        x_gradient: Option<(&mut [f32], Write)>,
    ) {
        let a = Matrix::new(&pass.parameters[lora.a.clone()], lora.inputs);
        let b = Matrix::new(&pass.parameters[lora.b.clone()], lora.rank);
        let x = Matrix::new(pass.x, lora.inputs);
        let dy = Matrix::new(pass.y_gradient, lora.outputs);
        let hidden = Matrix::new(pass.hidden, lora.rank);
        // Mirrored, because results are wide: dy is read as it lies.
        let mut db = self.pool.take(lora.rank * lora.outputs);
        let mirrored = MatrixMut::new(&mut db, lora.outputs);
        self.product(mirrored, Write::Set, lora.scaling, (hidden.transposed(), dy));
        self.each_row(&mut pass.gradients[lora.b.clone()], lora.rank, |output, gradients| {
            let column = db[output..].iter().step_by(lora.outputs);
            gradients.iter_mut().zip(column).for_each(|(gradient, more)| *gradient += more);
        });
        let mut dh = self.pool.take(pass.hidden.len());
        self.product(MatrixMut::new(&mut dh, lora.rank), Write::Set, lora.scaling, (dy, b));
        let dh = Matrix::new(&dh, lora.rank);
        let da = MatrixMut::new(&mut pass.gradients[lora.a.clone()], lora.inputs);
        self.product(da, Write::Add, 1.0, (dh.transposed(), x));
        let Some((dx, write)) = x_gradient else { return };
        let through = Term::new(dh, a);
        match pass.weight {
            Some(weight) => self.weight_transposed_times(pass.y_gradient, weight, Some(through), dx, write),
            None => self.sum(MatrixMut::new(dx, lora.inputs), write, 1.0, &[through]),
        }
    }
}

/// What one number of an AdamW step is multiplied with.
#[derive(Clone, Copy)]
struct Factors {
    decay: f32,
    beta1: f32,
    beta2: f32,
    rest1: f32,
    rest2: f32,
    step: f32,
    root: f32,
    epsilon: f32,
}

impl Factors {
    /// As `torch.optim.AdamW` rounds them: computed in double precision, then used in single.
    fn new(step: &AdamW, steps: u64) -> Factors {
        let correction = |beta: f64| 1.0 - beta.powf(steps as f64);
        Factors {
            decay: (1.0 - step.learning_rate * step.weight_decay) as f32,
            beta1: step.beta1 as f32,
            beta2: step.beta2 as f32,
            rest1: (1.0 - step.beta1) as f32,
            rest2: (1.0 - step.beta2) as f32,
            step: (step.learning_rate / correction(step.beta1)) as f32,
            root: correction(step.beta2).sqrt() as f32,
            epsilon: step.epsilon as f32,
        }
    }
}

vectorised! {
    fn adamw(factors: Factors, gradients: &[f32], parameters: &mut [f32], first: &mut [f32], second: &mut [f32]) {
        let f = factors;
        let state = parameters.iter_mut().zip(first).zip(second);
        for (gradient, ((parameter, first), second)) in gradients.iter().zip(state) {
            *first = *first * f.beta1 + gradient * f.rest1;
            *second = *second * f.beta2 + gradient * gradient * f.rest2;
            let size = second.sqrt() / f.root + f.epsilon;
            *parameter = *parameter * f.decay - f.step * (*first / size);
        }
    }
}

const CHUNK: usize = 1 << 14;

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

    /// Sums of chunks are added in order, so threads do not change the result.
    pub(super) fn euclidean_norm(&self, values: &[f32]) -> f64 {
        let square = |chunk: &[f32]| chunk.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>();
        let sums: Vec<f64> = self.run(|| values.par_chunks(CHUNK).map(square).collect());
        sums.iter().sum::<f64>().sqrt()
    }
}
