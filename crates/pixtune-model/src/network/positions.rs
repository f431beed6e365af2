//! Angles of rotary positions.
//!
//! Frequencies are rounded where transformers 5.23.0 rounds them (`modeling_rope_utils.py`, `modeling_pixtral.py`): far from
//! the start of a text, an error of one bit in a frequency changes the rotation noticeably.

use super::batch::Image;
use super::shape::ModelShape;
use crate::kernels::{Angles, Kernels};
use crate::weights::Dtype;
use crate::weights::config::{QueryScaling, Yarn};

/// The angles of a text's tokens.
#[derive(Debug)]
pub(super) struct TextAngles<K: Kernels> {
    /// Of keys.
    pub(super) keys: Angles<K>,
    /// Of queries, if they are not the same.
    pub(super) queries: Option<Angles<K>>,
}

/// `1 / theta^(2 i / head_size)`, `[head_size / 2]`.
fn frequencies(theta: f64, head_size: usize) -> Vec<f32> {
    powers(theta, head_size).map(|power| 1.0 / power).collect()
}

fn powers(theta: f64, head_size: usize) -> impl Iterator<Item = f32> {
    let exponent = move |i: usize| (2 * i) as f32 / head_size as f32;
    (0..head_size / 2).map(move |i| theta.powf(f64::from(exponent(i))) as f32)
}

/// The frequencies stretched by YaRN (`_compute_yarn_parameters`): fast ones as they are, slow ones divided by the factor,
/// those between mixed of both.
fn stretched(theta: f64, head_size: usize, yarn: &Yarn) -> Vec<f32> {
    let size = head_size as f64;
    // The frequency that makes so many rotations within the original positions.
    let index = |rotations: f64| {
        let positions = yarn.original_positions as f64;
        size * (positions / (rotations * 2.0 * std::f64::consts::PI)).ln() / (2.0 * theta.ln())
    };
    let (mut low, mut high) = (index(yarn.beta_fast), index(yarn.beta_slow));
    if yarn.truncate {
        (low, high) = (low.floor(), high.ceil());
    }
    (low, high) = (low.max(0.0), high.min(size - 1.0));
    if low == high {
        // What transformers adds: without it the ramp would have no width.
        high += 0.001;
    }
    let (factor, low, width) = (yarn.factor as f32, low as f32, (high - low) as f32);
    let mix = |(i, power): (usize, f32)| {
        let kept = 1.0 - ((i as f32 - low) / width).clamp(0.0, 1.0);
        (1.0 / (factor * power)) * (1.0 - kept) + (1.0 / power) * kept
    };
    powers(theta, head_size).enumerate().map(mix).collect()
}

/// What the query at a position is multiplied by (`modeling_ministral3.py`).
fn query_scale(scaling: &QueryScaling, position: u32) -> f32 {
    let times = (position as f32 / scaling.original_positions as f32).floor();
    1.0 + scaling.beta as f32 * (1.0 + times).ln()
}

/// Angles of tokens by their position: `[tokens, head_size / 2]`. Cosines and sines have the length that YaRN gives them; those
/// of queries are multiplied by the scale of their position, which the rotation then applies.
pub(super) fn text<K: Kernels>(kernels: &K, shape: &ModelShape, positions: &[u32]) -> TextAngles<K> {
    let (theta, head_size) = (shape.text.rope_theta, shape.text.head_size);
    let (frequencies, length) = match &shape.yarn {
        Some(yarn) => (stretched(theta, head_size, yarn), yarn.attention_factor() as f32),
        None => (frequencies(theta, head_size), 1.0),
    };
    let angles = positions.iter().flat_map(|&position| frequencies.iter().map(move |f| position as f32 * f));
    let angles: Vec<f32> = angles.collect();
    let scaled = |scale: &dyn Fn(u32) -> f32| {
        let lengths = positions.iter().flat_map(|&position| {
            let length = length * scale(position);
            std::iter::repeat_n(length, frequencies.len())
        });
        upload(kernels, &angles, lengths)
    };
    let keys = scaled(&|_| 1.0);
    // Below the original positions there is nothing to scale.
    let grows = |scaling: &&QueryScaling| positions.iter().any(|&at| query_scale(scaling, at) != 1.0);
    let queries = shape.query_scaling.as_ref().filter(grows);
    TextAngles { keys, queries: queries.map(|scaling| scaled(&|position| query_scale(scaling, position))) }
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
    upload(kernels, &angles, std::iter::repeat(1.0))
}

/// Cosines and sines of angles, each multiplied by a length.
fn upload<K: Kernels>(kernels: &K, angles: &[f32], lengths: impl Iterator<Item = f32> + Clone) -> Angles<K> {
    let upload = |function: fn(f32) -> f32| {
        let pairs = angles.iter().zip(lengths.clone());
        let values: Vec<f32> = pairs.map(|(angle, length)| function(*angle) * length).collect();
        kernels.upload(&values, Dtype::F32)
    };
    Angles { cosines: upload(f32::cos), sines: upload(f32::sin) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use pixtune_core::json::{self, Value};

    use super::*;
    use crate::weights::config::Magnitude;

    fn number(value: &Value<'_>, key: &str) -> f64 {
        value.get(key).unwrap().to_string().parse().unwrap()
    }

    fn numbers(value: &Value<'_>) -> Vec<f64> {
        value.as_array().unwrap().iter().map(|value| value.to_string().parse().unwrap()).collect()
    }

    fn yarn_of(rope: &Value<'_>) -> (Option<Yarn>, Option<QueryScaling>) {
        if rope.get("rope_type").and_then(Value::as_str) != Some("yarn") {
            return (None, None);
        }
        let original_positions = number(rope, "original_max_position_embeddings") as usize;
        let yarn = Yarn {
            factor: number(rope, "factor"),
            original_positions,
            beta_fast: number(rope, "beta_fast"),
            beta_slow: number(rope, "beta_slow"),
            magnitude: Magnitude::Scales(number(rope, "mscale"), number(rope, "mscale_all_dim")),
            truncate: true,
        };
        let scaling = QueryScaling { beta: number(rope, "llama_4_scaling_beta"), original_positions };
        (Some(yarn), Some(scaling))
    }

    /// `fixtures/rope`: what transformers computes for the settings of published models.
    #[test]
    fn tables_are_those_of_transformers() {
        let text = include_str!("../../../../fixtures/rope/rope_tables.json");
        let tables = json::parse(text).unwrap().value;
        for (name, table) in tables.as_object().unwrap() {
            let rope = table.get("rope_parameters").unwrap();
            let head_size = number(table, "head_dim") as usize;
            let theta = number(rope, "rope_theta");
            let (yarn, scaling) = yarn_of(rope);
            let found = match &yarn {
                Some(yarn) => stretched(theta, head_size, yarn),
                None => frequencies(theta, head_size),
            };
            for (found, expected) in found.iter().zip(numbers(table.get("inv_freq").unwrap())) {
                assert!((f64::from(*found) / expected - 1.0).abs() <= 1.2e-7, "{name}: {found} {expected}");
            }
            let length = yarn.map_or(1.0, |yarn| yarn.attention_factor());
            assert_eq!(length, number(table, "attention_scaling"), "{name}");
            let positions = numbers(table.get("positions").unwrap());
            if let (Some(scaling), Some(expected)) = (scaling, table.get("q_scale")) {
                for (position, expected) in positions.iter().zip(numbers(expected)) {
                    let found = query_scale(&scaling, *position as u32);
                    assert!((f64::from(found) - expected).abs() < 2e-7, "{name} at {position}");
                }
            }
        }
    }
}
