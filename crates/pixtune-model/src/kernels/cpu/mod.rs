//! The processor, in single precision.
//!
//! Work is cut by sizes alone, never by the number of threads, and sums have a fixed order: any number of threads gives the
//! same bits.

mod activation;
mod adapter;
mod attention;
mod loss;
mod matrix;
mod pack;
mod packed;
mod pool;
mod product;
mod rows;
mod simd;
#[cfg(test)]
mod tests;
mod tile;
mod weight;

use rayon::prelude::*;

use matrix::{Matrix, MatrixMut};
use product::{Products, Term};

pub use pool::CpuBuffer;
pub use product::Precision;
pub(crate) use simd::vectorised;
pub use weight::CpuWeight;

use super::{
    AdamWState, Angles, AttentionGradients, AttentionInput, AttentionOutput, AttentionShape, DeviceError,
    DropoutMask, Head, Kernels, Lora, LoraBackward, LoraForward, NormBackward, PatchGrid, TokenLoss, Turn,
    Write,
};
use crate::network::{AdamW, FrozenTensor};

/// Numbers that one thread takes at a time.
const CHUNK: usize = 1 << 14;

/// The processor, in single precision. Frozen weights stay as they are stored, bf16 or f32.
#[derive(Debug)]
pub struct CpuKernels {
    threads: usize,
    products: Products,
    workers: rayon::ThreadPool,
    pool: pool::Pool,
}

impl CpuKernels {
    /// Works on this many threads; results do not depend on it.
    pub fn new(threads: usize) -> Result<CpuKernels, DeviceError> {
        CpuKernels::with_precision(threads, Precision::Single)
    }

    /// The same, with another way to form sums of products.
    pub fn with_precision(threads: usize, precision: Precision) -> Result<CpuKernels, DeviceError> {
        let threads = threads.clamp(1, 1024);
        let workers = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let workers = workers.map_err(|error| DeviceError { message: error.to_string() })?;
        Ok(CpuKernels { threads, products: Products::new(precision), workers, pool: pool::Pool::default() })
    }

    /// How many.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The most bytes that all buffers together took so far.
    pub fn peak_bytes(&self) -> u64 {
        self.pool.peak_bytes()
    }

    /// `out = alpha * left right` on all threads, set or added.
    fn product(&self, out: MatrixMut, write: Write, alpha: f32, (left, right): (Matrix, Matrix)) {
        self.sum(out, write, alpha, &[Term::new(left, right)]);
    }

    /// `out = alpha * sum of terms` on all threads, set or added. Each number of the result is made on one thread, so how it
    /// is cut changes no bit.
    fn sum(&self, out: MatrixMut, write: Write, alpha: f32, terms: &[Term]) {
        let parts = self.products.parts((out.rows, out.columns), self.threads);
        if parts.len() <= 1 {
            return self.products.sum(out, write, alpha, terms);
        }
        self.run(|| {
            out.split(parts).into_par_iter().with_max_len(1).for_each(|(rows, columns, out)| {
                let terms: Vec<Term> =
                    terms.iter().map(|term| term.part(rows.clone(), columns.clone())).collect();
                self.products.sum(out, write, alpha, &terms);
            });
        });
    }

    fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.workers.install(work)
    }

    /// Calls `work` with every row of `out`.
    fn each_row(&self, out: &mut [f32], columns: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
        let rows = (CHUNK / columns.max(1)).max(1);
        self.run(|| {
            out.par_chunks_mut(rows * columns).enumerate().for_each(|(chunk, out)| {
                for (row, out) in out.chunks_exact_mut(columns).enumerate() {
                    work(chunk * rows + row, out);
                }
            });
        });
    }

    /// Calls `work` with pieces of both at the same place, and where that is.
    fn pieces(&self, x: &[f32], out: &mut [f32], work: impl Fn(usize, &[f32], &mut [f32]) + Sync) {
        assert_eq!(x.len(), out.len(), "both buffers have one shape");
        let pieces = x.par_chunks(CHUNK).zip(out.par_chunks_mut(CHUNK)).enumerate();
        self.run(|| pieces.for_each(|(piece, (x, out))| work(piece * CHUNK, x, out)));
    }
}

fn row(values: &[f32], columns: usize, row: usize) -> &[f32] {
    &values[row * columns..(row + 1) * columns]
}

impl Kernels for CpuKernels {
    type Buffer = CpuBuffer;
    type Weight<'w> = CpuWeight<'w>;

    fn buffer(&self, len: usize) -> CpuBuffer {
        self.pool.take(len)
    }

    fn upload(&self, values: &[f32]) -> CpuBuffer {
        let mut buffer = self.pool.take(values.len());
        buffer.copy_from_slice(values);
        buffer
    }

    fn download(&self, buffer: &CpuBuffer) -> Vec<f32> {
        buffer.to_vec()
    }

    fn weight<'w>(&self, tensor: FrozenTensor<'w>) -> CpuWeight<'w> {
        CpuWeight::new(tensor)
    }

    fn vector(&self, tensor: FrozenTensor<'_>) -> CpuBuffer {
        self.upload(&CpuWeight::new(tensor).to_f32())
    }

    fn check(&self) -> Result<(), DeviceError> {
        Ok(())
    }

    /// On a thread of the pool: an operation begins there at once, and wakes only the others.
    fn together<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.run(work)
    }

    fn fill(&self, buffer: &mut CpuBuffer, value: f32) {
        buffer.fill(value);
    }

    fn copy(&self, from: &CpuBuffer, to: &mut CpuBuffer) {
        self.pieces(from, to, |_, from, to| to.copy_from_slice(from));
    }

    fn add(&self, from: &CpuBuffer, to: &mut CpuBuffer) {
        self.pieces(from, to, |_, from, to| from.iter().zip(to).for_each(|(from, to)| *to += from));
    }

    fn put_rows(&self, from: &CpuBuffer, to: &mut CpuBuffer, columns: usize, first: usize) {
        to[first * columns..][..from.len()].copy_from_slice(from);
    }

    fn gather_rows(&self, from: &CpuBuffer, rows: &[u32], columns: usize, to: &mut CpuBuffer) {
        for (to, from_row) in to.chunks_exact_mut(columns).zip(rows) {
            to.copy_from_slice(row(from, columns, *from_row as usize));
        }
    }

    fn scatter_rows(&self, from: &CpuBuffer, rows: &[u32], columns: usize, to: &mut CpuBuffer) {
        for (from, to_row) in from.chunks_exact(columns).zip(rows) {
            to[*to_row as usize * columns..][..columns].copy_from_slice(from);
        }
    }

    fn embed(&self, table: &CpuWeight<'_>, ids: &[u32], out: &mut CpuBuffer) {
        self.each_row(out, table.columns, |row, out| table.widen_row(ids[row] as usize, out));
    }

    fn patches(&self, image: &PatchGrid<'_>, out: &mut CpuBuffer, first: usize) {
        let columns = image.channels * image.side * image.side;
        let out = &mut out[first * columns..][..image.rows * image.columns * columns];
        self.each_row(out, columns, |index, out| rows::patch(image, index, out));
    }

    fn rms_norm(&self, epsilon: f32, x: &CpuBuffer, weight: &CpuBuffer, out: &mut CpuBuffer) {
        let columns = weight.len();
        self.each_row(out, columns, |index, out| {
            rows::rms_norm(epsilon, row(x, columns, index), weight, out);
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
        self.each_row(x_gradient, columns, |index, dx| {
            let input = (row(norm.x, columns, index), &norm.weight[..], row(out_gradient, columns, index));
            rows::rms_norm_backward(norm.epsilon, input, dx, write);
        });
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
        self.each_row(y, bias.len(), |_, y| y.iter_mut().zip(&bias[..]).for_each(|(y, bias)| *y += bias));
    }

    fn lora_hidden(&self, lora: &Lora, parameters: &CpuBuffer, x: &CpuBuffer, hidden: &mut CpuBuffer) {
        let a = Matrix::new(&parameters[lora.a.clone()], lora.inputs).transposed();
        self.product(MatrixMut::new(hidden, lora.rank), Write::Set, 1.0, (Matrix::new(x, lora.inputs), a));
    }

    fn lora(&self, lora: &Lora, pass: LoraForward<'_, '_, Self>, y: &mut CpuBuffer, write: Write) {
        let b = Matrix::new(&pass.parameters[lora.b.clone()], lora.rank).transposed();
        let update = Term { factor: lora.scaling, ..Term::new(Matrix::new(pass.hidden, lora.rank), b) };
        self.weight_times(pass.x, pass.weight, Some(update), y, write);
    }

    fn lora_backward(
        &self,
        lora: &Lora,
        pass: LoraBackward<'_, '_, Self>,
        x_gradient: Option<(&mut CpuBuffer, Write)>,
    ) {
        self.lora_gradients(lora, pass, x_gradient.map(|(dx, write)| (&mut dx[..], write)));
    }

    fn dropout(&self, mask: DropoutMask, x: &CpuBuffer, out: &mut CpuBuffer, write: Write) {
        self.pieces(x, out, |first, x, out| {
            if write == Write::Set {
                out.fill(0.0);
            }
            activation::add_dropout(mask, first as u32, x, out);
        });
    }

    fn rope(&self, angles: &Angles<Self>, head_size: usize, x: &mut CpuBuffer, turn: Turn) {
        let half = head_size / 2;
        let columns = x.len() / (angles.cosines.len() / half).max(1);
        self.each_row(x, columns, |index, x| {
            rows::rope(row(&angles.cosines, half, index), row(&angles.sines, half, index), x, turn);
        });
    }

    fn attention(
        &self,
        shape: &AttentionShape<'_>,
        input: AttentionInput<'_, Self>,
        out: &mut CpuBuffer,
        log_sums: &mut CpuBuffer,
    ) {
        self.attend(shape, attention_input(&input), out, log_sums);
    }

    fn attention_backward(
        &self,
        shape: &AttentionShape<'_>,
        input: AttentionInput<'_, Self>,
        output: AttentionOutput<'_, Self>,
        gradients: AttentionGradients<'_, Self>,
    ) {
        let output = (&output.out[..], &output.log_sums[..], &output.out_gradient[..]);
        let gradients = (&mut gradients.queries[..], &mut gradients.keys[..], &mut gradients.values[..]);
        self.attend_backward(shape, attention_input(&input), output, gradients);
    }

    fn swiglu(&self, gate: &CpuBuffer, up: &CpuBuffer, out: &mut CpuBuffer) {
        self.pieces(gate, out, |first, gate, out| activation::swiglu(gate, &up[first..], out));
    }

    fn swiglu_backward(&self, out_gradient: &CpuBuffer, gate: &mut CpuBuffer, up: &mut CpuBuffer) {
        assert!(out_gradient.len() == gate.len() && gate.len() == up.len(), "all three have one shape");
        let pieces =
            out_gradient.par_chunks(CHUNK).zip(gate.par_chunks_mut(CHUNK)).zip(up.par_chunks_mut(CHUNK));
        self.run(|| pieces.for_each(|((dout, gate), up)| activation::swiglu_backward(dout, gate, up)));
    }

    fn gelu(&self, x: &CpuBuffer, out: &mut CpuBuffer) {
        self.pieces(x, out, |_, x, out| x.iter().zip(out).for_each(|(x, out)| *out = activation::gelu(*x)));
    }

    fn gelu_backward(&self, out_gradient: &CpuBuffer, x: &mut CpuBuffer) {
        self.pieces(out_gradient, x, |_, dout, x| {
            x.iter_mut().zip(dout).for_each(|(x, dout)| *x = dout * activation::gelu_slope(*x));
        });
    }

    fn cross_entropy(
        &self,
        head: Head<'_, '_, Self>,
        targets: &[u32],
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

    fn norm(&self, buffer: &CpuBuffer) -> f64 {
        self.euclidean_norm(buffer)
    }

    fn scale(&self, buffer: &mut CpuBuffer, factor: f32) {
        buffer.iter_mut().for_each(|value| *value *= factor);
    }

    fn adamw(&self, step: &AdamW, steps: u64, gradients: &CpuBuffer, state: AdamWState<'_, Self>) {
        self.adamw_step(step, steps, gradients, (state.parameters, state.first, state.second));
    }
}

fn attention_input<'a>(input: &AttentionInput<'a, CpuKernels>) -> attention::Input<'a> {
    attention::Input { queries: input.queries, keys: input.keys, values: input.values }
}
