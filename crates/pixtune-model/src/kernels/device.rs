//! Devices by name: the one place that decides which kernels run.

use super::{CpuKernels, DeviceError, Kernels};

/// A device that computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// The CPU, in single precision.
    #[default]
    Cpu,
}

/// Work for any device. Code that is generic over [`Kernels`] is compiled once per device; this is where it starts.
pub trait DeviceTask {
    /// What the work results in.
    type Output;

    /// Does the work on an opened device.
    fn run<K: Kernels>(self, kernels: K) -> Self::Output;
}

impl Device {
    /// Opens the device and does the work on it. `threads` is the number of CPU threads where the CPU computes.
    pub fn run<T: DeviceTask>(self, threads: usize, task: T) -> Result<T::Output, DeviceError> {
        match self {
            Device::Cpu => Ok(task.run(CpuKernels::new(threads)?)),
        }
    }
}
