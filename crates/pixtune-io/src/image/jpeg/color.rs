//! Component rows to RGB and back, in the 16-bit fixed point of libjpeg's `jdcolor.c` and `jccolor.c`.

#[cfg(target_arch = "x86_64")]
mod avx2_rows;

/// round(65536 x)
pub(super) const fn fixed(x: f64) -> i32 {
    (x * 65536.0 + 0.5) as i32
}

pub(super) const HALF: i32 = 1 << 15;

/// A row of JFIF's YCbCr as RGB; the sources may be longer than `out`.
pub(super) fn ycc_row_to_rgb(luma: &[u8], blue: &[u8], red: &[u8], out: &mut [[u8; 3]]) {
    #[cfg(target_arch = "x86_64")]
    let done = if super::avx2::is_available() {
        // SAFETY: the machine has AVX2.
        unsafe { avx2_rows::ycc_to_rgb(luma, blue, red, out) }
    } else {
        0
    };
    #[cfg(not(target_arch = "x86_64"))]
    let done = 0;
    let sources = luma[done..].iter().zip(&blue[done..]).zip(&red[done..]);
    for (out, ((&luma, &blue), &red)) in out[done..].iter_mut().zip(sources) {
        *out = ycc_to_rgb(luma, blue, red);
    }
}

/// A row of RGB as JFIF's YCbCr; the planes may be longer than `rgb`.
pub(super) fn rgb_row_to_ycc(rgb: &[[u8; 3]], [luma, blue, red]: [&mut [u8]; 3]) {
    #[cfg(target_arch = "x86_64")]
    let done = if super::avx2::is_available() {
        // SAFETY: the machine has AVX2.
        unsafe { avx2_rows::rgb_to_ycc(rgb, [&mut *luma, &mut *blue, &mut *red]) }
    } else {
        0
    };
    #[cfg(not(target_arch = "x86_64"))]
    let done = 0;
    for (x, pixel) in rgb.iter().enumerate().skip(done) {
        [luma[x], blue[x], red[x]] = rgb_to_ycc(*pixel);
    }
}

/// One pixel of JFIF's YCbCr (T.871 section 7) as RGB.
#[inline(always)]
pub(super) fn ycc_to_rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let red = y + ((fixed(1.402) * cr + HALF) >> 16);
    let green = y + ((-fixed(0.34414) * cb - fixed(0.71414) * cr + HALF) >> 16);
    let blue = y + ((fixed(1.772) * cb + HALF) >> 16);
    [red, green, blue].map(|value| value.clamp(0, 255) as u8)
}

/// One pixel of RGB as JFIF's YCbCr. Chroma rounds halves down, so that 255 is not exceeded.
#[inline(always)]
pub(super) fn rgb_to_ycc([red, green, blue]: [u8; 3]) -> [u8; 3] {
    let (red, green, blue) = (i32::from(red), i32::from(green), i32::from(blue));
    let center = (128 << 16) + HALF - 1;
    let y = (fixed(0.299) * red + fixed(0.587) * green + fixed(0.114) * blue + HALF) >> 16;
    let cb = (-fixed(0.16874) * red - fixed(0.33126) * green + fixed(0.5) * blue + center) >> 16;
    let cr = (fixed(0.5) * red - fixed(0.41869) * green - fixed(0.08131) * blue + center) >> 16;
    [y, cb, cr].map(|value| value as u8)
}

/// One pixel of CMYK, 255 being full ink, as RGB: `cmyk2rgb` in Pillow's `Convert.c`.
#[inline(always)]
pub(super) fn cmyk_to_rgb([cyan, magenta, yellow, black]: [u8; 4]) -> [u8; 3] {
    let paper = u32::from(255 - black);
    [cyan, magenta, yellow].map(|ink| {
        // ink * paper / 255, rounded.
        let product = u32::from(ink) * paper + 128;
        (paper - ((product + (product >> 8)) >> 8)) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_converted_like_pixels() {
        let colors =
            (0..64_u32 * 64 * 64).map(|n| [n, n >> 6, n >> 12].map(|part| (part % 64 * 255 / 63) as u8));
        let pixels: Vec<[u8; 3]> = colors.chain([[1, 2, 3]]).collect();
        let planes: [Vec<u8>; 3] =
            std::array::from_fn(|part| pixels.iter().map(|pixel| pixel[part]).collect());

        let mut rgb = vec![[0; 3]; pixels.len()];
        ycc_row_to_rgb(&planes[0], &planes[1], &planes[2], &mut rgb);
        assert!(rgb.iter().zip(&pixels).all(|(rgb, &[y, cb, cr])| *rgb == ycc_to_rgb(y, cb, cr)));

        let mut ycc = planes.each_ref().map(|plane| vec![0; plane.len()]);
        rgb_row_to_ycc(&pixels, ycc.each_mut().map(|plane| &mut plane[..]));
        assert!(
            pixels
                .iter()
                .enumerate()
                .all(|(x, &rgb)| ycc.each_ref().map(|plane| plane[x]) == rgb_to_ycc(rgb))
        );
    }
}
