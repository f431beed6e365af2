//! The order of the rows of q and k.
//!
//! Rotary embeddings rotate pairs of rows of a head. Mistral's files keep a pair together (row `2i` with `2i + 1`); Hugging
//! Face's keep it half a head apart (row `i` with `i + d/2`). Nothing but the place of whole rows differs.

/// Which rows of a head form a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowOrder {
    /// Row `2i` with row `2i + 1`: Mistral's files.
    Interleaved,
    /// Row `i` with row `i + d/2`: Hugging Face's files.
    HalfSplit,
}

impl RowOrder {
    /// The row in `self` that is at `row` in `to`; `head_dim` is even.
    pub fn source_row(self, to: RowOrder, head_dim: usize, row: usize) -> usize {
        let half = head_dim / 2;
        let (head, within) = (row - row % head_dim, row % head_dim);
        head + match (self, to) {
            (RowOrder::Interleaved, RowOrder::HalfSplit) => 2 * (within % half) + within / half,
            (RowOrder::HalfSplit, RowOrder::Interleaved) => within % 2 * half + within / 2,
            _ => within,
        }
    }

    /// Copies whole heads from `self` to `to`. `row_bytes` is the size of a row; both sides hold the same number of heads.
    pub fn permute(self, to: RowOrder, head_dim: usize, row_bytes: usize, source: &[u8], target: &mut [u8]) {
        for (row, out) in target.chunks_exact_mut(row_bytes).enumerate() {
            let from = self.source_row(to, head_dim, row) * row_bytes;
            out.copy_from_slice(&source[from..from + row_bytes]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_of_six_rows() {
        let order = |from: RowOrder, to| [0, 1, 2, 3, 4, 5, 6, 7].map(|row| from.source_row(to, 6, row));
        let (pairs, halves) = (RowOrder::Interleaved, RowOrder::HalfSplit);
        assert_eq!(order(pairs, halves), [0, 2, 4, 1, 3, 5, 6, 8]);
        assert_eq!(order(halves, pairs), [0, 3, 1, 4, 2, 5, 6, 9]);
        assert_eq!(order(halves, halves), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn there_and_back_is_where_it_was() {
        for head_dim in [2, 4, 24, 64, 128] {
            let source: Vec<u8> = (0..head_dim * 3).flat_map(|row| [row as u8, (row >> 8) as u8]).collect();
            let mut there = vec![0; source.len()];
            let mut back = vec![0; source.len()];
            RowOrder::Interleaved.permute(RowOrder::HalfSplit, head_dim, 2, &source, &mut there);
            RowOrder::HalfSplit.permute(RowOrder::Interleaved, head_dim, 2, &there, &mut back);
            assert_eq!(back, source);
            assert_eq!(there == source, head_dim == 2);
        }
    }
}
