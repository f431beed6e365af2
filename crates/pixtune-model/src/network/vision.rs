//! From images to vectors of the text's width: patches, vision encoder, projector.

use super::batch::Image;
use super::device_batch::Rows;
use super::error::NetworkError;
use super::layer::{InputGradient, Layer, LayerRows};
use super::linear::{Adapter, LinearBackward, LinearLayer, Scope};
use super::loader::{FrozenWeights, Loader};
use super::lora::Region;
use super::shape::ModelShape;
use super::stack::{Save, SavedStack, Stack};
use crate::kernels::{Kernels, PatchGrid, Write};
use crate::weights::Module;

/// The vision encoder and the projector.
#[derive(Debug)]
pub(super) struct Vision<'w, K: Kernels> {
    shape: ModelShape,
    patches: PatchConvolution<'w, K>,
    norm: K::Buffer,
    pub(super) stack: Stack<'w, K>,
    first: LinearLayer<'w, K>,
    second: LinearLayer<'w, K>,
    trained: Trained,
}

/// The convolution of patches: its stride is its width, so it is a linear.
#[derive(Debug)]
struct PatchConvolution<'w, K: Kernels> {
    weight: K::Weight<'w>,
    columns: usize,
}

/// The first of its parts that is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trained {
    Nothing,
    Projector,
    Encoder,
}

/// The activations that the backward pass reads.
#[derive(Debug)]
pub(super) struct SavedVision<K: Kernels> {
    stack: SavedStack<K>,
    /// The output of the encoder.
    encoded: K::Buffer,
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
        let norm = loader.vector(Module::VisionNorm.weight(), vision.hidden)?;
        let stack = Stack { layers };
        let trained = match () {
            () if stack.first_trained(InputGradient::Unneeded) < stack.layers.len() => Trained::Encoder,
            () if first.is_trained() || second.is_trained() => Trained::Projector,
            () => Trained::Nothing,
        };
        Ok(Vision { shape: shape.clone(), patches, norm, stack, first, second, trained })
    }

    /// Whether the gradient of its output is needed.
    pub(super) fn output_gradient(&self) -> InputGradient {
        if self.trained == Trained::Nothing { InputGradient::Unneeded } else { InputGradient::Needed }
    }

    /// Whether a part of it has a backward pass.
    pub(super) fn has_backward(&self, region: Region) -> bool {
        self.trained >= if region == Region::Vision { Trained::Encoder } else { Trained::Projector }
    }

    /// `[patches of all images, hidden of the text]`, for inference.
    pub(super) fn forward(&self, scope: &Scope<K>, images: &[Image], rows: &Rows<K>) -> K::Buffer {
        self.project(scope, rows.count, self.encode(scope, images, rows, Save::Nothing)).0
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
            Trained::Encoder => Save::ForBackward { input_gradient: InputGradient::Unneeded, recomputed },
            Trained::Projector | Trained::Nothing => Save::Nothing,
        };
        let (out, saved) = self.project(scope, rows.count, self.encode(scope, images, rows, save));
        (out, (self.trained != Trained::Nothing).then_some(saved))
    }

    /// The output of the encoder.
    fn encode(
        &self,
        scope: &Scope<K>,
        images: &[Image],
        rows: &Rows<K>,
        save: Save,
    ) -> (K::Buffer, SavedStack<K>) {
        let x = self.embed(scope, images, rows.count);
        self.stack.forward(scope, &LayerRows::from(rows), x, save)
    }

    /// The output of the projector.
    fn project(
        &self,
        scope: &Scope<K>,
        rows: usize,
        (encoded, stack): (K::Buffer, SavedStack<K>),
    ) -> (K::Buffer, SavedVision<K>) {
        let (kernels, text) = (scope.kernels, self.shape.text.hidden);
        let mut before_gelu = kernels.activations(rows * text);
        let first_xa = self.first.forward(scope, (rows, &encoded), &mut before_gelu, Write::Set);
        let mut after_gelu = kernels.activations(rows * text);
        kernels.gelu(&before_gelu, &mut after_gelu);
        let mut out = kernels.activations(rows * text);
        let second_xa = self.second.forward(scope, (rows, &after_gelu), &mut out, Write::Set);
        (out, SavedVision { stack, encoded, first_xa, before_gelu, second_xa })
    }

    /// Patches after the convolution and the first norm.
    fn embed(&self, scope: &Scope<K>, images: &[Image], rows: usize) -> K::Buffer {
        let (kernels, vision) = (scope.kernels, &self.shape.vision);
        let mut patches = kernels.activations(rows * self.patches.columns);
        let mut first = 0;
        for image in images {
            let Image { pixels, rows, columns } = image;
            let (channels, side) = (self.shape.channels, self.shape.patch);
            let grid = PatchGrid { pixels, channels, rows: *rows, columns: *columns, side };
            kernels.upload_patches(&grid, &mut patches, first);
            first += image.patches();
        }
        let mut embedded = kernels.activations(rows * vision.hidden);
        kernels.linear(&patches, &self.patches.weight, &mut embedded, Write::Set);
        let mut normed = kernels.activations(rows * vision.hidden);
        kernels.rms_norm(vision.norm_epsilon, &embedded, &self.norm, &mut normed);
        normed
    }

    /// Adds the gradients of projector and encoder.
    pub(super) fn backward(
        &self,
        scope: &Scope<K>,
        gradients: &mut K::Buffer,
        all: &Rows<K>,
        (saved, out_gradient): (SavedVision<K>, &K::Buffer),
    ) {
        let (kernels, rows, text) = (scope.kernels, all.count, self.shape.text.hidden);
        let SavedVision { stack, encoded, first_xa, mut before_gelu, second_xa } = saved;
        let mut after_gelu = kernels.activations(rows * text);
        kernels.gelu(&before_gelu, &mut after_gelu);
        let mut after_gelu_gradient = kernels.activations(rows * text);
        let pass = LinearBackward { rows, x: &after_gelu, xa: second_xa.as_ref(), y_gradient: out_gradient };
        self.second.backward(scope, gradients, pass, Some((&mut after_gelu_gradient, Write::Set)));
        kernels.gelu_backward(&after_gelu_gradient, &mut before_gelu);
        let mut encoded_gradient =
            (self.trained == Trained::Encoder).then(|| kernels.activations(rows * self.shape.vision.hidden));
        let pass = LinearBackward { rows, x: &encoded, xa: first_xa.as_ref(), y_gradient: &before_gelu };
        let to = encoded_gradient.as_mut().map(|gradient| (gradient, Write::Set));
        self.first.backward(scope, gradients, pass, to);
        if let Some(gradient) = encoded_gradient {
            let rows = LayerRows::from(all);
            self.stack.backward(scope, gradients, &rows, (stack, gradient), InputGradient::Unneeded);
        }
    }
}
