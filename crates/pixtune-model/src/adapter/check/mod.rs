//! What a server does with an adapter: for every module whether it is applied, and if not, why.

mod llama_cpp;
mod merging;
mod options;
mod server;
mod summary;
mod version;

use std::collections::BTreeSet;

use super::dialect::{Area, Dialect};
use super::error::AdapterError;
use super::fit;
use super::open::{Adapter, Lora, MISTRAL_SCALING};
use crate::weights::{Checkpoint, Module};

pub use options::{ServerOptions, VLLM_MAX_RANKS, VllmVersion, vllm_max_rank, vllm_rank_advice};
pub(crate) use server::MASK;
pub use server::Server;
pub use summary::{Group, groups};
pub use version::{ServerInVersion, UnknownServer};

/// What becomes of a module's training on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It is computed as it was trained.
    Applied,
    /// The server answers without it, and does not fail.
    Ignored,
    /// The server computes something else with it.
    Wrong,
    /// The server refuses the adapter or fails.
    Rejected,
    /// It is not known: neither was it run, nor was the server's code read.
    NotTested,
}

impl Verdict {
    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Applied => "applied",
            Verdict::Ignored => "ignored",
            Verdict::Wrong => "wrong",
            Verdict::Rejected => "rejected",
            Verdict::NotTested => "not tested",
        }
    }
}

/// What becomes of one module, and how that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct ModuleVerdict {
    /// Which module.
    pub module: Module,
    /// Its path in the adapter's names.
    pub path: String,
    /// Where in the network it is.
    pub area: Area,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why; empty if it is applied without remarks.
    pub reason: String,
    /// Where the server's behavior stands, or how it was measured.
    pub source: &'static str,
}

impl ModuleVerdict {
    /// Whether the verdict was measured in the running server; otherwise it was read in the server's source, or it is not known.
    pub fn is_measured(&self) -> bool {
        self.source.starts_with("measured")
    }

    /// How the verdict is known, in a word.
    pub fn evidence(&self) -> &'static str {
        match self.verdict {
            Verdict::NotTested => "none",
            _ if self.is_measured() => "measured",
            _ => "read",
        }
    }
}

/// The answer for all modules.
#[derive(Debug)]
pub struct CheckReport {
    /// Which server.
    pub server: Server,
    /// A line for every module, in the order of the network.
    pub modules: Vec<ModuleVerdict>,
    /// What keeps the adapter from being the trained model on any server.
    pub problems: Vec<String>,
    /// What else matters on this server.
    pub warnings: Vec<String>,
}

impl CheckReport {
    /// Whether every module is applied, and nothing else keeps the adapter from being the trained model.
    pub fn is_fine(&self) -> bool {
        self.all_applied() && self.problems.is_empty()
    }

    /// Whether every module is applied.
    pub fn all_applied(&self) -> bool {
        self.modules.iter().all(|module| module.verdict == Verdict::Applied)
    }

    /// How many modules have a verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.modules.iter().filter(|module| module.verdict == verdict).count()
    }
}

/// A verdict without its module.
#[derive(Debug, Clone)]
struct Answer {
    verdict: Verdict,
    reason: String,
    source: &'static str,
}

impl Answer {
    fn applied(source: &'static str) -> Answer {
        Answer { verdict: Verdict::Applied, reason: String::new(), source }
    }

    fn new(verdict: Verdict, reason: impl Into<String>, source: &'static str) -> Answer {
        Answer { verdict, reason: reason.into(), source }
    }
}

/// An adapter in front of a server.
struct Case<'c> {
    adapter: &'c Adapter,
    base: &'c Checkpoint,
    options: ServerOptions,
}

/// Says what a server does with each module of an adapter.
pub fn check(
    adapter: &Adapter,
    base: &Checkpoint,
    server: Server,
    options: ServerOptions,
) -> Result<CheckReport, AdapterError> {
    let case = Case { adapter, base, options };
    let refusal = case
        .refusal(server)
        .or_else(|| case.merging_refusal(server))
        .or_else(|| case.refusal_over_misfits(server));
    let of = |module: Module, lora: Option<&Lora>| {
        let misfit = lora.and_then(|lora| case.misfit(server, module, lora));
        let misfit = misfit.or_else(|| case.whole_misfit(module));
        let answer = misfit.or_else(|| refusal.clone()).unwrap_or_else(|| case.answer(server, module, lora));
        let Answer { verdict, reason, source } = answer;
        // `tests/peers/vllm_serves.py` and `inference_adapters.py` run these versions with every kind of adapter.
        let source = match server {
            _ if case.merges_patches() => source,
            Server::VllmHf | Server::VllmMistral if options.vllm == VllmVersion::V032 => {
                server::MEASURED_VLLM_032
            }
            Server::MistralInference => server::MEASURED_INFERENCE,
            _ => source,
        };
        ModuleVerdict { module, path: adapter.path(module), area: Area::of(module), verdict, reason, source }
    };
    let whole = adapter.whole.keys().map(|name| name.module).chain(adapter.token_rows.keys().copied());
    let modules: BTreeSet<Module> = adapter.lora.keys().copied().chain(whole).collect();
    let modules = modules.into_iter().map(|module| of(module, adapter.lora.get(&module))).collect();
    let untrained = adapter.untrained()?;
    let mut warnings = case.warnings(server);
    warnings.extend(untrained.iter().filter(|untrained| !untrained.is_whole()).map(ToString::to_string));
    let mut problems = case.problems();
    problems.extend(untrained.iter().filter(|untrained| untrained.is_whole()).map(ToString::to_string));
    Ok(CheckReport { server, modules, problems, warnings })
}

impl Case<'_> {
    /// Why the server refuses the adapter as a whole.
    fn refusal(&self, server: Server) -> Option<Answer> {
        match server {
            Server::VllmHf | Server::VllmMistral => self.vllm_refusal(),
            Server::MistralInference => self.mistral_inference_refusal(),
            Server::Transformers | Server::Transformers457 | Server::TransformersLegacy => {
                self.peft_refusal(server)
            }
            Server::LlamaCpp => self.llama_cpp_refusal(),
        }
    }

    fn answer(&self, server: Server, module: Module, lora: Option<&Lora>) -> Answer {
        if let Some(answer) = self.merging(server, module) {
            return answer;
        }
        match server {
            Server::VllmHf => self.vllm_hf(module),
            Server::VllmMistral => self.vllm_mistral(module),
            Server::MistralInference => self.mistral_inference(module, lora),
            Server::Transformers | Server::Transformers457 | Server::TransformersLegacy => {
                self.transformers(server, module)
            }
            Server::LlamaCpp => Self::llama_cpp(module),
        }
    }

    /// A module that fits nothing makes every server refuse the others too.
    fn refusal_over_misfits(&self, server: Server) -> Option<Answer> {
        let whole = self.adapter.whole.keys().map(|name| name.module);
        let whole: BTreeSet<Module> = whole.chain(self.adapter.token_rows.keys().copied()).collect();
        let misfits =
            self.adapter.lora.iter().filter_map(|(module, lora)| self.misfit(server, *module, lora));
        let misfits = misfits.chain(whole.into_iter().filter_map(|module| self.whole_misfit(module)));
        let rejected: Vec<Answer> = misfits.filter(|answer| answer.verdict == Verdict::Rejected).collect();
        let first = rejected.first()?;
        let reason = match rejected.len() {
            1 => "another module does not fit, and the server refuses the adapter as a whole".to_owned(),
            count => {
                format!("{count} other modules do not fit, and the server refuses the adapter as a whole")
            }
        };
        Some(Answer::new(Verdict::Rejected, reason, first.source))
    }

    /// Shapes that are not the base's, and ranks that are not those of adapter_config.json.
    fn misfit(&self, server: Server, module: Module, lora: &Lora) -> Option<Answer> {
        match server {
            // It looks for the names of the base's modules, and sees neither peft's nor others.
            Server::MistralInference if self.dialect().is_peft() => return None,
            Server::MistralInference if !fit::is_part(self.base, module) => {
                let reason = "it is not part of the base: mistral-inference skips it without a warning";
                return Some(Answer::new(Verdict::Ignored, reason, server::MI_LOAD));
            }
            Server::VllmHf | Server::VllmMistral if !fit::is_part(self.base, module) => {
                let reason = "it is not part of the base: vLLM ignores it and applies the rest";
                return Some(Answer::new(Verdict::Ignored, reason, server::MEASURED_VLLM_032));
            }
            _ => {}
        }
        if let Some(reason) = fit::mismatch(self.adapter, self.base, module, lora) {
            return Some(Answer::new(Verdict::Rejected, reason, "the shapes of the base's weights"));
        }
        let reason = fit::rank_mismatch(self.adapter, module, lora)?;
        Some(match server {
            Server::VllmHf | Server::VllmMistral => Answer::new(
                Verdict::Wrong,
                format!("{reason}: the scaling follows from the latter"),
                server::VLLM_CONFIG,
            ),
            Server::LlamaCpp => Answer::new(Verdict::Rejected, reason, llama_cpp::CONVERSION),
            _ => Answer::new(Verdict::Rejected, reason, "peft 0.21.2 utils/save_and_load.py load_state_dict"),
        })
    }

    /// Whole tensors and rows of tokens that are not the base's in shape.
    fn whole_misfit(&self, module: Module) -> Option<Answer> {
        let whole = self.adapter.whole.iter().filter(|(name, _)| name.module == module);
        let reason = whole
            .filter_map(|(name, tensor)| fit::whole_mismatch(self.adapter, self.base, *name, tensor))
            .next()
            .or_else(|| {
                fit::rows_mismatch(self.adapter, self.base, module, self.adapter.token_rows.get(&module)?)
            })
            .or_else(|| self.grown(module))?;
        Some(Answer::new(Verdict::Rejected, reason, "the shapes of the base's weights"))
    }

    /// Embedding and head of a larger vocabulary: a program that loads the adapter has to resize the base first.
    fn grown(&self, module: Module) -> Option<String> {
        let tokens = fit::growth(self.adapter, self.base)?;
        matches!(module, Module::Embedding | Module::Head).then(|| {
            format!(
                "it has rows for {tokens} tokens, the base for {}: no server resizes the base; `pixtune adapter merge` does",
                self.base.config().text.vocab_size
            )
        })
    }

    /// What keeps the adapter from being the trained model, whatever a server does.
    fn problems(&self) -> Vec<String> {
        let other = self.adapter.other_weights.iter().map(|name| {
            format!("`{name}` lies beside the adapter: no server applies the weights in it, which were trained with the adapter")
        });
        let unknown = self.adapter.config.iter().flat_map(|config| &config.unknown);
        let unknown = unknown
            .map(|key| format!("`{key}` is unknown to peft 0.21.2 and has a value: its effect is not known"));
        self.adapter.container.iter().cloned().chain(other).chain(unknown).collect()
    }

    fn warnings(&self, server: Server) -> Vec<String> {
        let mut warnings = self.adapter.warnings.clone();
        warnings.retain(|warning| Some(warning) != self.adapter.container.as_ref());
        warnings.extend(self.adapter.base_warning(self.base));
        let both = Checkpoint::formats(self.base.directory()).is_ok_and(|formats| formats.len() > 1);
        if both && matches!(server, Server::VllmHf | Server::VllmMistral) {
            warnings.push(
                "the base's directory holds both formats: vLLM loads consolidated*.safetensors unless its options choose otherwise \
                 (vLLM 0.33.0 default_loader.py)"
                    .to_owned(),
            );
        }
        let wanted = server.format();
        if server == Server::LlamaCpp {
            warnings.push(llama_cpp::FILES.to_owned());
        } else if self.base.format() != wanted && !both {
            warnings.push(format!(
                "the base is in the format {}, and this server reads {}: `pixtune convert --to {}`",
                self.base.format().as_str(),
                wanted.as_str(),
                wanted.as_str()
            ));
        }
        if server == Server::MistralInference {
            warnings.push(MASK.to_owned());
        }
        if let Some(config) =
            self.adapter.config.as_ref().filter(|config| config.initialization_changes_base())
        {
            warnings.push(format!(
                "`init_lora_weights` is `{}`: peft changes the base's weights as it loads this adapter",
                config.initialization
            ));
        }
        warnings
    }

    fn is_rotary_vision(module: Module) -> bool {
        matches!(module, Module::Vision(..)) && module.has_rotary_rows()
    }

    /// Whether params.json beside lora.safetensors notes a scaling that mistral-inference does not use.
    fn other_scaling(lora: Option<&Lora>) -> Option<f64> {
        lora.map(|lora| lora.scaling).filter(|scaling| *scaling != MISTRAL_SCALING)
    }

    fn dialect(&self) -> Dialect {
        self.adapter.dialect
    }
}
