//! The geometry of an image: its components, their sizes and their blocks (T.81 A.1 and A.2).

use super::error::{JpegError, Unsupported};

/// How the coefficients are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Process {
    Sequential,
    Progressive,
}

/// A component as the frame header has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Component {
    pub(super) id: u8,
    pub(super) h: u8,
    pub(super) v: u8,
    /// Number of its quantization table.
    pub(super) steps: u8,
}

/// A checked frame header.
pub(super) struct Frame {
    pub(super) process: Process,
    pub(super) size: (u32, u32),
    pub(super) components: Vec<Component>,
    /// Largest sampling factors of any component.
    max: (u8, u8),
}

impl Frame {
    pub(super) fn new(
        process: Process,
        size: (u32, u32),
        mut components: Vec<Component>,
    ) -> Result<Self, JpegError> {
        if let [only] = &mut components[..] {
            // A single component is never interleaved: its factors mean nothing (T.81 A.2.2).
            (only.h, only.v) = (1, 1);
        }
        let max = components.iter().fold((1, 1), |max, part| (part.h.max(max.0), part.v.max(max.1)));
        if components.iter().any(|part| max.0 % part.h != 0 || max.1 % part.v != 0) {
            return Err(JpegError::Unsupported(Unsupported::FractionalSampling));
        }
        Ok(Self { process, size, components, max })
    }

    /// How many image pixels one sample of the component is wide and high.
    pub(super) fn ratio(&self, component: &Component) -> (u8, u8) {
        (self.max.0 / component.h, self.max.1 / component.v)
    }

    /// Size of the component in samples.
    pub(super) fn component_size(&self, component: &Component) -> (u32, u32) {
        let ratio = self.ratio(component);
        (self.size.0.div_ceil(u32::from(ratio.0)), self.size.1.div_ceil(u32::from(ratio.1)))
    }

    /// MCUs in a row, and rows of them, of a scan over several components.
    pub(super) fn mcus(&self) -> (u32, u32) {
        (self.size.0.div_ceil(8 * u32::from(self.max.0)), self.size.1.div_ceil(8 * u32::from(self.max.1)))
    }

    /// Blocks in a row and rows of blocks that an interleaved scan has of the component.
    pub(super) fn padded_blocks(&self, component: &Component) -> (u32, u32) {
        let mcus = self.mcus();
        (mcus.0 * u32::from(component.h), mcus.1 * u32::from(component.v))
    }

    /// Blocks in a row and rows of blocks that a scan of this component alone has.
    pub(super) fn own_blocks(&self, component: &Component) -> (u32, u32) {
        let size = self.component_size(component);
        (size.0.div_ceil(8), size.1.div_ceil(8))
    }
}
