//! Addresses on a GPU.

/// An address in the memory of a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Address(
    /// As the driver has it.
    pub u64,
);

impl Address {
    /// No memory: an operand that a kernel does not use.
    pub const NULL: Address = Address(0);

    /// The address this many bytes later.
    pub fn after(self, bytes: usize) -> Address {
        Address(self.0 + bytes as u64)
    }
}
