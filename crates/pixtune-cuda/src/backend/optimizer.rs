//! AdamW, and the norm of the gradients.

use pixtune_model::kernels::{AdamW, AdamWState};
use pixtune_model::weights::Dtype;

use super::CudaKernels;
use super::elementwise::each;
use super::memory::CudaBuffer;
use crate::gpu::{Argument, Gpu, Launch};
use crate::launch;

/// The factors of one step, as `optimizer.cu` declares them.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
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

// SAFETY: the layout is that of `struct Factors` in `optimizer.cu`.
unsafe impl Argument for Factors {}

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

/// Numbers whose squares a block sums: `BLOCK` of `optimizer.cu`.
const SQUARES_PER_BLOCK: usize = 16_384;
const SQUARES_THREADS: usize = 256;

impl<G: Gpu> CudaKernels<G> {
    pub(super) fn adamw_step(
        &self,
        step: &AdamW,
        steps: u64,
        gradients: &CudaBuffer<G>,
        state: AdamWState<'_, Self>,
    ) {
        let AdamWState { parameters, first_moment, second_moment, decayed } = state;
        let (factors, count) = (Factors::new(step, steps), gradients.len());
        self.run(|gpu| {
            launch!(
                gpu,
                each("adamw", count),
                gradients.address()?,
                parameters.address()?,
                first_moment.address()?,
                second_moment.address()?,
                count as u64,
                decayed as u64,
                factors
            )
        });
    }

    /// The sums of blocks are added in order.
    pub(super) fn l2_norm_of(&self, buffer: &CudaBuffer<G>) -> f64 {
        assert_eq!(buffer.scalar().bytes(), Dtype::F32.size(), "norms are of f32 buffers");
        let blocks = buffer.len().div_ceil(SQUARES_PER_BLOCK);
        let sums = self.allocate(blocks * size_of::<f64>());
        let sums = self.run(|gpu| {
            let launch = Launch {
                kernel: "square_sums",
                blocks: [blocks, 1],
                threads: SQUARES_THREADS as u32,
                shared_bytes: SQUARES_THREADS * size_of::<f64>(),
            };
            launch!(gpu, launch, buffer.address()?, sums.address()?, buffer.len() as u64)?;
            let mut bytes = vec![0; blocks * size_of::<f64>()];
            if blocks > 0 {
                gpu.read(sums.address()?, &mut bytes)?;
            }
            Ok(bytes)
        });
        let sums = sums.unwrap_or_default();
        sums.as_chunks().0.iter().map(|sum| f64::from_le_bytes(*sum)).sum::<f64>().sqrt()
    }
}
