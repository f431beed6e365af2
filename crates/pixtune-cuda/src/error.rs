//! What can fail on a GPU.

use pixtune_core::text::counted;
use pixtune_model::kernels::DeviceError;

use crate::address::Address;

/// A failure of a GPU, or of what was requested of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GpuError {
    /// CUDA's libraries are not on this machine.
    #[error("no CUDA here: {} not found", libraries.join(", "))]
    Missing {
        /// Those that were not found.
        libraries: Vec<&'static str>,
    },
    /// The driver has no GPU of this index.
    #[error("no CUDA here: GPU {index} does not exist, the driver has {}", counted(*count as u64, "GPU"))]
    NoGpu {
        /// The index that was requested.
        index: usize,
        /// GPUs that the driver has.
        count: usize,
    },
    /// A GPU without bf16 matrix multiplications.
    #[error("no CUDA here: {name} has compute capability {major}.{minor}, and 8.0 is required")]
    Capability {
        /// The name of the GPU.
        name: String,
        /// Major compute capability.
        major: i32,
        /// Minor compute capability.
        minor: i32,
    },
    /// A call of the driver, of NVRTC or of cuBLASLt failed.
    #[error("{call} failed: {message}")]
    Call {
        /// The function.
        call: &'static str,
        /// Its own message.
        message: String,
    },
    /// NVRTC refused the text of a kernel.
    #[error("the kernels of `{module}.cu` do not compile: {log}")]
    Compile {
        /// The file.
        module: &'static str,
        /// The compiler's own messages.
        log: String,
    },
    /// The GPU has no memory for a buffer.
    #[error("out of GPU memory: a buffer of {} could not be allocated", counted(*bytes as u64, "byte"))]
    OutOfMemory {
        /// Bytes of the buffer.
        bytes: usize,
    },
    /// A kernel did not start, or the emulator found a mistake in it.
    #[error("kernel `{kernel}` failed: {message}")]
    Launch {
        /// The name of the kernel.
        kernel: String,
        /// The reason.
        message: String,
    },
    /// A matrix multiplication that cuBLASLt does not support.
    #[error("unsupported matrix multiplication: {message}")]
    Matmul {
        /// The reason, with the product.
        message: String,
    },
    /// A size beyond what a kernel supports.
    #[error("{what} of {size} is beyond the limit of {limit}")]
    Limit {
        /// What has the size.
        what: &'static str,
        /// The size.
        size: usize,
        /// The largest size that is supported.
        limit: usize,
    },
    /// An operation on a buffer whose allocation failed.
    #[error("a buffer was used whose allocation failed")]
    Unallocated,
    /// Bytes that are not inside one allocation; only the emulator checks this.
    #[error("a range of {} at {:#x} is not inside one buffer", counted(*bytes as u64, "byte"), address.0)]
    Range {
        /// The first byte.
        address: Address,
        /// Their number.
        bytes: usize,
    },
}

impl GpuError {
    /// Whether there is no GPU that can be used, rather than one that fails.
    pub fn is_absence(&self) -> bool {
        matches!(self, GpuError::Missing { .. } | GpuError::NoGpu { .. } | GpuError::Capability { .. })
    }
}

impl From<GpuError> for DeviceError {
    fn from(error: GpuError) -> DeviceError {
        let out_of_memory = matches!(error, GpuError::OutOfMemory { .. });
        DeviceError { message: error.to_string(), out_of_memory }
    }
}
