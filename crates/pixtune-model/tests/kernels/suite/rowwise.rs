//! Norms, rotary positions and biases.

use pixtune_model::kernels::{Angles, Kernels, NormBackward, Rotation, Write};
use pixtune_model::weights::Dtype;

use super::harness::{Input, Results, activations, floats, random, sum, wide};
use super::reference;

pub fn rms_norm<K: Kernels>(k: &K, results: &mut Results) {
    for (rows, columns) in [(1, 1), (7, 5), (60, 37), (3, 1030)] {
        let epsilon = 1e-5_f32;
        let (x, weight) = (activations(k, 1, rows * columns), floats(k, 2, columns));
        let (dy, before) = (activations(k, 3, rows * columns), activations(k, 4, rows * columns));
        let mut out = k.activations(rows * columns);
        k.rms_norm(epsilon, &x.buffer, &weight.buffer, &mut out);
        let expected = reference::rms_norm(&x.reference, &weight.reference, epsilon.into());
        results.buffer(k, format!("rms_norm {rows}x{columns}"), &out, expected);
        let gradient =
            reference::rms_norm_backward(&x.reference, &weight.reference, &dy.reference, epsilon.into());
        for write in [Write::Set, Write::Add] {
            let mut dx = k.activations(rows * columns);
            k.copy(&before.buffer, &mut dx);
            let norm = NormBackward { epsilon, x: &x.buffer, weight: &weight.buffer };
            k.rms_norm_backward(norm, &dy.buffer, &mut dx, write);
            let expected = match write {
                Write::Set => gradient.clone(),
                Write::Add => sum(&before.reference, &gradient),
            };
            results.buffer(k, format!("rms_norm_backward {rows}x{columns} {write:?}"), &dx, expected);
        }
    }
}

pub fn rope<K: Kernels>(k: &K, results: &mut Results) {
    for (rows, heads, head_size) in [(1, 1, 2), (4, 2, 6), (33, 3, 64)] {
        let angles: Vec<f32> = random(9, rows * head_size / 2).iter().map(|angle| angle * 5.0).collect();
        let upload = |function: fn(f32) -> f32| {
            k.upload(&angles.iter().map(|angle| function(*angle)).collect::<Vec<_>>(), Dtype::F32)
        };
        let on_device = Angles { cosines: upload(f32::cos), sines: upload(f32::sin) };
        for (rotation, sign) in [(Rotation::Forward, 1.0), (Rotation::Backward, -1.0)] {
            let Input { buffer: mut x, reference: input } = activations(k, 10, rows * heads * head_size);
            k.rope(&on_device, head_size, &mut x, rotation);
            let expected = reference::rope(&input, &wide(&angles), head_size, sign);
            results.buffer(k, format!("rope {rows}x{heads}x{head_size} {rotation:?}"), &x, expected);
        }
    }
}

pub fn add_bias<K: Kernels>(k: &K, results: &mut Results) {
    let (rows, columns) = (9, 35);
    let bias = floats(k, 11, columns);
    let Input { buffer: mut y, reference: before } = activations(k, 12, rows * columns);
    k.add_bias(&bias.buffer, &mut y);
    let expected = sum(&before, &bias.reference.repeat(rows));
    results.buffer(k, "add_bias", &y, expected);
}

/// The gradients of a bias and of the weight of a norm, added to a part of the flat gradients.
pub fn gradients_of_vectors<K: Kernels>(k: &K, results: &mut Results) {
    for (rows, columns) in [(1, 1), (7, 5), (60, 37), (3, 1030), (700, 300)] {
        let epsilon = 1e-5_f32;
        let (x, dy) = (activations(k, 1, rows * columns), activations(k, 3, rows * columns));
        let weight = floats(k, 2, columns);
        let sums = reference::column_sums(&dy.reference, columns);
        let weights =
            reference::rms_norm_weight_backward(&x.reference, &dy.reference, columns, epsilon.into());
        let range = 4..4 + columns;
        let added = |before: &[f64], gradient: &[f64]| {
            let mut expected = before.to_vec();
            expected[range.clone()].iter_mut().zip(gradient).for_each(|(sum, more)| *sum += more);
            expected
        };
        let Input { buffer: mut found, reference: before } = floats(k, 4, columns + 9);
        k.bias_backward(&dy.buffer, range.clone(), &mut found);
        results.buffer(k, format!("bias_backward {rows}x{columns}"), &found, added(&before, &sums));
        let Input { buffer: mut found, reference: before } = floats(k, 5, columns + 9);
        let norm = NormBackward { epsilon, x: &x.buffer, weight: &weight.buffer };
        k.rms_norm_weight_backward(norm, &dy.buffer, range.clone(), &mut found);
        let name = format!("rms_norm_weight_backward {rows}x{columns}");
        results.buffer(k, name, &found, added(&before, &weights));
    }
}
