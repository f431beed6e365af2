//! The files beside the weights that a program needs.

use std::path::Path;

use crate::weights::Format;

/// Files of which at least one has to be there.
type Choice = &'static [&'static str];

/// What vLLM and transformers read of a Hugging Face directory to answer chats with images.
const HF: [Choice; 4] = [
    &["tokenizer.json"],
    &["tokenizer_config.json"],
    &["preprocessor_config.json", "processor_config.json"],
    &["chat_template.jinja", "chat_template.json"],
];

/// What Mistral's programs read, and vLLM in Mistral's format.
const MISTRAL: [Choice; 1] =
    [&["tekken.json", "tokenizer.model.v7m1", "tokenizer.model.v7", "tokenizer.model.v3"]];

/// The needed files that are not among these names, each choice as one entry.
pub(super) fn missing<'n>(format: Format, names: impl Iterator<Item = &'n str> + Clone) -> Vec<String> {
    let needed: &[Choice] = match format {
        Format::Hf => &HF,
        Format::Mistral => &MISTRAL,
    };
    let has = |choice: &&Choice| choice.iter().any(|name| names.clone().any(|there| there == *name));
    needed.iter().filter(|choice| !has(choice)).map(|choice| choice[0].to_owned()).collect()
}

/// The needed files that a directory lacks. A chat template may also stand in tokenizer_config.json.
pub(super) fn missing_in(directory: &Path, format: Format) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    missing(format, names.iter().map(String::as_str))
}
