//! How large an image may be; checked on the header, before a decoder allocates anything.
use super::error::ImageError;

/// Bounds on one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Size of the file.
    pub max_bytes: u64,
    /// The longer side in pixels.
    pub max_side: u32,
    /// Width times height.
    pub max_pixels: u64,
    /// Memory of the decoded image, at the sample size its decoder writes. While it becomes RGB, about twice as
    /// much is held for a moment.
    pub max_decoded_bytes: u64,
}

impl Default for Limits {
    /// Sides up to 10,000 pixels, as <https://docs.mistral.ai/capabilities/vision/> says for its own API;
    /// files up to 20 MiB, the larger of the two figures there; room for ten thousand squared in RGBA.
    fn default() -> Self {
        Limits {
            max_bytes: 20 << 20,
            max_side: 10_000,
            max_pixels: 100_000_000,
            max_decoded_bytes: 400_000_000,
        }
    }
}

impl Limits {
    pub(super) fn check_bytes(&self, bytes: &[u8]) -> Result<(), ImageError> {
        let bytes = bytes.len() as u64;
        if bytes > self.max_bytes {
            return Err(ImageError::TooManyBytes { bytes, max: self.max_bytes });
        }
        Ok(())
    }

    pub(super) fn check_size(&self, width: u32, height: u32) -> Result<(), ImageError> {
        if width == 0 || height == 0 {
            return Err(ImageError::ZeroSize { width, height });
        }
        if width.max(height) > self.max_side {
            return Err(ImageError::TooLarge { width, height, max: self.max_side });
        }
        let pixels = u64::from(width) * u64::from(height);
        if pixels > self.max_pixels {
            return Err(ImageError::TooManyPixels { width, height, pixels, max: self.max_pixels });
        }
        Ok(())
    }

    pub(super) fn check_decoded(&self, bytes: u64) -> Result<(), ImageError> {
        if bytes > self.max_decoded_bytes {
            return Err(ImageError::TooMuchMemory { bytes, max: self.max_decoded_bytes });
        }
        Ok(())
    }

    /// The memory limit as decoders take it.
    pub(super) fn decoder_bytes(&self) -> usize {
        usize::try_from(self.max_decoded_bytes).unwrap_or(usize::MAX)
    }
}
