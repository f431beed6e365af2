//! Products of matrices: cut into tiles, the right factor packed so that a tile reads it in one stream.

use std::cell::RefCell;
use std::ops::Range;

use super::matrix::{Matrix, MatrixMut, Parts};
use super::pack::{Stored, pack};
use super::tile::{Instructions, Stretch, Target, VECTORS};
use crate::kernels::Write;

/// How sums of products are formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// In single precision, by the fastest instructions of the processor.
    #[default]
    Single,
    /// In double precision, each sum rounded once: two orders slower, to tell a wrong formula from rounding.
    Double,
}

/// How products are computed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Products {
    pub(super) instructions: Instructions,
    pub(super) precision: Precision,
}

/// A product; a sum of several goes through memory once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Term<'a> {
    pub(super) left: Matrix<'a>,
    pub(super) right: Right<'a>,
    /// What the right factor is multiplied with.
    pub(super) factor: f32,
}

/// A right factor as it is stored.
#[derive(Debug, Clone, Copy)]
pub(super) enum Right<'a> {
    F32(Matrix<'a>),
    Bf16(Matrix<'a, u16>),
}

impl<'a> Term<'a> {
    pub(super) fn new(left: Matrix<'a>, right: Matrix<'a>) -> Term<'a> {
        Term { left, right: Right::F32(right), factor: 1.0 }
    }

    /// What makes this part of the result.
    pub(super) fn part(self, rows: Range<usize>, columns: Range<usize>) -> Term<'a> {
        Term { left: self.left.rows(rows), right: self.right.columns(columns), ..self }
    }
}

impl Right<'_> {
    pub(super) fn transposed(self) -> Self {
        match self {
            Right::F32(matrix) => Right::F32(matrix.transposed()),
            Right::Bf16(matrix) => Right::Bf16(matrix.transposed()),
        }
    }

    fn columns(self, range: Range<usize>) -> Self {
        match self {
            Right::F32(matrix) => Right::F32(matrix.columns(range)),
            Right::Bf16(matrix) => Right::Bf16(matrix.columns(range)),
        }
    }

    fn size(&self) -> (usize, usize) {
        match self {
            Right::F32(matrix) => (matrix.rows, matrix.columns),
            Right::Bf16(matrix) => (matrix.rows, matrix.columns),
        }
    }

    /// Writes rows and columns of it as a panel of this width.
    fn pack(
        &self,
        instructions: Instructions,
        factor: f32,
        (rows, columns): (Range<usize>, Range<usize>),
        (width, to): (usize, &mut [f32]),
    ) {
        match self {
            Right::F32(matrix) => pack(instructions, matrix.rows(rows).columns(columns), factor, width, to),
            Right::Bf16(matrix) => pack(instructions, matrix.rows(rows).columns(columns), factor, width, to),
        }
    }

    /// One number, widened.
    fn at(&self, row: usize, column: usize) -> f64 {
        match self {
            Right::F32(matrix) => f64::from(matrix.number(row, column)),
            Right::Bf16(matrix) => f64::from(matrix.number(row, column).widen()),
        }
    }
}

/// Columns whose right factors are packed together: each stretch of the left factor that comes from afar is read for all.
const PANELS: usize = 4;
/// The longest stretch of the inner axis that is summed in registers. What is packed for it, 384 KiB, stays in the second
/// cache.
const DEPTH: usize = 1024;
/// A stretch up to so long joins the one before it.
const SHORT: usize = 128;
/// A right factor of so few rows, or for so few of the left factor, is not worth packing.
const FEW_ROWS: usize = 256;

/// Parts for each thread: the last ones even out what the others took longer.
const PARTS: usize = 4;
/// Rows of a part at least, where it is not cut by columns: each part packs its own right factor.
const ROWS_OF_PART: usize = 64;

thread_local! {
    static PACKED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl Products {
    pub(super) fn new(precision: Precision) -> Products {
        Products { instructions: Instructions::detect(), precision }
    }

    /// Parts of a result for so many threads: a few for each, of whole panels.
    pub(super) fn parts(&self, (rows, columns): (usize, usize), threads: usize) -> Parts {
        let wanted = if threads > 1 { PARTS * threads } else { 1 };
        let width = self.instructions.columns();
        let panels = columns.div_ceil(width);
        let across = panels.min(wanted);
        let down = wanted.div_ceil(across.max(1)).min(rows.div_ceil(ROWS_OF_PART)).max(1);
        let height = rows.div_ceil(down).max(1).next_multiple_of(self.instructions.rows());
        Parts {
            rows: blocks(rows, height).collect(),
            columns: even(panels, across)
                .map(|part| part.start * width..(part.end * width).min(columns))
                .collect(),
        }
    }

    /// `out = alpha * left right`, set or added.
    pub(super) fn product(self, out: MatrixMut, write: Write, alpha: f32, (left, right): (Matrix, Matrix)) {
        self.sum(out, write, alpha, &[Term::new(left, right)]);
    }

    /// `out = alpha * sum of terms`, set or added. The inner axes are cut by their sizes alone, and each number of the result
    /// is a sum of its own: however the result is cut into parts, the bits are the same.
    pub(super) fn sum(self, mut out: MatrixMut, write: Write, alpha: f32, terms: &[Term]) {
        assert!(out.column_stride == 1, "results lie row by row");
        for Term { left, right, .. } in terms {
            assert!((left.columns, out.columns) == right.size() && out.rows == left.rows);
        }
        if self.precision == Precision::Double {
            return sum_double(out, write, alpha, terms);
        }
        let passes = passes(terms);
        if passes.is_empty() && write == Write::Set {
            (0..out.rows).for_each(|row| out.row(row).fill(0.0));
        }
        PACKED.with_borrow_mut(|packed| {
            for columns in blocks(out.columns, PANELS * self.instructions.columns()) {
                let mut write = write;
                for pass in &passes {
                    let pass = Pass { terms, pieces: pass, products: self };
                    pass.run(out.again().columns(columns.clone()), columns.clone(), (alpha, write), packed);
                    write = Write::Add;
                }
            }
        });
    }

    /// One tile; what its last vector has too many goes through memory beside the result.
    pub(super) fn tile(
        self,
        mut out: MatrixMut,
        vectors: usize,
        stretches: &[Stretch],
        (alpha, write): (f32, Write),
    ) {
        let instructions = self.instructions;
        let size = (out.rows, vectors);
        if out.columns == vectors * instructions.lanes() {
            let target = Target { out: out.at, row: out.row_stride, alpha, add: write == Write::Add };
            // SAFETY: the sizes agree, and every view covers numbers that live as long as it.
            return unsafe { instructions.tile(size, stretches, target) };
        }
        let mut beside = [0.0; MOST_ROWS * VECTORS * MOST_LANES];
        let row = vectors * instructions.lanes();
        let target = Target { out: beside.as_mut_ptr(), row, alpha, add: false };
        // SAFETY: as above, and a tile has at most as many numbers as `beside`.
        unsafe { instructions.tile(size, stretches, target) };
        for (index, sums) in beside.chunks_exact(row).take(out.rows).enumerate() {
            for (out, sum) in out.row(index).iter_mut().zip(sums) {
                *out = if write == Write::Add { *out + sum } else { *sum };
            }
        }
    }
}

/// A piece of a term's inner axis.
#[derive(Debug, Clone)]
struct Piece {
    term: usize,
    inner: Range<usize>,
}

/// What is summed in registers before it is written.
fn passes(terms: &[Term]) -> Vec<Vec<Piece>> {
    let mut passes: Vec<Vec<Piece>> = Vec::new();
    for (term, Term { left, .. }) in terms.iter().enumerate() {
        let depth = left.columns;
        let step = depth.div_ceil(depth.div_ceil(DEPTH).max(1)).max(1);
        for inner in blocks(depth, step) {
            let piece = Piece { term, inner };
            match passes.last_mut() {
                Some(pass) if depth <= SHORT => pass.push(piece),
                _ => passes.push(vec![piece]),
            }
        }
    }
    passes
}

/// One pass over a group of columns.
struct Pass<'a> {
    terms: &'a [Term<'a>],
    pieces: &'a [Piece],
    products: Products,
}

/// Columns of one tile, and where the right factor of each piece lies.
struct Panel {
    first: usize,
    columns: usize,
    vectors: usize,
    rights: Vec<(*const f32, usize)>,
}

impl Pass<'_> {
    fn run(
        &self,
        mut out: MatrixMut,
        columns: Range<usize>,
        (alpha, write): (f32, Write),
        packed: &mut Vec<f32>,
    ) {
        let panels = self.pack(out.rows, columns, packed);
        let mut stretches: Vec<Stretch> = Vec::with_capacity(self.pieces.len());
        for rows in blocks(out.rows, self.products.instructions.rows()) {
            for panel in &panels {
                stretches.clear();
                let pieces = self.pieces.iter().zip(&panel.rights);
                stretches.extend(pieces.map(|(piece, &(right, right_inner))| {
                    let left = &self.terms[piece.term].left;
                    Stretch {
                        left: left.at.wrapping_add(
                            rows.start * left.row_stride + piece.inner.start * left.column_stride,
                        ),
                        left_row: left.row_stride,
                        left_inner: left.column_stride,
                        right,
                        right_inner,
                        depth: piece.inner.len(),
                    }
                }));
                let columns = panel.first..panel.first + panel.columns;
                let out = out.again().rows(rows.clone()).columns(columns);
                self.products.tile(out, panel.vectors, &stretches, (alpha, write));
            }
        }
    }

    /// Packs the right factors, unless they can be read where they lie.
    fn pack(&self, rows: usize, columns: Range<usize>, packed: &mut Vec<f32>) -> Vec<Panel> {
        let instructions = self.products.instructions;
        let (lanes, most) = (instructions.lanes(), instructions.columns());
        let depth: usize = self.pieces.iter().map(|piece| piece.inner.len()).sum();
        let size = depth * PANELS * most;
        if packed.len() < size {
            packed.resize(size, 0.0);
        }
        let mut rest = &mut packed[..size];
        let mut panels = Vec::with_capacity(PANELS);
        for part in blocks(columns.len(), most) {
            let vectors = part.len().div_ceil(lanes);
            let whole = vectors * lanes == part.len();
            let mut rights = Vec::with_capacity(self.pieces.len());
            for Piece { term, inner } in self.pieces {
                let Term { right, factor, .. } = &self.terms[*term];
                let at = columns.start + part.start..columns.start + part.end;
                if let Right::F32(matrix) = right
                    && (whole && matrix.column_stride == 1 && *factor == 1.0)
                    && (rows <= FEW_ROWS || inner.len() <= FEW_ROWS)
                {
                    let here = matrix.at.wrapping_add(inner.start * matrix.row_stride + at.start);
                    rights.push((here, matrix.row_stride));
                    continue;
                }
                let width = vectors * lanes;
                let (here, after) = std::mem::take(&mut rest).split_at_mut(inner.len() * width);
                rest = after;
                right.pack(instructions, *factor, (inner.clone(), at), (width, &mut *here));
                rights.push((here.as_ptr(), width));
            }
            panels.push(Panel { first: part.start, columns: part.len(), vectors, rights });
        }
        panels
    }
}

/// Rows of a tile of any instructions at most.
pub(super) const MOST_ROWS: usize = 8;
const MOST_LANES: usize = 16;

fn sum_double(mut out: MatrixMut, write: Write, alpha: f32, terms: &[Term]) {
    for row in 0..out.rows {
        for (column, out) in out.row(row).iter_mut().enumerate() {
            let sums = terms.iter().map(|Term { left, right, factor }| {
                let products = (0..left.columns)
                    .map(|inner| f64::from(left.number(row, inner)) * right.at(inner, column));
                f64::from(*factor) * products.sum::<f64>()
            });
            let sum = f64::from(alpha) * sums.sum::<f64>();
            *out = if write == Write::Add { f64::from(*out) + sum } else { sum } as f32;
        }
    }
}

/// Ranges of `step` from 0 to `len`; the last may be shorter.
pub(super) fn blocks(len: usize, step: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(step.max(1)).map(move |start| start..(start + step).min(len))
}

/// `parts` ranges from 0 to `len`, as even as can be.
fn even(len: usize, parts: usize) -> impl Iterator<Item = Range<usize>> {
    (0..parts).map(move |part| part * len / parts..(part + 1) * len / parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(len: usize) -> Vec<f32> {
        (0..len).map(|i| (i * 37 % 11) as f32 - 5.0).collect()
    }

    fn every() -> Vec<Products> {
        let mut all: Vec<Products> = Instructions::every()
            .into_iter()
            .map(|instructions| Products { instructions, precision: Precision::Single })
            .collect();
        all.push(Products::new(Precision::Double));
        all
    }

    /// Small whole numbers: their sums are exact in any order.
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
        // As it lies, mirrored, and in half the bytes.
        let mirrored: Vec<Vec<f32>> = rights
            .iter()
            .zip(depths)
            .map(|(right, &depth)| {
                (0..columns * depth).map(|i| right[i % columns * depth + i / columns]).collect()
            })
            .collect();
        for products in every() {
            for form in 0..3 {
                let terms: Vec<Term> = (0..depths.len())
                    .map(|term| {
                        let right = match form {
                            0 => Right::F32(Matrix::new(&rights[term], depths[term]).transposed()),
                            1 => Right::F32(Matrix::new(&mirrored[term], columns)),
                            _ => Right::Bf16(Matrix::new(&halves[term], depths[term]).transposed()),
                        };
                        Term { left: Matrix::new(&lefts[term], depths[term]), right, factor: 2.0 }
                    })
                    .collect();
                let mut out = vec![1.0; rows * columns];
                products.sum(MatrixMut::new(&mut out, columns), Write::Add, 0.5, &terms);
                assert_eq!(out, expected, "{rows} x {columns}, {depths:?}, {products:?}, {form}");
            }
        }
    }

    #[test]
    fn sums_of_products_are_those_of_the_definition() {
        for (rows, columns) in [(1, 1), (3, 16), (8, 48), (9, 49), (20, 200)] {
            check(rows, columns, &[7]);
        }
        check(5, 50, &[1, 130, 3]);
        check(300, 33, &[1100, 16]);
    }

    #[test]
    fn a_product_over_nothing_is_zero() {
        let (left, right, mut out) = (numbers(2), numbers(3), vec![7.0; 6]);
        let factors = (Matrix::new(&left, 1).columns(0..0), Matrix::new(&right, 3).rows(0..0));
        Products::new(Precision::Single).product(MatrixMut::new(&mut out, 3), Write::Set, 1.0, factors);
        assert_eq!(out, [0.0; 6]);
    }

    #[test]
    fn views_keep_to_their_part() {
        let (left, right) = (numbers(5 * 9), numbers(6 * 9));
        let (left, right) = (Matrix::new(&left, 9), Matrix::new(&right, 9));
        for products in every() {
            let mut out = vec![1.0; 7 * 8];
            let view = MatrixMut::new(&mut out, 8).rows(1..4).columns(2..6);
            let factors = (left.rows(1..4).columns(2..7), right.rows(0..4).columns(2..7).transposed());
            products.product(view, Write::Add, 0.5, factors);
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
    fn parts_cover_everything_once_and_change_no_bit() {
        let products = Products::new(Precision::Single);
        let (rows, columns, depth) = (333, 77, 1300);
        let fraction = |(i, x): (usize, f32)| x / (1.0 + (i % 97) as f32);
        let left: Vec<f32> = numbers(rows * depth).into_iter().enumerate().map(fraction).collect();
        let right: Vec<f32> = numbers(columns * depth).into_iter().enumerate().map(fraction).collect();
        let term = Term::new(Matrix::new(&left, depth), Matrix::new(&right, depth).transposed());
        let mut whole = vec![0.0; rows * columns];
        products.sum(MatrixMut::new(&mut whole, columns), Write::Set, 0.3, &[term]);
        for threads in [1, 2, 5, 64] {
            let mut out = vec![0.0; rows * columns];
            let parts = products.parts((rows, columns), threads);
            for (rows, columns, view) in MatrixMut::new(&mut out, columns).split(parts) {
                products.sum(view, Write::Set, 0.3, &[term.part(rows, columns)]);
            }
            assert_eq!(out, whole, "{threads} threads");
        }
        assert!(products.parts((0, 5), 2).len() == 0 && products.parts((5, 0), 2).len() == 0);
    }
}
