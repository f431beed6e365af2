//! A GPU behind the CUDA driver.
//!
//! The driver, NVRTC and cuBLASLt are libraries that are found when the program runs: one program starts on every machine, and
//! [`Cuda::open`] returns which library is missing. A missing library panics inside `cudarc`, so that is the first thing asked.

mod blas;
mod cache;
mod compile;

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::{Mutex, PoisonError};

use blas::Blas;
use cudarc::driver::{result as driver, sys};

use crate::error::GpuError;
use crate::gpu::{Address, Gpu, Launch, RawArgument};
use crate::matmul::Matmul;
use crate::source::{self, Module};

/// Shared memory of a block that does not have to be requested.
const DEFAULT_SHARED_BYTES: usize = 48 << 10;

/// A kernel on the GPU, and the shared memory that it may use.
#[derive(Debug, Clone, Copy)]
struct Function {
    raw: sys::CUfunction,
    shared_bytes: usize,
}

/// A GPU of this machine.
#[derive(Debug)]
pub struct Cuda {
    name: String,
    context: sys::CUcontext,
    stream: sys::CUstream,
    /// As NVRTC names it: `sm_90a`.
    architecture: String,
    /// Kernels by name. A module is compiled when one of its kernels is launched first.
    functions: Mutex<HashMap<&'static str, Function>>,
    blas: Blas,
}

// SAFETY: the handles of the driver and of cuBLASLt can be used from any thread that has the context, which every operation sets
// first; what changes is behind locks.
unsafe impl Send for Cuda {}
// SAFETY: as above.
unsafe impl Sync for Cuda {}

/// Whether CUDA's libraries are on this machine; the names of those that are not.
pub fn missing_libraries() -> Vec<&'static str> {
    // SAFETY: it opens libraries by name, which are NVIDIA's.
    let found = unsafe {
        [
            ("libcuda (the driver)", sys::is_culib_present()),
            ("libnvrtc", cudarc::nvrtc::sys::is_culib_present()),
            ("libcublasLt", cudarc::cublaslt::sys::is_culib_present()),
        ]
    };
    found.into_iter().filter(|(_, is_present)| !is_present).map(|(name, _)| name).collect()
}

/// A failure of a call of the driver.
fn called<T>(call: &'static str, result: Result<T, driver::DriverError>) -> Result<T, GpuError> {
    result.map_err(|error| {
        let text = error.error_string().map(|text| text.to_string_lossy().into_owned());
        GpuError::Call { call, message: text.unwrap_or_else(|_| format!("{:?}", error.0)) }
    })
}

/// A GPU that can be used.
struct Found {
    device: sys::CUdevice,
    name: String,
    /// Compute capability.
    major: i32,
    minor: i32,
}

impl Found {
    fn of(index: usize) -> Result<Found, GpuError> {
        let libraries = missing_libraries();
        if !libraries.is_empty() {
            return Err(GpuError::Missing { libraries });
        }
        let count = count()?;
        let ordinal = i32::try_from(index).ok().filter(|index| *index < count);
        let Some(ordinal) = ordinal else { return Err(GpuError::NoGpu { index, count: count as usize }) };
        let device = called("cuDeviceGet", driver::device::get(ordinal))?;
        let name = called("cuDeviceGetName", driver::device::get_name(device))?;
        use sys::CUdevice_attribute as Attribute;
        // SAFETY: the device is one of the driver's.
        let attribute = |attribute| unsafe { driver::device::get_attribute(device, attribute) };
        let [major, minor] = [
            Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
            Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
        ]
        .map(|which| called("cuDeviceGetAttribute", attribute(which)));
        let (major, minor) = (major?, minor?);
        // bf16 matrix multiplications and asynchronous copies came with 8.0.
        if major < 8 {
            return Err(GpuError::Capability { name, major, minor });
        }
        Ok(Found { device, name, major, minor })
    }
}

impl Cuda {
    /// Opens a GPU by its index.
    pub fn open(index: usize) -> Result<Cuda, GpuError> {
        let Found { device, name, major, minor } = Found::of(index)?;
        // SAFETY: the device is one of the driver's; its context lives until the process ends.
        let context = called("cuDevicePrimaryCtxRetain", unsafe { driver::primary_ctx::retain(device) })?;
        // SAFETY: the context was retained.
        called("cuCtxSetCurrent", unsafe { driver::ctx::set_current(context) })?;
        keep_freed_memory(device)?;
        let stream =
            called("cuStreamCreate", driver::stream::create(driver::stream::StreamKind::NonBlocking))?;
        let blas = Blas::new(major)?;
        let architecture = format!("sm_{major}{minor}");
        Ok(Cuda { name, context, stream, architecture, functions: Mutex::default(), blas })
    }

    /// Whether [`Cuda::open`] would find a GPU that can be used; nothing is allocated on it.
    pub fn find(index: usize) -> Result<(), GpuError> {
        Found::of(index).map(drop)
    }

    /// The name of the GPU, such as `NVIDIA H100 80GB HBM3`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Free and total bytes of its memory.
    pub fn memory(&self) -> Result<(usize, usize), GpuError> {
        self.enter()?;
        called("cuMemGetInfo", driver::mem_get_info())
    }

    /// Makes the context that of this thread.
    fn enter(&self) -> Result<(), GpuError> {
        // SAFETY: the context lives until the process ends.
        called("cuCtxSetCurrent", unsafe { driver::ctx::set_current(self.context) })
    }

    /// A kernel that may use this much shared memory; its module is loaded the first time.
    fn function(&self, launch: &Launch) -> Result<sys::CUfunction, GpuError> {
        // A poisoned lock is fine: what is in the map is complete.
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        if !functions.contains_key(launch.kernel) {
            let module = source::module_of(launch.kernel);
            let module = module.ok_or_else(|| failed(launch.kernel, "the kernel does not exist"))?;
            for (name, raw) in self.load(module)? {
                functions.insert(name, Function { raw, shared_bytes: DEFAULT_SHARED_BYTES });
            }
        }
        let function = functions.get_mut(launch.kernel);
        let function = function.ok_or_else(|| failed(launch.kernel, "its module has no such kernel"))?;
        if launch.shared_bytes > function.shared_bytes {
            let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the function belongs to a loaded module.
            let set = unsafe {
                driver::function::set_function_attribute(function.raw, attribute, launch.shared_bytes as i32)
            };
            called("cuFuncSetAttribute", set)?;
            function.shared_bytes = launch.shared_bytes;
        }
        Ok(function.raw)
    }

    /// Loads a module, from the cache or compiled, and finds its kernels.
    fn load(&self, module: &Module) -> Result<Vec<(&'static str, sys::CUfunction)>, GpuError> {
        let key = cache::key(module, &self.architecture, compile::version()?);
        let cached = cache::read(&key).and_then(|cubin| load_cubin(&cubin).ok());
        let loaded = match cached {
            Some(loaded) => loaded,
            None => {
                let compiled = compile::compile(module, &self.architecture, &[])?;
                cache::write(&key, &compiled.cubin);
                load_cubin(&compiled.cubin)?
            }
        };
        let function = |name: &&'static str| {
            let symbol = CString::new(*name).map_err(|error| failed(name, &error.to_string()))?;
            // SAFETY: the module is loaded, and is never unloaded.
            Ok((
                *name,
                called("cuModuleGetFunction", unsafe { driver::module::get_function(loaded, symbol) })?,
            ))
        };
        module.kernels.iter().map(function).collect()
    }
}

fn failed(kernel: &str, message: &str) -> GpuError {
    GpuError::Launch { kernel: kernel.to_owned(), message: message.to_owned() }
}

/// The number of GPUs; none if the driver has none.
fn count() -> Result<i32, GpuError> {
    match driver::init() {
        Err(driver::DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => return Ok(0),
        result => called("cuInit", result)?,
    }
    called("cuDeviceGetCount", driver::device::get_count())
}

fn load_cubin(cubin: &[u8]) -> Result<sys::CUmodule, GpuError> {
    // SAFETY: a cubin has its own length in its header; those of the cache are whole, because they are written whole.
    called("cuModuleLoadData", unsafe { driver::module::load_data(cubin.as_ptr().cast()) })
}

/// Makes the pool of the device keep what is freed, instead of returning it to the driver whenever the stream is empty.
fn keep_freed_memory(device: sys::CUdevice) -> Result<(), GpuError> {
    let mut threshold = u64::MAX;
    // SAFETY: the pool is the device's own; the attribute is a 64-bit number.
    unsafe {
        let mut pool = std::ptr::null_mut();
        called("cuDeviceGetDefaultMemPool", sys::cuDeviceGetDefaultMemPool(&mut pool, device).result())?;
        let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        let value = std::ptr::from_mut(&mut threshold).cast();
        called("cuMemPoolSetAttribute", sys::cuMemPoolSetAttribute(pool, attribute, value).result())
    }
}

impl Gpu for Cuda {
    fn allocate(&self, bytes: usize) -> Result<Address, GpuError> {
        self.enter()?;
        // SAFETY: the stream lives as long as this; the memory is used on this stream alone.
        match unsafe { driver::malloc_async(self.stream, bytes) } {
            Err(driver::DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => {
                Err(GpuError::OutOfMemory { bytes })
            }
            result => called("cuMemAllocAsync", result).map(Address),
        }
    }

    fn free(&self, address: Address, _: usize) {
        // A failure here is that of work before it, which the next operation returns.
        if self.enter().is_ok() {
            // SAFETY: the memory was allocated on this stream.
            let _ = unsafe { driver::free_async(address.0, self.stream) };
        }
    }

    fn free_memory(&self) -> Result<u64, GpuError> {
        self.memory().map(|(free, _)| free as u64)
    }

    fn write(&self, to: Address, bytes: &[u8]) -> Result<(), GpuError> {
        self.enter()?;
        // SAFETY: the range is the caller's. Pageable memory was copied by the driver when this returns (CUDA driver API, "API
        // synchronization behavior").
        called("cuMemcpyHtoDAsync", unsafe { driver::memcpy_htod_async(to.0, bytes, self.stream) })
    }

    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<(), GpuError> {
        self.enter()?;
        // SAFETY: the range is the caller's, and the stream is waited for before the bytes are read.
        unsafe {
            called("cuMemcpyDtoHAsync", driver::memcpy_dtoh_async(bytes, from.0, self.stream))?;
            called("cuStreamSynchronize", driver::stream::synchronize(self.stream))
        }
    }

    fn copy(&self, from: Address, to: Address, bytes: usize) -> Result<(), GpuError> {
        self.enter()?;
        // SAFETY: both ranges are the caller's.
        called("cuMemcpyDtoDAsync", unsafe { driver::memcpy_dtod_async(to.0, from.0, bytes, self.stream) })
    }

    unsafe fn launch(&self, launch: &Launch, arguments: &[RawArgument]) -> Result<(), GpuError> {
        self.enter()?;
        let function = self.function(launch)?;
        let [x, y, z] = launch.grid()?;
        let mut pointers: Vec<*mut c_void> =
            arguments.iter().map(|argument| argument.pointer().cast_mut()).collect();
        let (block, shared_bytes) = ((launch.threads, 1, 1), launch.shared_bytes as u32);
        // SAFETY: the arguments are those of the kernel, by the caller; the driver copies them and does not write to them.
        let launched = unsafe {
            driver::launch_kernel(function, (x, y, z), block, shared_bytes, self.stream, &mut pointers)
        };
        called("cuLaunchKernel", launched).map_err(|error| failed(launch.kernel, &error.to_string()))
    }

    fn multiply(&self, call: &Matmul) -> Result<(), GpuError> {
        call.check()?;
        self.enter()?;
        self.blas.multiply(call, self.stream)
    }
}
