//! Matrix multiplications with cuBLASLt. A plan, which has the algorithm that cuBLASLt chose, is made once per shape.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use cudarc::cublaslt::{result as lt, sys};
use cudarc::driver::sys::CUstream;

use crate::error::GpuError;
use crate::gpu::Address;
use crate::matmul::{ColumnMatrix, Matmul, Scalar};

/// Memory that cuBLASLt may use, as NVIDIA recommends it: 32 MiB on Hopper and newer, 4 MiB before (cuBLAS documentation,
/// `cublasSetWorkspace`).
fn workspace_bytes(major: i32) -> usize {
    if major >= 9 { 32 << 20 } else { 4 << 20 }
}

/// All that a plan depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Shape {
    sizes: [usize; 3],
    matrices: [Layout; 3],
    reads_out: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Layout {
    leading: usize,
    scalar: Scalar,
    is_transposed: bool,
    /// The largest power of two, up to 256, that divides the address.
    alignment: u32,
}

impl Layout {
    fn of(matrix: &ColumnMatrix) -> Layout {
        let ColumnMatrix { address, leading, scalar, is_transposed } = *matrix;
        Layout { leading, scalar, is_transposed, alignment: 1 << address.0.trailing_zeros().min(8) }
    }
}

impl Shape {
    fn of(call: &Matmul) -> Shape {
        Shape {
            sizes: [call.rows, call.columns, call.inner],
            matrices: [&call.a, &call.b, &call.d].map(Layout::of),
            reads_out: call.beta != 0.0,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Plan {
    description: sys::cublasLtMatmulDesc_t,
    layouts: [sys::cublasLtMatrixLayout_t; 3],
    algorithm: sys::cublasLtMatmulAlgo_t,
}

/// A handle of cuBLASLt, its workspace, and the plans. It lives until the process ends.
#[derive(Debug)]
pub(super) struct Blas {
    handle: sys::cublasLtHandle_t,
    workspace: Address,
    workspace_bytes: usize,
    plans: Mutex<HashMap<Shape, Plan>>,
}

fn called<T>(call: &'static str, result: Result<T, lt::CublasError>) -> Result<T, GpuError> {
    result.map_err(|error| GpuError::Call { call, message: format!("{:?}", error.0) })
}

fn data_type(scalar: Scalar) -> sys::cudaDataType_t {
    match scalar {
        Scalar::F32 => sys::cudaDataType_t::CUDA_R_32F,
        Scalar::Bf16 => sys::cudaDataType_t::CUDA_R_16BF,
    }
}

impl Blas {
    /// On the current context of a GPU of this major compute capability.
    pub(super) fn new(major: i32) -> Result<Blas, GpuError> {
        let workspace_bytes = workspace_bytes(major);
        // SAFETY: the context is current.
        let workspace = unsafe { cudarc::driver::result::malloc_sync(workspace_bytes) };
        let workspace = workspace.map_err(|_| GpuError::OutOfMemory { bytes: workspace_bytes })?;
        let handle = called("cublasLtCreate", lt::create_handle())?;
        Ok(Blas { handle, workspace: Address(workspace), workspace_bytes, plans: Mutex::default() })
    }

    /// Starts a product. Its addresses are the caller's promise.
    pub(super) fn multiply(&self, call: &Matmul, stream: CUstream) -> Result<(), GpuError> {
        // A poisoned lock is fine: what is in the map is complete.
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let shape = Shape::of(call);
        let plan = match plans.get(&shape) {
            Some(plan) => *plan,
            None => *plans.entry(shape).insert_entry(self.plan(call, &shape)?).get(),
        };
        let [a, b, d] = plan.layouts;
        // SAFETY: the plan is that of the shape, and the matrices are inside buffers of the GPU.
        let started = unsafe {
            lt::matmul(
                self.handle,
                plan.description,
                std::ptr::from_ref(&call.alpha).cast(),
                std::ptr::from_ref(&call.beta).cast(),
                call.a.address.0 as *const _,
                a,
                call.b.address.0 as *const _,
                b,
                call.d.address.0 as *const _,
                d,
                call.d.address.0 as *mut _,
                d,
                &plan.algorithm,
                self.workspace.0 as *mut _,
                self.workspace_bytes,
                stream.cast(),
            )
        };
        called("cublasLtMatmul", started)
    }

    fn plan(&self, call: &Matmul, shape: &Shape) -> Result<Plan, GpuError> {
        use sys::cublasLtMatmulDescAttributes_t as Attribute;
        let (sums, scale) = (sys::cublasComputeType_t::CUBLAS_COMPUTE_32F, sys::cudaDataType_t::CUDA_R_32F);
        let description = called("cublasLtMatmulDescCreate", lt::create_matmul_desc(sums, scale))?;
        let transposed = [
            (Attribute::CUBLASLT_MATMUL_DESC_TRANSA, call.a.is_transposed),
            (Attribute::CUBLASLT_MATMUL_DESC_TRANSB, call.b.is_transposed),
        ];
        for (attribute, is_transposed) in transposed {
            let value = i32::from(is_transposed);
            // SAFETY: the attribute is an operation, 32 bits: 0 is CUBLAS_OP_N, 1 is CUBLAS_OP_T.
            let set = unsafe {
                lt::set_matmul_desc_attribute(
                    description,
                    attribute,
                    std::ptr::from_ref(&value).cast(),
                    size_of::<i32>(),
                )
            };
            called("cublasLtMatmulDescSetAttribute", set)?;
        }
        let [a, b, d] = call.stored().map(|(matrix, [rows, columns])| {
            let layout = lt::create_matrix_layout(
                data_type(matrix.scalar),
                rows as u64,
                columns as u64,
                matrix.leading as i64,
            );
            called("cublasLtMatrixLayoutCreate", layout)
        });
        let layouts = [a?, b?, d?];
        let algorithm = self.algorithm(description, layouts, shape)?;
        Ok(Plan { description, layouts, algorithm })
    }

    /// The algorithm that cuBLASLt recommends for this workspace and these alignments.
    fn algorithm(
        &self,
        description: sys::cublasLtMatmulDesc_t,
        [a, b, d]: [sys::cublasLtMatrixLayout_t; 3],
        shape: &Shape,
    ) -> Result<sys::cublasLtMatmulAlgo_t, GpuError> {
        use sys::cublasLtMatmulPreferenceAttributes_t as Attribute;
        let preference = called("cublasLtMatmulPreferenceCreate", lt::create_matmul_pref())?;
        let [a_layout, b_layout, d_layout] = shape.matrices;
        let alignments = [
            (Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, a_layout),
            (Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, b_layout),
            (Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, d_layout),
            (Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, d_layout),
        ];
        // SAFETY: the workspace is a 64-bit size and the alignments are 32-bit; all handles exist.
        unsafe {
            let workspace = std::ptr::from_ref(&self.workspace_bytes).cast();
            let attribute = Attribute::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
            let set = lt::set_matmul_pref_attribute(preference, attribute, workspace, size_of::<usize>());
            called("cublasLtMatmulPreferenceSetAttribute", set)?;
            for (attribute, layout) in alignments {
                let value = std::ptr::from_ref(&layout.alignment).cast();
                let set = lt::set_matmul_pref_attribute(preference, attribute, value, size_of::<u32>());
                called("cublasLtMatmulPreferenceSetAttribute", set)?;
            }
            let found = lt::get_matmul_algo_heuristic(self.handle, description, a, b, d, d, preference);
            let found = called("cublasLtMatmulAlgoGetHeuristic", found);
            called("cublasLtMatmulPreferenceDestroy", lt::destroy_matmul_pref(preference))?;
            Ok(found?.algo)
        }
    }
}
