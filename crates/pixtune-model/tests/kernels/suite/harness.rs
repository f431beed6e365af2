//! Runs the cases: inputs in both precisions, comparison, any number of threads.

use std::borrow::Cow;

use pixtune_model::kernels::{DeviceBuffer, FrozenTensor, Kernels};
use pixtune_model::weights::Dtype;
use pixtune_model::weights::dtype::{bf16_to_f32, f16_to_f32, f32_to_bf16};

/// The results of a case: a name each, what the device computed, and the reference.
#[derive(Default)]
pub struct Results(Vec<(String, Vec<f32>, Vec<f64>)>);

impl Results {
    /// Adds the contents of a buffer.
    pub fn buffer<K: Kernels>(
        &mut self,
        k: &K,
        name: impl Into<String>,
        found: &K::Buffer,
        expected: Vec<f64>,
    ) {
        self.values(name, k.download(found), expected);
    }

    /// Adds values.
    pub fn values(&mut self, name: impl Into<String>, found: Vec<f32>, expected: Vec<f64>) {
        self.0.push((name.into(), found, expected));
    }
}

/// Runs a case on one thread, compares it with the reference, and requires the same bits from more threads.
pub fn conforms<K: Kernels>(open: impl Fn(usize) -> K, case: impl Fn(&K, &mut Results)) {
    let run = |threads| {
        let k = open(threads);
        let mut results = Results::default();
        case(&k, &mut results);
        k.check().unwrap();
        (results.0, tolerance(k.activation_dtype()))
    };
    let (results, tolerance) = run(1);
    for (name, found, expected) in &results {
        compare(name, found, expected, tolerance);
    }
    for threads in [2, 3, 7] {
        for ((name, found, _), (_, expected, _)) in run(threads).0.iter().zip(&results) {
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(found), bits(expected), "{name}: {threads} threads give other bits than one");
        }
    }
}

/// The allowed error of a number, relative to its size.
fn tolerance(activations: Dtype) -> f64 {
    match activations {
        Dtype::F32 => 4e-6,
        Dtype::BF16 => 1.6e-2,
        other => panic!("no tolerance is set for activations in {other}"),
    }
}

/// The size of a number is its own, plus the root mean square of all, plus a tenth: inputs are about 1, so smaller results come
/// from cancellation.
#[track_caller]
fn compare(name: &str, found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{name}");
    let mean_square = expected.iter().map(|x| x * x).sum::<f64>() / expected.len().max(1) as f64;
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        let allowed = tolerance * (expected.abs() + mean_square.sqrt() + 0.1);
        assert!(error <= allowed, "{name}[{index}] is {found}, expected {expected}: error {error:e}");
    }
}

/// Numbers on the device, and the same numbers for the reference.
pub struct Input<K: Kernels> {
    pub buffer: K::Buffer,
    pub reference: Vec<f64>,
}

impl<K: Kernels> Input<K> {
    pub fn new(k: &K, values: &[f32], dtype: Dtype) -> Input<K> {
        let buffer = k.upload(values, dtype);
        assert_eq!(buffer.dtype(), dtype);
        let reference = wide(&k.download(&buffer));
        Input { buffer, reference }
    }
}

/// Random numbers between -1 and 1, as activations.
pub fn activations<K: Kernels>(k: &K, seed: u32, len: usize) -> Input<K> {
    Input::new(k, &random(seed, len), k.activation_dtype())
}

/// Random numbers between -1 and 1, in f32.
pub fn floats<K: Kernels>(k: &K, seed: u32, len: usize) -> Input<K> {
    Input::new(k, &random(seed, len), Dtype::F32)
}

/// Random bytes of a frozen matrix, and its numbers for the reference.
pub struct StoredMatrix {
    dtype: Dtype,
    shape: [usize; 2],
    bytes: Vec<u8>,
    pub reference: Vec<f64>,
}

/// The dtypes in which checkpoints store matrices.
pub const STORED: [Dtype; 3] = [Dtype::F32, Dtype::BF16, Dtype::F16];

impl StoredMatrix {
    pub fn new(dtype: Dtype, seed: u32, shape: [usize; 2]) -> StoredMatrix {
        let values = random(seed, shape[0] * shape[1]);
        let halves = |bits: &dyn Fn(f32) -> u16, value: &dyn Fn(u16) -> f32| {
            let bits: Vec<u16> = values.iter().map(|x| bits(*x)).collect();
            let bytes = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
            (bytes, bits.iter().map(|bits| value(*bits)).collect::<Vec<f32>>())
        };
        let (bytes, stored): (Vec<u8>, Vec<f32>) = match dtype {
            Dtype::BF16 => halves(&f32_to_bf16, &bf16_to_f32),
            // Half precision between 1 and 2 has the ten upper bits of the mantissa.
            Dtype::F16 => halves(&|x| 0x3c00 | (x.to_bits() >> 13 & 0x3ff) as u16, &f16_to_f32),
            _ => (values.iter().flat_map(|x| x.to_le_bytes()).collect(), values.clone()),
        };
        StoredMatrix { dtype, shape, bytes, reference: wide(&stored) }
    }

    pub fn tensor(&self) -> FrozenTensor<'_> {
        FrozenTensor { dtype: self.dtype, shape: self.shape.to_vec(), bytes: Cow::Borrowed(&self.bytes) }
    }

    pub fn upload<K: Kernels>(&self, k: &K) -> K::Weight<'_> {
        k.weight(self.tensor()).unwrap()
    }
}

/// Random numbers between -1 and 1, by xorshift.
pub fn random(seed: u32, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 * 2.0 - 1.0
    };
    std::iter::repeat_with(next).take(len).collect()
}

pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

/// The sum of both, for results that are added.
pub fn sum(a: &[f64], b: &[f64]) -> Vec<f64> {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}
