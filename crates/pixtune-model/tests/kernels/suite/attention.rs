//! Attention over packed segments, grouped heads and cached keys.

use std::ops::Range;

use pixtune_model::kernels::{
    AttentionGradients, AttentionInput, AttentionOutput, AttentionShape, Kernels, Mask, Segment,
};

use super::harness::{Results, activations};
use super::reference::Attention;

/// Bounds of packed sequences: single tokens, ragged tiles, and more keys and queries than a block has.
const PACKED: [(usize, [usize; 4]); 4] =
    [(6, [0, 1, 20, 270]), (16, [0, 17, 81, 100]), (64, [0, 1, 49, 300]), (80, [0, 3, 20, 100])];

pub fn full<K: Kernels>(k: &K, results: &mut Results) {
    packed(k, results, Mask::Full);
}

pub fn causal<K: Kernels>(k: &K, results: &mut Results) {
    packed(k, results, Mask::Causal);
}

fn packed<K: Kernels>(k: &K, results: &mut Results, mask: Mask) {
    for (head_size, bounds) in PACKED {
        let rows = bounds.windows(2).map(|pair| pair[0]..pair[1]);
        let segments: Vec<Segment> = rows.map(|rows| Segment { queries: rows.clone(), keys: rows }).collect();
        let shape = AttentionShape { heads: 4, key_value_heads: 2, head_size, mask };
        let case = Case::new(k, shape, &segments);
        let (out, log_sum_exp) = case.forward(k, results);
        case.backward(k, results, (&out, &log_sum_exp));
    }
}

/// Generation: a few new queries attend to all keys before them.
pub fn cached_keys<K: Kernels>(k: &K, results: &mut Results) {
    for (queries, keys) in [(1, 1), (1, 70), (3, 300), (9, 75), (70, 320)] {
        let shape = AttentionShape { heads: 4, key_value_heads: 2, head_size: 24, mask: Mask::Causal };
        Case::new(k, shape, &[Segment { queries: 0..queries, keys: 0..keys }]).forward(k, results);
    }
}

struct Case<'a, K: Kernels> {
    reference: Attention<'a>,
    queries: K::Buffer,
    keys: K::Buffer,
    values: K::Buffer,
    segments: K::Segments,
}

impl<'a, K: Kernels> Case<'a, K> {
    fn new(k: &K, shape: AttentionShape, segments: &'a [Segment]) -> Case<'a, K> {
        let rows = |of: fn(&Segment) -> &Range<usize>| segments.iter().map(|s| of(s).end).max().unwrap_or(0);
        let (query_rows, key_rows) = (rows(|segment| &segment.queries), rows(|segment| &segment.keys));
        let query_width = shape.heads * shape.head_size;
        let key_width = shape.key_value_heads * shape.head_size;
        let queries = activations(k, 21, query_rows * query_width);
        let [keys, values] = [22, 23].map(|seed| activations(k, seed, key_rows * key_width));
        let reference = Attention {
            shape,
            segments,
            queries: queries.reference,
            keys: keys.reference,
            values: values.reference,
        };
        Case {
            reference,
            queries: queries.buffer,
            keys: keys.buffer,
            values: values.buffer,
            segments: k.segments(segments),
        }
    }

    fn name(&self, what: &str) -> String {
        let Attention { shape: AttentionShape { head_size, mask, .. }, segments, .. } = &self.reference;
        format!("attention {what} {mask:?} {head_size} {:?}", segments.last())
    }

    fn input(&self) -> AttentionInput<'_, K> {
        let Case { queries, keys, values, segments, .. } = self;
        AttentionInput { queries, keys, values, segments }
    }

    fn forward(&self, k: &K, results: &mut Results) -> (K::Buffer, K::Buffer) {
        let shape = self.reference.shape;
        let len = self.reference.queries.len();
        let (mut out, mut log_sum_exp) = (k.activations(len), k.floats(len / shape.head_size));
        k.attention(shape, self.input(), &mut out, &mut log_sum_exp);
        let (expected, statistics) = self.reference.forward();
        results.buffer(k, self.name("output"), &out, expected);
        results.buffer(k, self.name("log-sum-exp"), &log_sum_exp, statistics);
        (out, log_sum_exp)
    }

    fn backward(&self, k: &K, results: &mut Results, (out, log_sum_exp): (&K::Buffer, &K::Buffer)) {
        let Attention { shape, queries, keys, values, .. } = &self.reference;
        let dout = activations(k, 24, queries.len());
        let [mut dq, mut dk, mut dv] = [queries, keys, values].map(|x| k.activations(x.len()));
        let output = AttentionOutput { out, log_sum_exp, out_gradient: &dout.buffer };
        let gradients = AttentionGradients { queries: &mut dq, keys: &mut dk, values: &mut dv };
        k.attention_backward(*shape, self.input(), output, gradients);
        let expected = self.reference.backward(&dout.reference);
        for ((what, found), expected) in [("dq", dq), ("dk", dk), ("dv", dv)].into_iter().zip(expected) {
            results.buffer(k, self.name(what), &found, expected);
        }
    }
}
