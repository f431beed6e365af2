//! The sizes of models, which determine the cost of training.

use super::{LayerStack, LayerWidths};
use crate::spec::ModelSpec;

/// Heads of the vision encoder of every model in [`SHAPES`].
const VISION_HEADS: u64 = 16;

/// The sizes of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelShape {
    /// The [`ModelSpec`] it belongs to.
    pub id: &'static str,
    /// Decoder layers.
    pub layers: u64,
    /// Width of the decoder.
    pub hidden: u64,
    /// Query heads times their width.
    pub query: u64,
    /// Key (or value) heads times their width.
    pub key: u64,
    /// Width of a head.
    pub head: u64,
    /// Width inside the feed-forward part.
    pub feed_forward: u64,
    /// Rows of the embedding.
    pub vocabulary: u64,
    /// Whether the output layer shares the embedding.
    pub tied: bool,
    /// The vision encoder: layers, width, feed-forward width.
    pub vision: (u64, u64, u64),
    /// Patch side in pixels, and patches merged per side.
    pub patch: (u64, u64),
    /// Longest side of an image in pixels.
    pub max_side: u64,
    /// Where the numbers come from.
    pub source: &'static str,
}

/// Every known model.
pub const SHAPES: &[ModelShape] = &[
    ModelShape {
        id: "pixtral-12b",
        layers: 40,
        hidden: 5120,
        query: 4096,
        key: 1024,
        head: 128,
        feed_forward: 14_336,
        vocabulary: 131_072,
        tied: false,
        vision: (24, 1024, 4096),
        patch: (16, 1),
        max_side: 1024,
        source: "params.json of mistralai/Pixtral-12B-2409",
    },
    ModelShape {
        id: "pixtral-large",
        layers: 88,
        hidden: 12_288,
        query: 12_288,
        key: 1024,
        head: 128,
        feed_forward: 28_672,
        vocabulary: 32_768,
        tied: false,
        vision: (40, 1408, 6144),
        patch: (16, 1),
        max_side: 1024,
        source: "config.json of public conversions of mistralai/Pixtral-Large-Instruct-2411 (nintwentydo/Pixtral-Large-Instruct-2411)",
    },
    SMALL_3_1,
    ModelShape { id: "mistral-small-3.2", ..SMALL_3_1 },
    ModelShape { id: "magistral-small-2509", ..SMALL_3_1 },
    ModelShape {
        id: "ministral-3-3b",
        layers: 26,
        hidden: 3072,
        feed_forward: 9216,
        tied: true,
        source: "NVIDIA Megatron-Bridge, ministral3_provider.py",
        ..SMALL_3_1
    },
    ModelShape {
        id: "ministral-3-8b",
        layers: 34,
        hidden: 4096,
        feed_forward: 14_336,
        source: "NVIDIA Megatron-Bridge, ministral3_provider.py",
        ..SMALL_3_1
    },
    ModelShape {
        id: "ministral-3-14b",
        feed_forward: 16_384,
        source: "NVIDIA Megatron-Bridge, ministral3_provider.py",
        ..SMALL_3_1
    },
    ModelShape {
        id: "mistral-medium-3.5",
        layers: 88,
        hidden: 12_288,
        query: 12_288,
        feed_forward: 28_672,
        vision: (48, 1664, 8192),
        source: "the test configuration of a public loader of Mistral Medium 3.5",
        ..SMALL_3_1
    },
];

const SMALL_3_1: ModelShape = ModelShape {
    id: "mistral-small-3.1",
    layers: 40,
    hidden: 5120,
    query: 4096,
    key: 1024,
    head: 128,
    feed_forward: 32_768,
    vocabulary: 131_072,
    tied: false,
    vision: (24, 1024, 4096),
    patch: (14, 2),
    max_side: 1540,
    source: "config.json of mistralai/Mistral-Small-3.1-24B-Instruct-2503",
};

impl ModelShape {
    /// The sizes of a model.
    pub fn of(spec: &ModelSpec) -> Option<&'static ModelShape> {
        SHAPES.iter().find(|shape| shape.id == spec.id)
    }

    /// Weights in the decoder's linear layers, without embedding and output.
    pub fn linears(&self) -> u64 {
        let attention = 2 * self.hidden * self.query + 2 * self.hidden * self.key;
        self.layers * (attention + 3 * self.hidden * self.feed_forward)
    }

    /// Weights of the embedding and, if it is separate, the output layer.
    pub fn embeddings(&self) -> u64 {
        self.vocabulary * self.hidden * if self.tied { 1 } else { 2 }
    }

    /// Weights of the vision encoder.
    pub fn encoder(&self) -> u64 {
        let (layers, width, feed_forward) = self.vision;
        layers * (4 * width * width + 3 * width * feed_forward + 2 * width)
            + 3 * self.patch.0 * self.patch.0 * width
            + width
    }

    /// Weights of the projector, patch merger included.
    pub fn projector(&self) -> u64 {
        let (_, width, _) = self.vision;
        let merged = if self.patch.1 > 1 { width * width * self.patch.1 * self.patch.1 + width } else { 0 };
        merged + width * self.hidden + self.hidden * self.hidden + 2 * self.hidden
    }

    /// Pixels of the largest image that the model sees.
    pub fn largest_image(&self) -> u64 {
        self.max_side * self.max_side
    }

    /// All weights.
    pub fn parameters(&self) -> u64 {
        self.linears()
            + self.embeddings()
            + (2 * self.layers + 1) * self.hidden
            + self.encoder()
            + self.projector()
    }

    /// Weights of a LoRA adapter on the seven linear layers of each decoder layer.
    pub fn adapter(&self, rank: u64) -> u64 {
        let ends = [
            self.hidden + self.query,
            self.hidden + self.key,
            self.hidden + self.key,
            self.query + self.hidden,
            self.hidden + self.feed_forward,
            self.hidden + self.feed_forward,
            self.feed_forward + self.hidden,
        ];
        self.layers * rank * ends.iter().sum::<u64>()
    }

    /// The decoder's layers with adapters of this rank on the seven linear layers of each; rank 0 for none.
    pub fn decoder(&self, rank: u64) -> LayerStack {
        let widths = LayerWidths {
            hidden: self.hidden,
            query: self.query,
            key: self.key,
            feed_forward: self.feed_forward,
            heads: self.query / self.head.max(1),
            adapter_ranks: 7 * rank,
        };
        LayerStack { widths, layers: self.layers }
    }

    /// The layers of the vision encoder, without adapters.
    pub fn vision_layers(&self) -> LayerStack {
        let (layers, hidden, feed_forward) = self.vision;
        let widths = LayerWidths {
            hidden,
            query: hidden,
            key: hidden,
            feed_forward,
            heads: VISION_HEADS,
            adapter_ranks: 0,
        };
        LayerStack { widths, layers }
    }

    /// Bytes that PyTorch's autograd saves per token in one layer for transformers and PEFT, under bfloat16 autocast: both
    /// norms in float32, a copy of the input of each of the seven adapted layers, queries, keys, values and attention
    /// output, gate, up, the activation of gate. Measured with `tests/peers/activations.py`.
    pub fn saved_by_autograd(&self) -> u64 {
        18 * self.hidden + 6 * self.query + 4 * self.key + 8 * self.feed_forward
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;

    #[test]
    fn pixtral_has_the_published_sizes() {
        let shape = ModelShape::of(&spec::PIXTRAL_12B).unwrap();
        assert_eq!(shape.linears(), 10_905_190_400);
        assert_eq!(shape.adapter(16), 57_016_320);
        assert_eq!(shape.decoder(0).saved(0) * 2, 3_934_720);
        assert_eq!(shape.saved_by_autograd(), 235_520);
        assert_eq!(shape.parameters() / 1_000_000, 12_682);
    }

    #[test]
    fn adapter_has_the_size_that_training_reports() {
        // The text decoder of fixtures/tiny_pixtral: `pixtune train --dry-run --targets text --lora-rank 4` reports 13,440.
        let tiny = ModelShape { layers: 3, hidden: 64, query: 128, key: 64, feed_forward: 96, ..SMALL_3_1 };
        assert_eq!(tiny.adapter(4), 13_440);
    }

    #[test]
    fn every_model_has_about_the_parameters_in_its_name() {
        for spec in spec::ALL {
            let Some(shape) = ModelShape::of(spec) else {
                assert_eq!(spec.id, "mistral-small-4", "only a mixture of experts has no such sizes");
                continue;
            };
            assert_eq!(
                (shape.patch.0, shape.patch.1, shape.max_side),
                (u64::from(spec.patch), u64::from(spec.merge), u64::from(spec.max_side)),
                "{}",
                spec.id
            );
            let billions = shape.parameters() as f64 / 1e9;
            let expected = match spec.id {
                "pixtral-12b" => 12.7,
                "pixtral-large" => 124.0,
                "ministral-3-3b" => 3.8,
                "ministral-3-8b" => 8.9,
                "ministral-3-14b" => 14.0,
                "mistral-medium-3.5" => 128.0,
                _ => 24.0,
            };
            assert!((billions / expected - 1.0).abs() < 0.05, "{}: {billions}", spec.id);
        }
    }
}
