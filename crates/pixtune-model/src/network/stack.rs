//! Layers on top of each other, and which of them are recomputed in the backward pass.

use super::device_batch::Rows;
use super::layer::{InputGradient, Layer, LayerCheckpoint, LayerRows, SavedLayer};
use super::scope::Scope;
use crate::kernels::Kernels;

/// The layers of the text decoder or of the vision encoder.
#[derive(Debug)]
pub(super) struct Stack<'w, K: Kernels> {
    pub(super) layers: Vec<Layer<'w, K>>,
}

/// What the forward pass saved of a layer.
#[derive(Debug)]
enum Saved<K: Kernels> {
    /// All activations that its backward pass reads.
    Activations(SavedLayer<K>),
    /// The activations from which the others are recomputed.
    Checkpoint(LayerCheckpoint<K>),
}

/// What the forward pass saved of a stack: of the layers from the first with a backward pass.
#[derive(Debug)]
pub(super) struct SavedStack<K: Kernels> {
    layers: Vec<Saved<K>>,
}

/// What a forward pass saves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Save {
    /// Nothing: there is no backward pass.
    Nothing,
    /// The activations of the layers with a backward pass, but only checkpoints of the lowest `recomputed` of them.
    ForBackward { input_gradient: InputGradient, recomputed: usize },
}

impl<K: Kernels> Stack<'_, K> {
    /// The lowest layer with a backward pass; the number of layers if there is none.
    pub(super) fn first_trained(&self, input_gradient: InputGradient) -> usize {
        let trained = |layer: &Layer<'_, K>| input_gradient == InputGradient::Needed || layer.is_trained();
        self.layers.iter().position(trained).unwrap_or(self.layers.len())
    }

    /// The output of the last layer: the selected rows.
    pub(super) fn forward(
        &self,
        scope: &Scope<K>,
        rows: &LayerRows<K>,
        mut x: K::Buffer,
        save: Save,
    ) -> (K::Buffer, SavedStack<K>) {
        let mut layers = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let (out, saved) = layer.forward(scope, &self.rows_of(index, rows), x);
            x = out;
            if let Save::ForBackward { input_gradient, recomputed } = save {
                match index.checked_sub(self.first_trained(input_gradient)) {
                    None => {}
                    Some(above) if above < recomputed => {
                        layers.push(Saved::Checkpoint(saved.into_checkpoint()));
                    }
                    Some(_) => layers.push(Saved::Activations(saved)),
                }
            }
        }
        (x, SavedStack { layers })
    }

    /// Adds the gradients of all adapters; returns the input gradient if it is needed.
    pub(super) fn backward(
        &self,
        scope: &Scope<K>,
        gradients: &mut K::Buffer,
        rows: &LayerRows<K>,
        (saved, mut y_gradient): (SavedStack<K>, K::Buffer),
        input_gradient: InputGradient,
    ) -> Option<K::Buffer> {
        let first = self.first_trained(input_gradient);
        for (above, saved) in saved.layers.into_iter().enumerate().rev() {
            let index = first + above;
            let (layer, rows) = (&self.layers[index], self.rows_of(index, rows));
            let saved = match saved {
                Saved::Activations(saved) => saved,
                Saved::Checkpoint(checkpoint) => layer.recompute(scope, &rows, checkpoint),
            };
            let input_gradient = if index > first { InputGradient::Needed } else { input_gradient };
            y_gradient = layer.backward(scope, gradients, &rows, (saved, y_gradient), input_gradient)?;
        }
        Some(y_gradient)
    }

    /// Only the last layer computes a selection of its output.
    fn rows_of<'a>(&self, index: usize, rows: &LayerRows<'a, K>) -> LayerRows<'a, K> {
        let selection = if index + 1 == self.layers.len() { rows.selection } else { None };
        LayerRows { selection, ..*rows }
    }
}

impl<'a, K: Kernels> From<&'a Rows<K>> for LayerRows<'a, K> {
    fn from(all: &'a Rows<K>) -> LayerRows<'a, K> {
        LayerRows { all, selection: None }
    }
}
