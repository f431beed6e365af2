//! Activation functions.

use pixtune_model::kernels::Kernels;

use super::harness::{Input, Results, activations, random};
use super::reference;

/// More numbers than a thread processes at a time, and not a multiple of any vector.
const LEN: usize = 40_001;

/// Random numbers between -8 and 8: both tails of the functions.
fn wide_range<K: Kernels>(k: &K, seed: u32) -> Input<K> {
    let values: Vec<f32> = random(seed, LEN).iter().map(|x| x * 8.0).collect();
    Input::new(k, &values, k.activation_dtype())
}

pub fn swiglu<K: Kernels>(k: &K, results: &mut Results) {
    let (gate, up, dy) = (wide_range(k, 1), activations(k, 2, LEN), activations(k, 3, LEN));
    let mut out = k.activations(LEN);
    k.swiglu(&gate.buffer, &up.buffer, &mut out);
    results.buffer(k, "swiglu", &out, reference::swiglu(&gate.reference, &up.reference));
    let (dgate, dup) = reference::swiglu_backward(&gate.reference, &up.reference, &dy.reference);
    let (mut gate, mut up) = (gate.buffer, up.buffer);
    k.swiglu_backward(&dy.buffer, &mut gate, &mut up);
    results.buffer(k, "swiglu_backward gate", &gate, dgate);
    results.buffer(k, "swiglu_backward up", &up, dup);
}

pub fn gelu<K: Kernels>(k: &K, results: &mut Results) {
    let (x, dy) = (wide_range(k, 4), activations(k, 5, LEN));
    let mut out = k.activations(LEN);
    k.gelu(&x.buffer, &mut out);
    results.buffer(k, "gelu", &out, reference::gelu(&x.reference));
    let mut dx = x.buffer;
    k.gelu_backward(&dy.buffer, &mut dx);
    results.buffer(k, "gelu_backward", &dx, reference::gelu_backward(&x.reference, &dy.reference));
}
