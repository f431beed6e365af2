//! llama.cpp: what becomes of an adapter in a GGUF file, loaded with `--lora`.

use super::super::refuse;
use super::{Answer, Case, Verdict};
use crate::weights::Module;

/// `tests/peers/llama_cpp.py` loads the adapters of the tests of vLLM that can be converted, and merges the others.
const MEASURED: &str = "measured with llama.cpp b11434";
pub(super) const CONVERSION: &str = "`pixtune adapter convert --to gguf`, which refuses it";
const ITS_CONVERTER: &str = "llama.cpp b11434 convert_lora_to_gguf.py";

/// How an adapter comes to llama.cpp.
pub(super) const FILES: &str = "llama.cpp reads GGUF: convert the base with `pixtune convert --to gguf` and the adapter with \
     `pixtune adapter convert --to gguf`, or merge both with `pixtune deploy --for llama.cpp`";

impl Case<'_> {
    /// What a GGUF file of an adapter cannot hold.
    pub(super) fn llama_cpp_refusal(&self) -> Option<Answer> {
        let problems = refuse::gguf_problems(self.adapter);
        (!problems.0.is_empty()).then(|| Answer::new(Verdict::Rejected, problems.0.join("; "), CONVERSION))
    }

    pub(super) fn llama_cpp(module: Module) -> Answer {
        if refuse::has_gguf_lora(module) {
            return Answer::applied(MEASURED);
        }
        let why = refuse::without_gguf_lora(module);
        let reason = format!(
            "{why}: its own converter drops the others without a word, pixtune's refuses the adapter; merge it"
        );
        Answer::new(Verdict::Ignored, reason, ITS_CONVERTER)
    }
}
