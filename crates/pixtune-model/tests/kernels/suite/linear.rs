//! Matrix products, low-rank adapters and dropout.

use pixtune_model::kernels::{
    DropoutMask, Kernels, Lora, LoraBackward, LoraForward, TrainedBackward, TrainedMatrix, Write,
};

use super::harness::{Results, STORED, StoredMatrix, activations, floats, sum};
use super::reference::{scaled, times, times_transposed, transposed_times};

/// Rows, inputs and outputs: single rows as in generation, ragged tiles, and an inner axis longer than a block.
const SHAPES: [[usize; 3]; 5] = [[1, 9, 11], [4, 40, 65], [6, 130, 50], [70, 300, 129], [300, 1100, 33]];

pub fn linear<K: Kernels>(k: &K, results: &mut Results) {
    for dtype in STORED {
        for [rows, inputs, outputs] in SHAPES {
            let name = |what| format!("{what} {dtype} {rows}x{inputs}x{outputs}");
            let weight = StoredMatrix::new(dtype, 3, [outputs, inputs]);
            let on_device = weight.upload(k);
            let (x, dy) = (activations(k, 4, rows * inputs), activations(k, 5, rows * outputs));
            let y = times_transposed(&x.reference, &weight.reference, inputs);
            let dx = times(&dy.reference, &weight.reference, outputs);
            let mut logits = k.floats(rows * outputs);
            k.linear(&x.buffer, &on_device, &mut logits, Write::Set);
            results.buffer(k, name("linear to f32"), &logits, y.clone());
            for write in [Write::Set, Write::Add] {
                let before = activations(k, 6, rows * outputs);
                let mut found = before.buffer;
                k.linear(&x.buffer, &on_device, &mut found, write);
                results.buffer(k, name("linear"), &found, written(write, &before.reference, &y));
                let before = activations(k, 7, rows * inputs);
                let mut found = before.buffer;
                k.linear_backward(&dy.buffer, &on_device, &mut found, write);
                results.buffer(k, name("linear_backward"), &found, written(write, &before.reference, &dx));
            }
        }
    }
}

/// The result of an operation that sets or adds.
fn written(write: Write, before: &[f64], result: &[f64]) -> Vec<f64> {
    match write {
        Write::Set => result.to_vec(),
        Write::Add => sum(before, result),
    }
}

/// A matrix somewhere inside the flat buffers, and the length of these.
fn trained(inputs: usize, outputs: usize) -> (TrainedMatrix, usize) {
    let range = 5..5 + inputs * outputs;
    let len = range.end + 3;
    (TrainedMatrix { range, inputs, outputs }, len)
}

pub fn trained_linear<K: Kernels>(k: &K, results: &mut Results) {
    for [rows, inputs, outputs] in SHAPES {
        let (matrix, len) = trained(inputs, outputs);
        let (parameters, x) = (floats(k, 1, len), activations(k, 2, rows * inputs));
        let y = times_transposed(&x.reference, &parameters.reference[matrix.range.clone()], inputs);
        for write in [Write::Set, Write::Add] {
            let before = activations(k, 6, rows * outputs);
            let mut found = before.buffer;
            k.trained_linear(&matrix, &parameters.buffer, &x.buffer, &mut found, write);
            let expected = written(write, &before.reference, &y);
            results.buffer(k, format!("trained_linear {rows}x{inputs}x{outputs}"), &found, expected);
        }
    }
}

/// Setting and adding, and without an input gradient.
pub fn trained_linear_backward<K: Kernels>(k: &K, results: &mut Results) {
    for [rows, inputs, outputs] in SHAPES {
        let (matrix, len) = trained(inputs, outputs);
        let (parameters, x) = (floats(k, 1, len), activations(k, 2, rows * inputs));
        let dy = activations(k, 3, rows * outputs);
        let dw = transposed_times(&dy.reference, &x.reference, rows);
        let dx = times(&dy.reference, &parameters.reference[matrix.range.clone()], outputs);
        for write in [Some(Write::Set), Some(Write::Add), None] {
            let name = |what| format!("trained_linear_backward {what} {rows}x{inputs}x{outputs} {write:?}");
            let (before, dx_before) = (floats(k, 4, len), activations(k, 5, rows * inputs));
            let (mut gradients, mut found) = (before.buffer, dx_before.buffer);
            let pass = TrainedBackward {
                parameters: &parameters.buffer,
                gradients: &mut gradients,
                x: &x.buffer,
                y_gradient: &dy.buffer,
            };
            k.trained_linear_backward(&matrix, pass, write.map(|write| (&mut found, write)));
            let mut expected = before.reference;
            expected[matrix.range.clone()].iter_mut().zip(&dw).for_each(|(sum, more)| *sum += more);
            results.buffer(k, name("gradients"), &gradients, expected);
            let expected =
                write.map_or(dx_before.reference.clone(), |write| written(write, &dx_before.reference, &dx));
            results.buffer(k, name("input"), &found, expected);
        }
    }
}

/// An adapter whose tensors are somewhere inside the flat buffers, and the length of these.
fn adapter(inputs: usize, outputs: usize, rank: usize) -> (Lora, usize) {
    let (a, b) = (5..5 + rank * inputs, 7 + rank * inputs..7 + rank * (inputs + outputs));
    let len = b.end + 3;
    (Lora { a, b, inputs, outputs, rank, scaling: 1.7 }, len)
}

/// Rows, inputs, outputs and rank.
const ADAPTERS: [[usize; 4]; 4] = [[1, 9, 11, 1], [6, 40, 65, 3], [70, 130, 50, 16], [260, 300, 33, 20]];

pub fn lora_down<K: Kernels>(k: &K, results: &mut Results) {
    for [rows, inputs, outputs, rank] in ADAPTERS {
        let (lora, len) = adapter(inputs, outputs, rank);
        let (parameters, x) = (floats(k, 1, len), activations(k, 2, rows * inputs));
        let mut xa = k.activations(rows * rank);
        k.lora_down(&lora, &parameters.buffer, &x.buffer, &mut xa);
        let expected = times_transposed(&x.reference, &parameters.reference[lora.a.clone()], inputs);
        results.buffer(k, format!("lora_down {rows}x{inputs}x{rank}"), &xa, expected);
    }
}

pub fn lora_linear<K: Kernels>(k: &K, results: &mut Results) {
    for dtype in STORED {
        for [rows, inputs, outputs, rank] in ADAPTERS {
            let (lora, len) = adapter(inputs, outputs, rank);
            let weight = StoredMatrix::new(dtype, 3, [outputs, inputs]);
            let on_device = weight.upload(k);
            let (parameters, x) = (floats(k, 1, len), activations(k, 2, rows * inputs));
            let xa = activations(k, 4, rows * rank);
            let update = times_transposed(&xa.reference, &parameters.reference[lora.b.clone()], rank);
            let y = sum(
                &times_transposed(&x.reference, &weight.reference, inputs),
                &scaled(&update, lora.scaling.into()),
            );
            for write in [Write::Set, Write::Add] {
                let before = activations(k, 5, rows * outputs);
                let mut found = before.buffer;
                let pass = LoraForward {
                    parameters: &parameters.buffer,
                    weight: &on_device,
                    x: &x.buffer,
                    xa: &xa.buffer,
                };
                k.lora_linear(&lora, pass, &mut found, write);
                let expected = written(write, &before.reference, &y);
                results.buffer(k, format!("lora_linear {dtype} {rows}x{inputs}x{outputs}"), &found, expected);
            }
        }
    }
}

/// With and without the frozen weight's part, setting and adding, and without an input gradient.
pub fn lora_linear_backward<K: Kernels>(k: &K, results: &mut Results) {
    for [rows, inputs, outputs, rank] in ADAPTERS {
        let (lora, len) = adapter(inputs, outputs, rank);
        let weight = StoredMatrix::new(STORED[1], 3, [outputs, inputs]);
        let on_device = weight.upload(k);
        let (parameters, x) = (floats(k, 1, len), activations(k, 2, rows * inputs));
        let (xa, dy) = (activations(k, 4, rows * rank), activations(k, 5, rows * outputs));
        let [a, b] = [&lora.a, &lora.b].map(|range| &parameters.reference[range.clone()]);
        let scaling = f64::from(lora.scaling);
        let db = scaled(&transposed_times(&dy.reference, &xa.reference, rows), scaling);
        let dxa = scaled(&times(&dy.reference, b, outputs), scaling);
        let da = transposed_times(&dxa, &x.reference, rows);
        let through_adapter = times(&dxa, a, rank);
        let through_weight = times(&dy.reference, &weight.reference, outputs);
        for (with_weight, write) in [(true, Some(Write::Set)), (false, Some(Write::Add)), (true, None)] {
            let name = |what| {
                format!("lora_linear_backward {what} {rows}x{inputs}x{outputs} {with_weight} {write:?}")
            };
            let before = floats(k, 6, len);
            let mut gradients = before.buffer;
            let dx_before = activations(k, 7, rows * inputs);
            let mut dx = dx_before.buffer;
            let pass = LoraBackward {
                weight: with_weight.then_some(&on_device),
                parameters: &parameters.buffer,
                gradients: &mut gradients,
                x: &x.buffer,
                xa: &xa.buffer,
                y_gradient: &dy.buffer,
            };
            k.lora_linear_backward(&lora, pass, write.map(|write| (&mut dx, write)));
            let mut expected = before.reference;
            for (range, gradient) in [(&lora.a, &da), (&lora.b, &db)] {
                expected[range.clone()].iter_mut().zip(gradient).for_each(|(sum, gradient)| *sum += gradient);
            }
            results.buffer(k, name("gradients"), &gradients, expected);
            let gradient = match with_weight {
                true => sum(&through_weight, &through_adapter),
                false => through_adapter.clone(),
            };
            let expected = match write {
                Some(write) => written(write, &dx_before.reference, &gradient),
                None => dx_before.reference,
            };
            results.buffer(k, name("input"), &dx, expected);
        }
    }
}

pub fn dropout<K: Kernels>(k: &K, results: &mut Results) {
    let (rate, len) = (0.25, 40_001);
    let mask = |seed| DropoutMask { rate, seed };
    let apply = |seed, x: &K::Buffer| {
        let mut out = k.activations(len);
        k.dropout(mask(seed), x, &mut out, Write::Set);
        out
    };
    let mut ones = k.activations(len);
    k.fill(&mut ones, 1.0);
    let factors = k.download(&apply(3, &ones));
    let kept = factors.iter().filter(|factor| **factor != 0.0).count() as f64 / len as f64;
    assert!((kept - 0.75).abs() < 0.01, "dropout keeps {kept}");
    assert_ne!(factors, k.download(&apply(4, &ones)), "another seed is another mask");
    for period in [1 << 10, 1 << 12, 1 << 14, 1 << 15] {
        assert_ne!(factors[..1000], factors[period..][..1000], "the mask repeats after {period} numbers");
    }
    let x = activations(k, 8, len);
    let expected: Vec<f64> = x
        .reference
        .iter()
        .zip(&factors)
        .map(|(x, factor)| if *factor == 0.0 { 0.0 } else { x / (1.0 - f64::from(rate)) })
        .collect();
    results.buffer(k, "dropout", &apply(3, &x.buffer), expected.clone());
    let before = activations(k, 9, len);
    let mut added = before.buffer;
    k.dropout(mask(3), &x.buffer, &mut added, Write::Add);
    results.buffer(k, "dropout Add", &added, sum(&before.reference, &expected));
}
