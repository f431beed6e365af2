//! Pixtral's network, forward and backward, written out by hand: vision encoder, projector, text decoder.
//!
//! There is no graph and no tensor type. A [`Batch`] goes in; the sum of the losses comes out, and the gradients of what is
//! trained are added to one flat buffer. Everything that computes goes through [`Kernels`].

mod adapter_files;
mod adapter_layout;
mod batch;
mod cache;
mod decoder;
mod device_batch;
mod error;
mod layer;
mod linear;
mod loader;
mod lora;
mod memory;
mod merger;
mod norm;
mod optimizer;
mod parameter;
mod pass;
mod positions;
mod region;
mod scope;
mod shape;
mod stack;
mod vision;
mod whole;

use adapter_layout::AdapterLayout;
pub use adapter_layout::AdapterTensor;
pub use batch::{Batch, Image, Label, Sequence};
pub use cache::Cache;
use decoder::Decoder;
pub use error::{BatchError, NetworkError};
pub use loader::FrozenWeights;
use loader::Loader;
pub use lora::{Linear, LoraConfig, Targets};
pub use memory::MemoryEstimate;
pub use optimizer::OptimizerState;
pub use pass::{LossSum, Pass};
pub use region::Region;
pub use shape::{ModelShape, StackShape};
use vision::Vision;
pub use whole::WholeRegions;

use crate::kernels::{Kernels, WeightMemory};
use crate::weights::Dtype;

/// What a network may use besides its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NetworkOptions {
    /// Maximum bytes of activations saved for the backward pass; without it, all that fit into the memory of the device. Layers
    /// that do not fit are recomputed, from the lowest, which changes no bit of the result.
    pub activation_budget: Option<u64>,
    /// Frozen linears are in 4 bits: NF4 with double quantization, or as they are stored if that is in 4 bits too. Embeddings and
    /// the output layer are not linears.
    pub load_in_4bit: bool,
}

/// A model with an adapter on one device, and the gradients and optimizer moments of the adapter.
#[derive(Debug)]
pub struct Network<'w, K: Kernels> {
    model: Model<'w, K>,
    gradients: K::Buffer,
    first_moment: K::Buffer,
    second_moment: K::Buffer,
    steps: u64,
}

/// All that a pass reads.
#[derive(Debug)]
struct Model<'w, K: Kernels> {
    kernels: K,
    shape: ModelShape,
    options: NetworkOptions,
    vision: Vision<'w, K>,
    decoder: Decoder<'w, K>,
    layout: AdapterLayout,
    lora: LoraConfig,
    weight_memory: WeightMemory,
    /// Bytes that the device had for passes once everything was loaded; `None` for the memory of the host.
    free_memory: Option<u64>,
    parameters: K::Buffer,
}

impl<'w, K: Kernels> Network<'w, K> {
    /// Loads frozen weights and initializes a new adapter. Every tensor is checked against the configuration.
    pub fn load(
        kernels: K,
        weights: &'w impl FrozenWeights,
        lora: &LoraConfig,
        options: NetworkOptions,
    ) -> Result<Network<'w, K>, NetworkError> {
        lora.check()?;
        Network::build(kernels, weights, lora, options)
    }

    /// Loads frozen weights alone: nothing is trained.
    pub fn load_frozen(
        kernels: K,
        weights: &'w impl FrozenWeights,
        options: NetworkOptions,
    ) -> Result<Network<'w, K>, NetworkError> {
        let nothing = LoraConfig { targets: Targets::from_iter([]), ..LoraConfig::default() };
        Network::build(kernels, weights, &nothing, options)
    }

    fn build(
        kernels: K,
        weights: &'w impl FrozenWeights,
        lora: &LoraConfig,
        options: NetworkOptions,
    ) -> Result<Network<'w, K>, NetworkError> {
        let shape = weights.shape()?;
        shape.check()?;
        lora.check_shape(&shape)?;
        let layout = AdapterLayout::new(&shape, lora);
        let initial = layout.initial(lora.seed);
        let (in_4bit, memory) = (options.load_in_4bit, WeightMemory::default());
        let mut loader = Loader { weights, kernels: &kernels, layout: &layout, in_4bit, memory, initial };
        let vision = Vision::load(&mut loader, &shape, |module| layout.adapter(module))?;
        let decoder = Decoder::load(&mut loader, &shape, |module| layout.adapter(module))?;
        let Loader { memory: weight_memory, initial, .. } = loader;
        let upload = |values: &[f32]| kernels.upload(values, Dtype::F32);
        let zeros = vec![0.0; layout.parameters()];
        let parameters = upload(&initial);
        let (gradients, first_moment, second_moment) = (upload(&zeros), upload(&zeros), upload(&zeros));
        let free_memory = kernels.free_memory();
        kernels.check()?;
        let lora = lora.clone();
        let model = Model {
            kernels,
            shape,
            options,
            vision,
            decoder,
            layout,
            lora,
            weight_memory,
            free_memory,
            parameters,
        };
        Ok(Network { model, gradients, first_moment, second_moment, steps: 0 })
    }

    /// The sizes of the model.
    pub fn shape(&self) -> &ModelShape {
        &self.model.shape
    }

    /// The device.
    pub fn kernels(&self) -> &K {
        &self.model.kernels
    }

    /// The trained tensors, in the order of the flat buffers.
    pub fn adapter_tensors(&self) -> &[AdapterTensor] {
        &self.model.layout.tensors
    }

    /// Recomputes the activations of all layers from now on, which needs the least memory; false if it does that already.
    pub fn recompute_all(&mut self) -> bool {
        let before = self.model.options.activation_budget.replace(0);
        before != Some(0)
    }

    /// The number of trained parameters.
    pub fn trained_parameters(&self) -> usize {
        self.model.layout.parameters()
    }

    /// A copy of all trained parameters.
    pub fn parameters(&self) -> Vec<f32> {
        self.model.kernels.download(&self.model.parameters)
    }

    /// Sets all trained parameters. Panics unless there are [`Network::trained_parameters`] of them.
    pub fn set_parameters(&mut self, parameters: &[f32]) {
        assert_eq!(parameters.len(), self.trained_parameters());
        self.model.parameters = self.model.kernels.upload(parameters, Dtype::F32);
    }
}
