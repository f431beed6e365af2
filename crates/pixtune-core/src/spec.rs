//! Constants of each model of the family: image patches, context, tokenizer.

use crate::version::TokenizerVersion;

/// A model. The hidden sizes that a trainer needs come from its configuration file, not from here.
#[derive(Debug)]
pub struct ModelSpec {
    /// The name used in reports.
    pub id: &'static str,
    /// Aliases: API names, directory names, Hugging Face ids.
    pub aliases: &'static [&'static str],
    /// Side of a vision patch in pixels.
    pub patch: u32,
    /// Patches per side that one image token stands for.
    pub merge: u32,
    /// Longest side in pixels; the model's preprocessing downscales larger images.
    pub max_side: u32,
    /// Context length in tokens.
    pub context: usize,
    /// The version of the tokenizer, and so of the chat layout.
    pub tokenizer: TokenizerVersion,
    /// Whether the program has the network: other models are for data, counts and exports.
    pub network: bool,
    /// Where the numbers come from.
    pub sources: &'static str,
}

const CONTEXT_128K: usize = 131_072;
const CONTEXT_256K: usize = 262_144;

/// Pixtral 12B, instruction-tuned and base.
pub const PIXTRAL_12B: ModelSpec = ModelSpec {
    id: "pixtral-12b",
    aliases: &[
        "pixtral",
        "pixtral-12b-2409",
        "pixtral-12b-latest",
        "pixtral-12b-base-2409",
        "mistralai/Pixtral-12B-2409",
        "mistralai/Pixtral-12B-Base-2409",
        "mistral-community/pixtral-12b",
        "mistral-community/pixtral-12b-240910",
    ],
    patch: 16,
    merge: 1,
    max_side: 1024,
    context: CONTEXT_128K,
    tokenizer: TokenizerVersion::V3,
    network: true,
    sources: "params.json of mistralai/Pixtral-12B-2409; tekken_240911 and image.py of mistral-common 1.13.1",
};

/// Pixtral Large.
pub const PIXTRAL_LARGE: ModelSpec = ModelSpec {
    id: "pixtral-large",
    aliases: &[
        "pixtral-large-2411",
        "pixtral-large-latest",
        "pixtral-large-instruct-2411",
        "mistralai/Pixtral-Large-Instruct-2411",
    ],
    tokenizer: TokenizerVersion::V7m1,
    sources: "public conversions of mistralai/Pixtral-Large-Instruct-2411; v7m1 special ids of mistral-common 1.13.1",
    ..PIXTRAL_12B
};

/// Mistral Small 3.1, instruction-tuned and base.
pub const MISTRAL_SMALL_3_1: ModelSpec = ModelSpec {
    id: "mistral-small-3.1",
    aliases: &[
        "mistral-small-2503",
        "mistral-small-3.1-24b-instruct-2503",
        "mistral-small-3.1-24b-base-2503",
        "mistralai/Mistral-Small-3.1-24B-Instruct-2503",
        "mistralai/Mistral-Small-3.1-24B-Base-2503",
    ],
    patch: 14,
    merge: 2,
    max_side: 1540,
    tokenizer: TokenizerVersion::V7,
    sources: "config.json of mistralai/Mistral-Small-3.1-24B-Instruct-2503; tokenizer v7 not verified",
    ..PIXTRAL_12B
};

/// Mistral Small 3.2.
pub const MISTRAL_SMALL_3_2: ModelSpec = ModelSpec {
    id: "mistral-small-3.2",
    aliases: &[
        "mistral-small-2506",
        "mistral-small-3.2-24b-instruct-2506",
        "mistralai/Mistral-Small-3.2-24B-Instruct-2506",
    ],
    tokenizer: TokenizerVersion::V11,
    sources: "config.json of mistralai/Mistral-Small-3.2-24B-Instruct-2506; tokenizer: tests of the crate tekken 0.2",
    ..MISTRAL_SMALL_3_1
};

/// Magistral Small 1.2.
pub const MAGISTRAL_SMALL_2509: ModelSpec = ModelSpec {
    id: "magistral-small-2509",
    aliases: &["magistral-small-1.2", "mistralai/Magistral-Small-2509"],
    tokenizer: TokenizerVersion::V13,
    sources: "Mistral's documentation of Magistral Small 2509; images and tokenizer v13 not verified",
    ..MISTRAL_SMALL_3_1
};

/// Ministral 3 3B: base, instruct and reasoning.
pub const MINISTRAL_3_3B: ModelSpec = ModelSpec {
    id: "ministral-3-3b",
    aliases: &[
        "ministral-3b-2512",
        "ministral-3-3b-2512",
        "mistralai/Ministral-3-3B-Base-2512",
        "mistralai/Ministral-3-3B-Instruct-2512",
        "mistralai/Ministral-3-3B-Reasoning-2512",
    ],
    context: CONTEXT_256K,
    tokenizer: TokenizerVersion::V13,
    sources: "Megatron-Bridge ministral3_provider.py; tokenizer: tests of the crate tekken 0.2",
    ..MISTRAL_SMALL_3_1
};

/// Ministral 3 8B: base, instruct and reasoning.
pub const MINISTRAL_3_8B: ModelSpec = ModelSpec {
    id: "ministral-3-8b",
    aliases: &[
        "ministral-8b-2512",
        "ministral-3-8b-2512",
        "mistralai/Ministral-3-8B-Base-2512",
        "mistralai/Ministral-3-8B-Instruct-2512",
        "mistralai/Ministral-3-8B-Reasoning-2512",
    ],
    ..MINISTRAL_3_3B
};

/// Ministral 3 14B: base, instruct and reasoning.
pub const MINISTRAL_3_14B: ModelSpec = ModelSpec {
    id: "ministral-3-14b",
    aliases: &[
        "ministral-14b-2512",
        "ministral-3-14b-2512",
        "mistralai/Ministral-3-14B-Base-2512",
        "mistralai/Ministral-3-14B-Instruct-2512",
        "mistralai/Ministral-3-14B-Reasoning-2512",
    ],
    ..MINISTRAL_3_3B
};

/// Mistral Small 4, a mixture of experts.
pub const MISTRAL_SMALL_4: ModelSpec = ModelSpec {
    id: "mistral-small-4",
    aliases: &["mistral-small-2603", "mistral-small-4-119b-2603", "mistralai/Mistral-Small-4-119B-2603"],
    tokenizer: TokenizerVersion::V15,
    network: false,
    sources: "NeMo Automodel Mistral4Config; tokenizer: tests of the crate tekken 0.2; images not verified",
    ..MINISTRAL_3_3B
};

/// Mistral Medium 3.5.
pub const MISTRAL_MEDIUM_3_5: ModelSpec = ModelSpec {
    id: "mistral-medium-3.5",
    aliases: &["mistral-medium-3.5-128b", "mistralai/Mistral-Medium-3.5-128B"],
    sources: "Mistral's documentation of Mistral Medium 3.5; tokenizer v15 and its settings not verified",
    ..MISTRAL_SMALL_4
};

/// Every model, the main one first.
pub const ALL: &[&ModelSpec] = &[
    &PIXTRAL_12B,
    &PIXTRAL_LARGE,
    &MISTRAL_SMALL_3_1,
    &MISTRAL_SMALL_3_2,
    &MAGISTRAL_SMALL_2509,
    &MINISTRAL_3_3B,
    &MINISTRAL_3_8B,
    &MINISTRAL_3_14B,
    &MISTRAL_SMALL_4,
    &MISTRAL_MEDIUM_3_5,
];

/// The model with this name or alias, in any case.
pub fn find(name: &str) -> Option<&'static ModelSpec> {
    let is_name = |known: &str| known.eq_ignore_ascii_case(name);
    ALL.iter().copied().find(|spec| is_name(spec.id) || spec.aliases.iter().any(|alias| is_name(alias)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_names_in_any_case_and_each_name_once() {
        assert_eq!(find("mistralai/pixtral-12b-2409").unwrap().id, "pixtral-12b");
        assert_eq!(find("PIXTRAL-LARGE").unwrap().id, "pixtral-large");
        assert!(find("gpt-4o").is_none());
        let mut seen = std::collections::BTreeSet::new();
        for name in ALL.iter().flat_map(|spec| spec.aliases.iter().chain([&spec.id])) {
            assert!(seen.insert(name.to_ascii_lowercase()), "{name} twice");
        }
    }
}
