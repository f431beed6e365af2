//! The servers: each rule with the place it was read in, or the run it was measured in.

use std::collections::BTreeSet;

use super::super::dialect::{Area, Dialect};
use super::super::fit;
use super::super::open::{Lora, MISTRAL_SCALING};
use super::options::{VllmVersion, vllm_rank_advice};
use super::{Answer, Case, Verdict};
use crate::weights::{Dtype, Format, Module, Spelling};

/// Something that loads adapters, in the version that its rules come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Server {
    /// vLLM with a checkpoint in Hugging Face's format.
    VllmHf,
    /// vLLM with consolidated weights and params.json.
    VllmMistral,
    /// Mistral's own.
    MistralInference,
    /// transformers 5 with peft.
    Transformers,
    /// transformers 4.52 to 4.57 with peft.
    Transformers457,
    /// transformers before 4.52 with peft.
    TransformersLegacy,
    /// llama.cpp, with the adapter in a GGUF file.
    LlamaCpp,
}

impl Server {
    /// Every server.
    pub const ALL: [Server; 7] = [
        Server::VllmHf,
        Server::VllmMistral,
        Server::MistralInference,
        Server::Transformers,
        Server::Transformers457,
        Server::TransformersLegacy,
        Server::LlamaCpp,
    ];

    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Server::VllmHf => "vllm-hf",
            Server::VllmMistral => "vllm-mistral",
            Server::MistralInference => "mistral-inference",
            Server::Transformers => "transformers",
            Server::Transformers457 => "transformers-4.57",
            Server::TransformersLegacy => "transformers-legacy",
            Server::LlamaCpp => "llama.cpp",
        }
    }

    /// What it is, with the versions its rules hold for.
    pub fn describe(self, vllm: VllmVersion) -> String {
        let own = match self {
            Server::VllmHf => return format!("vLLM {} with the Hugging Face format", vllm.as_str()),
            Server::VllmMistral => return format!("vLLM {} with the Mistral format", vllm.as_str()),
            Server::MistralInference => "mistral-inference 1.6.0",
            Server::Transformers => "transformers 5.23.0 with peft 0.21.2",
            Server::Transformers457 => "transformers 4.57.1 with peft 0.17.1",
            Server::TransformersLegacy => "transformers 4.48.3 with peft 0.14.0",
            Server::LlamaCpp => "llama.cpp b11434, with the adapter as a GGUF file",
        };
        own.to_owned()
    }

    /// The format of checkpoints it reads; of llama.cpp, which reads GGUF, the one whose tensors are as in its files.
    pub fn format(self) -> Format {
        match self {
            Server::VllmMistral | Server::MistralInference | Server::LlamaCpp => Format::Mistral,
            Server::VllmHf | Server::Transformers | Server::Transformers457 | Server::TransformersLegacy => {
                Format::Hf
            }
        }
    }

    /// The versions that its rules hold for, each with all that begin like it.
    pub fn versions(self) -> &'static [&'static str] {
        match self {
            Server::VllmHf | Server::VllmMistral => &["0.32", "0.33"],
            Server::MistralInference => &["1.6"],
            Server::Transformers => &["5"],
            Server::Transformers457 => &["4.52", "4.53", "4.54", "4.55", "4.56", "4.57"],
            Server::TransformersLegacy => &["4.45", "4.46", "4.47", "4.48", "4.49", "4.50", "4.51"],
            Server::LlamaCpp => &["b11434", "11434"],
        }
    }

    /// The server of this name.
    pub fn parse(name: &str) -> Option<Server> {
        Server::ALL.into_iter().find(|server| server.as_str() == name)
    }
}

pub(super) const VLLM_CONFIG: &str = "vLLM 0.33.0 lora/peft_helper.py";
const VLLM_LOAD: &str = "vLLM 0.33.0 lora/lora_model.py from_local_checkpoint";
pub(super) const VLLM_WRAP: &str = "vLLM 0.33.0 lora/model_manager.py and config/lora.py";
const VLLM_HF_NAMES: &str = "vLLM 0.33.0 models/llava.py hf_to_vllm_mapper";
pub(super) const VLLM_MISTRAL_NAMES: &str = "vLLM 0.33.0 models/pixtral.py hf_to_vllm_mapper";
const VLLM_ROWS: &str = "vLLM 0.33.0 models/pixtral.py apply_rotary_emb_vit";
pub(super) const MI_LOAD: &str = "mistral-inference 1.6.0 lora.py _load_lora_state_dict";
const MI_SCALING: &str = "mistral-inference 1.6.0 main.py and lora.py load_lora";
const PEFT_TARGETS: &str = "peft 0.21.2 tuners/tuners_utils.py check_target_module_exists";
pub(super) const MEASURED_VLLM_032: &str = "measured with vLLM 0.32.0";
pub(super) const MEASURED_INFERENCE: &str = "measured with mistral-inference 1.6.0";
const MEASURED_5: &str = "measured with transformers 5.23.0 and peft 0.21.2";
const MEASURED_4: &str = "measured with transformers 4.57.1 and peft 0.17.1";
const MEASURED_LEGACY: &str = "measured with transformers 4.48.3 and peft 0.14.0";

/// What every user of mistral-inference with images should know.
pub(crate) const MASK: &str = "with two or more images in a conversation mistral-inference 1.6.0 lets their patches \
     attend to each other, whatever adapter is loaded: TransformerBlock.forward drops the mask (transformer_layers.py)";

impl Case<'_> {
    pub(super) fn vllm_refusal(&self) -> Option<Answer> {
        let rejected = |reason: String, source| Some(Answer::new(Verdict::Rejected, reason, source));
        let Some(config) = &self.adapter.config else {
            return rejected(
                "vLLM reads adapter_config.json and adapter_model.safetensors".to_owned(),
                VLLM_LOAD,
            );
        };
        let mut refused: Vec<String> = Vec::new();
        if !config.modules_to_save.is_empty() {
            refused.push(format!("modules_to_save ({})", config.modules_to_save.join(", ")));
        }
        if config.dora {
            refused.push("DoRA".to_owned());
        }
        if config.bias != "none" {
            refused.push("trained biases".to_owned());
        }
        if let Some(name) = &self.adapter.deviations.adapter_name {
            return rejected(
                format!(
                    "its tensor names contain the adapter's name (`lora_A.{name}.weight`), which vLLM does not support: \
                     `pixtune adapter convert` writes them without it"
                ),
                VLLM_LOAD,
            );
        }
        let known = ["lora_bias", "alora_invocation_tokens", "layer_replication", "use_bdlora", "use_qalora"];
        refused.extend(config.unsupported.iter().filter(|key| known.contains(&key.as_str())).cloned());
        if config.initialization_changes_base()
            && !config.initialization.to_lowercase().starts_with("lora_ga")
        {
            refused.push(format!("the initialization {}", config.initialization));
        }
        if !refused.is_empty() {
            return rejected(format!("vLLM refuses {}", refused.join(", ")), VLLM_CONFIG);
        }
        let stated = config.rank_pattern.iter().map(|(_, rank)| *rank).chain([config.rank]);
        let rank = stated.max().map_or(0, |rank| rank as usize);
        if rank > self.options.max_rank {
            let most = self.options.max_rank;
            let advice = vllm_rank_advice(rank);
            return rejected(format!("rank {rank} is above --max-lora-rank {most}: {advice}"), VLLM_CONFIG);
        }
        let unexpected = self.adapter.lora.iter().filter(|(module, lora)| {
            let has_layer = !matches!(module, Module::Head | Module::Embedding | Module::PatchConv);
            !has_layer || lora.magnitude.is_some() || lora.bias.is_some()
        });
        let whole = self.adapter.whole.keys().map(|name| name.module);
        let whole = whole.chain(self.adapter.token_rows.keys().copied());
        let unexpected: BTreeSet<String> = unexpected
            .map(|(module, _)| *module)
            .chain(whole)
            .map(|module| self.adapter.path(module))
            .collect();
        let named: Vec<String> = unexpected.into_iter().collect();
        if named.is_empty() {
            return None;
        }
        rejected(format!("vLLM refuses the whole adapter over {}", named.join(", ")), VLLM_LOAD)
    }

    pub(super) fn vllm_hf(&self, module: Module) -> Answer {
        if let Some(answer) = self.wrapped(VLLM_HF_NAMES) {
            return answer;
        }
        match Area::of(module) {
            _ if self.dialect() == Dialect::TextOnly => self.vllm_text_only(VLLM_HF_NAMES),
            Area::Text => Answer::applied(VLLM_HF_NAMES),
            _ if !self.options.tower_connector => Answer::new(Verdict::Ignored, NO_TOWER, VLLM_WRAP),
            _ if self.dialect() == Dialect::VllmConsolidated && Self::is_rotary_vision(module) => {
                Answer::new(
                    Verdict::Wrong,
                    "its rows are in the order of consolidated weights, and this server has Hugging Face's",
                    VLLM_HF_NAMES,
                )
            }
            _ => Answer::applied(VLLM_HF_NAMES),
        }
    }

    pub(super) fn vllm_mistral(&self, module: Module) -> Answer {
        let is_vision = Area::of(module) == Area::Vision;
        if let Some(answer) = self.wrapped(VLLM_MISTRAL_NAMES) {
            return answer;
        }
        match (Area::of(module), self.dialect()) {
            (_, Dialect::TextOnly) => self.vllm_text_only(VLLM_MISTRAL_NAMES),
            (Area::Text, _) => Answer::applied(VLLM_MISTRAL_NAMES),
            (_, Dialect::PeftLegacy) => Answer::new(
                Verdict::Ignored,
                "vLLM's names for this format are not reached from peft's names from before transformers 4.52",
                VLLM_MISTRAL_NAMES,
            ),
            _ if !self.options.tower_connector => Answer::new(Verdict::Ignored, NO_TOWER, VLLM_WRAP),
            (_, Dialect::Peft) if is_vision && module.has_rotary_rows() => Answer::new(
                Verdict::Wrong,
                "vLLM keeps the vision encoder's rows in Mistral's order, and these are in Hugging Face's: \
                 `pixtune adapter convert --to vllm-consolidated`",
                VLLM_ROWS,
            ),
            _ => Answer::applied(VLLM_MISTRAL_NAMES),
        }
    }

    /// An adapter of the text decoder alone: 0.32 finds no module of its names, 0.33 does.
    fn vllm_text_only(&self, names: &'static str) -> Answer {
        match self.options.vllm {
            VllmVersion::V032 => Answer::new(Verdict::Ignored, TEXT_ONLY, MEASURED_VLLM_032),
            VllmVersion::V033 => Answer::applied(names),
        }
    }

    /// Names that wrappers of the model changed match no module, on any server.
    fn wrapped(&self, source: &'static str) -> Option<Answer> {
        let step = self.adapter.deviations.wrappers.first()?;
        Some(Answer::new(
            Verdict::Ignored,
            format!(
                "its names contain `{step}.`, and match no module: `pixtune adapter convert` writes them without it"
            ),
            source,
        ))
    }

    pub(super) fn mistral_inference_refusal(&self) -> Option<Answer> {
        let rejected = |reason: String| Some(Answer::new(Verdict::Rejected, reason, MI_LOAD));
        let tensors = self.adapter.tensors().all();
        let dtypes: BTreeSet<Dtype> = tensors.iter().map(|tensor| tensor.dtype).collect();
        let names: Vec<&str> = dtypes.iter().map(|dtype| dtype.as_str()).collect();
        let base = self.base.tensors().next().map(|tensor| tensor.dtype());
        if dtypes.len() > 1 {
            return rejected(format!("its tensors are of different types, {}", names.join(" and ")));
        }
        if let (Some(dtype), Some(base)) = (dtypes.first(), base)
            && *dtype != base
        {
            return rejected(format!(
                "its tensors are {dtype}, and the base's are {base}: they have to be the same"
            ));
        }
        let rows = self.adapter.token_rows.values().map(|rows| &rows.tensor);
        let stranger = self.adapter.whole.values().chain(rows).next()?;
        rejected(format!("`{}` has no `lora` in its name", stranger.name))
    }

    pub(super) fn mistral_inference(&self, module: Module, lora: Option<&Lora>) -> Answer {
        if self.dialect().is_peft() {
            return Answer::new(
                Verdict::Ignored,
                "it reads names such as layers.0.attention.wq and skips peft's without a warning",
                MI_LOAD,
            );
        }
        if let Some(answer) = self.wrapped(MI_LOAD) {
            return answer;
        }
        match Area::of(module) {
            Area::Text => match Self::other_scaling(lora) {
                None => Answer::applied(MI_LOAD),
                Some(scaling) => Answer::new(
                    Verdict::Wrong,
                    format!(
                        "params.json notes the scaling {scaling}, and the program multiplies with {MISTRAL_SCALING:?}: \
                         `pixtune adapter convert --to mistral` folds it into the tensors"
                    ),
                    MI_SCALING,
                ),
            },
            _ => Answer::new(Verdict::Ignored, "it puts LoRA into layers of the text decoder only", MI_LOAD),
        }
    }

    pub(super) fn peft_refusal(&self, server: Server) -> Option<Answer> {
        let Some(config) = &self.adapter.config else {
            let reason = "peft reads adapter_config.json and adapter_model.safetensors";
            return Some(Answer::new(Verdict::Rejected, reason, "peft 0.21.2 config.py from_pretrained"));
        };
        let found = fit::candidates(self.base).any(|module| config.targets(&module.path(live(server))));
        let only_saved = self.adapter.lora.is_empty() && config.targets.is_empty();
        (!found && !only_saved).then(|| {
            Answer::new(
                Verdict::Rejected,
                "no module of the model matches target_modules: its names are those of another version",
                "peft 0.21.2 tuners/tuners_utils.py inject_adapter",
            )
        })
    }

    pub(super) fn transformers(&self, server: Server, module: Module) -> Answer {
        let measured = match server {
            Server::Transformers => MEASURED_5,
            Server::Transformers457 => MEASURED_4,
            _ => MEASURED_LEGACY,
        };
        let ignored = |reason: &str, source| Answer::new(Verdict::Ignored, reason, source);
        let targeted =
            self.adapter.config.as_ref().is_some_and(|config| config.targets(&module.path(live(server))));
        let is_lora = self.adapter.lora.contains_key(&module);
        if let Some(answer) = self.wrapped(measured) {
            return answer;
        }
        let deviations = &self.adapter.deviations;
        let is_named = deviations
            .adapter_name
            .as_deref()
            .is_some_and(|name| server != Server::Transformers || name != "default");
        if is_named || deviations.without_prefix && server != Server::Transformers {
            let verdict = match (server, deviations.without_prefix) {
                (Server::Transformers457, true) => Verdict::Rejected,
                _ => Verdict::Ignored,
            };
            let reason =
                "its tensor names are not those that peft reads: `pixtune adapter convert` writes them";
            return Answer::new(verdict, reason, measured);
        }
        if server == Server::TransformersLegacy && self.adapter.token_rows.contains_key(&module) {
            return ignored(
                "peft 0.14.0 does not support `trainable_token_indices`",
                "peft 0.14.0 tuners/lora/config.py",
            );
        }
        match (self.dialect(), server) {
            (Dialect::TextOnly, _) if module != Module::Head => ignored(TEXT_ONLY_PEFT, measured),
            (Dialect::Peft | Dialect::VllmConsolidated, Server::TransformersLegacy) => ignored(
                "its names are those of transformers 4.52 and later: B stays zero, and peft warns",
                measured,
            ),
            (Dialect::PeftLegacy, Server::Transformers)
                if !matches!(Area::of(module), Area::Text | Area::Embedding) =>
            {
                ignored("transformers 5 renames only the text decoder's old names; peft warns", measured)
            }
            _ if is_lora && !targeted => {
                ignored("target_modules of adapter_config.json does not match it", PEFT_TARGETS)
            }
            (Dialect::VllmConsolidated, _) if Self::is_rotary_vision(module) => Answer::new(
                Verdict::Wrong,
                "its rows are in the order of consolidated weights, and transformers has Hugging Face's",
                measured,
            ),
            _ => Answer::applied(measured),
        }
    }
}

pub(super) const NO_TOWER: &str =
    "vLLM puts LoRA outside of the text decoder only with --enable-tower-connector-lora";
const TEXT_ONLY: &str = "it was trained on the text decoder alone, whose names match nothing in the whole model: \
     `pixtune adapter convert --to peft`";
const TEXT_ONLY_PEFT: &str =
    "it was trained on the text decoder alone: in the whole model B stays zero, and peft warns";

/// How modules are called while the model is in memory.
fn live(server: Server) -> Spelling {
    match server {
        Server::TransformersLegacy => Spelling::Disk,
        _ => Spelling::Live,
    }
}
