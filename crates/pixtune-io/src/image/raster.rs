//! From what the decoders write, any channels at 8 or 16 bits, to opaque 8-bit RGB.

/// A decoded image: interleaved red, green and blue, no padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rgb {
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height * 3` bytes.
    pub pixels: Vec<u8>,
}

/// How the many ways to store an image are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// As a viewer shows it: auto-oriented, flattened onto white, 16 bits reduced to 8; no animations.
    Corrected,
    /// As mistral-common 1.13.1 with Pillow 13.0.0 reads it, flaws included: EXIF orientation ignored, the
    /// first frame, 16-bit gray clipped at 255, a color key of an RGB image ignored.
    Reference,
}

/// An image in RGB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The pixels.
    pub rgb: Rgb,
    /// No pixel was transparent, whatever the header allowed for.
    pub opaque: bool,
}

/// An image as its decoder wrote it; palettes are already looked up.
#[derive(Debug)]
pub(super) struct Raster {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) channels: Channels,
    pub(super) samples: Samples,
    pub(super) key: Option<Key>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channels {
    Gray,
    GrayAlpha,
    Rgb,
    Rgba,
    Cmyk,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Samples {
    Eight(Vec<u8>),
    Sixteen(Vec<u16>),
}

/// The color that PNG's tRNS chunk declares transparent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    /// In the scale of the samples: what the PNG specification asks for.
    pub(super) exact: [u16; 3],
    /// What Pillow compares with after its conversion to 8 bits; `None` where it ignores the key.
    pub(super) pillow: Option<u8>,
}

impl Raster {
    /// Opaque RGB, and whether the image was opaque in fact.
    pub(super) fn into_rgb(self, reading: Reading) -> Decoded {
        let Raster { width, height, channels, samples, key } = self;
        let key = key.map(|key| match reading {
            Reading::Corrected => (Some(key.exact), None),
            Reading::Reference => (None, key.pillow),
        });
        let (exact, pillow) = key.unwrap_or((None, None));
        let (samples, channels) = match exact {
            Some(key) => (with_key(samples, channels, key), keyed(channels)),
            None => (samples, channels),
        };
        let mut samples = samples.into_eight(channels, reading);
        let mut channels = channels;
        if let (Some(key), Channels::Gray) = (pillow, channels) {
            samples = samples.iter().flat_map(|&gray| [gray, alpha(gray != key)]).collect();
            channels = Channels::GrayAlpha;
        }
        let (pixels, opaque) = flatten(samples, channels);
        Decoded { rgb: Rgb { width, height, pixels }, opaque }
    }
}

fn keyed(channels: Channels) -> Channels {
    match channels {
        Channels::Gray => Channels::GrayAlpha,
        Channels::Rgb => Channels::Rgba,
        other => other,
    }
}

fn alpha(visible: bool) -> u8 {
    if visible { u8::MAX } else { 0 }
}

/// Adds an alpha channel that is zero where the samples equal the key.
fn with_key(samples: Samples, channels: Channels, key: [u16; 3]) -> Samples {
    match (samples, channels) {
        (Samples::Eight(samples), Channels::Gray) => {
            Samples::Eight(add_alpha::<1, 2, _>(&samples, |[v]| alpha(u16::from(v) != key[0])))
        }
        (Samples::Eight(samples), Channels::Rgb) => {
            Samples::Eight(add_alpha::<3, 4, _>(&samples, |rgb| alpha(rgb.map(u16::from) != key)))
        }
        (Samples::Sixteen(samples), Channels::Gray) => {
            Samples::Sixteen(add_alpha::<1, 2, _>(&samples, |[v]| alpha16(v != key[0])))
        }
        (Samples::Sixteen(samples), Channels::Rgb) => {
            Samples::Sixteen(add_alpha::<3, 4, _>(&samples, |rgb| alpha16(rgb != key)))
        }
        (samples, _) => samples,
    }
}

fn alpha16(visible: bool) -> u16 {
    if visible { u16::MAX } else { 0 }
}

fn add_alpha<const N: usize, const M: usize, T: Copy + Default>(
    samples: &[T],
    alpha: impl Fn([T; N]) -> T,
) -> Vec<T> {
    let with_alpha = |pixel: &[T; N]| {
        let mut out = [T::default(); M];
        out[..N].copy_from_slice(pixel);
        out[N] = alpha(*pixel);
        out
    };
    samples.as_chunks::<N>().0.iter().flat_map(with_alpha).collect()
}

impl Samples {
    fn into_eight(self, channels: Channels, reading: Reading) -> Vec<u8> {
        match self {
            Samples::Eight(samples) => samples,
            Samples::Sixteen(samples) => {
                let narrow = match (reading, channels) {
                    // Pillow opens 16-bit gray as mode `I;16` and clips it on conversion; every other
                    // 16-bit kind loses its low byte while being unpacked (measured with 13.0.0).
                    (Reading::Reference, Channels::Gray) => clip,
                    _ => high_byte,
                };
                samples.into_iter().map(narrow).collect()
            }
        }
    }
}

fn clip(v: u16) -> u8 {
    v.min(255) as u8
}

fn high_byte(v: u16) -> u8 {
    (v >> 8) as u8
}

fn flatten(mut samples: Vec<u8>, channels: Channels) -> (Vec<u8>, bool) {
    match channels {
        Channels::Rgb => (samples, true),
        Channels::Gray => (samples.iter().flat_map(|&gray| [gray; 3]).collect(), true),
        Channels::GrayAlpha => {
            let opaque = samples.as_chunks::<2>().0.iter().all(|&[_, a]| a == u8::MAX);
            let pixels =
                samples.as_chunks::<2>().0.iter().flat_map(|&[v, a]| [over_white(v, a); 3]).collect();
            (pixels, opaque)
        }
        Channels::Rgba => {
            let opaque = samples.as_chunks::<4>().0.iter().all(|&[_, _, _, a]| a == u8::MAX);
            // In place, since the result is shorter: the image is never held twice.
            let count = samples.len() / 4;
            for pixel in 0..count {
                let a = samples[4 * pixel + 3];
                for channel in 0..3 {
                    samples[3 * pixel + channel] = over_white(samples[4 * pixel + channel], a);
                }
            }
            samples.truncate(3 * count);
            (samples, opaque)
        }
        Channels::Cmyk => (samples.as_chunks::<4>().0.iter().flat_map(|&inks| cmyk(inks)).collect(), true),
    }
}

/// `a * b / 255`, rounded, as Pillow does it with integers.
fn mul_255(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 128;
    (((product >> 8) + product) >> 8) as u8
}

fn over_white(v: u8, alpha: u8) -> u8 {
    let sum = 255 * (255 - u32::from(alpha)) + u32::from(v) * u32::from(alpha) + 128;
    (((sum >> 8) + sum) >> 8) as u8
}

/// Inks to light without a color profile, the way Pillow converts CMYK.
pub(super) fn cmyk([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    let light = 255 - k;
    [c, m, y].map(|ink| light.saturating_sub(mul_255(ink, light)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gray(samples: Samples, key: Option<Key>, reading: Reading) -> (Vec<u8>, bool) {
        let raster = Raster { width: 1, height: 1, channels: Channels::Gray, samples, key };
        let Decoded { rgb, opaque } = raster.into_rgb(reading);
        (rgb.pixels.iter().step_by(3).copied().collect(), opaque)
    }

    #[test]
    fn sixteen_bits_lose_their_low_byte_or_are_clipped() {
        let samples = || Samples::Sixteen(vec![0, 5, 128, 129, 255, 32_768, 65_535]);
        assert_eq!(gray(samples(), None, Reading::Corrected).0, [0, 0, 0, 0, 0, 128, 255]);
        assert_eq!(gray(samples(), None, Reading::Reference).0, [0, 5, 128, 129, 255, 255, 255]);
    }

    #[test]
    fn a_color_key_is_white() {
        let key = || Some(Key { exact: [5; 3], pillow: Some(6) });
        let samples = || Samples::Eight(vec![4, 5, 6]);
        assert_eq!(gray(samples(), key(), Reading::Corrected), (vec![4, 255, 6], false));
        assert_eq!(gray(samples(), key(), Reading::Reference), (vec![4, 5, 255], false));
        assert_eq!(gray(Samples::Eight(vec![1]), key(), Reading::Corrected), (vec![1], true));
    }
}
