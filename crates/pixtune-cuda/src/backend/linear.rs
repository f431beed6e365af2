//! Matrix multiplications: linears, low-rank adapters and trained matrices.
//!
//! A trained matrix is f32 and is rounded to bf16 for every product; that costs 6 bytes of traffic per parameter, which is
//! little beside the product itself. Gradients of parameters are summed in f32, in place.

use pixtune_model::kernels::{Lora, LoraBackward, LoraForward, TrainedBackward, TrainedMatrix, Write};
use pixtune_model::weights::Dtype;

use super::CudaKernels;
use super::memory::CudaBuffer;
use super::weight::CudaWeight;
use crate::error::GpuError;
use crate::gpu::Gpu;
use crate::matmul::{Matrix, Product};

/// The sizes of a product: rows, columns, and the length of the sums.
type Sizes = [usize; 3];

/// `out = alpha * left right`, set or added.
fn product(
    [rows, columns, inner]: Sizes,
    (left, right): (Matrix, Matrix),
    (out, write): (Matrix, Write),
    alpha: f32,
) -> Product {
    let beta = if write == Write::Add { 1.0 } else { 0.0 };
    Product { rows, columns, inner, left, right, out, alpha, beta }
}

/// Starts a product, unless its result has no numbers.
pub(super) fn multiply<G: Gpu>(gpu: &G, product: &Product) -> Result<(), GpuError> {
    match product.rows == 0 || product.columns == 0 {
        true => Ok(()),
        false => gpu.multiply(&product.matmul()),
    }
}

/// `x W^T`.
pub(super) fn forward(rows: usize, x: Matrix, weight: (Matrix, [usize; 2]), out: (Matrix, Write)) -> Product {
    let (weight, [outputs, inputs]) = weight;
    product([rows, outputs, inputs], (x, weight.transposed()), out, 1.0)
}

/// `dy W`.
pub(super) fn backward(
    rows: usize,
    dy: Matrix,
    weight: (Matrix, [usize; 2]),
    out: (Matrix, Write),
) -> Product {
    let (weight, [outputs, inputs]) = weight;
    product([rows, inputs, outputs], (dy, weight), out, 1.0)
}

impl<G: Gpu> CudaKernels<G> {
    pub(super) fn linear_of(
        &self,
        x: &CudaBuffer<G>,
        weight: &CudaWeight<G>,
        y: &CudaBuffer<G>,
        write: Write,
    ) {
        let (inputs, outputs) = (weight.columns, weight.rows);
        let rows = x.len() / inputs.max(1);
        assert!(
            x.len() == rows * inputs && y.len() == rows * outputs,
            "the buffers have the shape of the weight"
        );
        let numbers = self.numbers(weight);
        self.run(|gpu| {
            let factor = (numbers.matrix(inputs)?, [outputs, inputs]);
            multiply(gpu, &forward(rows, x.matrix(inputs)?, factor, (y.matrix(outputs)?, write)))
        });
    }

    pub(super) fn linear_gradient(
        &self,
        dy: &CudaBuffer<G>,
        weight: &CudaWeight<G>,
        dx: &CudaBuffer<G>,
        write: Write,
    ) {
        let (inputs, outputs) = (weight.columns, weight.rows);
        let rows = dy.len() / outputs.max(1);
        assert!(
            dx.len() == rows * inputs && dy.len() == rows * outputs,
            "the buffers have the shape of the weight"
        );
        let numbers = self.numbers(weight);
        self.run(|gpu| {
            let factor = (numbers.matrix(inputs)?, [outputs, inputs]);
            multiply(gpu, &backward(rows, dy.matrix(outputs)?, factor, (dx.matrix(inputs)?, write)))
        });
    }

    pub(super) fn trained_linear_of(
        &self,
        matrix: &TrainedMatrix,
        parameters: &CudaBuffer<G>,
        x: &CudaBuffer<G>,
        (y, write): (&CudaBuffer<G>, Write),
    ) {
        let TrainedMatrix { range, inputs, outputs } = matrix.clone();
        let weight = self.rounded(parameters, range);
        let rows = x.len() / inputs.max(1);
        self.run(|gpu| {
            let factor = (weight.matrix(inputs)?, [outputs, inputs]);
            multiply(gpu, &forward(rows, x.matrix(inputs)?, factor, (y.matrix(outputs)?, write)))
        });
    }

    pub(super) fn trained_linear_gradients(
        &self,
        matrix: &TrainedMatrix,
        pass: TrainedBackward<'_, Self>,
        x_gradient: Option<(&CudaBuffer<G>, Write)>,
    ) {
        let TrainedMatrix { range, inputs, outputs } = matrix.clone();
        let TrainedBackward { parameters, gradients, x, y_gradient } = pass;
        let rows = x.len() / inputs.max(1);
        self.run(|gpu| {
            let factors = (y_gradient.matrix(outputs)?.transposed(), x.matrix(inputs)?);
            let out = (gradients.matrix_at(range.start, inputs)?, Write::Add);
            multiply(gpu, &product([outputs, inputs, rows], factors, out, 1.0))
        });
        let Some((dx, write)) = x_gradient else { return };
        let weight = self.rounded(parameters, range);
        self.run(|gpu| {
            let factor = (weight.matrix(inputs)?, [outputs, inputs]);
            multiply(gpu, &backward(rows, y_gradient.matrix(outputs)?, factor, (dx.matrix(inputs)?, write)))
        });
    }

    pub(super) fn lora_down_of(
        &self,
        lora: &Lora,
        parameters: &CudaBuffer<G>,
        x: &CudaBuffer<G>,
        xa: &CudaBuffer<G>,
    ) {
        let a = self.rounded(parameters, lora.a.clone());
        let rows = x.len() / lora.inputs.max(1);
        self.run(|gpu| {
            let factor = (a.matrix(lora.inputs)?, [lora.rank, lora.inputs]);
            let out = (xa.matrix(lora.rank)?, Write::Set);
            multiply(gpu, &forward(rows, x.matrix(lora.inputs)?, factor, out))
        });
    }

    /// `y = x W^T`, then `y += scaling * xa B^T`.
    pub(super) fn lora_linear_of(
        &self,
        lora: &Lora,
        pass: LoraForward<'_, '_, Self>,
        (y, write): (&CudaBuffer<G>, Write),
    ) {
        self.linear_of(pass.x, pass.weight, y, write);
        let b = self.rounded(pass.parameters, lora.b.clone());
        let rows = y.len() / lora.outputs.max(1);
        self.run(|gpu| {
            let factor = (b.matrix(lora.rank)?, [lora.outputs, lora.rank]);
            let out = (y.matrix(lora.outputs)?, Write::Add);
            let update = forward(rows, pass.xa.matrix(lora.rank)?, factor, out);
            multiply(gpu, &Product { alpha: lora.scaling, ..update })
        });
    }

    /// With `xa = x A^T`: `dB += s dy^T xa`, `dxa = s dy B`, `dA += dxa^T x`, `dx = dy W + dxa A`.
    pub(super) fn lora_gradients(
        &self,
        lora: &Lora,
        pass: LoraBackward<'_, '_, Self>,
        x_gradient: Option<(&CudaBuffer<G>, Write)>,
    ) {
        let Lora { inputs, outputs, rank, scaling, .. } = *lora;
        let LoraBackward { weight, parameters, gradients, x, xa, y_gradient } = pass;
        let rows = y_gradient.len() / outputs.max(1);
        let b = self.rounded(parameters, lora.b.clone());
        let dxa = self.new_buffer(rows * rank, Dtype::BF16);
        self.run(|gpu| {
            let dy = y_gradient.matrix(outputs)?;
            let db = (gradients.matrix_at(lora.b.start, rank)?, Write::Add);
            let factors = (dy.transposed(), xa.matrix(rank)?);
            multiply(gpu, &product([outputs, rank, rows], factors, db, scaling))?;
            let through_b = product(
                [rows, rank, outputs],
                (dy, b.matrix(rank)?),
                (dxa.matrix(rank)?, Write::Set),
                scaling,
            );
            multiply(gpu, &through_b)?;
            let da = (gradients.matrix_at(lora.a.start, inputs)?, Write::Add);
            let factors = (dxa.matrix(rank)?.transposed(), x.matrix(inputs)?);
            multiply(gpu, &product([rank, inputs, rows], factors, da, 1.0))
        });
        let Some((dx, mut write)) = x_gradient else { return };
        if let Some(weight) = weight {
            self.linear_gradient(y_gradient, weight, dx, write);
            write = Write::Add;
        }
        let a = self.rounded(parameters, lora.a.clone());
        self.run(|gpu| {
            let factor = (a.matrix(inputs)?, [rank, inputs]);
            multiply(gpu, &backward(rows, dxa.matrix(rank)?, factor, (dx.matrix(inputs)?, write)))
        });
    }
}
