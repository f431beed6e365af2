//! What makes one vector of neighboring patches, before the projector of Mistral Small 3.1 and later.

use super::adapter_layout::Adapter;
use super::batch::Image;
use super::error::NetworkError;
use super::linear::{LinearBackward, LinearLayer};
use super::loader::{FrozenWeights, Loader};
use super::norm::Norm;
use super::scope::Scope;
use super::shape::ModelShape;
use crate::kernels::{Kernels, Write};
use crate::weights::Module;

/// A norm, then a linear over squares of patches.
#[derive(Debug)]
pub(super) struct Merger<'w, K: Kernels> {
    norm: Norm<K>,
    linear: LinearLayer<'w, K>,
    /// Patches on a side of a square.
    side: usize,
    /// Numbers of a patch.
    width: usize,
}

/// What the backward pass reads.
#[derive(Debug)]
pub(super) struct SavedMerger<K: Kernels> {
    /// Where each number of the squares is among the numbers of the patches.
    order: K::Indices,
    squares: K::Buffer,
    xa: Option<K::Buffer>,
}

impl<'w, K: Kernels> Merger<'w, K> {
    /// The merger of a model; `None` if it merges no patches.
    pub(super) fn load<W: FrozenWeights>(
        loader: &mut Loader<'w, '_, K, W>,
        shape: &ModelShape,
        adapter: Option<Adapter>,
    ) -> Result<Option<Self>, NetworkError> {
        let (side, width) = (shape.merge, shape.vision.hidden);
        if side == 1 {
            return Ok(None);
        }
        // The epsilon is that of the text in transformers 5.23.0 `modeling_mistral3.py`.
        let norm = Norm::load(loader, Module::ProjectorNorm.weight(), width, shape.text.norm_epsilon)?;
        let linear = LinearLayer::load(loader, Module::PatchMerger, [width, width * side * side], adapter)?;
        Ok(Some(Merger { norm, linear, side, width }))
    }

    /// Whether a part of it is trained.
    pub(super) fn is_trained(&self) -> bool {
        self.norm.is_trained() || self.linear.is_trained()
    }

    /// One vector for each square of patches.
    pub(super) fn forward(
        &self,
        scope: &Scope<K>,
        images: &[Image],
        (rows, encoded): (usize, &K::Buffer),
    ) -> (K::Buffer, SavedMerger<K>) {
        let kernels = scope.kernels;
        let normed = self.norm.forward(scope, (rows, encoded));
        let order = kernels.indices(&order(images, self.side, self.width));
        let mut squares = kernels.activations(rows * self.width);
        kernels.gather_rows(&normed, &order, 1, &mut squares);
        let merged = rows / self.side.pow(2);
        let mut out = kernels.activations(merged * self.width);
        let xa = self.linear.forward(scope, (merged, &squares), &mut out, Write::Set);
        (out, SavedMerger { order, squares, xa })
    }

    /// Adds the gradients of what is trained; returns that of the encoded patches if it or that of the norm is needed.
    pub(super) fn backward(
        &self,
        scope: &Scope<K>,
        gradients: &mut K::Buffer,
        (rows, encoded): (usize, &K::Buffer),
        (saved, out_gradient): (SavedMerger<K>, &K::Buffer),
        is_needed: bool,
    ) -> Option<K::Buffer> {
        let kernels = scope.kernels;
        let activations = || kernels.activations(rows * self.width);
        let mut squares_gradient = (is_needed || self.norm.is_trained()).then(activations);
        let pass = LinearBackward {
            rows: rows / self.side.pow(2),
            x: &saved.squares,
            xa: saved.xa.as_ref(),
            y_gradient: out_gradient,
        };
        let to = squares_gradient.as_mut().map(|gradient| (gradient, Write::Set));
        self.linear.backward(scope, gradients, pass, to);
        let squares_gradient = squares_gradient?;
        let mut normed_gradient = activations();
        kernels.scatter_rows(&squares_gradient, &saved.order, 1, &mut normed_gradient);
        let mut encoded_gradient = activations();
        let to = (&mut encoded_gradient, Write::Set);
        self.norm.backward(scope, gradients, (encoded, &normed_gradient), to);
        Some(encoded_gradient)
    }
}

/// Where each number of the squares is among the numbers of the patches. A square has all its patches' first numbers, row by
/// row, then all second numbers, and so on: `unfold` of transformers 5.23.0 `modeling_mistral3.py`.
fn order(images: &[Image], side: usize, width: usize) -> Vec<u32> {
    let mut order = Vec::with_capacity(images.iter().map(|image| image.patches() * width).sum());
    let mut first = 0;
    for image in images {
        let squares = (0..image.rows / side).flat_map(|y| (0..image.columns / side).map(move |x| (y, x)));
        for (y, x) in squares {
            let corner = first + y * side * image.columns + x * side;
            for number in 0..width {
                for row in 0..side {
                    let start = corner + row * image.columns;
                    order.extend((start..start + side).map(|patch| (patch * width + number) as u32));
                }
            }
        }
        first += image.patches();
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_are_ordered_by_number_then_by_patch() {
        let image = |rows, columns| Image { pixels: [].into(), rows, columns, merge: 2 };
        // Two numbers a patch: those of patch `p` are `2 p` and `2 p + 1`.
        assert_eq!(
            order(&[image(2, 4), image(2, 2)], 2, 2),
            [0, 2, 8, 10, 1, 3, 9, 11, 4, 6, 12, 14, 5, 7, 13, 15, 16, 18, 20, 22, 17, 19, 21, 23]
        );
    }
}
