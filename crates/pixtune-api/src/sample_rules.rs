//! What decides which samples a model is trained on, and how a file is checked for it.

use std::fmt;

use pixtune_core::spec::{ModelSpec, PIXTRAL_12B};
use pixtune_core::tokens::TokenizerVersion;

/// The layout of chats and the grid of images: what the checks of a sample depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleRules {
    version: TokenizerVersion,
    patch: u32,
    merge: u32,
    max_side: u32,
}

impl SampleRules {
    /// Those of a model, whose tokenizer has this version.
    pub fn new(spec: &ModelSpec, version: TokenizerVersion) -> SampleRules {
        SampleRules { version, patch: spec.patch, merge: spec.merge, max_side: spec.max_side }
    }

    /// A model with these rules.
    pub fn spec(&self) -> ModelSpec {
        let SampleRules { version: tokenizer, patch, merge, max_side } = *self;
        ModelSpec { patch, merge, max_side, tokenizer, ..PIXTRAL_12B }
    }
}

impl Default for SampleRules {
    /// Those of Pixtral 12B, for a server without models.
    fn default() -> SampleRules {
        SampleRules::new(&PIXTRAL_12B, PIXTRAL_12B.tokenizer)
    }
}

impl fmt::Display for SampleRules {
    /// As they stand in the database.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}/{}/{}", self.version, self.patch, self.merge, self.max_side)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_older_databases_were_checked_for_pixtral_12b() {
        // The default of the column in `store/schema.rs`.
        assert_eq!(SampleRules::default().to_string(), "v3/16/1/1024");
        assert_eq!(
            SampleRules::new(&SampleRules::default().spec(), TokenizerVersion::V3),
            SampleRules::default()
        );
    }
}
