//! Devices by name: the one place that decides which kernels run.

use std::fmt;
use std::str::FromStr;

use pixtune_model::kernels::{CpuKernels, DeviceError, DeviceTask};

use crate::backend::CudaKernels;
use crate::driver::Cuda;
use crate::error::GpuError;

/// A device that computes, as a user names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Device {
    /// The first GPU if there is one that can be used, otherwise the CPU.
    Auto,
    /// The CPU, in single precision.
    #[default]
    Cpu,
    /// The GPU of this index, in bf16.
    Cuda(usize),
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Device, String> {
        let index = |text: &str| text.parse().map_err(|_| format!("`{text}` is not the index of a GPU"));
        match text.split_once(':') {
            None if text == "auto" => Ok(Device::Auto),
            None if text == "cpu" => Ok(Device::Cpu),
            None if text == "cuda" => Ok(Device::Cuda(0)),
            Some(("cuda", number)) => Ok(Device::Cuda(index(number)?)),
            _ => Err("use auto, cpu, cuda, or cuda and the index of a GPU, such as cuda:1".to_owned()),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Auto => f.write_str("auto"),
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

/// Why a device cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The CPU.
    #[error(transparent)]
    Cpu(#[from] DeviceError),
    /// A GPU.
    #[error(transparent)]
    Gpu(#[from] GpuError),
}

/// A device that is ready to compute.
#[derive(Debug)]
pub enum OpenDevice {
    /// The CPU.
    Cpu(CpuKernels),
    /// A GPU.
    Cuda(CudaKernels<Cuda>),
}

impl Device {
    /// Fails where there is no such device, before anything is done for it.
    pub fn find(self) -> Result<(), OpenError> {
        match self {
            Device::Cuda(index) => Ok(Cuda::find(index)?),
            Device::Auto | Device::Cpu => Ok(()),
        }
    }

    /// Opens the device. `threads` is the number of CPU threads where the CPU computes.
    pub fn open(self, threads: usize) -> Result<OpenDevice, OpenError> {
        let gpu = match self {
            Device::Cpu => None,
            Device::Cuda(index) => Some(Cuda::open(index)?),
            Device::Auto => match Cuda::open(0) {
                Ok(gpu) => Some(gpu),
                Err(error) if error.is_absence() => None,
                Err(error) => return Err(error.into()),
            },
        };
        Ok(match gpu {
            Some(gpu) => OpenDevice::Cuda(CudaKernels::new(gpu)),
            None => OpenDevice::Cpu(CpuKernels::new(threads)?),
        })
    }
}

impl OpenDevice {
    /// Does the work on the device.
    pub fn run<T: DeviceTask>(self, task: T) -> T::Output {
        match self {
            OpenDevice::Cpu(kernels) => task.run(kernels),
            OpenDevice::Cuda(kernels) => task.run(kernels),
        }
    }

    /// The device as a report names it: `CPU`, or the name of the GPU.
    pub fn name(&self) -> &str {
        self.gpu_name().unwrap_or("CPU")
    }

    /// The name of the GPU, if it is one.
    pub fn gpu_name(&self) -> Option<&str> {
        match self {
            OpenDevice::Cpu(_) => None,
            OpenDevice::Cuda(kernels) => Some(kernels.gpu().name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::missing_libraries;

    #[test]
    fn names_are_parsed_as_they_are_printed() {
        for (text, device) in [("auto", Device::Auto), ("cpu", Device::Cpu), ("cuda:2", Device::Cuda(2))] {
            assert_eq!(text.parse(), Ok(device));
            assert_eq!(device.to_string(), text);
        }
        assert_eq!("cuda".parse(), Ok(Device::Cuda(0)));
        for wrong in ["", "gpu", "CPU", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "auto:0"] {
            assert!(wrong.parse::<Device>().is_err(), "{wrong}");
        }
    }

    /// On a machine without CUDA, which tests run on: where it is, the GPU opens instead.
    #[test]
    fn without_cuda_auto_is_the_cpu_and_cuda_is_an_error() {
        if missing_libraries().is_empty() {
            return;
        }
        assert_eq!(Device::Auto.open(1).unwrap().name(), "CPU");
        let error = Device::Cuda(0).open(1).unwrap_err().to_string();
        assert!(error.starts_with("no CUDA here: libcuda (the driver)"), "{error}");
    }
}
