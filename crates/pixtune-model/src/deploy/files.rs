//! The files beside the weights that a program needs.

use std::path::Path;

use pixtune_core::json::Value;

use crate::weights::Format;
use crate::weights::config::read_json_within;
use crate::weights::convert::MAX_TOKENIZER;

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

/// The needed files that are not among these names, each choice as one entry. The directories are those that the files come from:
/// a chat template may also stand in the first tokenizer_config.json of them.
pub(super) fn missing<'n>(
    format: Format,
    names: impl Iterator<Item = &'n str> + Clone,
    directories: &[&Path],
) -> Vec<String> {
    let needed: &[Choice] = match format {
        Format::Hf => &HF,
        Format::Mistral => &MISTRAL,
    };
    let has = |choice: &&Choice| choice.iter().any(|name| names.clone().any(|there| there == *name));
    let is_template = |choice: &Choice| choice[0] == "chat_template.jinja";
    let missing = needed.iter().filter(|choice| !has(choice));
    let missing = missing.filter(|choice| !(is_template(choice) && has_template(directories)));
    missing.map(|choice| choice[0].to_owned()).collect()
}

fn has_template(directories: &[&Path]) -> bool {
    let paths = directories.iter().map(|directory| directory.join("tokenizer_config.json"));
    let Some(path) = paths.into_iter().find(|path| path.is_file()) else { return false };
    // A list where there are several, each with a name.
    let config = read_json_within(&path, MAX_TOKENIZER);
    config.is_ok_and(|config| matches!(config.get("chat_template"), Some(Value::String(_) | Value::Array(_))))
}

/// The needed files that a directory lacks.
pub(super) fn missing_in(directory: &Path, format: Format) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    missing(format, names.iter().map(String::as_str), &[directory])
}
