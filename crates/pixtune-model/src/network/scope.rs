//! What every part of the network reads during a pass.

use crate::kernels::{DropoutMask, Kernels};

/// What a pass reads besides weights and activations.
#[derive(Debug)]
pub(super) struct Scope<'a, K: Kernels> {
    pub(super) kernels: &'a K,
    /// The flat buffer of all trained parameters.
    pub(super) parameters: &'a K::Buffer,
    /// Set while training only.
    pub(super) dropout: Option<DropoutMask>,
}
