//! Images to vectors of the text's size: patches, vision encoder, projector.

use super::batch::Image;
use super::error::NetworkError;
use super::frozen::{FrozenWeights, Loader};
use super::layer::{Below, Layer, Place};
use super::linear::{Adapter, LinearBackward, LinearLayer, Scope};
use super::lora::Part as Region;
use super::positions;
use super::shape::ModelShape;
use super::stack::{Keep, Stack, Trace};
use crate::kernels::{Angles, Kernels, Mask, PatchGrid, Segment, Write};
use crate::weights::Module;

/// The vision encoder and the projector.
#[derive(Debug)]
pub(super) struct Vision<'w, K: Kernels> {
    shape: ModelShape,
    patches: LinearPatches<'w, K>,
    norm: K::Buffer,
    pub(super) stack: Stack<'w, K>,
    first: LinearLayer<'w, K>,
    second: LinearLayer<'w, K>,
    /// Which of its parts are trained.
    trained: Trained,
}

/// The convolution of patches, as the linear it is.
#[derive(Debug)]
struct LinearPatches<'w, K: Kernels> {
    weight: K::Weight<'w>,
    columns: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trained {
    Nothing,
    Projector,
    Encoder,
}

/// What the forward pass left.
#[derive(Debug)]
pub(super) struct VisionTrace<K: Kernels> {
    angles: Angles<K>,
    segments: Vec<Segment>,
    rows: usize,
    stack: Trace<K>,
    /// The encoder's output.
    encoded: K::Buffer,
    first_hidden: Option<K::Buffer>,
    /// Before the activation.
    before: K::Buffer,
    second_hidden: Option<K::Buffer>,
}

impl<'w, K: Kernels> Vision<'w, K> {
    pub(super) fn load<W: FrozenWeights>(
        loader: &mut Loader<'w, '_, K, W>,
        shape: &ModelShape,
        adapter: impl Fn(Module) -> Option<Adapter>,
    ) -> Result<Self, NetworkError> {
        let (vision, text) = (&shape.vision, shape.text.hidden);
        let filter = [vision.hidden, shape.channels, shape.patch, shape.patch];
        let patches = LinearPatches {
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
            () if stack.first_trained(Below::Frozen) < stack.layers.len() => Trained::Encoder,
            () if first.adapter.is_some() || second.adapter.is_some() => Trained::Projector,
            () => Trained::Nothing,
        };
        Ok(Vision { shape: shape.clone(), patches, norm, stack, first, second, trained })
    }

    /// Whether the gradient of its output is needed.
    pub(super) fn below(&self) -> Below {
        if self.trained == Trained::Nothing { Below::Frozen } else { Below::Trained }
    }

    /// Whether a part of it is differentiated.
    pub(super) fn differentiates(&self, region: Region) -> bool {
        self.trained >= if region == Region::Vision { Trained::Encoder } else { Trained::Projector }
    }

    /// `[patches of all images, hidden of the text]`. `recomputed` layers keep only their input, where any is kept.
    pub(super) fn forward(
        &self,
        scope: &Scope<K>,
        images: &[Image],
        recomputed: Option<usize>,
    ) -> (K::Buffer, Option<VisionTrace<K>>) {
        let (kernels, vision) = (scope.kernels, &self.shape.vision);
        let rows = images.iter().map(Image::patches).sum();
        let angles = positions::images(kernels, vision.rope_theta, vision.head_size, images);
        let segments = segments_of(images);
        let x = self.embed(scope, images, rows);
        let place = Place { rows, angles: &angles, mask: Mask::Full, segments: &segments, wanted: None };
        let keep = match recomputed {
            Some(recomputed) if self.trained == Trained::Encoder => {
                Keep::ForBackward { below: Below::Frozen, recomputed }
            }
            _ => Keep::Nothing,
        };
        let (encoded, stack) = self.stack.forward(scope, &place, x, keep);
        let text = self.shape.text.hidden;
        let mut before = kernels.buffer(rows * text);
        let first_hidden = self.first.forward(scope, (rows, &encoded), &mut before, Write::Set);
        let mut active = kernels.buffer(rows * text);
        kernels.gelu(&before, &mut active);
        let mut out = kernels.buffer(rows * text);
        let second_hidden = self.second.forward(scope, (rows, &active), &mut out, Write::Set);
        let kept = recomputed.is_some() && self.trained != Trained::Nothing;
        let trace =
            VisionTrace { angles, segments, rows, stack, encoded, first_hidden, before, second_hidden };
        (out, kept.then_some(trace))
    }

    /// Patches after the convolution and the first norm.
    fn embed(&self, scope: &Scope<K>, images: &[Image], rows: usize) -> K::Buffer {
        let (kernels, vision) = (scope.kernels, &self.shape.vision);
        let mut patches = kernels.buffer(rows * self.patches.columns);
        let mut first = 0;
        for image in images {
            let Image { pixels, rows, columns } = image;
            let (channels, side) = (self.shape.channels, self.shape.patch);
            let grid = PatchGrid { pixels, channels, rows: *rows, columns: *columns, side };
            kernels.patches(&grid, &mut patches, first);
            first += image.patches();
        }
        let mut embedded = kernels.buffer(rows * vision.hidden);
        kernels.linear(&patches, &self.patches.weight, &mut embedded, Write::Set);
        let mut normed = kernels.buffer(rows * vision.hidden);
        kernels.rms_norm(vision.norm_epsilon, &embedded, &self.norm, &mut normed);
        normed
    }

    /// Adds the gradients of projector and encoder.
    pub(super) fn backward(
        &self,
        scope: &Scope<K>,
        gradients: &mut K::Buffer,
        trace: VisionTrace<K>,
        out_gradient: &K::Buffer,
    ) {
        let kernels = scope.kernels;
        let VisionTrace { angles, segments, rows, stack, encoded, first_hidden, mut before, second_hidden } =
            trace;
        let text = self.shape.text.hidden;
        let mut active = kernels.buffer(rows * text);
        kernels.gelu(&before, &mut active);
        let mut active_gradient = kernels.buffer(rows * text);
        let pass =
            LinearBackward { rows, x: &active, hidden: second_hidden.as_ref(), y_gradient: out_gradient };
        self.second.backward(scope, gradients, pass, Some((&mut active_gradient, Write::Set)));
        kernels.gelu_backward(&active_gradient, &mut before);
        let through = self.trained == Trained::Encoder;
        let mut encoded_gradient = through.then(|| kernels.buffer(rows * self.shape.vision.hidden));
        let pass = LinearBackward { rows, x: &encoded, hidden: first_hidden.as_ref(), y_gradient: &before };
        let to = encoded_gradient.as_mut().map(|gradient| (gradient, Write::Set));
        self.first.backward(scope, gradients, pass, to);
        if let Some(gradient) = encoded_gradient {
            let place = Place { rows, angles: &angles, mask: Mask::Full, segments: &segments, wanted: None };
            self.stack.backward(scope, gradients, &place, (stack, gradient), Below::Frozen);
        }
    }
}

/// Each image sees itself.
fn segments_of(images: &[Image]) -> Vec<Segment> {
    let ends = images.iter().scan(0, |end, image| {
        *end += image.patches();
        Some((*end - image.patches())..*end)
    });
    ends.map(|rows| Segment { queries: rows.clone(), keys: rows }).collect()
}
