//! Transfers between host and device, and operations that move rows.

use std::borrow::Cow;

use pixtune_model::kernels::{FrozenTensor, Kernels, PatchGrid, UnsupportedDtype};
use pixtune_model::weights::Dtype;

use super::harness::{Results, STORED, StoredMatrix, activations, floats, random, wide};

pub fn transfers<K: Kernels>(k: &K, results: &mut Results) {
    let values = random(1, 1000);
    assert_eq!(k.download(&k.upload(&values, Dtype::F32)), values, "f32 is not rounded");
    assert!(k.download(&k.upload(&[], Dtype::F32)).is_empty());
    let x = activations(k, 2, 40_001);
    results.buffer(k, "upload", &x.buffer, x.reference.clone());
    let mut copy = k.activations(40_001);
    k.copy(&x.buffer, &mut copy);
    results.buffer(k, "copy", &copy, x.reference.clone());
    k.fill(&mut copy, 0.5);
    results.buffer(k, "fill", &copy, vec![0.5; 40_001]);
    let part = k.part(&floats(k, 3, 33).buffer, 4..20);
    results.buffer(k, "part", &part, wide(&random(3, 33)[4..20]));
    let mut scaled = floats(k, 3, 33);
    k.scale(&mut scaled.buffer, -3.0);
    results.buffer(k, "scale", &scaled.buffer, scaled.reference.iter().map(|x| x * -3.0).collect());
    let stored = StoredMatrix::new(Dtype::BF16, 4, [1, 37]);
    let tensor = FrozenTensor { shape: vec![37], ..stored.tensor() };
    results.buffer(k, "vector", &k.vector(tensor).unwrap(), stored.reference);
}

pub fn rows<K: Kernels>(k: &K, results: &mut Results) {
    let (columns, rows) = (13, [6u32, 0, 3]);
    let x = activations(k, 5, 7 * columns);
    let row = |values: &[f64], row: usize| values[row * columns..(row + 1) * columns].to_vec();
    let mut gathered = k.activations(3 * columns);
    k.gather_rows(&x.buffer, &k.indices(&rows), columns, &mut gathered);
    let expected: Vec<f64> = rows.iter().flat_map(|index| row(&x.reference, *index as usize)).collect();
    results.buffer(k, "gather_rows", &gathered, expected.clone());
    let mut scattered = k.activations(7 * columns);
    k.fill(&mut scattered, 2.0);
    k.scatter_rows(&gathered, &k.indices(&rows), columns, &mut scattered);
    let mut all = vec![2.0; 7 * columns];
    for (index, from) in rows.iter().zip(expected.chunks(columns)) {
        all[*index as usize * columns..][..columns].copy_from_slice(from);
    }
    results.buffer(k, "scatter_rows", &scattered, all);
    let mut put = k.activations(7 * columns);
    k.fill(&mut put, 2.0);
    k.put_rows(&gathered, &mut put, columns, 2);
    let around = vec![2.0; 2 * columns];
    results.buffer(k, "put_rows", &put, [&around[..], &expected, &around].concat());
}

pub fn unsupported_dtype<K: Kernels>(k: &K, _: &mut Results) {
    let tensor = || FrozenTensor { dtype: Dtype::I64, shape: vec![1, 1], bytes: Cow::Borrowed(&[0; 8]) };
    assert_eq!(k.weight(tensor()).err(), Some(UnsupportedDtype(Dtype::I64)));
    assert_eq!(k.vector(tensor()).err(), Some(UnsupportedDtype(Dtype::I64)));
}

pub fn embed<K: Kernels>(k: &K, results: &mut Results) {
    for dtype in STORED {
        let (columns, ids) = (37, [3u32, 0, 3, 10]);
        let table = StoredMatrix::new(dtype, 6, [11, columns]);
        let mut out = k.activations(ids.len() * columns);
        k.embed(&table.upload(k), &k.indices(&ids), &mut out);
        let row = |id: &u32| table.reference[*id as usize * columns..][..columns].to_vec();
        results.buffer(k, format!("embed {dtype}"), &out, ids.iter().flat_map(row).collect());
    }
}

pub fn patches<K: Kernels>(k: &K, results: &mut Results) {
    let (channels, rows, columns, side) = (3, 2, 5, 4);
    let pixels = random(7, channels * rows * columns * side * side);
    let mut out = k.activations((1 + rows * columns) * channels * side * side);
    k.fill(&mut out, 0.25);
    k.upload_patches(&PatchGrid { pixels: &pixels, channels, rows, columns, side }, &mut out, 1);
    let mut expected = vec![0.25; channels * side * side];
    for patch in 0..rows * columns {
        for channel in 0..channels {
            for y in 0..side {
                for x in 0..side {
                    let line = channel * rows * side + patch / columns * side + y;
                    expected.push(wide(&pixels)[line * columns * side + patch % columns * side + x]);
                }
            }
        }
    }
    results.buffer(k, "upload_patches", &out, expected);
}
