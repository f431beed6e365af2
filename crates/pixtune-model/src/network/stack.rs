//! Layers on top of each other, and which of them are computed again in the backward pass.

use super::layer::{Below, Kept, Layer, Place, Remembered};
use super::linear::Scope;
use crate::kernels::{Kernels, Segment};

/// The layers of the text decoder or of the vision encoder.
#[derive(Debug)]
pub(super) struct Stack<'w, K: Kernels> {
    pub(super) layers: Vec<Layer<'w, K>>,
}

/// What the forward pass left of a layer.
#[derive(Debug)]
enum Saved<K: Kernels> {
    /// All that its backward pass reads.
    All(Kept<K>),
    /// What the rest is computed from again.
    Some(Remembered<K>),
}

/// What the forward pass left of a stack.
#[derive(Debug)]
pub(super) struct Trace<K: Kernels> {
    /// Of the layers from the first that is needed.
    saved: Vec<Saved<K>>,
}

/// What a forward pass leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Nothing: there is no backward pass.
    Nothing,
    /// Everything of the layers that are differentiated, but of the lowest `recomputed` only what the rest follows from.
    ForBackward { below: Below, recomputed: usize },
}

impl<K: Kernels> Stack<'_, K> {
    /// The lowest layer whose backward pass is needed; the number of layers where none is.
    pub(super) fn first_trained(&self, below: Below) -> usize {
        let trained = |layer: &Layer<'_, K>| below == Below::Trained || layer.is_trained();
        self.layers.iter().position(trained).unwrap_or(self.layers.len())
    }

    /// The output of the last layer: the rows that are wanted.
    pub(super) fn forward(
        &self,
        scope: &Scope<K>,
        place: &Place<K>,
        mut x: K::Buffer,
        keep: Keep,
    ) -> (K::Buffer, Trace<K>) {
        let mut saved = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let (out, kept) = layer.forward(scope, &self.place_of(index, place), x);
            x = out;
            if let Keep::ForBackward { below, recomputed } = keep {
                match index.checked_sub(self.first_trained(below)) {
                    None => {}
                    Some(above) if above < recomputed => saved.push(Saved::Some(kept.into_remembered())),
                    Some(_) => saved.push(Saved::All(kept)),
                }
            }
        }
        (x, Trace { saved })
    }

    /// Adds the gradients of all adapters; gives the gradient of the input where something below is trained.
    pub(super) fn backward(
        &self,
        scope: &Scope<K>,
        gradients: &mut K::Buffer,
        place: &Place<K>,
        (trace, mut y_gradient): (Trace<K>, K::Buffer),
        below: Below,
    ) -> Option<K::Buffer> {
        let first = self.first_trained(below);
        for (above, saved) in trace.saved.into_iter().enumerate().rev() {
            let index = first + above;
            let (layer, place) = (&self.layers[index], self.place_of(index, place));
            let kept = match saved {
                Saved::All(kept) => kept,
                Saved::Some(remembered) => layer.recompute(scope, &place, remembered),
            };
            let below = if index > first { Below::Trained } else { below };
            y_gradient = layer.backward(scope, gradients, &place, (kept, y_gradient), below)?;
        }
        Some(y_gradient)
    }

    /// Only the last layer's output may be wanted in part.
    fn place_of<'p>(&self, index: usize, place: &Place<'p, K>) -> Place<'p, K> {
        let wanted = if index + 1 == self.layers.len() { place.wanted } else { None };
        Place { wanted, ..*place }
    }
}

/// Segments of rows that see only each other, from cumulative lengths.
pub(super) fn segments(cumulative: &[u32]) -> Vec<Segment> {
    let bounds = cumulative.windows(2).map(|pair| pair[0] as usize..pair[1] as usize);
    bounds.map(|rows| Segment { queries: rows.clone(), keys: rows }).collect()
}
