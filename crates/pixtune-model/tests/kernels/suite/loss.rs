//! Cross-entropy.

use pixtune_model::kernels::{Head, Kernels};
use pixtune_model::weights::Dtype;

use super::harness::{Input, Results, STORED, StoredMatrix, activations, random};
use super::reference;

pub fn cross_entropy<K: Kernels>(k: &K, results: &mut Results) {
    for dtype in STORED {
        for (rows, hidden, vocabulary) in [(1, 7, 50), (20, 33, 131), (1030, 9, 60)] {
            let x = activations(k, 1, rows * hidden);
            check(k, results, (rows, &x), (dtype, vocabulary));
        }
    }
}

/// Logits far beyond the range of an exponential in single precision.
pub fn large_logits<K: Kernels>(k: &K, results: &mut Results) {
    let values: Vec<f32> = random(2, 5 * 7).iter().map(|x| x * 500.0).collect();
    check(k, results, (5, &Input::new(k, &values, k.activation_dtype())), (Dtype::F32, 50));
}

fn check<K: Kernels>(
    k: &K,
    results: &mut Results,
    (rows, x): (usize, &Input<K>),
    (dtype, vocabulary): (Dtype, usize),
) {
    let hidden = x.reference.len() / rows;
    let name = |what| format!("{what} {dtype} {rows}x{hidden}x{vocabulary}");
    let weight = StoredMatrix::new(dtype, 3, [vocabulary, hidden]);
    let on_device = weight.upload(k);
    let targets: Vec<u32> = (0..rows as u32).map(|row| row * 13 % vocabulary as u32).collect();
    let indices = k.indices(&targets);
    let head = || Head { x: &x.buffer, weight: &on_device };
    let logits = reference::times_transposed(&x.reference, &weight.reference, hidden);
    let losses = k.cross_entropy(head(), &indices, 1.0, None);
    let found = losses.iter().map(|label| label.loss).collect();
    results.values(name("losses"), found, reference::cross_entropy(&logits, &targets));
    for ((logits, target), label) in logits.chunks(vocabulary).zip(&targets).zip(&losses) {
        let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        assert_eq!(label.correct, logits[*target as usize] == max, "{}", name("correct"));
    }
    let scale = 0.3_f32;
    let mut dx = k.activations(rows * hidden);
    assert_eq!(k.cross_entropy(head(), &indices, scale, Some(&mut dx)), losses);
    let dlogits = reference::scaled(&reference::cross_entropy_backward(&logits, &targets), scale.into());
    results.buffer(k, name("gradient"), &dx, reference::times(&dlogits, &weight.reference, vocabulary));
}
