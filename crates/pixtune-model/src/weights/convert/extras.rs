//! Everything beside weights and configuration: tokenizer, processor, chat template.

mod vocabulary;

use std::fs;
use std::path::{Path, PathBuf};

use pixtune_core::json::{document, list, members, object};
use pixtune_core::text::counted;
use pixtune_core::tokens::tokenizer::Tokenizer;

use super::output::OutputDirectory;
use super::{ConvertError, Options, tokenizer};
use crate::weights::config::ModelConfig;
use crate::weights::{Checkpoint, Format, Substitute};

/// A small file of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extra {
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Copy(PathBuf),
    Text(String),
}

/// Where a file comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It is a copy of the source's.
    Source,
    /// It is a copy of the base's.
    Base,
    /// It is a copy of the adapter's.
    Adapter,
    /// It was written.
    Written,
}

impl Origin {
    /// One word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Origin::Source => "source",
            Origin::Base => "base",
            Origin::Adapter => "adapter",
            Origin::Written => "written",
        }
    }
}

impl Extra {
    pub(super) fn write(&self, directory: &OutputDirectory) -> Result<(), ConvertError> {
        match &self.content {
            Content::Copy(path) => directory.copy(path, &self.name),
            Content::Text(text) => directory.write(&self.name, text.as_bytes()),
        }
    }
}

/// Files that Mistral's programs read beside the weights, in either format.
const MISTRAL_FILES: [&str; 2] = ["tekken.json", "SYSTEM_PROMPT.txt"];

/// Files that Hugging Face's programs read beside the weights.
const HF_FILES: [&str; 10] = [
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
];

/// Files that describe the tokens of a vocabulary.
const GROWN_FILES: [&str; 6] = [
    "added_tokens.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
];

/// A larger tokenizer is none: Tekken's has 19 MB.
pub(crate) const MAX_TOKENIZER: u64 = 256 << 20;

/// Decides which small files the output gets, and from where.
pub(super) fn plan(
    options: &Options,
    source: &Checkpoint,
    warnings: &mut Vec<String>,
) -> Result<Vec<Extra>, ConvertError> {
    let grown = options.growth.as_ref().map(|growth| growth.tokenizer.as_path());
    let grown = grown.filter(|directory| directory.join("tokenizer.json").is_file());
    let mut extras =
        Extras { all: Vec::new(), source: &options.source, base: options.base.as_deref(), grown };
    for name in MISTRAL_FILES {
        extras.copy(name);
    }
    extras.copy_sentencepiece()?;
    let tekken = vocabulary::tekken(&mut extras, options, source, warnings)?;
    match options.to {
        Format::Mistral => {
            if extras.all.iter().all(|extra| !is_tokenizer(&extra.name)) {
                warnings.push(
                    "there is no tekken.json in the source or the base, and Mistral's programs need one: give --base"
                        .to_owned(),
                );
            }
        }
        Format::Hf => {
            for name in HF_FILES {
                extras.copy(name);
            }
            if let Some(growth) = &options.growth {
                // The base's tokenizer lacks the added tokens, and tekken.json has them.
                if let (Some(tekken), None) = (&tekken, grown) {
                    extras.remove("tokenizer.json");
                    write_tokenizer(&mut extras, tekken, warnings);
                } else {
                    vocabulary::check_tokenizer(&extras, growth.rows, warnings)?;
                }
            }
            if source.format() != Format::Hf || options.complete {
                write_missing(&mut extras, source.config(), tekken.as_ref(), warnings);
            }
            warn_of_missing(&extras, warnings);
        }
    }
    extras.refuse_substitutes()?;
    Ok(extras.all)
}

struct Extras<'o> {
    all: Vec<Extra>,
    source: &'o Path,
    base: Option<&'o Path>,
    /// Where the tokenizer of a larger vocabulary is.
    grown: Option<&'o Path>,
}

impl Extras<'_> {
    /// Takes a file from the source, or else from the base; those of a tokenizer with added tokens from its directory.
    fn copy(&mut self, name: &str) {
        let grown = self.grown.filter(|_| GROWN_FILES.contains(&name));
        let places =
            [(grown, Origin::Adapter), (Some(self.source), Origin::Source), (self.base, Origin::Base)];
        let found = places
            .into_iter()
            .filter_map(|(directory, origin)| Some((directory?.join(name), origin)))
            .find(|(path, _)| path.is_file());
        if let Some((path, origin)) = found {
            self.all.push(Extra { name: name.to_owned(), origin, content: Content::Copy(path) });
        }
    }

    /// Pixtral Large has a SentencePiece model with its version in its name.
    fn copy_sentencepiece(&mut self) -> Result<(), ConvertError> {
        for directory in [Some(self.source), self.base].into_iter().flatten() {
            let read = |source| ConvertError::Read { path: directory.to_owned(), source };
            let mut names = Vec::new();
            for entry in fs::read_dir(directory).map_err(read)? {
                names.push(entry.map_err(read)?.file_name().to_string_lossy().into_owned());
            }
            names.sort();
            names.retain(|name| name.starts_with("tokenizer.model") && self.path(name).is_none());
            names.iter().for_each(|name| self.copy(name));
        }
        Ok(())
    }

    /// Refuses to copy what a download left in place of a file.
    fn refuse_substitutes(&self) -> Result<(), ConvertError> {
        for extra in &self.all {
            let Content::Copy(path) = &extra.content else { continue };
            let found = Substitute::of_file(path);
            if let Some(found @ (Substitute::LfsPointer { .. } | Substitute::WebPage)) = found {
                return Err(ConvertError::Other { path: path.clone(), found });
            }
        }
        Ok(())
    }

    fn write(&mut self, name: &str, text: String) {
        self.all.push(Extra { name: name.to_owned(), origin: Origin::Written, content: Content::Text(text) });
    }

    /// Puts a file of that origin in the place of the one that was found.
    fn replace(&mut self, name: &str, path: PathBuf, origin: Origin) {
        self.remove(name);
        self.all.push(Extra { name: name.to_owned(), origin, content: Content::Copy(path) });
    }

    fn remove(&mut self, name: &str) {
        self.all.retain(|extra| extra.name != name);
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        let extra = self.all.iter().find(|extra| extra.name == name)?;
        match &extra.content {
            Content::Copy(path) => Some(path.clone()),
            Content::Text(_) => None,
        }
    }

    fn has(&self, name: &str) -> bool {
        self.all.iter().any(|extra| extra.name == name)
    }
}

fn is_tokenizer(name: &str) -> bool {
    name == "tekken.json" || name.starts_with("tokenizer.model")
}

pub(crate) fn read_tekken(path: &Path) -> Result<Tokenizer, ConvertError> {
    let read = |source| ConvertError::Read { path: path.to_owned(), source };
    let wrong = |why: String| ConvertError::Tokenizer { path: path.to_owned(), why };
    let length = fs::metadata(path).map_err(read)?.len();
    if length > MAX_TOKENIZER {
        return Err(wrong(format!("it has {}, more than any tokenizer", counted(length, "byte"))));
    }
    Tokenizer::from_json(&fs::read(path).map_err(read)?).map_err(|error| wrong(error.to_string()))
}

/// Reports files without which servers cannot use a directory.
fn warn_of_missing(extras: &Extras<'_>, warnings: &mut Vec<String>) {
    if !extras.has("preprocessor_config.json") && !extras.has("processor_config.json") {
        warnings.push(
            "there is no preprocessor_config.json or processor_config.json: vLLM and transformers cannot read images with this \
             directory; copy them from the original model"
                .to_owned(),
        );
    }
}

/// Writes files that transformers needs and neither source nor base has.
fn write_missing(
    extras: &mut Extras<'_>,
    config: &ModelConfig,
    tekken: Option<&Tokenizer>,
    warnings: &mut Vec<String>,
) {
    if !extras.has("tokenizer.json") {
        match tekken {
            Some(tekken) => write_tokenizer(extras, tekken, warnings),
            None => warnings.push(
                "there is no tekken.json in the source and no tokenizer.json in the base, and transformers needs one: \
                 give --base"
                    .to_owned(),
            ),
        }
    }
    if !extras.has("generation_config.json") {
        extras
            .write("generation_config.json", document(members([("bos_token_id", 1u8), ("eos_token_id", 2)])));
    }
    if !extras.has("preprocessor_config.json") {
        extras.write("preprocessor_config.json", preprocessor(config));
    }
    if !extras.has("processor_config.json") {
        extras.write("processor_config.json", processor(config));
    }
}

fn write_tokenizer(extras: &mut Extras<'_>, tekken: &Tokenizer, warnings: &mut Vec<String>) {
    let template = tokenizer::chat_template(tekken.version());
    extras.write("tokenizer.json", tokenizer::tokenizer_json(tekken));
    if !extras.has("tokenizer_config.json") {
        extras.write("tokenizer_config.json", tokenizer::tokenizer_config(tekken, template.as_deref()));
    }
    if extras.has("chat_template.jinja") || extras.has("chat_template.json") {
        return;
    }
    match template {
        Some(template) => extras.write("chat_template.jinja", template),
        None => warnings.push(format!(
            "no chat template was written: the tokenizer is of version {}, which has none for text",
            tekken.version()
        )),
    }
}

/// transformers 5.23.0 `image_processing_pixtral.py`: its defaults, with this model's sizes. Mean and deviation are those
/// of mistral-common 1.13.1 `image.py`.
fn preprocessor(config: &ModelConfig) -> String {
    let vision = &config.vision;
    document(object(|file| {
        file.field("do_convert_rgb", true).field("do_normalize", true);
        file.field("do_rescale", true).field("do_resize", true);
        file.field("image_mean", list([0.481_454_66, 0.457_827_5, 0.408_210_73]));
        file.field("image_processor_type", "PixtralImageProcessor");
        file.field("image_std", list([0.268_629_54, 0.261_302_58, 0.275_777_11]));
        file.field("patch_size", members([("height", vision.patch_size), ("width", vision.patch_size)]));
        file.field("processor_class", "PixtralProcessor").field("resample", 3u8);
        file.field("rescale_factor", 0.003_921_568_627_450_98);
        file.field("size", members([("longest_edge", vision.image_size)]));
    }))
}

fn processor(config: &ModelConfig) -> String {
    document(object(|file| {
        file.field("image_break_token", "[IMG_BREAK]").field("image_end_token", "[IMG_END]");
        file.field("image_token", "[IMG]").field("patch_size", config.vision.patch_size);
        file.field("processor_class", "PixtralProcessor")
            .field("spatial_merge_size", config.projector.spatial_merge);
    }))
}
