//! How large an image may be; checked on the header, before a decoder allocates anything.
use pixtune_core::target::Target;

use super::error::ImageError;

/// Bounds on one image. Every command reads images within the same limits.
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
    /// Files up to 100 MB, room for scans that are to be downscaled; sides up to 10,000 pixels, as
    /// <https://docs.mistral.ai/capabilities/vision/> says for its own API; 500 MB decoded, room for ten thousand squared
    /// in RGBA.
    fn default() -> Self {
        Limits {
            max_bytes: 100_000_000,
            max_side: 10_000,
            max_pixels: 100_000_000,
            max_decoded_bytes: 500_000_000,
        }
    }
}

impl Limits {
    /// The limits for images that are judged against a target: those of the target hold where they are known, and a file
    /// that the target accepts is read.
    pub fn of_target(target: &Target) -> Limits {
        let limits = Limits::default().with_side(target.max_side);
        match target.max_image_bytes {
            u64::MAX => limits,
            max_bytes => Limits { max_bytes: limits.max_bytes.max(max_bytes), ..limits },
        }
    }

    /// The same limits with another one for sides: a square of that side is allowed.
    pub fn with_side(self, max_side: u32) -> Limits {
        Limits { max_side, max_pixels: u64::from(max_side).pow(2), ..self }
    }

    pub(crate) fn check_bytes(&self, bytes: u64) -> Result<(), ImageError> {
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
