//! The [`ModelSpec`] of a configuration.

use pixtune_core::spec::{MINISTRAL_3_3B, MISTRAL_SMALL_3_1, ModelSpec, PIXTRAL_12B, PIXTRAL_LARGE};
use pixtune_core::tokens::TokenizerVersion;

use super::{Family, ModelConfig};

/// Tokens of the SentencePiece vocabulary, which Tekken's models never have.
const PIXTRAL_LARGE_VOCABULARY: usize = 32_768;

impl ModelConfig {
    /// How many weights the linear layers of the decoder have; the learning rate depends on it.
    pub fn decoder_linear_weights(&self) -> u64 {
        let text = &self.text;
        let attention = 2 * text.hidden_size * text.head_dim * (text.heads + text.kv_heads);
        (text.layers * (attention + 3 * text.hidden_size * text.intermediate_size)) as u64
    }

    /// The versions that the model's tokenizer may have: no configuration names it.
    pub fn tokenizer_versions(&self) -> &'static [TokenizerVersion] {
        match self.family {
            Family::Pixtral if self.text.vocab_size == PIXTRAL_LARGE_VOCABULARY => &[PIXTRAL_LARGE.tokenizer],
            Family::Pixtral => &[TokenizerVersion::V3],
            Family::Mistral3 => &[TokenizerVersion::V7, TokenizerVersion::V11, TokenizerVersion::V13],
            Family::Ministral3 => &[TokenizerVersion::V13, TokenizerVersion::V15],
        }
    }

    /// How the model cuts images and how much it reads. What no configuration says is that of the family's first model.
    pub fn spec(&self) -> ModelSpec {
        let family = match self.family {
            Family::Pixtral => PIXTRAL_12B,
            Family::Mistral3 => MISTRAL_SMALL_3_1,
            Family::Ministral3 => MINISTRAL_3_3B,
        };
        // Sizes were read as whole numbers from 1 to 2^24, so they fit.
        let patch = self.vision.patch_size as u32;
        ModelSpec {
            patch,
            merge: self.projector.spatial_merge as u32,
            // The vision encoder has positions for whole patches only.
            max_side: self.vision.image_size as u32 / patch * patch,
            context: family.context.min(self.text.max_positions.unwrap_or(usize::MAX)),
            ..family
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::weights::Format;

    fn spec(directory: &str) -> ModelSpec {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
        let format = if directory.contains("native") { Format::Mistral } else { Format::Hf };
        ModelConfig::read(&fixtures.join(directory), format).unwrap().spec()
    }

    #[test]
    fn sizes_are_those_of_the_configuration() {
        for directory in ["tiny_pixtral/hf_bf16", "tiny_pixtral/native_bf16"] {
            let spec = spec(directory);
            assert_eq!((spec.patch, spec.merge, spec.max_side), (16, 1, 128), "{directory}");
            assert_eq!(
                spec.context, PIXTRAL_12B.context,
                "the model was not trained for the positions it has"
            );
        }
    }
}
