//! From images to vectors of the text's width: patches, vision encoder, projector.

use super::adapter_layout::Adapter;
use super::batch::Image;
use super::device_batch::Rows;
use super::error::NetworkError;
use super::layer::{InputGradient, Layer, LayerRows};
use super::linear::{LinearBackward, LinearLayer};
use super::loader::{FrozenWeights, Loader};
use super::merger::{Merger, SavedMerger};
use super::norm::Norm;
use super::parameter::Matrix;
use super::region::Region;
use super::scope::Scope;
use super::shape::ModelShape;
use super::stack::{Save, SavedStack, Stack};
use crate::kernels::{Kernels, PatchGrid, TrainedBackward, Write};
use crate::weights::Module;

/// The vision encoder and the projector.
#[derive(Debug)]
pub(super) struct Vision<'w, K: Kernels> {
    shape: ModelShape,
    patches: PatchConvolution<'w, K>,
    norm: Norm<K>,
    pub(super) stack: Stack<'w, K>,
    merger: Option<Merger<'w, K>>,
    first: LinearLayer<'w, K>,
    second: LinearLayer<'w, K>,
    trained: Trained,
}

/// The convolution of patches: its stride is its width, so it is a linear.
#[derive(Debug)]
struct PatchConvolution<'w, K: Kernels> {
    weight: Matrix<'w, K>,
    columns: usize,
}

/// The first of its parts that is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trained {
    Nothing,
    Projector,
    Encoder,
    Patches,
}

/// What the backward pass of the whole encoder reads: patches, and patches after the convolution.
#[derive(Debug)]
struct SavedInputs<K: Kernels> {
    patches: K::Buffer,
    embedded: K::Buffer,
}

/// The activations that the backward pass reads.
#[derive(Debug)]
pub(super) struct SavedVision<K: Kernels> {
    /// If the convolution is trained.
    inputs: Option<SavedInputs<K>>,
    stack: SavedStack<K>,
    /// The output of the encoder.
    encoded: K::Buffer,
    /// Its merged patches, where they are merged.
    merged: Option<(K::Buffer, SavedMerger<K>)>,
    first_xa: Option<K::Buffer>,
    /// The input of the projector's activation function.
    before_gelu: K::Buffer,
    second_xa: Option<K::Buffer>,
}

impl<'w, K: Kernels> Vision<'w, K> {
    pub(super) fn load<W: FrozenWeights>(
        loader: &mut Loader<'w, '_, K, W>,
        shape: &ModelShape,
        adapter: impl Fn(Module) -> Option<Adapter>,
    ) -> Result<Self, NetworkError> {
        let (vision, text) = (&shape.vision, shape.text.hidden);
        let filter = [vision.hidden, shape.channels, shape.patch, shape.patch];
        let patches = PatchConvolution {
            weight: loader.matrix(Module::PatchConv.weight(), &filter)?,
            columns: filter[1..].iter().product(),
        };
        let mut layers = Vec::new();
        for index in 0..vision.layers as u32 {
            let module = |part| Module::Vision(index, part);
            layers.push(Layer::load(loader, vision, module, |part| adapter(module(part)))?);
        }
        let mut linear = |module, size| -> Result<LinearLayer<'w, K>, NetworkError> {
            let linear = LinearLayer::load(loader, module, size, adapter(module))?;
            if shape.projector_bias { linear.load_bias(loader, module) } else { Ok(linear) }
        };
        let first = linear(Module::ProjectorIn, [text, vision.hidden])?;
        let second = linear(Module::ProjectorOut, [text, text])?;
        let merger = Merger::load(loader, shape, adapter(Module::PatchMerger))?;
        let norm = Norm::load(loader, Module::VisionNorm.weight(), vision.hidden, vision.norm_epsilon)?;
        let stack = Stack { layers };
        let trained = match () {
            () if patches.weight.is_trained() => Trained::Patches,
            () if stack.first_trained(InputGradient::Unneeded) < stack.layers.len() => Trained::Encoder,
            () if first.is_trained() || second.is_trained() => Trained::Projector,
            () if merger.as_ref().is_some_and(Merger::is_trained) => Trained::Projector,
            () => Trained::Nothing,
        };
        Ok(Vision { shape: shape.clone(), patches, norm, stack, merger, first, second, trained })
    }

    /// Whether the gradient of its output is needed.
    pub(super) fn output_gradient(&self) -> InputGradient {
        if self.trained == Trained::Nothing { InputGradient::Unneeded } else { InputGradient::Needed }
    }

    /// Whether a part of it has a backward pass.
    pub(super) fn has_backward(&self, region: Region) -> bool {
        self.trained >= if region == Region::Vision { Trained::Encoder } else { Trained::Projector }
    }

    /// Numbers saved of a patch outside of the layers.
    pub(super) fn saved_inputs(&self) -> usize {
        let hidden = self.shape.vision.hidden;
        let convolution = if self.trained == Trained::Patches { self.patches.columns + hidden } else { 0 };
        let merger = if self.merger.is_some() && self.trained != Trained::Nothing { hidden } else { 0 };
        convolution + merger
    }

    /// Whether the gradient of the input of the first layer is needed.
    fn embedded_gradient(&self) -> InputGradient {
        if self.trained == Trained::Patches { InputGradient::Needed } else { InputGradient::Unneeded }
    }

    /// `[vectors of all images, hidden of the text]`, for inference.
    pub(super) fn forward(&self, scope: &Scope<K>, images: &[Image], rows: &Rows<K>) -> K::Buffer {
        let (x, _) = self.embed(scope, images, rows.count);
        self.project(scope, images, rows.count, self.encode(scope, rows, x, Save::Nothing)).0
    }

    /// The same for training, with what the backward pass reads. Of the lowest `recomputed` layers it saves checkpoints only.
    pub(super) fn forward_saving(
        &self,
        scope: &Scope<K>,
        images: &[Image],
        rows: &Rows<K>,
        recomputed: usize,
    ) -> (K::Buffer, Option<SavedVision<K>>) {
        let save = match self.trained {
            Trained::Encoder | Trained::Patches => {
                Save::ForBackward { input_gradient: self.embedded_gradient(), recomputed }
            }
            Trained::Projector | Trained::Nothing => Save::Nothing,
        };
        let (x, inputs) = self.embed(scope, images, rows.count);
        let inputs = (self.trained == Trained::Patches).then_some(inputs);
        let (out, saved) = self.project(scope, images, rows.count, self.encode(scope, rows, x, save));
        (out, (self.trained != Trained::Nothing).then_some(SavedVision { inputs, ..saved }))
    }

    /// The output of the encoder.
    fn encode(
        &self,
        scope: &Scope<K>,
        rows: &Rows<K>,
        x: K::Buffer,
        save: Save,
    ) -> (K::Buffer, SavedStack<K>) {
        self.stack.forward(scope, &LayerRows::from(rows), x, save)
    }

    /// The output of the projector.
    fn project(
        &self,
        scope: &Scope<K>,
        images: &[Image],
        patches: usize,
        (encoded, stack): (K::Buffer, SavedStack<K>),
    ) -> (K::Buffer, SavedVision<K>) {
        let (kernels, text) = (scope.kernels, self.shape.text.hidden);
        let merged = self.merger.as_ref().map(|merger| merger.forward(scope, images, (patches, &encoded)));
        let (rows, x) = (self.vectors(patches), merged.as_ref().map_or(&encoded, |(merged, _)| merged));
        let mut before_gelu = kernels.activations(rows * text);
        let first_xa = self.first.forward(scope, (rows, x), &mut before_gelu, Write::Set);
        let mut after_gelu = kernels.activations(rows * text);
        kernels.gelu(&before_gelu, &mut after_gelu);
        let mut out = kernels.activations(rows * text);
        let second_xa = self.second.forward(scope, (rows, &after_gelu), &mut out, Write::Set);
        (out, SavedVision { inputs: None, stack, encoded, merged, first_xa, before_gelu, second_xa })
    }

    /// The vectors that so many patches become.
    fn vectors(&self, patches: usize) -> usize {
        patches / self.shape.merge.pow(2)
    }

    /// Patches after the convolution and the first norm, and what comes before.
    fn embed(&self, scope: &Scope<K>, images: &[Image], rows: usize) -> (K::Buffer, SavedInputs<K>) {
        let (kernels, vision) = (scope.kernels, &self.shape.vision);
        let mut patches = kernels.activations(rows * self.patches.columns);
        let mut first = 0;
        for image in images {
            let Image { pixels, rows, columns, .. } = image;
            let (channels, side) = (self.shape.channels, self.shape.patch);
            let grid = PatchGrid { pixels, channels, rows: *rows, columns: *columns, side };
            kernels.upload_patches(&grid, &mut patches, first);
            first += image.patches();
        }
        let mut embedded = kernels.activations(rows * vision.hidden);
        match &self.patches.weight {
            Matrix::Frozen(weight) => kernels.linear(&patches, weight, &mut embedded, Write::Set),
            Matrix::Trained(matrix) => {
                kernels.trained_linear(matrix, scope.parameters, &patches, &mut embedded, Write::Set);
            }
        }
        let normed = self.norm.forward(scope, (rows, &embedded));
        (normed, SavedInputs { patches, embedded })
    }

    /// Adds the gradients of projector and encoder.
    pub(super) fn backward(
        &self,
        scope: &Scope<K>,
        gradients: &mut K::Buffer,
        all: &Rows<K>,
        (saved, out_gradient): (SavedVision<K>, &K::Buffer),
    ) {
        let (kernels, rows, text) = (scope.kernels, self.vectors(all.count), self.shape.text.hidden);
        let SavedVision { inputs, stack, encoded, merged, first_xa, mut before_gelu, second_xa } = saved;
        let mut after_gelu = kernels.activations(rows * text);
        kernels.gelu(&before_gelu, &mut after_gelu);
        let mut after_gelu_gradient = kernels.activations(rows * text);
        let pass = LinearBackward { rows, x: &after_gelu, xa: second_xa.as_ref(), y_gradient: out_gradient };
        self.second.backward(scope, gradients, pass, Some((&mut after_gelu_gradient, Write::Set)));
        kernels.gelu_backward(&after_gelu_gradient, &mut before_gelu);
        let of_encoder = self.trained >= Trained::Encoder;
        let of_merger = self.merger.as_ref().is_some_and(Merger::is_trained);
        let mut x_gradient =
            (of_encoder || of_merger).then(|| kernels.activations(rows * self.shape.vision.hidden));
        let x = merged.as_ref().map_or(&encoded, |(merged, _)| merged);
        let pass = LinearBackward { rows, x, xa: first_xa.as_ref(), y_gradient: &before_gelu };
        let to = x_gradient.as_mut().map(|gradient| (gradient, Write::Set));
        self.first.backward(scope, gradients, pass, to);
        let encoded_gradient = match (&self.merger, merged, x_gradient) {
            (Some(merger), Some((_, saved)), Some(gradient)) => {
                merger.backward(scope, gradients, (all.count, &encoded), (saved, &gradient), of_encoder)
            }
            (_, _, gradient) => gradient,
        };
        let Some(gradient) = encoded_gradient.filter(|_| of_encoder) else { return };
        let through = (stack, gradient);
        let gradient =
            self.stack.backward(scope, gradients, &LayerRows::from(all), through, self.embedded_gradient());
        if let (Some(gradient), Some(inputs)) = (gradient, inputs) {
            self.embed_backward(scope, gradients, inputs, (all.count, &gradient));
        }
    }

    /// Adds the gradients of the first norm and of the convolution.
    fn embed_backward(
        &self,
        scope: &Scope<K>,
        gradients: &mut K::Buffer,
        SavedInputs { patches, embedded }: SavedInputs<K>,
        (rows, normed_gradient): (usize, &K::Buffer),
    ) {
        let Matrix::Trained(matrix) = &self.patches.weight else { return };
        let mut embedded_gradient = scope.kernels.activations(rows * self.shape.vision.hidden);
        let to = (&mut embedded_gradient, Write::Set);
        self.norm.backward(scope, gradients, (&embedded, normed_gradient), to);
        let pass = TrainedBackward {
            parameters: scope.parameters,
            gradients,
            x: &patches,
            y_gradient: &embedded_gradient,
        };
        scope.kernels.trained_linear_backward(matrix, pass, None);
    }
}
