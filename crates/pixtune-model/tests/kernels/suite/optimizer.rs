//! The optimizer.

use pixtune_model::kernels::{AdamW, AdamWState, Kernels};

use super::harness::{Results, floats};
use super::reference::Optimizer;

/// More numbers than a thread processes at a time.
const LEN: usize = 40_001;

pub fn gradient_norm<K: Kernels>(k: &K, results: &mut Results) {
    for len in [0, 1, LEN] {
        let x = floats(k, 1, len);
        let norm = x.reference.iter().map(|x| x * x).sum::<f64>().sqrt();
        results.values(format!("l2_norm {len}"), vec![k.l2_norm(&x.buffer) as f32], vec![norm]);
    }
}

/// With weight decay of all numbers, of none, and of those before a number inside a thread's part.
pub fn adamw<K: Kernels>(k: &K, results: &mut Results) {
    [LEN, 0, 20_001].into_iter().for_each(|decayed| adamw_with(k, results, decayed));
}

fn adamw_with<K: Kernels>(k: &K, results: &mut Results, decayed: usize) {
    let settings = AdamW { learning_rate: 1e-2, weight_decay: 0.05, ..AdamW::default() };
    let parameters = floats(k, 2, LEN);
    let mut reference =
        Optimizer { parameters: parameters.reference, first: vec![0.0; LEN], second: vec![0.0; LEN] };
    let zeros = || {
        let mut zeros = k.floats(LEN);
        k.fill(&mut zeros, 0.0);
        zeros
    };
    let (mut parameters, mut first, mut second) = (parameters.buffer, zeros(), zeros());
    for step in 1..=5 {
        let gradients = floats(k, 10 + step, LEN);
        let state = AdamWState {
            parameters: &mut parameters,
            first_moment: &mut first,
            second_moment: &mut second,
            decayed,
        };
        k.adamw(&settings, step.into(), &gradients.buffer, state);
        reference.step(&settings, step as i32, &gradients.reference, decayed);
    }
    results.buffer(k, "adamw parameters", &parameters, reference.parameters);
    results.buffer(k, "adamw first moment", &first, reference.first);
    results.buffer(k, "adamw second moment", &second, reference.second);
}
