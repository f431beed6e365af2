//! The CPU backend, in single precision.
//!
//! Work is cut by sizes alone, never by the number of threads, and sums have a fixed order: any number of threads gives the
//! same bits.

mod attention;
mod buffer;
mod columns;
mod cross_entropy;
mod elementwise;
mod gemm;
mod lora;
mod matrix;
mod operations;
mod optimizer;
mod rowwise;
mod simd;
mod weight;

use rayon::prelude::*;

pub use buffer::CpuBuffer;
use buffer::Pool;
pub use gemm::Precision;
use gemm::{Gemm, Term};
use matrix::{Matrix, MatrixMut};
pub use weight::CpuWeight;

use super::{DeviceError, Write};

/// Numbers that one thread processes at a time.
const CHUNK: usize = 1 << 14;

/// The CPU, in single precision. Frozen weights stay in the dtype they are stored in, bf16 or f32.
#[derive(Debug)]
pub struct CpuKernels {
    threads: usize,
    gemm: Gemm,
    workers: rayon::ThreadPool,
    pool: Pool,
}

impl CpuKernels {
    /// Computes on this many threads; results do not depend on their number.
    pub fn new(threads: usize) -> Result<CpuKernels, DeviceError> {
        CpuKernels::with_precision(threads, Precision::Single)
    }

    /// The same, with matrix products summed in another precision.
    pub fn with_precision(threads: usize, precision: Precision) -> Result<CpuKernels, DeviceError> {
        let threads = threads.clamp(1, 1024);
        let workers = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let workers =
            workers.map_err(|error| DeviceError { message: error.to_string(), out_of_memory: false })?;
        Ok(CpuKernels { threads, gemm: Gemm::new(precision), workers, pool: Pool::default() })
    }

    /// The number of threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Peak memory of all buffers together, in bytes.
    pub fn peak_bytes(&self) -> u64 {
        self.pool.peak_bytes()
    }

    /// `out = alpha * left right` on all threads, set or added.
    fn multiply(&self, out: MatrixMut, write: Write, alpha: f32, (left, right): (Matrix, Matrix)) {
        self.multiply_sum(out, write, alpha, &[Term::new(left, right)]);
    }

    /// `out = alpha * sum of terms` on all threads, set or added. Each number of the result is computed on one thread, so the
    /// cut into parts changes no bit.
    fn multiply_sum(&self, out: MatrixMut, write: Write, alpha: f32, terms: &[Term]) {
        let parts = self.gemm.parts((out.rows, out.columns), self.threads);
        if parts.len() <= 1 {
            return self.gemm.multiply_sum(out, write, alpha, terms);
        }
        self.run(|| {
            out.split(parts).into_par_iter().with_max_len(1).for_each(|(rows, columns, out)| {
                let terms: Vec<Term> =
                    terms.iter().map(|term| term.part(rows.clone(), columns.clone())).collect();
                self.gemm.multiply_sum(out, write, alpha, &terms);
            });
        });
    }

    /// Runs work on the threads of this device.
    fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.workers.install(work)
    }

    /// Calls `work` with the index and the numbers of every row of `out`.
    fn for_each_row(&self, out: &mut [f32], columns: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
        let rows = (CHUNK / columns.max(1)).max(1);
        self.run(|| {
            out.par_chunks_mut(rows * columns).enumerate().for_each(|(chunk, out)| {
                for (row, out) in out.chunks_exact_mut(columns).enumerate() {
                    work(chunk * rows + row, out);
                }
            });
        });
    }

    /// Calls `work` with matching chunks of both, and the index of their first number.
    fn for_each_chunk(&self, x: &[f32], out: &mut [f32], work: impl Fn(usize, &[f32], &mut [f32]) + Sync) {
        assert_eq!(x.len(), out.len(), "both buffers have the same length");
        let chunks = x.par_chunks(CHUNK).zip(out.par_chunks_mut(CHUNK)).enumerate();
        self.run(|| chunks.for_each(|(chunk, (x, out))| work(chunk * CHUNK, x, out)));
    }
}
