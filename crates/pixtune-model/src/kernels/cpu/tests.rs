//! Every backward pass against finite differences of its forward pass.
//!
//! The loss is `sum(weights * forward(inputs))` for random weights; the gradient that backward gives along a random direction
//! has to be the slope of the loss along it.

use std::borrow::Cow;

use super::{CpuBuffer, CpuKernels};
use crate::kernels::{
    Angles, AttentionGradients, AttentionInput, AttentionOutput, AttentionShape, DropoutMask, Head, Kernels,
    Lora, LoraBackward, LoraForward, Mask, NormBackward, Precision, Segment, Turn, Write,
};
use crate::network::{FrozenTensor, Storage};

type Buffers = Vec<Vec<f32>>;

fn kernels() -> CpuKernels {
    CpuKernels::with_precision(2, Precision::Double).unwrap()
}

/// Numbers between -1 and 1.
fn random(seed: u32, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 * 2.0 - 1.0
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// `forward` gives the output, `backward` the gradients of all inputs for an output gradient.
#[track_caller]
fn check(
    inputs: &Buffers,
    forward: impl Fn(&Buffers) -> Vec<f32>,
    backward: impl Fn(&Buffers, &[f32]) -> Buffers,
) {
    let weights = random(99, forward(inputs).len());
    let gradients = backward(inputs, &weights);
    assert_eq!(gradients.len(), inputs.len());
    for (index, gradient) in gradients.iter().enumerate() {
        let direction = random(7 + index as u32, gradient.len());
        let loss_at = |step: f32| {
            let mut moved = inputs.clone();
            moved[index].iter_mut().zip(&direction).for_each(|(x, d)| *x += step * d);
            dot(&forward(&moved), &weights)
        };
        let step = 2e-3f32;
        let slope = (loss_at(step) - loss_at(-step)) / (2.0 * f64::from(step));
        let expected = dot(gradient, &direction);
        let size = dot(gradient, gradient).sqrt().max(1e-3);
        assert!((slope - expected).abs() < 4e-3 * size, "input {index}: slope {slope}, gradient {expected}");
        assert!(gradient.iter().any(|g| *g != 0.0), "input {index} has no gradient");
    }
}

fn up(kernels: &CpuKernels, values: &[f32]) -> CpuBuffer {
    kernels.upload(values)
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn matrix(bytes: &[u8], rows: usize, columns: usize) -> FrozenTensor<'_> {
    FrozenTensor { storage: Storage::F32, shape: vec![rows, columns], bytes: Cow::Borrowed(bytes) }
}

#[test]
fn rms_norm() {
    let k = kernels();
    let weight = up(&k, &random(1, 37));
    check(
        &vec![random(2, 5 * 37)],
        |inputs| {
            let mut out = k.buffer(5 * 37);
            k.rms_norm(1e-5, &up(&k, &inputs[0]), &weight, &mut out);
            out.to_vec()
        },
        |inputs, dout| {
            let x = up(&k, &inputs[0]);
            let mut dx = k.buffer(5 * 37);
            let norm = NormBackward { epsilon: 1e-5, x: &x, weight: &weight };
            k.rms_norm_backward(norm, &up(&k, dout), &mut dx, Write::Set);
            vec![dx.to_vec()]
        },
    );
}

#[test]
fn linear() {
    let k = kernels();
    let bytes = bytes(&random(3, 11 * 9));
    let weight = k.weight(matrix(&bytes, 11, 9));
    check(
        &vec![random(4, 6 * 9)],
        |inputs| {
            let mut y = k.buffer(6 * 11);
            k.linear(&up(&k, &inputs[0]), &weight, &mut y, Write::Set);
            y.to_vec()
        },
        |_, dy| {
            let mut dx = k.buffer(6 * 9);
            k.linear_backward(&up(&k, dy), &weight, &mut dx, Write::Set);
            vec![dx.to_vec()]
        },
    );
}

#[test]
fn lora() {
    let k = kernels();
    let lora = Lora { a: 5..5 + 27, b: 40..40 + 33, inputs: 9, outputs: 11, rank: 3, scaling: 1.7 };
    let bytes = bytes(&random(31, 11 * 9));
    let weight = k.weight(matrix(&bytes, 11, 9));
    let forward = |x: &CpuBuffer, parameters: &CpuBuffer| {
        let (mut hidden, mut y) = (k.buffer(6 * 3), k.buffer(66));
        k.lora_hidden(&lora, parameters, x, &mut hidden);
        k.lora(&lora, LoraForward { parameters, weight: &weight, x, hidden: &hidden }, &mut y, Write::Set);
        (hidden, y)
    };
    check(
        &vec![random(5, 6 * 9), random(6, 80)],
        |inputs| forward(&up(&k, &inputs[0]), &up(&k, &inputs[1])).1.to_vec(),
        |inputs, dy| {
            let (x, parameters, dy) = (up(&k, &inputs[0]), up(&k, &inputs[1]), up(&k, dy));
            let (hidden, _) = forward(&x, &parameters);
            let (mut gradients, mut dx) = (up(&k, &[0.0; 80]), k.buffer(54));
            let pass = LoraBackward {
                weight: Some(&weight),
                parameters: &parameters,
                gradients: &mut gradients,
                x: &x,
                hidden: &hidden,
                y_gradient: &dy,
            };
            k.lora_backward(&lora, pass, Some((&mut dx, Write::Set)));
            assert!(gradients[..5].iter().chain(&gradients[73..]).all(|g| *g == 0.0));
            vec![dx.to_vec(), gradients.to_vec()]
        },
    );
}

#[test]
fn dropout() {
    let k = kernels();
    let mask = DropoutMask { rate: 0.4, seed: 3 };
    let apply = |x: &[f32]| {
        let mut out = k.buffer(x.len());
        k.dropout(mask, &up(&k, x), &mut out, Write::Set);
        out.to_vec()
    };
    check(&vec![random(8, 500)], |inputs| apply(&inputs[0]), |_, dout| vec![apply(dout)]);
}

#[test]
fn rope() {
    let k = kernels();
    let angles = random(9, 4 * 3);
    let turn_of = |f: fn(f32) -> f32| up(&k, &angles.iter().map(|angle| f(angle * 5.0)).collect::<Vec<_>>());
    let angles = Angles { cosines: turn_of(f32::cos), sines: turn_of(f32::sin) };
    let apply = |x: &[f32], turn| {
        let mut x = up(&k, x);
        k.rope(&angles, 6, &mut x, turn);
        x.to_vec()
    };
    let inputs = vec![random(10, 4 * 2 * 6)];
    check(&inputs, |inputs| apply(&inputs[0], Turn::Forward), |_, dout| vec![apply(dout, Turn::Back)]);
    let back = apply(&apply(&inputs[0], Turn::Forward), Turn::Back);
    assert!(back.iter().zip(&inputs[0]).all(|(a, b)| (a - b).abs() < 1e-6));
}

#[test]
fn swiglu() {
    let k = kernels();
    check(
        &vec![random(11, 300), random(12, 300)],
        |inputs| {
            let mut out = k.buffer(300);
            k.swiglu(&up(&k, &inputs[0]), &up(&k, &inputs[1]), &mut out);
            out.to_vec()
        },
        |inputs, dout| {
            let (mut gate, mut up_) = (up(&k, &inputs[0]), up(&k, &inputs[1]));
            k.swiglu_backward(&up(&k, dout), &mut gate, &mut up_);
            vec![gate.to_vec(), up_.to_vec()]
        },
    );
}

#[test]
fn gelu() {
    let k = kernels();
    check(
        &vec![random(13, 300).iter().map(|x| x * 4.0).collect()],
        |inputs| {
            let mut out = k.buffer(300);
            k.gelu(&up(&k, &inputs[0]), &mut out);
            out.to_vec()
        },
        |inputs, dout| {
            let mut x = up(&k, &inputs[0]);
            k.gelu_backward(&up(&k, dout), &mut x);
            vec![x.to_vec()]
        },
    );
}

#[test]
fn cross_entropy() {
    let k = kernels();
    let bytes = bytes(&random(14, 50 * 7));
    let weight = k.weight(matrix(&bytes, 50, 7));
    let targets: Vec<u32> = (0..20).map(|row| row * 13 % 50).collect();
    check(
        &vec![random(15, 20 * 7)],
        |inputs| {
            let x = up(&k, &inputs[0]);
            let losses = k.cross_entropy(Head { x: &x, weight: &weight }, &targets, 1.0, None);
            // All rows count alike: the weights of `check` cannot reach into the sum.
            vec![losses.iter().map(|label| label.loss).sum()]
        },
        |inputs, weights| {
            let x = up(&k, &inputs[0]);
            let mut dx = k.buffer(20 * 7);
            k.cross_entropy(Head { x: &x, weight: &weight }, &targets, weights[0], Some(&mut dx));
            vec![dx.to_vec()]
        },
    );
}

/// Three sequences, one of a single token and one longer than a block of queries and of keys.
fn attention(mask: Mask) {
    let k = kernels();
    let bounds = [0, 1, 20, 320];
    let segments: Vec<Segment> =
        bounds.windows(2).map(|pair| Segment { queries: pair[0]..pair[1], keys: pair[0]..pair[1] }).collect();
    let shape = AttentionShape { heads: 4, key_value_heads: 2, head_size: 6, mask, segments: &segments };
    let rows = 320;
    let forward = |inputs: &Buffers| {
        let [q, keys, values] = [0, 1, 2].map(|index| up(&k, &inputs[index]));
        let (mut out, mut log_sums) = (k.buffer(rows * 24), k.buffer(rows * 4));
        let input = AttentionInput { queries: &q, keys: &keys, values: &values };
        k.attention(&shape, input, &mut out, &mut log_sums);
        (out, log_sums)
    };
    let inputs: Buffers = vec![
        random(16, rows * 24).iter().map(|x| x * 3.0).collect(),
        random(17, rows * 12),
        random(18, rows * 12),
    ];
    let (out, _) = forward(&inputs);
    naive_attention(&inputs, &shape).iter().zip(&out[..]).for_each(|(a, b)| assert!((a - b).abs() < 1e-5));
    check(
        &inputs,
        |inputs| forward(inputs).0.to_vec(),
        |inputs, dout| {
            let (out, log_sums) = forward(inputs);
            let [q, keys, values] = [0, 1, 2].map(|index| up(&k, &inputs[index]));
            let dout = up(&k, dout);
            let (mut dq, mut dk, mut dv) = (k.buffer(rows * 24), k.buffer(rows * 12), k.buffer(rows * 12));
            let input = AttentionInput { queries: &q, keys: &keys, values: &values };
            let output = AttentionOutput { out: &out, log_sums: &log_sums, out_gradient: &dout };
            let gradients = AttentionGradients { queries: &mut dq, keys: &mut dk, values: &mut dv };
            k.attention_backward(&shape, input, output, gradients);
            vec![dq.to_vec(), dk.to_vec(), dv.to_vec()]
        },
    );
}

/// The definition, a row at a time.
fn naive_attention(inputs: &Buffers, shape: &AttentionShape) -> Vec<f32> {
    let size = shape.head_size;
    let mut out = vec![0.0; inputs[0].len()];
    for segment in shape.segments {
        for (place, query) in segment.queries.clone().enumerate() {
            for head in 0..shape.heads {
                let key_head = head / (shape.heads / shape.key_value_heads);
                let at = |row: usize, head: usize, heads: usize| (row * heads + head) * size;
                let q = &inputs[0][at(query, head, shape.heads)..][..size];
                let seen = if shape.mask == Mask::Causal { place + 1 } else { segment.keys.len() };
                let keys = segment.keys.clone().take(seen);
                let key = |row: usize| at(row, key_head, shape.key_value_heads);
                let weights: Vec<f64> = keys
                    .clone()
                    .map(|row| (dot(q, &inputs[1][key(row)..][..size]) / (size as f64).sqrt()).exp())
                    .collect();
                let sum: f64 = weights.iter().sum();
                for (row, weight) in keys.zip(&weights) {
                    for column in 0..size {
                        let value = f64::from(inputs[2][key(row) + column]);
                        out[at(query, head, shape.heads) + column] += (weight / sum * value) as f32;
                    }
                }
            }
        }
    }
    out
}

#[test]
fn attention_of_text() {
    attention(Mask::Causal);
}

#[test]
fn attention_of_images() {
    attention(Mask::Full);
}

/// Attention and its gradients by kernels of either precision: out, log sums, dq, dk, dv.
fn attention_by(precision: Precision, shape: &AttentionShape, rows: usize) -> Vec<Vec<f32>> {
    let k = CpuKernels::with_precision(2, precision).unwrap();
    let (width, key_width) = (shape.heads * shape.head_size, shape.key_value_heads * shape.head_size);
    let [q, dout] = [21, 22].map(|seed| up(&k, &random(seed, rows * width)));
    let [keys, values] = [23, 24].map(|seed| up(&k, &random(seed, rows * key_width)));
    let (mut out, mut log_sums) = (k.buffer(rows * width), k.buffer(rows * shape.heads));
    let input = || AttentionInput { queries: &q, keys: &keys, values: &values };
    k.attention(shape, input(), &mut out, &mut log_sums);
    let (mut dq, mut dk, mut dv) =
        (k.buffer(rows * width), k.buffer(rows * key_width), k.buffer(rows * key_width));
    let output = AttentionOutput { out: &out, log_sums: &log_sums, out_gradient: &dout };
    let gradients = AttentionGradients { queries: &mut dq, keys: &mut dk, values: &mut dv };
    k.attention_backward(shape, input(), output, gradients);
    [out, log_sums, dq, dk, dv].iter().map(|buffer| buffer.to_vec()).collect()
}

#[test]
fn attention_is_the_same_in_both_precisions() {
    for mask in [Mask::Causal, Mask::Full] {
        for (head_size, bounds) in [(80, [0, 3, 20, 340]), (64, [0, 1, 49, 290]), (5, [0, 17, 81, 100])] {
            let segments: Vec<Segment> = bounds
                .windows(2)
                .map(|pair| Segment { queries: pair[0]..pair[1], keys: pair[0]..pair[1] })
                .collect();
            let shape = AttentionShape { heads: 4, key_value_heads: 2, head_size, mask, segments: &segments };
            let found = attention_by(Precision::Single, &shape, bounds[3]);
            let expected = attention_by(Precision::Double, &shape, bounds[3]);
            for (found, expected) in found.iter().zip(&expected) {
                for (a, b) in found.iter().zip(expected) {
                    assert!((a - b).abs() <= 2e-5 * (1.0 + b.abs()), "{mask:?} {head_size}: {a} {b}");
                }
            }
        }
    }
}

/// A text that grows by a token reads keys where they lie, not packed.
#[test]
fn a_last_query_alone_gives_the_last_row() {
    let k = CpuKernels::new(2).unwrap();
    let (rows, heads, size) = (70, 4, 24);
    let [q, keys, values] = [(25, 96), (26, 48), (27, 48)].map(|(seed, width)| random(seed, rows * width));
    let attend = |queries: &[f32]| {
        let count = queries.len() / (heads * size);
        let segments = [Segment { queries: 0..count, keys: 0..rows }];
        let shape = AttentionShape {
            heads,
            key_value_heads: 2,
            head_size: size,
            mask: Mask::Causal,
            segments: &segments,
        };
        let (mut out, mut log_sums) = (k.buffer(queries.len()), k.buffer(count * heads));
        let (queries, keys, values) = (up(&k, queries), up(&k, &keys), up(&k, &values));
        let input = AttentionInput { queries: &queries, keys: &keys, values: &values };
        k.attention(&shape, input, &mut out, &mut log_sums);
        out.to_vec()
    };
    let (all, last) = (attend(&q), attend(&q[69 * heads * size..]));
    all[69 * heads * size..].iter().zip(&last).for_each(|(a, b)| assert!((a - b).abs() < 1e-5, "{a} {b}"));
}
