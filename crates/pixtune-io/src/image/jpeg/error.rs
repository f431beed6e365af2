//! What can be wrong with a JPEG file.

/// Why a JPEG file was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JpegError {
    /// The first bytes are not those of a JPEG file.
    #[error("not a JPEG file: it does not start with the bytes FF D8 FF")]
    NotJpeg,
    /// The file stops before the image does.
    #[error("the file ends after {length} bytes, before the image is complete")]
    Truncated {
        /// Bytes in the file.
        length: usize,
    },
    /// A progressive file without all the scans it needs, usually the start of a longer file.
    #[error("the last scans of the progressive image are missing")]
    Incomplete,
    /// The file contradicts the standard or itself.
    #[error("corrupt at byte {offset}: {what}")]
    Corrupt {
        /// Where in the file it was noticed.
        offset: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// The file is valid, in a variant of JPEG that no common decoder reads.
    #[error("unsupported kind of JPEG: {0}")]
    Unsupported(Unsupported),
    /// The frame header promises more pixels than the caller allows.
    #[error("{width}x{height} pixels are more than the limit of {max_pixels}")]
    TooLarge {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
        /// The limit it is over.
        max_pixels: u64,
    },
    /// More scans than any encoder writes: a small file built to cost a lot of time.
    #[error("more than {limit} scans")]
    TooManyScans {
        /// The limit it is over.
        limit: usize,
    },
}

/// Parts of the JPEG family that are refused by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// SOF9, SOF10 and the other arithmetic processes.
    #[error("arithmetic coding")]
    Arithmetic,
    /// SOF3 and its variants.
    #[error("lossless")]
    Lossless,
    /// SOF5 to SOF7 and the DHP and EXP markers.
    #[error("hierarchical")]
    Hierarchical,
    /// Samples of more or less than 8 bits.
    #[error("{0} bits per sample")]
    Precision(u8),
    /// Two components, or more than four.
    #[error("{0} components")]
    Components(u8),
    /// A component whose size is not the image's divided by a whole number.
    #[error("fractional subsampling")]
    FractionalSampling,
    /// The height is given after the first scan, in a DNL marker.
    #[error("height defined by a DNL marker")]
    HeightInDnl,
}

impl JpegError {
    pub(super) fn corrupt(offset: usize, what: &'static str) -> Self {
        Self::Corrupt { offset, what }
    }
}
