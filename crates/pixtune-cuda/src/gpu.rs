//! What the backend needs of a GPU.

use std::ffi::c_void;
use std::fmt::Debug;
use std::mem::MaybeUninit;

pub use crate::address::Address;
use crate::error::GpuError;
use crate::matmul::Matmul;

/// A GPU: memory, kernels and matrix multiplications. Work is done in the order in which it is requested; only [`Gpu::read`] waits for
/// it, so the failure of a kernel may be returned by a later request.
pub trait Gpu: Send + Sync + Debug + 'static {
    /// Allocates memory with arbitrary contents, aligned to 16 bytes or more. `bytes` is not zero.
    fn allocate(&self, bytes: usize) -> Result<Address, GpuError>;
    /// Frees memory, once the work that was requested before is done.
    fn free(&self, address: Address, bytes: usize);
    /// Bytes that can be allocated; other processes on the GPU have their share.
    fn free_memory(&self) -> Result<u64, GpuError>;
    /// Copies bytes to the GPU; they can be changed when this returns.
    fn write(&self, to: Address, bytes: &[u8]) -> Result<(), GpuError>;
    /// Copies bytes from the GPU, once the work that was requested before is done.
    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<(), GpuError>;
    /// Copies bytes inside the memory of the GPU; the ranges do not overlap.
    fn copy(&self, from: Address, to: Address, bytes: usize) -> Result<(), GpuError>;
    /// Starts a kernel.
    ///
    /// # Safety
    /// The arguments are those that the kernel declares, and with them it stays inside its buffers.
    unsafe fn launch(&self, launch: &Launch, arguments: &[RawArgument]) -> Result<(), GpuError>;
    /// Starts a matrix multiplication.
    fn multiply(&self, call: &Matmul) -> Result<(), GpuError>;
}

/// How a kernel is launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    /// Its name.
    pub kernel: &'static str,
    /// Blocks along x and y.
    pub blocks: [usize; 2],
    /// Threads per block, whole warps.
    pub threads: u32,
    /// Bytes of shared memory per block.
    pub shared_bytes: usize,
}

/// Threads of a block where each thread works on its own.
const FLAT_THREADS: usize = 256;

impl Launch {
    /// As many blocks as `count` threads need.
    pub fn flat(kernel: &'static str, count: usize) -> Launch {
        let blocks = [count.div_ceil(FLAT_THREADS), 1];
        Launch { kernel, blocks, threads: FLAT_THREADS as u32, shared_bytes: 0 }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.blocks.contains(&0)
    }

    /// Blocks along x, y and z, within the limits of every GPU: 2^31 - 1 along x, 65,535 along the others.
    pub fn grid(&self) -> Result<[u32; 3], GpuError> {
        let within = |size: usize, limit: u32| match u32::try_from(size) {
            Ok(size) if size <= limit => Ok(size),
            _ => Err(GpuError::Limit { what: "a grid", size, limit: limit as usize }),
        };
        Ok([within(self.blocks[0], i32::MAX as u32)?, within(self.blocks[1], 65_535)?, 1])
    }
}

/// A type whose values are arguments of kernels.
///
/// # Safety
/// It has the layout that the kernel declares.
pub unsafe trait Argument: Copy {}

// SAFETY: these are `int`, `uint32_t`, `uint64_t`, `float` and pointers.
unsafe impl Argument for i32 {}
// SAFETY: as above.
unsafe impl Argument for u32 {}
// SAFETY: as above.
unsafe impl Argument for u64 {}
// SAFETY: as above.
unsafe impl Argument for f32 {}
// SAFETY: as above.
unsafe impl Argument for Address {}

/// 64-bit words of the largest argument.
const WORDS: usize = 12;

/// An argument of a kernel.
#[derive(Debug, Clone, Copy)]
pub struct RawArgument {
    storage: [MaybeUninit<u64>; WORDS],
    bytes: usize,
}

impl RawArgument {
    /// A copy of a value.
    pub fn new<T: Argument>(value: T) -> RawArgument {
        const { assert!(size_of::<T>() <= WORDS * 8 && align_of::<T>() <= 8, "an argument fits") };
        let mut storage = [MaybeUninit::uninit(); WORDS];
        // SAFETY: the storage is as large and as aligned as the value, as asserted above.
        unsafe { storage.as_mut_ptr().cast::<T>().write(value) };
        RawArgument { storage, bytes: size_of::<T>() }
    }

    /// The address of the copy.
    pub fn pointer(&self) -> *const c_void {
        self.storage.as_ptr().cast()
    }

    /// The size of the value.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Launches a kernel with these arguments, unless there is nothing to do. The arguments must be those that the kernel declares, in
/// buffers of the sizes that its comment states; the emulator checks both.
#[macro_export]
macro_rules! launch {
    ($gpu:expr, $launch:expr, $($argument:expr),+ $(,)?) => {{
        let (gpu, launch): (_, $crate::gpu::Launch) = ($gpu, $launch);
        let arguments = [$($crate::gpu::RawArgument::new($argument)),+];
        if launch.is_empty() {
            Ok(())
        } else {
            // SAFETY: the caller passes what the kernel declares; `kernels/*.cu` states the size of every buffer.
            unsafe { $crate::gpu::Gpu::launch(gpu, &launch, &arguments) }
        }
    }};
}
