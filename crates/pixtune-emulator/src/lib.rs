//! A GPU that is emulated on the CPU: the kernels of `pixtune-cuda`, compiled for the CPU, and the matrix multiplications of cuBLASLt.
//!
//! For tests alone: it proves what a GPU would compute, and finds the mistakes that `emulator/emulator.h` lists. It is slow: a
//! thread of a GPU is a fiber here.

mod memory;
mod multiply;

use std::ffi::{CStr, CString, c_char, c_void};

use memory::Memory;
use pixtune_cuda::GpuError;
use pixtune_cuda::gpu::{Address, Gpu, Launch, RawArgument};
use pixtune_cuda::matmul::Matmul;

unsafe extern "C" {
    fn emulator_launch(
        name: *const c_char,
        grid: *const u32,
        threads: u32,
        shared_bytes: usize,
        arguments: *const *const c_void,
        sizes: *const usize,
        argument_count: usize,
        seed: u64,
    ) -> *const c_char;
    fn emulator_kernels() -> *const c_char;
}

/// An emulated GPU.
#[derive(Debug)]
pub struct Emulator {
    seed: u64,
    memory: Memory,
}

impl Emulator {
    /// Threads and blocks run in an order that depends on the seed; with zero, in that of their indices. Results never depend
    /// on it.
    pub fn new(seed: u64) -> Emulator {
        Emulator { seed, memory: Memory::default() }
    }

    /// An emulated GPU that fails to allocate beyond this many bytes.
    pub fn with_memory(seed: u64, bytes: usize) -> Emulator {
        Emulator { seed, memory: Memory::with_capacity(bytes) }
    }

    /// Has another process take memory of this GPU.
    pub fn occupy(&self, bytes: usize) {
        self.memory.occupy(bytes);
    }

    /// Bytes that are allocated.
    pub fn allocated_bytes(&self) -> usize {
        self.memory.allocated_bytes()
    }

    /// The most bytes that were allocated at once.
    pub fn peak_bytes(&self) -> usize {
        self.memory.peak_bytes()
    }
}

/// The names of all kernels, in order.
pub fn kernels() -> Vec<String> {
    // SAFETY: the emulator returns a string that is never freed.
    let names = unsafe { CStr::from_ptr(emulator_kernels()) };
    names.to_string_lossy().split_whitespace().map(str::to_owned).collect()
}

impl Gpu for Emulator {
    fn allocate(&self, bytes: usize) -> Result<Address, GpuError> {
        self.memory.allocate(bytes)
    }

    fn free(&self, address: Address, bytes: usize) {
        self.memory.free(address, bytes);
    }

    fn free_memory(&self) -> Result<u64, GpuError> {
        Ok(self.memory.free_bytes() as u64)
    }

    fn write(&self, to: Address, bytes: &[u8]) -> Result<(), GpuError> {
        self.memory.check(to, bytes.len())?;
        // SAFETY: the range is inside an allocation, which is host memory.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.0 as *mut u8, bytes.len()) };
        Ok(())
    }

    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<(), GpuError> {
        self.memory.check(from, bytes.len())?;
        // SAFETY: the range is inside an allocation, which is host memory.
        unsafe { std::ptr::copy_nonoverlapping(from.0 as *const u8, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    fn copy(&self, from: Address, to: Address, bytes: usize) -> Result<(), GpuError> {
        self.memory.check(from, bytes)?;
        self.memory.check(to, bytes)?;
        // SAFETY: both ranges are inside allocations, which are host memory.
        unsafe { std::ptr::copy(from.0 as *const u8, to.0 as *mut u8, bytes) };
        Ok(())
    }

    unsafe fn launch(&self, launch: &Launch, arguments: &[RawArgument]) -> Result<(), GpuError> {
        let failed = |message: String| GpuError::Launch { kernel: launch.kernel.to_owned(), message };
        let name = CString::new(launch.kernel).map_err(|error| failed(error.to_string()))?;
        let grid = launch.grid()?;
        let pointers: Vec<*const c_void> = arguments.iter().map(RawArgument::pointer).collect();
        let sizes: Vec<usize> = arguments.iter().map(RawArgument::bytes).collect();
        // SAFETY: the emulator checks the number and the sizes of the arguments, and accesses outside of buffers. The message is
        // copied before the next launch on this thread.
        let message = unsafe {
            let message = emulator_launch(
                name.as_ptr(),
                grid.as_ptr(),
                launch.threads,
                launch.shared_bytes,
                pointers.as_ptr(),
                sizes.as_ptr(),
                arguments.len(),
                self.seed,
            );
            if message.is_null() {
                return Ok(());
            }
            CStr::from_ptr(message).to_string_lossy().into_owned()
        };
        Err(failed(message))
    }

    fn multiply(&self, call: &Matmul) -> Result<(), GpuError> {
        call.check()?;
        for (address, bytes) in call.ranges() {
            self.memory.check(address, bytes)?;
        }
        // SAFETY: the matrices are inside allocations, which are host memory.
        unsafe { multiply::multiply(call) };
        Ok(())
    }
}
