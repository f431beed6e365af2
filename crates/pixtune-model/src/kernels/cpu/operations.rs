//! The operations of [`Kernels`] on the CPU: each hands its buffers, as slices, to the code that computes it.

use std::ops::Range;

use rayon::prelude::*;

use super::gemm::Term;
use super::matrix::{Matrix, MatrixMut};
use super::{CHUNK, CpuBuffer, CpuKernels, CpuWeight, attention, cross_entropy, elementwise, rowwise};
use crate::kernels::{
    AdamW, AdamWState, Angles, AttentionGradients, AttentionInput, AttentionOutput, AttentionShape,
    DeviceError, DropoutMask, FrozenTensor, Head, Kernels, Lora, LoraBackward, LoraForward, NormBackward,
    PatchGrid, Rotation, Segment, TokenLoss, TrainedBackward, TrainedMatrix, UnsupportedDtype, WeightMemory,
    Write,
};
use crate::weights::Dtype;
use crate::weights::quantized::FourBitMatrix;

fn row(values: &[f32], columns: usize, row: usize) -> &[f32] {
    &values[row * columns..(row + 1) * columns]
}

impl Kernels for CpuKernels {
    type Buffer = CpuBuffer;
    type Weight<'w> = CpuWeight<'w>;
    type Indices = Vec<u32>;
    type Segments = Vec<Segment>;

    fn activation_dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn buffer(&self, len: usize, dtype: Dtype) -> CpuBuffer {
        assert_eq!(dtype, Dtype::F32, "the CPU computes in f32");
        self.pool.take(len)
    }

    fn upload(&self, values: &[f32], dtype: Dtype) -> CpuBuffer {
        assert_eq!(dtype, Dtype::F32, "the CPU computes in f32");
        let mut buffer = self.pool.take(values.len());
        buffer.copy_from_slice(values);
        buffer
    }

    fn download(&self, buffer: &CpuBuffer) -> Vec<f32> {
        buffer.to_vec()
    }

    fn indices(&self, indices: &[u32]) -> Vec<u32> {
        indices.to_vec()
    }

    fn segments(&self, segments: &[Segment]) -> Vec<Segment> {
        segments.to_vec()
    }

    fn four_bit_weight<'w>(&self, matrix: FourBitMatrix) -> CpuWeight<'w> {
        CpuWeight::dequantized(&matrix)
    }

    fn free_memory(&self) -> Option<u64> {
        None
    }

    fn cross_entropy_memory(&self, rows: usize, vocabulary: usize) -> u64 {
        (cross_entropy::rows_at_once(rows, vocabulary) * vocabulary * Dtype::F32.size()) as u64
    }

    fn weight_memory(&self, weight: &CpuWeight<'_>) -> WeightMemory {
        WeightMemory { held: weight.bytes(), in_use: 0 }
    }

    fn weight<'w>(&self, tensor: FrozenTensor<'w>) -> Result<CpuWeight<'w>, UnsupportedDtype> {
        CpuWeight::new(tensor)
    }

    fn vector(&self, tensor: FrozenTensor<'_>) -> Result<CpuBuffer, UnsupportedDtype> {
        Ok(self.upload(&CpuWeight::new(tensor)?.to_f32(), Dtype::F32))
    }

    fn check(&self) -> Result<(), DeviceError> {
        Ok(())
    }

    /// On a thread of the pool: an operation starts there at once and wakes only the other threads.
    fn together<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.run(work)
    }

    fn fill(&self, buffer: &mut CpuBuffer, value: f32) {
        buffer.fill(value);
    }

    fn copy(&self, from: &CpuBuffer, to: &mut CpuBuffer) {
        self.for_each_chunk(from, to, |_, from, to| to.copy_from_slice(from));
    }

    fn put_rows(&self, from: &CpuBuffer, to: &mut CpuBuffer, columns: usize, first: usize) {
        to[first * columns..][..from.len()].copy_from_slice(from);
    }

    fn part(&self, buffer: &CpuBuffer, range: Range<usize>) -> CpuBuffer {
        self.upload(&buffer[range], Dtype::F32)
    }

    fn gather_rows(&self, from: &CpuBuffer, rows: &Vec<u32>, columns: usize, to: &mut CpuBuffer) {
        for (to, from_row) in to.chunks_exact_mut(columns).zip(rows) {
            to.copy_from_slice(row(from, columns, *from_row as usize));
        }
    }

    fn scatter_rows(&self, from: &CpuBuffer, rows: &Vec<u32>, columns: usize, to: &mut CpuBuffer) {
        for (from, to_row) in from.chunks_exact(columns).zip(rows) {
            to[*to_row as usize * columns..][..columns].copy_from_slice(from);
        }
    }

    fn embed(&self, table: &CpuWeight<'_>, ids: &Vec<u32>, out: &mut CpuBuffer) {
        self.for_each_row(out, table.columns, |row, out| table.widen_row(ids[row] as usize, out));
    }

    fn upload_patches(&self, image: &PatchGrid<'_>, out: &mut CpuBuffer, first: usize) {
        let columns = image.channels * image.side * image.side;
        let out = &mut out[first * columns..][..image.rows * image.columns * columns];
        self.for_each_row(out, columns, |index, out| rowwise::patch(image, index, out));
    }

    fn rms_norm(&self, epsilon: f32, x: &CpuBuffer, weight: &CpuBuffer, out: &mut CpuBuffer) {
        let columns = weight.len();
        self.for_each_row(out, columns, |index, out| {
            rowwise::rms_norm(epsilon, row(x, columns, index), weight, out);
        });
    }

    fn rms_norm_backward(
        &self,
        norm: NormBackward<'_, Self>,
        out_gradient: &CpuBuffer,
        x_gradient: &mut CpuBuffer,
        write: Write,
    ) {
        let columns = norm.weight.len();
        self.for_each_row(x_gradient, columns, |index, dx| {
            let input = (row(norm.x, columns, index), &norm.weight[..], row(out_gradient, columns, index));
            rowwise::rms_norm_backward(norm.epsilon, input, dx, write);
        });
    }

    fn rms_norm_weight_backward(
        &self,
        norm: NormBackward<'_, Self>,
        out_gradient: &CpuBuffer,
        range: Range<usize>,
        gradients: &mut CpuBuffer,
    ) {
        self.norm_weight_gradient(norm.epsilon, norm.x, out_gradient, &mut gradients[range]);
    }

    fn linear(&self, x: &CpuBuffer, weight: &CpuWeight<'_>, y: &mut CpuBuffer, write: Write) {
        self.weight_times(x, weight, None, y, write);
    }

    fn linear_backward(
        &self,
        y_gradient: &CpuBuffer,
        weight: &CpuWeight<'_>,
        x_gradient: &mut CpuBuffer,
        write: Write,
    ) {
        self.weight_transposed_times(y_gradient, weight, None, x_gradient, write);
    }

    fn add_bias(&self, bias: &CpuBuffer, y: &mut CpuBuffer) {
        self.for_each_row(y, bias.len(), |_, y| y.iter_mut().zip(&bias[..]).for_each(|(y, bias)| *y += bias));
    }

    fn bias_backward(&self, y_gradient: &CpuBuffer, range: Range<usize>, gradients: &mut CpuBuffer) {
        self.add_column_sums(y_gradient, &mut gradients[range]);
    }

    fn trained_linear(
        &self,
        matrix: &TrainedMatrix,
        parameters: &CpuBuffer,
        x: &CpuBuffer,
        y: &mut CpuBuffer,
        write: Write,
    ) {
        let weight = Matrix::new(&parameters[matrix.range.clone()], matrix.inputs).transposed();
        self.multiply(MatrixMut::new(y, matrix.outputs), write, 1.0, (Matrix::new(x, matrix.inputs), weight));
    }

    fn trained_linear_backward(
        &self,
        matrix: &TrainedMatrix,
        pass: TrainedBackward<'_, Self>,
        x_gradient: Option<(&mut CpuBuffer, Write)>,
    ) {
        let TrainedMatrix { range, inputs, outputs } = matrix.clone();
        let dy = Matrix::new(pass.y_gradient, outputs);
        let gradient = MatrixMut::new(&mut pass.gradients[range.clone()], inputs);
        self.multiply(gradient, Write::Add, 1.0, (dy.transposed(), Matrix::new(pass.x, inputs)));
        if let Some((dx, write)) = x_gradient {
            let weight = Matrix::new(&pass.parameters[range], inputs);
            self.multiply(MatrixMut::new(dx, inputs), write, 1.0, (dy, weight));
        }
    }

    fn lora_down(&self, lora: &Lora, parameters: &CpuBuffer, x: &CpuBuffer, xa: &mut CpuBuffer) {
        let a = Matrix::new(&parameters[lora.a.clone()], lora.inputs).transposed();
        self.multiply(MatrixMut::new(xa, lora.rank), Write::Set, 1.0, (Matrix::new(x, lora.inputs), a));
    }

    fn lora_linear(&self, lora: &Lora, pass: LoraForward<'_, '_, Self>, y: &mut CpuBuffer, write: Write) {
        let b = Matrix::new(&pass.parameters[lora.b.clone()], lora.rank).transposed();
        let update = Term { factor: lora.scaling, ..Term::new(Matrix::new(pass.xa, lora.rank), b) };
        self.weight_times(pass.x, pass.weight, Some(update), y, write);
    }

    fn lora_linear_backward(
        &self,
        lora: &Lora,
        pass: LoraBackward<'_, '_, Self>,
        x_gradient: Option<(&mut CpuBuffer, Write)>,
    ) {
        self.lora_gradients(lora, pass, x_gradient.map(|(dx, write)| (&mut dx[..], write)));
    }

    fn dropout(&self, mask: DropoutMask, x: &CpuBuffer, out: &mut CpuBuffer, write: Write) {
        self.for_each_chunk(x, out, |first, x, out| {
            if write == Write::Set {
                out.fill(0.0);
            }
            elementwise::add_dropout(mask, first as u32, x, out);
        });
    }

    fn rope(&self, angles: &Angles<Self>, head_size: usize, x: &mut CpuBuffer, rotation: Rotation) {
        let half = head_size / 2;
        let columns = x.len() / (angles.cosines.len() / half).max(1);
        self.for_each_row(x, columns, |index, x| {
            rowwise::rope(row(&angles.cosines, half, index), row(&angles.sines, half, index), x, rotation);
        });
    }

    fn attention(
        &self,
        shape: AttentionShape,
        input: AttentionInput<'_, Self>,
        out: &mut CpuBuffer,
        log_sum_exp: &mut CpuBuffer,
    ) {
        self.attend(&attention_call(shape, &input), out, log_sum_exp);
    }

    fn attention_backward(
        &self,
        shape: AttentionShape,
        input: AttentionInput<'_, Self>,
        output: AttentionOutput<'_, Self>,
        gradients: AttentionGradients<'_, Self>,
    ) {
        let output = (&output.out[..], &output.log_sum_exp[..], &output.out_gradient[..]);
        let gradients = (&mut gradients.queries[..], &mut gradients.keys[..], &mut gradients.values[..]);
        self.attend_backward(&attention_call(shape, &input), output, gradients);
    }

    fn swiglu(&self, gate: &CpuBuffer, up: &CpuBuffer, out: &mut CpuBuffer) {
        self.for_each_chunk(gate, out, |first, gate, out| elementwise::swiglu(gate, &up[first..], out));
    }

    fn swiglu_backward(&self, out_gradient: &CpuBuffer, gate: &mut CpuBuffer, up: &mut CpuBuffer) {
        assert!(out_gradient.len() == gate.len() && gate.len() == up.len(), "all three have the same length");
        let chunks =
            out_gradient.par_chunks(CHUNK).zip(gate.par_chunks_mut(CHUNK)).zip(up.par_chunks_mut(CHUNK));
        self.run(|| chunks.for_each(|((dy, gate), up)| elementwise::swiglu_backward(dy, gate, up)));
    }

    fn gelu(&self, x: &CpuBuffer, out: &mut CpuBuffer) {
        self.for_each_chunk(x, out, |_, x, out| {
            x.iter().zip(out).for_each(|(x, out)| *out = elementwise::gelu(*x));
        });
    }

    fn gelu_backward(&self, out_gradient: &CpuBuffer, x: &mut CpuBuffer) {
        self.for_each_chunk(out_gradient, x, |_, dy, x| {
            x.iter_mut().zip(dy).for_each(|(x, dy)| *x = dy * elementwise::gelu_derivative(*x));
        });
    }

    fn cross_entropy(
        &self,
        head: Head<'_, '_, Self>,
        targets: &Vec<u32>,
        scale: f32,
        gradient: Option<&mut CpuBuffer>,
    ) -> Vec<TokenLoss> {
        self.cross_entropy_rows(
            (head.x, head.weight),
            targets,
            scale,
            gradient.map(|gradient| &mut gradient[..]),
        )
    }

    fn l2_norm(&self, buffer: &CpuBuffer) -> f64 {
        self.l2_norm_of(buffer)
    }

    fn scale(&self, buffer: &mut CpuBuffer, factor: f32) {
        buffer.iter_mut().for_each(|value| *value *= factor);
    }

    fn adamw(&self, step: &AdamW, steps: u64, gradients: &CpuBuffer, state: AdamWState<'_, Self>) {
        let AdamWState { parameters, first_moment, second_moment, decayed } = state;
        let plain = AdamW { weight_decay: 0.0, ..*step };
        let (with_decay, without) = gradients.split_at(decayed);
        let [parameters, first, second] =
            [parameters, first_moment, second_moment].map(|buffer| buffer.split_at_mut(decayed));
        self.adamw_step(step, steps, with_decay, (parameters.0, first.0, second.0));
        self.adamw_step(&plain, steps, without, (parameters.1, first.1, second.1));
    }
}

fn attention_call<'a>(shape: AttentionShape, input: &AttentionInput<'a, CpuKernels>) -> attention::Call<'a> {
    let AttentionInput { queries, keys, values, segments } = *input;
    attention::Call { shape, segments, queries, keys, values }
}
