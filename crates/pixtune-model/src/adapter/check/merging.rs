//! Models that merge patches: Mistral Small 3 and Ministral 3. Fewer programs were run with them than with Pixtral; what is not known
//! of one is [`Verdict::NotTested`], and a rule that was read and not run names that.

use super::super::dialect::{Area, Dialect};
use super::server::{NO_TOWER, VLLM_MISTRAL_NAMES, VLLM_WRAP};
use super::{Answer, Case, Server, Verdict, VllmVersion};
use crate::weights::{Family, Module};

const VLLM_NAMES: &str = "vLLM models/mistral3.py hf_to_vllm_mapper at commit 02677fd9, read and not run";
const VLLM_MERGER: &str = "vLLM models/mistral3.py Mistral3PatchMerger at commit 02677fd9, read and not run";
const MI_MODEL: &str = "mistral-inference 1.6.0 args.py and transformer.py, read and not run";
const NO_CLASS: &str = "the classes of the release, read and not run";
const MEASURED_4: &str = "measured with transformers 4.57.1: AutoConfig knows no `ministral3`";
const UNKNOWN: &str = "known for Pixtral alone";

impl Case<'_> {
    /// Whether the base is one of these models.
    pub(super) fn merges_patches(&self) -> bool {
        self.base.config().family.merges_patches()
    }

    /// Why a server refuses every adapter of such a model.
    pub(super) fn merging_refusal(&self, server: Server) -> Option<Answer> {
        let rejected = |reason: &str, source| Some(Answer::new(Verdict::Rejected, reason, source));
        let is_ministral = self.base.config().family == Family::Ministral3;
        let has_merger = self.adapter.lora.contains_key(&Module::PatchMerger);
        match server {
            _ if !self.merges_patches() => None,
            Server::TransformersLegacy => {
                rejected("transformers 4.48.3 does not have the architecture, which came with 4.50", NO_CLASS)
            }
            Server::Transformers457 if is_ministral => {
                rejected("transformers 4.57.1 does not have `ministral3`, which came with 5.0", MEASURED_4)
            }
            Server::VllmHf if has_merger => rejected(
                "vLLM puts no LoRA into the linear that merges patches, and refuses an adapter with a module it does not know",
                VLLM_MERGER,
            ),
            Server::VllmMistral if has_merger => {
                Some(Answer::not_tested("what vLLM does with an adapter of the linear that merges patches"))
            }
            Server::MistralInference if self.base.config().tied => {
                rejected("mistral-inference 1.6.0 has no tied output", MI_MODEL)
            }
            _ => None,
        }
    }

    /// What a server does with a module of such a model, where it is not what it does with Pixtral's.
    pub(super) fn merging(&self, server: Server, module: Module) -> Option<Answer> {
        if !self.merges_patches() || !self.adapter.deviations.wrappers.is_empty() {
            return None;
        }
        match server {
            Server::VllmHf => self.vllm_merging(module, VLLM_NAMES),
            Server::VllmMistral => self.vllm_merging(module, VLLM_MISTRAL_NAMES),
            Server::MistralInference => self.mistral_inference_merging(module),
            // Measured: what peft does with each spelling of names is what it does with Pixtral's.
            Server::Transformers | Server::Transformers457 | Server::TransformersLegacy => None,
            // Measured, too.
            Server::LlamaCpp => None,
        }
    }

    fn vllm_merging(&self, module: Module, names: &'static str) -> Option<Answer> {
        let before = self.options.vllm == VllmVersion::V032;
        Some(match (Area::of(module), self.dialect()) {
            (_, Dialect::TextOnly) if before => {
                Answer::not_tested("names of the text decoder alone in vLLM 0.32")
            }
            (Area::Text, _) => Answer::applied(names),
            _ if !self.options.tower_connector => Answer::new(Verdict::Ignored, NO_TOWER, VLLM_WRAP),
            _ => Answer::not_tested("--enable-tower-connector-lora with this architecture"),
        })
    }

    fn mistral_inference_merging(&self, module: Module) -> Option<Answer> {
        let is_stretched = self.base.config().text.yarn.is_some();
        let is_text = Area::of(module) == Area::Text && !self.dialect().is_peft();
        (is_stretched && is_text).then(|| {
            Answer::new(
                Verdict::Wrong,
                "mistral-inference 1.6.0 has neither yarn positions nor queries that grow: it computes another model",
                MI_MODEL,
            )
        })
    }
}

impl Answer {
    /// That it is not known what happens.
    fn not_tested(what: &str) -> Answer {
        Answer::new(Verdict::NotTested, format!("not tested: {what}"), UNKNOWN)
    }
}
