//! What the conformance suite does not state: the same bits as the CPU where that is promised, failures, memory.

use std::collections::BTreeSet;

use pixtune_cuda::CudaKernels;
use pixtune_cuda::source::{HEADERS, MODULES};
use pixtune_emulator::{Emulator, kernels};
use pixtune_model::kernels::{AdamW, AdamWState, CpuKernels, DropoutMask, Kernels, Write};
use pixtune_model::weights::quantized::{FourBitMatrix, FourBitType, Scales};
use pixtune_model::weights::{Dtype, dtype};

fn numbers(len: usize, step: f32) -> Vec<f32> {
    (0..len).map(|index| ((index as f32 * step).sin() * 1000.0).round() / 64.0).collect()
}

#[test]
fn adamw_has_the_bits_of_the_cpu() {
    fn after_three_steps<K: Kernels>(k: &K) -> Vec<Vec<u32>> {
        let upload = |values: &[f32]| k.upload(values, Dtype::F32);
        let len = 3001;
        let mut state = [numbers(len, 0.37), vec![0.0; len], vec![0.0; len]].map(|values| upload(&values));
        for step in 1..=3 {
            let gradients = upload(&numbers(len, 0.11 * step as f32));
            let [parameters, first_moment, second_moment] = &mut state;
            let buffers = AdamWState { parameters, first_moment, second_moment, decayed: 1234 };
            k.adamw(&AdamW::default(), step, &gradients, buffers);
        }
        k.check().unwrap();
        state.map(|buffer| k.download(&buffer).iter().map(|x| x.to_bits()).collect()).to_vec()
    }
    let cpu = after_three_steps(&CpuKernels::new(1).unwrap());
    assert_eq!(after_three_steps(&CudaKernels::new(Emulator::new(0))), cpu);
}

#[test]
fn dropout_masks_are_those_of_the_cpu() {
    fn zeros<K: Kernels>(k: &K) -> Vec<bool> {
        let (mut x, mut out) = (k.activations(5003), k.activations(5003));
        k.fill(&mut x, 1.0);
        k.dropout(DropoutMask { rate: 0.3, seed: 0x1234_5678_9abc }, &x, &mut out, Write::Set);
        k.download(&out).iter().map(|x| *x == 0.0).collect()
    }
    assert_eq!(zeros(&CudaKernels::new(Emulator::new(1))), zeros(&CpuKernels::new(1).unwrap()));
}

#[test]
fn a_failure_is_saved_and_what_follows_does_nothing() {
    let k = CudaKernels::new(Emulator::with_memory(0, 4096));
    let mut small = k.floats(16);
    k.fill(&mut small, 2.0);
    let mut large = k.floats(4096);
    k.fill(&mut large, 1.0);
    k.fill(&mut small, 3.0);
    assert_eq!(k.download(&large), vec![0.0; 4096]);
    let error = k.check().unwrap_err();
    assert_eq!(error.message, "out of GPU memory: a buffer of 16,384 bytes could not be allocated");
    k.check().unwrap();
    assert_eq!(k.download(&small), [2.0; 16]);
    k.fill(&mut large, 1.0);
    assert_eq!(k.check().unwrap_err().message, "a buffer was used whose allocation failed");
}

#[test]
fn rows_and_heads_beyond_the_limits_fail() {
    let k = CudaKernels::new(Emulator::new(0));
    let (x, weight, mut out) = (k.activations(20_000), k.floats(20_000), k.activations(20_000));
    k.rms_norm(1e-5, &x, &weight, &mut out);
    assert_eq!(k.check().unwrap_err().message, "a row of a norm of 20000 is beyond the limit of 16384");
}

#[test]
fn dropped_buffers_are_freed() {
    let k = CudaKernels::new(Emulator::new(0));
    let buffers = (k.activations(100), k.floats(100), k.indices(&[1, 2, 3]));
    assert_eq!(k.gpu().allocated_bytes(), 200 + 400 + 12);
    drop(buffers);
    assert_eq!(k.gpu().allocated_bytes(), 0);
}

#[test]
fn every_kernel_has_a_module() {
    let emulated: BTreeSet<String> = kernels().into_iter().filter(|name| !name.contains("fault")).collect();
    let embedded: Vec<String> =
        MODULES.iter().flat_map(|module| module.kernels).map(|name| (*name).to_owned()).collect();
    assert_eq!(embedded.iter().cloned().collect::<BTreeSet<_>>(), emulated);
    assert_eq!(embedded.len(), emulated.len(), "a kernel is in one module");
}

/// The emulator runs whole warps without a mask, launches set all of the shared memory, and no sum depends on an order.
#[test]
fn kernels_use_only_what_is_emulated() {
    for (name, text) in MODULES.iter().map(|module| (module.name, module.text)).chain(HEADERS) {
        let code = text.split("#else").last().unwrap();
        for word in
            ["atomic", "__shfl", "__ballot", "__shared__", "asm", "#include <", "blockIdx.z", "threadIdx.y"]
        {
            let found = code.lines().find(|line| line.contains(word) && !line.trim_start().starts_with("//"));
            let is_prelude = name == "prelude.cuh" && ["__shfl", "__shared__", "asm"].contains(&word);
            assert!(found.is_none() || is_prelude, "{name}: {word}: {found:?}");
        }
    }
}

/// Numbers of a matrix, spread as trained weights are.
fn weights(count: usize) -> Vec<f32> {
    (0..count).map(|index| ((index * index + 7 * index) as f32 * 0.013).sin().powi(3) * 0.04).collect()
}

#[test]
fn matrices_in_4_bits_have_the_numbers_that_bitsandbytes_gives() {
    for (rows, columns) in [(1, 1), (3, 7), (1, 64), (5, 333), (48, 64), (130, 257)] {
        let bytes: Vec<u8> = weights(rows * columns).iter().flat_map(|value| value.to_le_bytes()).collect();
        let double = FourBitMatrix::quantize([rows, columns], Dtype::F32, &bytes).unwrap();
        let scales =
            Scales::Plain((0..double.codes.len().div_ceil(16)).map(|at| 0.01 + at as f32 * 1e-3).collect());
        let plain = FourBitMatrix { kind: FourBitType::Fp4, block: 32, scales, ..double.clone() };
        for (seed, matrix) in [double, plain].into_iter().enumerate() {
            let k = CudaKernels::new(Emulator::new(seed as u64));
            let ids = k.indices(&(0..rows as u32).collect::<Vec<u32>>());
            let weight = k.four_bit_weight(matrix.clone());
            // The rows of a table are its numbers.
            let mut out = k.activations(rows * columns);
            k.embed(&weight, &ids, &mut out);
            k.check().unwrap();
            let mut expected = vec![0.0; rows * columns];
            dtype::read_f32(Dtype::BF16, &matrix.dequantize(Dtype::BF16), &mut expected).unwrap();
            assert_eq!(bits(&k.download(&out)), bits(&expected), "{rows} {columns} {seed}");
            let memory = k.weight_memory(&weight);
            assert_eq!(memory.in_use, (rows * columns * 2) as u64);
            assert!(memory.held < memory.in_use / 3 || rows * columns < 600);
        }
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
