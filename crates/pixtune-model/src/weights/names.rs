//! The names of Pixtral's tensors: one table, read in every spelling and written in any.
//!
//! A [`Module`] is a place in the network, whatever a file calls it. A [`TensorName`] is a module's weight or bias. The
//! table below pairs what Mistral calls a module with what Hugging Face calls it; everything else follows from it.

use std::fmt::Write as _;

/// A convention for names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Spelling {
    /// Mistral's: `layers.0.attention.wq`.
    Native,
    /// Hugging Face checkpoints on disk, in every version: `language_model.model.layers.0.self_attn.q_proj`.
    /// Also the names peft adapters had before transformers 4.52.
    Disk,
    /// The path of the live module since transformers 4.52: `model.language_model.layers.0.self_attn.q_proj`.
    /// peft adapters carry it.
    Live,
}

/// A place in the network that holds a weight, and perhaps a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Module {
    /// The embedding of the vocabulary.
    Embedding,
    /// A part of a layer of the text decoder.
    Text(u32, Part),
    /// The norm after the last layer of the text decoder.
    TextNorm,
    /// The projection to the vocabulary; absent where it is tied to the embedding.
    Head,
    /// The convolution that makes patches of pixels.
    PatchConv,
    /// The norm before the first layer of the vision encoder.
    VisionNorm,
    /// A part of a layer of the vision encoder.
    Vision(u32, Part),
    /// The norm before the projector; Mistral Small 3.1 and later.
    ProjectorNorm,
    /// What merges neighboring patches before the projector; Mistral Small 3.1 and later.
    PatchMerger,
    /// The first linear layer between vision and text.
    ProjectorIn,
    /// The second linear layer between vision and text.
    ProjectorOut,
}

/// A part of a transformer layer, in the order of the forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The norm before attention.
    AttentionNorm,
    /// The query projection; its rows are ordered by convention.
    Q,
    /// The key projection; its rows are ordered by convention.
    K,
    /// The value projection.
    V,
    /// The output projection of attention.
    O,
    /// The norm before the feed-forward.
    FfnNorm,
    /// The gate of the feed-forward: `w1`.
    Gate,
    /// The way up in the feed-forward: `w3`.
    Up,
    /// The way down in the feed-forward: `w2`.
    Down,
}

/// What of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The weight, or the scale of a norm.
    Weight,
    /// The bias.
    Bias,
}

/// A tensor of the network, whatever a file calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorName {
    /// Where it is.
    pub module: Module,
    /// Which of the module's tensors.
    pub kind: Kind,
}

/// Modules outside of layers: what, Mistral's name, Hugging Face's area and the name in it.
const SINGLE: [(Module, &str, Area, &str); 9] = [
    (Module::Embedding, "tok_embeddings", Area::Text, "embed_tokens"),
    (Module::TextNorm, "norm", Area::Text, "norm"),
    (Module::Head, "output", Area::Head, "lm_head"),
    (Module::PatchConv, "vision_encoder.patch_conv", Area::Vision, "patch_conv"),
    (Module::VisionNorm, "vision_encoder.ln_pre", Area::Vision, "ln_pre"),
    (Module::ProjectorNorm, "pre_mm_projector_norm", Area::Projector, "norm"),
    (Module::PatchMerger, "patch_merger.merging_layer", Area::Projector, "patch_merger.merging_layer"),
    (Module::ProjectorIn, "vision_language_adapter.w_in", Area::Projector, "linear_1"),
    (Module::ProjectorOut, "vision_language_adapter.w_out", Area::Projector, "linear_2"),
];

/// Parts of layers: what, Mistral's name, Hugging Face's in the text decoder and in the vision encoder.
const PARTS: [(Part, &str, &str, &str); 9] = [
    (Part::AttentionNorm, "attention_norm", "input_layernorm", "attention_norm"),
    (Part::Q, "attention.wq", "self_attn.q_proj", "attention.q_proj"),
    (Part::K, "attention.wk", "self_attn.k_proj", "attention.k_proj"),
    (Part::V, "attention.wv", "self_attn.v_proj", "attention.v_proj"),
    (Part::O, "attention.wo", "self_attn.o_proj", "attention.o_proj"),
    (Part::FfnNorm, "ffn_norm", "post_attention_layernorm", "ffn_norm"),
    (Part::Gate, "feed_forward.w1", "mlp.gate_proj", "feed_forward.gate_proj"),
    (Part::Up, "feed_forward.w3", "mlp.up_proj", "feed_forward.up_proj"),
    (Part::Down, "feed_forward.w2", "mlp.down_proj", "feed_forward.down_proj"),
];

const NATIVE_TEXT_LAYERS: &str = "layers.";
const NATIVE_VISION_LAYERS: &str = "vision_encoder.transformer.layers.";
const HF_TEXT_LAYERS: &str = "layers.";
const HF_VISION_LAYERS: &str = "transformer.layers.";

/// A part of a Hugging Face model that names are prefixed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Area {
    Text,
    Head,
    Vision,
    Projector,
}

/// Prefixes of areas, each unambiguous: a name is tried against all of them. The third way to write the text area is that
/// of a `LlavaModel` saved without its head.
const PREFIXES: [(Spelling, Area, &str); 9] = [
    (Spelling::Disk, Area::Text, "language_model.model."),
    (Spelling::Disk, Area::Head, "language_model."),
    (Spelling::Disk, Area::Vision, "vision_tower."),
    (Spelling::Disk, Area::Projector, "multi_modal_projector."),
    (Spelling::Live, Area::Text, "model.language_model."),
    (Spelling::Live, Area::Head, ""),
    (Spelling::Live, Area::Vision, "model.vision_tower."),
    (Spelling::Live, Area::Projector, "model.multi_modal_projector."),
    (Spelling::Disk, Area::Text, "language_model."),
];

impl Module {
    /// The module of this name in any spelling, with the spelling it is in.
    pub fn parse(path: &str) -> Option<(Module, Spelling)> {
        Module::parse_native(path).map(|module| (module, Spelling::Native)).or_else(|| Module::parse_hf(path))
    }

    /// The name in a spelling.
    pub fn path(self, spelling: Spelling) -> String {
        let native = spelling == Spelling::Native;
        let mut path = String::new();
        if !native {
            path.push_str(self.area().prefix(spelling));
        }
        let written = match self {
            Module::Text(layer, part) if native => {
                write!(path, "{NATIVE_TEXT_LAYERS}{layer}.{}", part.row().1)
            }
            Module::Text(layer, part) => write!(path, "{HF_TEXT_LAYERS}{layer}.{}", part.row().2),
            Module::Vision(layer, part) if native => {
                write!(path, "{NATIVE_VISION_LAYERS}{layer}.{}", part.row().1)
            }
            Module::Vision(layer, part) => write!(path, "{HF_VISION_LAYERS}{layer}.{}", part.row().3),
            single => {
                let row = SINGLE.iter().find(|row| row.0 == single);
                path.push_str(row.map_or("", |row| if native { row.1 } else { row.3 }));
                Ok(())
            }
        };
        written.expect("a String takes any text");
        path
    }

    /// Its weight.
    pub fn weight(self) -> TensorName {
        TensorName { module: self, kind: Kind::Weight }
    }

    /// Its bias.
    pub fn bias(self) -> TensorName {
        TensorName { module: self, kind: Kind::Bias }
    }

    /// Whether the rows of its weight are queries or keys, whose order within a head differs between the formats.
    pub fn has_rotary_rows(self) -> bool {
        matches!(self, Module::Text(_, Part::Q | Part::K) | Module::Vision(_, Part::Q | Part::K))
    }

    fn parse_native(path: &str) -> Option<Module> {
        if let Some(row) = SINGLE.iter().find(|row| row.1 == path) {
            return Some(row.0);
        }
        let part = |name: &str| PARTS.iter().find(|row| row.1 == name).map(|row| row.0);
        let text = path.strip_prefix(NATIVE_TEXT_LAYERS);
        let vision = path.strip_prefix(NATIVE_VISION_LAYERS);
        match (text, vision) {
            (Some(rest), _) => layer(rest, part).map(|(layer, part)| Module::Text(layer, part)),
            (_, Some(rest)) => layer(rest, part).map(|(layer, part)| Module::Vision(layer, part)),
            _ => None,
        }
    }

    fn parse_hf(path: &str) -> Option<(Module, Spelling)> {
        PREFIXES.iter().find_map(|(spelling, area, prefix)| {
            let rest = path.strip_prefix(prefix)?;
            area.parse(rest).map(|module| (module, *spelling))
        })
    }

    fn area(self) -> Area {
        match self {
            Module::Text(..) => Area::Text,
            Module::Vision(..) => Area::Vision,
            single => SINGLE.iter().find(|row| row.0 == single).map_or(Area::Text, |row| row.2),
        }
    }
}

impl Area {
    fn prefix(self, spelling: Spelling) -> &'static str {
        PREFIXES.iter().find(|row| row.0 == spelling && row.1 == self).map_or("", |row| row.2)
    }

    /// The module of a name without its prefix.
    fn parse(self, rest: &str) -> Option<Module> {
        if let Some(row) = SINGLE.iter().find(|row| row.2 == self && row.3 == rest) {
            return Some(row.0);
        }
        match self {
            Area::Text => {
                let part = |name: &str| PARTS.iter().find(|row| row.2 == name).map(|row| row.0);
                let (layer, part) = layer(rest.strip_prefix(HF_TEXT_LAYERS)?, part)?;
                Some(Module::Text(layer, part))
            }
            Area::Vision => {
                let part = |name: &str| PARTS.iter().find(|row| row.3 == name).map(|row| row.0);
                let (layer, part) = layer(rest.strip_prefix(HF_VISION_LAYERS)?, part)?;
                Some(Module::Vision(layer, part))
            }
            Area::Head | Area::Projector => None,
        }
    }
}

impl Part {
    /// Every part, in the order of the forward pass.
    pub const ALL: [Part; 9] = [
        Part::AttentionNorm,
        Part::Q,
        Part::K,
        Part::V,
        Part::O,
        Part::FfnNorm,
        Part::Gate,
        Part::Up,
        Part::Down,
    ];

    fn row(self) -> &'static (Part, &'static str, &'static str, &'static str) {
        &PARTS[self as usize]
    }
}

impl TensorName {
    /// The tensor of this name in any spelling, with the spelling it is in.
    pub fn parse(name: &str) -> Option<(TensorName, Spelling)> {
        let (path, kind) = match name.strip_suffix(".weight") {
            Some(path) => (path, Kind::Weight),
            None => (name.strip_suffix(".bias")?, Kind::Bias),
        };
        let (module, spelling) = Module::parse(path)?;
        Some((TensorName { module, kind }, spelling))
    }

    /// The name in a spelling.
    pub fn path(self, spelling: Spelling) -> String {
        let kind = match self.kind {
            Kind::Weight => ".weight",
            Kind::Bias => ".bias",
        };
        self.module.path(spelling) + kind
    }
}

/// `12.attention.wq` as layer and part. A number is only accepted as it would be written, so that no two names mean the
/// same tensor.
fn layer(rest: &str, part: impl Fn(&str) -> Option<Part>) -> Option<(u32, Part)> {
    let (number, name) = rest.split_once('.')?;
    let layer: u32 = number.parse().ok()?;
    let plain = number == "0" || number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
    plain.then_some((layer, part(name)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_module() -> Vec<Module> {
        let single = SINGLE.iter().map(|row| row.0);
        let layers = Part::ALL.into_iter().flat_map(|part| [Module::Text(39, part), Module::Vision(0, part)]);
        single.chain(layers).collect()
    }

    #[test]
    fn every_name_reads_back_in_every_spelling() {
        for module in every_module() {
            for spelling in [Spelling::Native, Spelling::Disk, Spelling::Live] {
                for name in [module.weight(), module.bias()] {
                    let path = name.path(spelling);
                    assert_eq!(TensorName::parse(&path), Some((name, spelling)), "{path}");
                }
            }
        }
    }

    #[test]
    fn parts_stand_in_their_order() {
        for (part, row) in Part::ALL.into_iter().zip(PARTS) {
            assert_eq!(part, row.0);
            assert_eq!(part.row(), &row);
        }
    }

    #[test]
    fn names_are_those_of_the_libraries() {
        let check = |module: Module, native: &str, disk: &str, live: &str| {
            assert_eq!(module.path(Spelling::Native), native);
            assert_eq!(module.path(Spelling::Disk), disk);
            assert_eq!(module.path(Spelling::Live), live);
        };
        check(Module::Head, "output", "language_model.lm_head", "lm_head");
        check(Module::TextNorm, "norm", "language_model.model.norm", "model.language_model.norm");
        check(
            Module::Text(3, Part::Down),
            "layers.3.feed_forward.w2",
            "language_model.model.layers.3.mlp.down_proj",
            "model.language_model.layers.3.mlp.down_proj",
        );
        check(
            Module::Vision(10, Part::K),
            "vision_encoder.transformer.layers.10.attention.wk",
            "vision_tower.transformer.layers.10.attention.k_proj",
            "model.vision_tower.transformer.layers.10.attention.k_proj",
        );
    }

    #[test]
    fn what_only_looks_like_a_name_is_none() {
        for name in [
            "norm",
            "xnorm.weight",
            "layers.00.attention.wq.weight",
            "layers.+1.attention.wq.weight",
            "layers.4294967296.attention.wq.weight",
            "layers.1.attention.wq.weight.weight",
            "layers.1.attentionxwq.weight",
            "model.layers.1.self_attn.q_proj.weight",
            "language_model.model.lm_head.weight",
            "language_model.model.layers.1.self_attn.q_proj.weight_scale_inv",
            "vision_tower.layers.1.attention.q_proj.weight",
            "",
            ".weight",
        ] {
            assert_eq!(TensorName::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_model_saved_without_its_head_is_read() {
        let (name, spelling) = TensorName::parse("language_model.layers.0.mlp.up_proj.weight").unwrap();
        assert_eq!((name, spelling), (Module::Text(0, Part::Up).weight(), Spelling::Disk));
    }
}
