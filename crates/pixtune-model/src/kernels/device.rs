//! Work that is generic over the device.

use super::Kernels;

/// Work for any device. Code that is generic over [`Kernels`] is compiled once per device; this is where it starts. The devices
/// by name are in `pixtune-cuda`.
pub trait DeviceTask {
    /// What the work results in.
    type Output;

    /// Does the work on an opened device.
    fn run<K: Kernels>(self, kernels: K) -> Self::Output;
}
