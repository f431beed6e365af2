//! One pass over the inner axis: packs the right factors of a group of columns, then computes its tiles.

use std::ops::Range;

use super::tile::TileTerm;
use super::{Gemm, RightFactor, Term, blocks};
use crate::kernels::Write;
use crate::kernels::cpu::matrix::MatrixMut;

/// Panels whose right factors are packed together: the left factor is read from memory once for all of them.
pub(super) const PANELS: usize = 4;
/// Maximum length of a block of the inner axis that is summed in registers. Its packed right factors, 384 KiB, stay in the
/// L2 cache.
const DEPTH: usize = 1024;
/// A block of at most this length joins the pass before it.
const SHORT: usize = 128;
/// A right factor with at most this many rows, or for at most this many rows of the left factor, is not worth packing.
const FEW_ROWS: usize = 256;

/// A block of a term's inner axis.
#[derive(Debug, Clone)]
pub(super) struct InnerBlock {
    term: usize,
    inner: Range<usize>,
}

/// Groups the inner axes of all terms into blocks that are summed in registers before the result is written.
pub(super) fn passes(terms: &[Term]) -> Vec<Vec<InnerBlock>> {
    let mut passes: Vec<Vec<InnerBlock>> = Vec::new();
    for (term, Term { left, .. }) in terms.iter().enumerate() {
        let depth = left.columns;
        let step = depth.div_ceil(depth.div_ceil(DEPTH).max(1)).max(1);
        for inner in blocks(depth, step) {
            let block = InnerBlock { term, inner };
            match passes.last_mut() {
                Some(pass) if depth <= SHORT => pass.push(block),
                _ => passes.push(vec![block]),
            }
        }
    }
    passes
}

/// One pass over a group of columns.
pub(super) struct Pass<'a> {
    pub(super) terms: &'a [Term<'a>],
    pub(super) blocks: &'a [InnerBlock],
    pub(super) gemm: Gemm,
}

/// The columns of one tile, and for each block the address and row stride of its right factor.
struct Panel {
    first: usize,
    columns: usize,
    vectors: usize,
    rights: Vec<(*const f32, usize)>,
}

impl Pass<'_> {
    pub(super) fn run(
        &self,
        mut out: MatrixMut,
        columns: Range<usize>,
        (alpha, write): (f32, Write),
        packed: &mut Vec<f32>,
    ) {
        let panels = self.pack(out.rows, columns, packed);
        let mut terms: Vec<TileTerm> = Vec::with_capacity(self.blocks.len());
        for rows in blocks(out.rows, self.gemm.instructions.rows()) {
            for panel in &panels {
                terms.clear();
                let blocks = self.blocks.iter().zip(&panel.rights);
                terms.extend(blocks.map(|(block, &(right, right_row_stride))| {
                    let left = &self.terms[block.term].left;
                    TileTerm {
                        left: left.at.wrapping_add(
                            rows.start * left.row_stride + block.inner.start * left.column_stride,
                        ),
                        left_row_stride: left.row_stride,
                        left_column_stride: left.column_stride,
                        right,
                        right_row_stride,
                        depth: block.inner.len(),
                    }
                }));
                let columns = panel.first..panel.first + panel.columns;
                let out = out.reborrow().rows(rows.clone()).columns(columns);
                self.gemm.tile(out, panel.vectors, &terms, (alpha, write));
            }
        }
    }

    /// Packs the right factors, except those that tiles can read in place.
    fn pack(&self, rows: usize, columns: Range<usize>, packed: &mut Vec<f32>) -> Vec<Panel> {
        let instructions = self.gemm.instructions;
        let (lanes, width) = (instructions.lanes(), instructions.columns());
        let depth: usize = self.blocks.iter().map(|block| block.inner.len()).sum();
        let size = depth * PANELS * width;
        if packed.len() < size {
            packed.resize(size, 0.0);
        }
        let mut rest = &mut packed[..size];
        let mut panels = Vec::with_capacity(PANELS);
        for part in blocks(columns.len(), width) {
            let vectors = part.len().div_ceil(lanes);
            let whole = vectors * lanes == part.len();
            let mut rights = Vec::with_capacity(self.blocks.len());
            for InnerBlock { term, inner } in self.blocks {
                let Term { right, factor, .. } = &self.terms[*term];
                let columns = columns.start + part.start..columns.start + part.end;
                if let RightFactor::F32(matrix) = right
                    && (whole && matrix.column_stride == 1 && *factor == 1.0)
                    && (rows <= FEW_ROWS || inner.len() <= FEW_ROWS)
                {
                    let in_place = matrix.at.wrapping_add(inner.start * matrix.row_stride + columns.start);
                    rights.push((in_place, matrix.row_stride));
                    continue;
                }
                let width = vectors * lanes;
                let (panel, after) = std::mem::take(&mut rest).split_at_mut(inner.len() * width);
                rest = after;
                right.pack(instructions, *factor, (inner.clone(), columns), (width, &mut *panel));
                rights.push((panel.as_ptr(), width));
            }
            panels.push(Panel { first: part.start, columns: part.len(), vectors, rights });
        }
        panels
    }
}
