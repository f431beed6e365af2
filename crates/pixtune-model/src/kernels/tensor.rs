//! Numbers on their way to a device, and on it.

use std::borrow::Cow;
use std::fmt::Debug;

use crate::weights::Dtype;

/// Numbers on a device.
pub trait DeviceBuffer: Send + Sync + Debug {
    /// The dtype of the numbers.
    fn dtype(&self) -> Dtype;
}

/// A tensor as it is stored: little-endian, row by row.
#[derive(Debug, Clone)]
pub struct FrozenTensor<'w> {
    /// The dtype of the numbers.
    pub dtype: Dtype,
    /// The size of each axis.
    pub shape: Vec<usize>,
    /// The numbers.
    pub bytes: Cow<'w, [u8]>,
}

/// Bytes of a frozen matrix on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WeightMemory {
    /// Those that it always has.
    pub held: u64,
    /// Additional ones while an operation reads it.
    pub in_use: u64,
}

/// A frozen tensor in a dtype that a device does not compute with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the device does not support weights stored as {0}")]
pub struct UnsupportedDtype(
    /// The dtype of the tensor.
    pub Dtype,
);
