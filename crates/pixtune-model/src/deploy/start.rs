//! The commands that start a program with what was written.

use std::path::Path;

use super::target::Target;
use crate::adapter::check::{ServerOptions, vllm_max_rank};

/// What is served.
pub(super) struct Served<'s> {
    pub(super) target: Target,
    /// The model: what was written, or the base of an adapter.
    pub(super) model: &'s Path,
    /// The adapter beside the base.
    pub(super) adapter: Option<Beside<'s>>,
    /// The name in requests.
    pub(super) name: &'s str,
    /// GGUF files: the model and the projector.
    pub(super) gguf: Option<[&'s str; 2]>,
    /// The chat template is not one whose parts vLLM is known to recognize.
    pub(super) foreign_template: bool,
}

/// An adapter beside its base.
pub(super) struct Beside<'s> {
    pub(super) directory: &'s Path,
    pub(super) rank: usize,
    pub(super) options: ServerOptions,
}

/// The commands, in the order in which they are run.
pub(super) fn commands(served: &Served<'_>) -> Vec<String> {
    let model = word(&served.model.display().to_string());
    match served.target {
        Target::Vllm | Target::VllmMistral => vec![vllm(served, &model)],
        Target::MistralInference => {
            let lora = served.adapter.as_ref().map_or(String::new(), |beside| {
                format!(
                    " --lora_path {}",
                    word(&beside.directory.join("lora.safetensors").display().to_string())
                )
            });
            vec![format!("mistral-chat {model} --instruct --max_tokens 256{lora}")]
        }
        Target::Transformers => transformers(served),
        Target::LlamaCpp => gguf(served, |text, vision| {
            // Mistral's images have up to 4,096 tokens; llama.cpp shrinks larger ones than its limit, 1,024 unless it is set.
            vec![format!(
                "llama-server -m {text} --mmproj {vision} --image-min-tokens 1 --image-max-tokens 4096 --jinja"
            )]
        }),
        Target::Ollama => {
            let modelfile = word(&served.model.join("Modelfile").display().to_string());
            let name = word(served.name);
            vec![format!("ollama create {name} -f {modelfile}"), format!("ollama run {name}")]
        }
        Target::LmStudio => {
            let directory = format!("~/.lmstudio/models/local/{}", word(served.name));
            vec![format!("mkdir -p {directory}"), format!("mv {model}/*.gguf {directory}/")]
        }
    }
}

fn vllm(served: &Served<'_>, model: &str) -> String {
    let mut out = format!("vllm serve {model}");
    if served.target == Target::VllmMistral {
        out.push_str(" --tokenizer-mode mistral --config-format mistral --load-format mistral");
    }
    if served.foreign_template {
        out.push_str(" --chat-template-content-format openai");
    }
    let name = word(served.name);
    match &served.adapter {
        None => out.push_str(&format!(" --served-model-name {name}")),
        Some(beside) => {
            let rank = vllm_max_rank(beside.rank).unwrap_or(beside.rank);
            let adapter = word(&format!("{}={}", served.name, beside.directory.display()));
            out.push_str(&format!(" --enable-lora --max-lora-rank {rank} --lora-modules {adapter}"));
            if beside.options.tower_connector {
                out.push_str(" --enable-tower-connector-lora");
            }
        }
    }
    out
}

/// A Python session, one statement to a line.
fn transformers(served: &Served<'_>) -> Vec<String> {
    let text = |path: &Path| pixtune_core::json::quoted(&path.display().to_string());
    let model = text(served.model);
    let mut out = vec![
        "from transformers import AutoModelForImageTextToText, AutoProcessor".to_owned(),
        format!("prepare = AutoProcessor.from_pretrained({model})"),
        format!("model = AutoModelForImageTextToText.from_pretrained({model}, device_map=\"auto\")"),
    ];
    if let Some(beside) = &served.adapter {
        out.insert(1, "from peft import PeftModel".to_owned());
        out.push(format!("model = PeftModel.from_pretrained(model, {})", text(beside.directory)));
    }
    out
}

fn gguf(served: &Served<'_>, commands: impl Fn(&str, &str) -> Vec<String>) -> Vec<String> {
    let Some(files) = served.gguf else { return Vec::new() };
    let [text, vision] = files.map(|name| word(&served.model.join(name).display().to_string()));
    commands(&text, &vision)
}

/// A word as a shell reads it.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:@%+,".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// An Ollama Modelfile: both files, the layout of chats (v3), and the tokens at which answers end.
pub(super) fn modelfile(text: &str, vision: &str) -> String {
    format!(
        "FROM ./{text}\nFROM ./{vision}\nTEMPLATE \"\"\"{TEMPLATE}\"\"\"\nPARAMETER stop \"</s>\"\nPARAMETER stop \"[INST]\"\n\
         PARAMETER temperature 0\n"
    )
}

/// In Go's templates: the system prompt goes in front of the last user message, as mistral-common places it.
const TEMPLATE: &str = "{{- range $index, $message := .Messages }}{{- $is_last := eq (len (slice $.Messages $index)) 1 }}\
    {{- if eq $message.Role \"user\" }}[INST]{{ if and $is_last $.System }}{{ $.System }}\n\n{{ end }}{{ $message.Content }}[/INST]\
    {{- else if eq $message.Role \"assistant\" }}{{ $message.Content }}{{ if not $is_last }}</s>{{ end }}{{- end }}{{- end }}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        let words = ["plain/dir-1.gguf", "two words", "it's", "", "$(rm)"].map(word);
        assert_eq!(words, ["plain/dir-1.gguf", "'two words'", r"'it'\''s'", "''", "'$(rm)'"]);
    }
}
