//! Color profiles (ICC.1:2022): which images have one that is not sRGB, and its name.
use std::borrow::Cow;

use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

use super::exif::Tags;
use super::{jpeg_file, png, webp};
use crate::numbers::{take, u16_be, u32_be};
use crate::sniff::Format;

/// Larger profiles are not read: they are tables for printers.
const LARGEST: usize = 4 << 20;

/// The name of a profile in an image whose colors are not those of sRGB. All readers of the reference ignore it.
pub(super) fn foreign_profile(bytes: &[u8], format: Format) -> Option<String> {
    let profile = embedded(bytes, format)?;
    let profile = Profile::open(&profile)?;
    (!profile.is_srgb()).then(|| profile.name())
}

/// The profile of an image.
fn embedded(bytes: &[u8], format: Format) -> Option<Cow<'_, [u8]>> {
    match format {
        Format::Jpeg => {
            let segments = jpeg_file::segments(bytes).filter(|&(marker, _)| marker == 0xe2);
            let mut parts: Vec<&[u8]> =
                segments.filter_map(|(_, body)| body.strip_prefix(b"ICC_PROFILE\0")).collect();
            // Each begins with its number and the count of all.
            parts.sort_by_key(|part| part.first().copied());
            let parts: Vec<&[u8]> = parts.into_iter().filter_map(|part| part.get(2..)).collect();
            (!parts.is_empty()).then(|| parts.concat().into())
        }
        Format::Png => {
            let (_, chunk) = png::chunks(bytes).find(|(_, chunk)| chunk.name == b"iCCP")?;
            let name = memchr::memchr(0, chunk.data)?;
            let packed = chunk.data.get(name + 2..)?;
            decompress_to_vec_zlib_with_limit(packed, LARGEST).ok().map(Cow::Owned)
        }
        Format::WebP => {
            webp::chunks(bytes).find(|(name, ..)| name == b"ICCP").map(|(_, profile, _)| profile.into())
        }
        Format::Tiff => {
            const PROFILE: u16 = 34_675;
            let tags = Tags::open(bytes)?;
            tags.field(tags.first()?, PROFILE).map(|(_, profile)| profile.into())
        }
        Format::Gif | Format::Bmp => None,
    }
}

struct Profile<'a>(&'a [u8]);

/// The primaries of sRGB, adapted to D50: X, Y and Z of red, green and blue.
const SRGB: [[f64; 3]; 3] = [[0.4361, 0.2225, 0.0139], [0.3851, 0.7169, 0.0971], [0.1431, 0.0606, 0.7141]];

/// How light half of the range is: 0.214 in sRGB, 0.218 with a gamma of 2.2.
const HALF: std::ops::Range<f64> = 0.19..0.24;

impl<'a> Profile<'a> {
    fn open(profile: &'a [u8]) -> Option<Self> {
        (take(profile, 36, 4)? == b"acsp").then_some(Profile(profile))
    }

    fn tag(&self, name: &[u8; 4]) -> Option<&'a [u8]> {
        let count = u32_be(self.0, 128)?.min(200) as usize;
        let entry = (0..count).map(|index| 132 + 12 * index).find(|&at| take(self.0, at, 4) == Some(name))?;
        take(self.0, u32_be(self.0, entry + 4)? as usize, u32_be(self.0, entry + 8)? as usize)
    }

    fn is_srgb(&self) -> bool {
        let like_srgb = |curve| self.tag(curve).and_then(half).is_some_and(|half| HALF.contains(&half));
        match take(self.0, 16, 4) {
            Some(b"GRAY") => like_srgb(b"kTRC"),
            Some(b"RGB ") => {
                let primaries = [b"rXYZ", b"gXYZ", b"bXYZ"].iter().zip(SRGB).all(|(name, srgb)| {
                    let Some(tag) = self.tag(name) else { return false };
                    let near = |(at, srgb): (usize, f64)| {
                        fixed(tag, 8 + 4 * at).is_some_and(|value| (value - srgb).abs() < 0.01)
                    };
                    srgb.into_iter().enumerate().all(near)
                });
                primaries && like_srgb(b"rTRC")
            }
            _ => false,
        }
    }

    fn name(&self) -> String {
        let text = self.tag(b"desc").and_then(|tag| match take(tag, 0, 4)? {
            b"desc" => {
                let text = take(tag, 12, u32_be(tag, 8)? as usize)?;
                Some(String::from_utf8_lossy(text).into_owned())
            }
            // Several languages; the first is used.
            b"mluc" => {
                let text = take(tag, u32_be(tag, 24)? as usize, u32_be(tag, 20)? as usize)?;
                let units = text.as_chunks::<2>().0.iter().map(|&unit| u16::from_be_bytes(unit));
                Some(char::decode_utf16(units).filter_map(Result::ok).collect())
            }
            _ => None,
        });
        let text: String = text.unwrap_or_default().chars().filter(|c| !c.is_control()).take(60).collect();
        if text.trim().is_empty() { "unnamed".to_owned() } else { text.trim().to_owned() }
    }
}

/// A number of 16 bits before and 16 bits after the point.
fn fixed(bytes: &[u8], at: usize) -> Option<f64> {
    u32_be(bytes, at).map(|value| f64::from(value.cast_signed()) / 65_536.0)
}

/// What a curve makes of 0.5.
fn half(curve: &[u8]) -> Option<f64> {
    match take(curve, 0, 4)? {
        b"curv" => match u32_be(curve, 8)? as usize {
            0 => Some(0.5),
            1 => Some(0.5_f64.powf(f64::from(u16_be(curve, 12)?) / 256.0)),
            count => u16_be(curve, 12 + count / 2 * 2).map(|value| f64::from(value) / 65_535.0),
        },
        b"para" => {
            let kind = u16_be(curve, 8)?;
            let gamma = fixed(curve, 12)?;
            if kind == 0 {
                return Some(0.5_f64.powf(gamma));
            }
            Some((fixed(curve, 16)? * 0.5 + fixed(curve, 20)?).powf(gamma))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A profile of these primaries and this gamma.
    fn profile(primaries: [[f64; 3]; 3], gamma: f64, name: &str) -> Vec<u8> {
        let xyz = |values: [f64; 3]| {
            let fixed = values.map(|value| ((value * 65_536.0) as i32).to_be_bytes());
            [b"XYZ \0\0\0\0", fixed.as_flattened()].concat()
        };
        let curve = [b"curv\0\0\0\0\0\0\0\x01", &((gamma * 256.0) as u16).to_be_bytes()[..]].concat();
        let text = [b"desc\0\0\0\0", &(name.len() as u32).to_be_bytes()[..], name.as_bytes()].concat();
        let [red, green, blue] = primaries.map(xyz);
        let tags = [(b"rXYZ", red), (b"gXYZ", green), (b"bXYZ", blue), (b"rTRC", curve), (b"desc", text)];
        let mut file = vec![0; 132 + 12 * tags.len()];
        file[16..20].copy_from_slice(b"RGB ");
        file[36..40].copy_from_slice(b"acsp");
        file[131] = tags.len() as u8;
        for (index, (name, data)) in tags.iter().enumerate() {
            let entry =
                [&name[..], &(file.len() as u32).to_be_bytes(), &(data.len() as u32).to_be_bytes()].concat();
            file[132 + 12 * index..144 + 12 * index].copy_from_slice(&entry);
            file.extend(data);
        }
        file
    }

    const DISPLAY_P3: [[f64; 3]; 3] =
        [[0.5151, 0.2412, -0.0011], [0.2919, 0.6922, 0.0419], [0.1572, 0.0666, 0.7841]];

    #[test]
    fn names_profiles_that_are_not_srgb() {
        let jpeg = |profile: &[u8]| {
            let (first, second) = profile.split_at(100);
            let segment = |number: u8, part: &[u8]| {
                let body = [&b"ICC_PROFILE\0"[..], &[number, 2], part].concat();
                [b"\xff\xe2", &(body.len() as u16 + 2).to_be_bytes()[..], &body].concat()
            };
            [b"\xff\xd8", &segment(2, second)[..], &segment(1, first), b"\xff\xd9"].concat()
        };
        let found = |profile: &[u8]| foreign_profile(&jpeg(profile), Format::Jpeg);
        assert_eq!(found(&profile(DISPLAY_P3, 2.2, "Display P3")).as_deref(), Some("Display P3"));
        assert_eq!(found(&profile(SRGB, 1.0, "")).as_deref(), Some("unnamed"));
        assert_eq!(found(&profile(SRGB, 2.2, "any name")), None);
        assert_eq!(found(&[0; 200]), None);
        for length in 100..profile(SRGB, 2.2, "x").len() {
            found(&profile(SRGB, 2.2, "x")[..length]);
        }
    }
}
