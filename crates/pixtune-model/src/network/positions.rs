//! Angles of rotary positions.
//!
//! Frequencies are rounded where transformers 5.23.0 rounds them (`modeling_rope_utils.py`, `modeling_pixtral.py`): far from
//! the start of a text, an error of one bit in a frequency changes the rotation noticeably.

use super::batch::Image;
use crate::kernels::{Angles, Kernels};
use crate::weights::Dtype;

/// `1 / theta^(2 i / head_size)`, `[head_size / 2]`.
fn frequencies(theta: f64, head_size: usize) -> Vec<f32> {
    let exponent = |i: usize| (2 * i) as f32 / head_size as f32;
    (0..head_size / 2).map(|i| 1.0 / (theta.powf(f64::from(exponent(i))) as f32)).collect()
}

/// Angles of tokens by their position: `[tokens, head_size / 2]`.
pub(super) fn text<K: Kernels>(kernels: &K, theta: f64, head_size: usize, positions: &[u32]) -> Angles<K> {
    let frequencies = frequencies(theta, head_size);
    let angles = positions.iter().flat_map(|&position| frequencies.iter().map(move |f| position as f32 * f));
    upload(kernels, angles.collect())
}

/// Angles of patches: the even frequencies by the row, then the odd ones by the column.
pub(super) fn images<K: Kernels>(kernels: &K, theta: f64, head_size: usize, images: &[Image]) -> Angles<K> {
    let frequencies = frequencies(theta, head_size);
    let mut angles = Vec::new();
    for image in images {
        for patch in 0..image.patches() {
            let (row, column) = ((patch / image.columns) as f32, (patch % image.columns) as f32);
            angles.extend(frequencies.iter().step_by(2).map(|f| row * f));
            angles.extend(frequencies.iter().skip(1).step_by(2).map(|f| column * f));
        }
    }
    upload(kernels, angles)
}

fn upload<K: Kernels>(kernels: &K, angles: Vec<f32>) -> Angles<K> {
    let upload = |function: fn(f32) -> f32| {
        let values: Vec<f32> = angles.iter().map(|angle| function(*angle)).collect();
        kernels.upload(&values, Dtype::F32)
    };
    Angles { cosines: upload(f32::cos), sines: upload(f32::sin) }
}
