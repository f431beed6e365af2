//! The gradients of a low-rank update.

use super::CpuKernels;
use super::gemm::Term;
use super::matrix::{Matrix, MatrixMut};
use crate::kernels::{Lora, LoraBackward, Write};

impl CpuKernels {
    /// With `xa = x A^T`: `dB += s dy^T xa`, `dxa = s dy B`, `dA += dxa^T x`, `dx = dy W + dxa A`.
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
        let xa = Matrix::new(pass.xa, lora.rank);
        // Computed transposed, so that the result is wide and dy is the right factor, read in place.
        let mut db = self.pool.take(lora.rank * lora.outputs);
        let transposed = MatrixMut::new(&mut db, lora.outputs);
        self.multiply(transposed, Write::Set, lora.scaling, (xa.transposed(), dy));
        self.for_each_row(&mut pass.gradients[lora.b.clone()], lora.rank, |output, gradients| {
            let column = db[output..].iter().step_by(lora.outputs);
            gradients.iter_mut().zip(column).for_each(|(gradient, more)| *gradient += more);
        });
        let mut dxa = self.pool.take(pass.xa.len());
        self.multiply(MatrixMut::new(&mut dxa, lora.rank), Write::Set, lora.scaling, (dy, b));
        let dxa = Matrix::new(&dxa, lora.rank);
        let da = MatrixMut::new(&mut pass.gradients[lora.a.clone()], lora.inputs);
        self.multiply(da, Write::Add, 1.0, (dxa.transposed(), x));
        let Some((dx, write)) = x_gradient else { return };
        let through_adapter = Term::new(dxa, a);
        match pass.weight {
            Some(weight) => {
                self.weight_transposed_times(pass.y_gradient, weight, Some(through_adapter), dx, write);
            }
            None => self.multiply_sum(MatrixMut::new(dx, lora.inputs), write, 1.0, &[through_adapter]),
        }
    }
}
