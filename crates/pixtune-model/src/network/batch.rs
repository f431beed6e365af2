//! The input of one pass: sequences packed without padding.

use std::ops::Range;
use std::sync::Arc;

use super::error::BatchError;

/// One sample: token ids, which of them are trained, and images.
#[derive(Debug, Clone, Default)]
pub struct Sequence {
    /// The token ids, `[tokens]`.
    pub ids: Vec<u32>,
    /// Whether the prediction of this token counts in the loss, `[tokens]`; the first token is never predicted.
    pub trained: Vec<bool>,
    /// The images, in the order of their tokens.
    pub images: Vec<Image>,
}

/// An image as the vision encoder reads it.
#[derive(Debug, Clone)]
pub struct Image {
    /// Normalized values, `[channels, rows * patch, columns * patch]`.
    pub pixels: Arc<[f32]>,
    /// Patches from top to bottom.
    pub rows: usize,
    /// Patches from left to right.
    pub columns: usize,
    /// Patches on a side of the square that becomes one vector; 1 where none are merged.
    pub merge: usize,
}

impl Image {
    /// The number of its vectors in the text: one for each square of patches.
    pub fn tokens(&self) -> usize {
        self.patches() / self.merge.max(1).pow(2)
    }

    /// The number of its patches.
    pub fn patches(&self) -> usize {
        self.rows * self.columns
    }
}

/// A label: the token that the logits of a row should predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// The row of the batch.
    pub row: u32,
    /// The id of the token that follows it.
    pub target: u32,
}

/// Packed sequences. Only [`Batch::pack`] makes one, so every index in it is in bounds.
#[derive(Debug, Clone)]
pub struct Batch {
    pub(super) ids: Vec<u32>,
    pub(super) cumulative: Vec<u32>,
    pub(super) positions: Vec<u32>,
    pub(super) images: Vec<Image>,
    /// The rows of `ids` that the vectors of all images replace, in their order.
    pub(super) image_rows: Vec<u32>,
    pub(super) labels: Vec<Label>,
}

impl Batch {
    /// Packs sequences one after the other. `image_token` is the id of `[IMG]`; every image has as many of them as
    /// [`Image::tokens`], in order.
    pub fn pack(sequences: &[Sequence], image_token: u32) -> Result<Batch, BatchError> {
        let tokens: usize = sequences.iter().map(|sequence| sequence.ids.len()).sum();
        let limit = u32::try_from(tokens).map_err(|_| BatchError::TooLong { tokens })?;
        let mut batch = Batch {
            ids: Vec::with_capacity(tokens),
            cumulative: vec![0],
            positions: Vec::with_capacity(tokens),
            images: Vec::new(),
            image_rows: Vec::new(),
            labels: Vec::new(),
        };
        for (index, sequence) in sequences.iter().enumerate() {
            batch.push(index, sequence, image_token)?;
        }
        debug_assert_eq!(batch.cumulative.last(), Some(&limit));
        Ok(batch)
    }

    fn push(&mut self, index: usize, sequence: &Sequence, image_token: u32) -> Result<(), BatchError> {
        let (tokens, masked) = (sequence.ids.len(), sequence.trained.len());
        if tokens == 0 {
            return Err(BatchError::Empty { sequence: index });
        }
        if tokens != masked {
            return Err(BatchError::MaskLength { sequence: index, tokens, masked });
        }
        let patches = sequence.images.iter().map(Image::tokens).sum();
        let before = self.image_rows.len();
        let start = self.ids.len() as u32;
        for (position, &id) in (0u32..).zip(&sequence.ids) {
            if id == image_token {
                self.image_rows.push(start + position);
            }
            if position > 0 && sequence.trained[position as usize] {
                self.labels.push(Label { row: start + position - 1, target: id });
            }
            self.positions.push(position);
        }
        let image_tokens = self.image_rows.len() - before;
        if image_tokens != patches {
            return Err(BatchError::ImageTokens { sequence: index, image_tokens, patches });
        }
        self.ids.extend_from_slice(&sequence.ids);
        self.cumulative.push(start + tokens as u32);
        self.images.extend(sequence.images.iter().cloned());
        Ok(())
    }

    /// The number of tokens.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// The number of tokens whose prediction counts in the loss.
    pub fn trained_tokens(&self) -> usize {
        self.labels.len()
    }

    /// The number of patches of all images.
    pub fn patches(&self) -> usize {
        self.images.iter().map(Image::patches).sum()
    }

    /// The rows of sequence `index`.
    pub fn rows(&self, index: usize) -> Range<usize> {
        self.cumulative[index] as usize..self.cumulative[index + 1] as usize
    }

    /// The labels, in the order of their rows.
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(ids: &[u32], trained: &[bool]) -> Sequence {
        Sequence { ids: ids.to_vec(), trained: trained.to_vec(), images: Vec::new() }
    }

    #[test]
    fn packs_sequences_in_order() {
        let first = text(&[1, 5, 6], &[true, false, true]);
        let second = text(&[1, 7], &[false, true]);
        let batch = Batch::pack(&[first, second], 10).unwrap();
        assert_eq!(batch.ids, [1, 5, 6, 1, 7]);
        assert_eq!(batch.cumulative, [0, 3, 5]);
        assert_eq!(batch.positions, [0, 1, 2, 0, 1]);
        assert_eq!(batch.labels, [Label { row: 1, target: 6 }, Label { row: 3, target: 7 }]);
    }

    #[test]
    fn rejects_images_with_too_few_image_tokens() {
        let image = Image { pixels: vec![0.0; 3 * 8].into(), rows: 1, columns: 2, merge: 1 };
        let sequence = Sequence { ids: vec![1, 10, 13], trained: vec![false; 3], images: vec![image] };
        let error = Batch::pack(&[sequence], 10).unwrap_err();
        assert!(
            matches!(error, BatchError::ImageTokens { sequence: 0, image_tokens: 1, patches: 2 }),
            "{error}"
        );
    }
}
