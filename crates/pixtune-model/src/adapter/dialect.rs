//! The dialects of adapter files: how modules are named, and how the rows of q and k are ordered.

use crate::weights::{Module, Part, RowOrder, Spelling};

/// A convention for adapter files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// peft with transformers 4.52 and later: `base_model.model.model.language_model.layers.0.self_attn.q_proj`.
    Peft,
    /// peft with transformers before 4.52: `base_model.model.language_model.model.layers.0.self_attn.q_proj`.
    PeftLegacy,
    /// Mistral's own: `layers.0.attention.wq` in lora.safetensors, with a scaling outside of the tensors.
    Mistral,
    /// peft's names for vLLM serving consolidated weights: text rows in Hugging Face's order, vision rows in Mistral's.
    VllmConsolidated,
    /// peft on the text decoder alone, a `MistralForCausalLM`: `base_model.model.model.layers.0.self_attn.q_proj`.
    /// It is read, and never written.
    TextOnly,
    /// mlx-lm's: `language_model.model.layers.0.self_attn.q_proj.lora_a` in adapters.safetensors, with both factors transposed. It
    /// is read as the names of peft that it contains.
    Mlx,
}

/// The prefix of module paths in peft's files.
pub const PEFT_PREFIX: &str = "base_model.model.";

impl Dialect {
    /// Every dialect that is written for a server.
    pub const WRITTEN: [Dialect; 4] =
        [Dialect::Peft, Dialect::PeftLegacy, Dialect::Mistral, Dialect::VllmConsolidated];

    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Dialect::Peft => "peft",
            Dialect::PeftLegacy => "peft-legacy",
            Dialect::Mistral => "mistral",
            Dialect::VllmConsolidated => "vllm-consolidated",
            Dialect::TextOnly => "peft-text-only",
            Dialect::Mlx => "mlx",
        }
    }

    /// A description for messages.
    pub fn describe(self) -> &'static str {
        match self {
            Dialect::Peft => "peft names of transformers 4.52 and later",
            Dialect::PeftLegacy => "peft names from before transformers 4.52",
            Dialect::Mistral => "Mistral's names",
            Dialect::VllmConsolidated => "peft names with vision rows in Mistral's order",
            Dialect::TextOnly => "peft names of the text decoder alone",
            Dialect::Mlx => "mlx-lm's names and transposed factors",
        }
    }

    /// The dialect of this name.
    pub fn parse(name: &str) -> Option<Dialect> {
        Dialect::WRITTEN.into_iter().chain([Dialect::TextOnly]).find(|dialect| dialect.as_str() == name)
    }

    /// Whether it is one of peft's: adapter_config.json and adapter_model.safetensors.
    pub fn is_peft(self) -> bool {
        !matches!(self, Dialect::Mistral | Dialect::Mlx)
    }

    /// The file with its tensors.
    pub fn tensor_file(self) -> &'static str {
        match self {
            Dialect::Mistral => "lora.safetensors",
            Dialect::Mlx => "adapters.safetensors",
            _ => "adapter_model.safetensors",
        }
    }

    /// A module's path, without what every key of the file begins with.
    pub fn path(self, module: Module) -> String {
        match self {
            Dialect::Peft | Dialect::VllmConsolidated => module.path(Spelling::Live),
            Dialect::PeftLegacy | Dialect::Mlx => module.path(Spelling::Disk),
            Dialect::Mistral => module.path(Spelling::Native),
            Dialect::TextOnly => {
                let disk = module.path(Spelling::Disk);
                disk.strip_prefix("language_model.").map(str::to_owned).unwrap_or(disk)
            }
        }
    }

    /// What keys of a module begin with in the file.
    pub fn key(self, module: Module) -> String {
        if self.is_peft() { format!("{PEFT_PREFIX}{}", self.path(module)) } else { self.path(module) }
    }

    /// How the rows of a q or k are ordered.
    pub fn row_order(self, module: Module) -> RowOrder {
        match (self, module) {
            (Dialect::Mistral, _) | (Dialect::VllmConsolidated, Module::Vision(..)) => RowOrder::Interleaved,
            _ => RowOrder::HalfSplit,
        }
    }

    /// The module at a path, when it is spelled as this dialect spells it.
    pub fn module(self, path: &str) -> Option<Module> {
        let module = match self {
            Dialect::TextOnly => match path.strip_prefix("model.") {
                Some(rest) => Module::parse(&format!("language_model.model.{rest}"))?.0,
                None => Some(Module::Head).filter(|_| path == "lm_head")?,
            },
            _ => Module::parse(path)?.0,
        };
        (self.path(module) == path).then_some(module)
    }
}

impl std::fmt::Display for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where in the network a module is, for summaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// A linear layer of the text decoder.
    Text,
    /// The layers between vision and text.
    Projector,
    /// The vision encoder.
    Vision,
    /// The embedding.
    Embedding,
    /// The output layer.
    Head,
}

impl Area {
    /// Where a module is.
    pub fn of(module: Module) -> Area {
        match module {
            Module::Embedding => Area::Embedding,
            Module::Head => Area::Head,
            Module::Text(..) | Module::TextNorm => Area::Text,
            Module::PatchConv | Module::VisionNorm | Module::Vision(..) => Area::Vision,
            Module::ProjectorNorm | Module::PatchMerger | Module::ProjectorIn | Module::ProjectorOut => {
                Area::Projector
            }
        }
    }

    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Area::Text => "text",
            Area::Projector => "projector",
            Area::Vision => "vision",
            Area::Embedding => "embedding",
            Area::Head => "head",
        }
    }
}

/// Whether a module multiplies its input with a matrix, so that LoRA can be put into it.
pub fn is_linear(module: Module) -> bool {
    match module {
        Module::Text(_, part) | Module::Vision(_, part) => {
            !matches!(part, Part::AttentionNorm | Part::FfnNorm)
        }
        Module::TextNorm | Module::VisionNorm | Module::ProjectorNorm => false,
        Module::Embedding | Module::PatchConv => false,
        Module::Head | Module::PatchMerger | Module::ProjectorIn | Module::ProjectorOut => true,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn each_dialect_reads_its_own_names_only() {
        let q = Module::Text(3, Part::Q);
        let paths = [
            (Dialect::Peft, "model.language_model.layers.3.self_attn.q_proj"),
            (Dialect::PeftLegacy, "language_model.model.layers.3.self_attn.q_proj"),
            (Dialect::Mistral, "layers.3.attention.wq"),
            (Dialect::TextOnly, "model.layers.3.self_attn.q_proj"),
        ];
        for (dialect, path) in paths {
            assert_eq!(dialect.path(q), path);
            for (other, _) in paths {
                assert_eq!(other.module(path), (other == dialect).then_some(q), "{other} reads {path}");
            }
        }
        assert_eq!(Dialect::Peft.module("lm_head"), Some(Module::Head));
        assert_eq!(Dialect::TextOnly.module("lm_head"), Some(Module::Head));
        assert_eq!(Dialect::PeftLegacy.module("language_model.lm_head"), Some(Module::Head));
        assert_eq!(Dialect::PeftLegacy.module("language_model.layers.3.self_attn.q_proj"), None);
    }

    #[test]
    fn names_read_back() {
        for dialect in Dialect::WRITTEN {
            assert_eq!(Dialect::parse(dialect.as_str()), Some(dialect));
        }
        assert_eq!(Dialect::parse("peft-new"), None);
    }

    #[test]
    fn only_vision_rows_differ_for_vllm() {
        let rows = |module| Dialect::VllmConsolidated.row_order(module);
        assert_eq!(rows(Module::Text(0, Part::Q)), RowOrder::HalfSplit);
        assert_eq!(rows(Module::Vision(0, Part::Q)), RowOrder::Interleaved);
    }
}
