//! GEMM against its definition, on every instruction set of this CPU.

use super::{Gemm, InstructionSet, Precision, RightFactor, Term};
use crate::kernels::Write;
use crate::kernels::cpu::matrix::{Matrix, MatrixMut};

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i * 37 % 11) as f32 - 5.0).collect()
}

fn every() -> Vec<Gemm> {
    let mut all: Vec<Gemm> = InstructionSet::every()
        .into_iter()
        .map(|instructions| Gemm { instructions, precision: Precision::Single })
        .collect();
    all.push(Gemm::new(Precision::Double));
    all
}

/// Small integers: their sums are exact in any order.
fn check(rows: usize, columns: usize, depths: &[usize]) {
    let lefts: Vec<Vec<f32>> = depths.iter().map(|depth| numbers(rows * depth)).collect();
    let rights: Vec<Vec<f32>> = depths.iter().map(|depth| numbers(columns * depth)).collect();
    let halves: Vec<Vec<u16>> =
        rights.iter().map(|right| right.iter().map(|x| (x.to_bits() >> 16) as u16).collect()).collect();
    let mut expected = vec![1.0; rows * columns];
    for ((left, right), depth) in lefts.iter().zip(&rights).zip(depths) {
        for row in 0..rows {
            for column in 0..columns {
                let products = (0..*depth).map(|k| left[row * depth + k] * right[column * depth + k]);
                expected[row * columns + column] += 0.5 * 2.0 * products.sum::<f32>();
            }
        }
    }
    // Transposed, row by row, and in bf16.
    let transposed: Vec<Vec<f32>> = rights
        .iter()
        .zip(depths)
        .map(|(right, &depth)| {
            (0..columns * depth).map(|i| right[i % columns * depth + i / columns]).collect()
        })
        .collect();
    for gemm in every() {
        for form in 0..3 {
            let terms: Vec<Term> = (0..depths.len())
                .map(|term| {
                    let right = match form {
                        0 => RightFactor::F32(Matrix::new(&rights[term], depths[term]).transposed()),
                        1 => RightFactor::F32(Matrix::new(&transposed[term], columns)),
                        _ => RightFactor::Bf16(Matrix::new(&halves[term], depths[term]).transposed()),
                    };
                    Term { left: Matrix::new(&lefts[term], depths[term]), right, factor: 2.0 }
                })
                .collect();
            let mut out = vec![1.0; rows * columns];
            gemm.multiply_sum(MatrixMut::new(&mut out, columns), Write::Add, 0.5, &terms);
            assert_eq!(out, expected, "{rows} x {columns}, {depths:?}, {gemm:?}, {form}");
        }
    }
}

#[test]
fn agrees_with_the_definition() {
    for (rows, columns) in [(1, 1), (3, 16), (8, 48), (9, 49), (20, 200)] {
        check(rows, columns, &[7]);
    }
    check(5, 50, &[1, 130, 3]);
    check(300, 33, &[1100, 16]);
}

#[test]
fn an_empty_inner_axis_gives_zero() {
    let (left, right, mut out) = (numbers(2), numbers(3), vec![7.0; 6]);
    let factors = (Matrix::new(&left, 1).columns(0..0), Matrix::new(&right, 3).rows(0..0));
    Gemm::new(Precision::Single).multiply(MatrixMut::new(&mut out, 3), Write::Set, 1.0, factors);
    assert_eq!(out, [0.0; 6]);
}

#[test]
fn writes_only_inside_a_view() {
    let (left, right) = (numbers(5 * 9), numbers(6 * 9));
    let (left, right) = (Matrix::new(&left, 9), Matrix::new(&right, 9));
    for gemm in every() {
        let mut out = vec![1.0; 7 * 8];
        let view = MatrixMut::new(&mut out, 8).rows(1..4).columns(2..6);
        let factors = (left.rows(1..4).columns(2..7), right.rows(0..4).columns(2..7).transposed());
        gemm.multiply(view, Write::Add, 0.5, factors);
        for row in 0..7 {
            for column in 0..8 {
                let inside = (1..4).contains(&row) && (2..6).contains(&column);
                let sum: f32 =
                    (2..7).map(|k| left.row(row.min(4))[k] * right.row(column.max(2) - 2)[k]).sum();
                assert_eq!(out[row * 8 + column], if inside { 1.0 + 0.5 * sum } else { 1.0 });
            }
        }
    }
}

#[test]
fn parts_cover_the_result_once_and_change_no_bit() {
    let gemm = Gemm::new(Precision::Single);
    let (rows, columns, depth) = (333, 77, 1300);
    let fraction = |(i, x): (usize, f32)| x / (1.0 + (i % 97) as f32);
    let left: Vec<f32> = numbers(rows * depth).into_iter().enumerate().map(fraction).collect();
    let right: Vec<f32> = numbers(columns * depth).into_iter().enumerate().map(fraction).collect();
    let term = Term::new(Matrix::new(&left, depth), Matrix::new(&right, depth).transposed());
    let mut whole = vec![0.0; rows * columns];
    gemm.multiply_sum(MatrixMut::new(&mut whole, columns), Write::Set, 0.3, &[term]);
    for threads in [1, 2, 5, 64] {
        let mut out = vec![0.0; rows * columns];
        let parts = gemm.parts((rows, columns), threads);
        for (rows, columns, view) in MatrixMut::new(&mut out, columns).split(parts) {
            gemm.multiply_sum(view, Write::Set, 0.3, &[term.part(rows, columns)]);
        }
        assert_eq!(out, whole, "{threads} threads");
    }
    assert!(gemm.parts((0, 5), 2).len() == 0 && gemm.parts((5, 0), 2).len() == 0);
}
