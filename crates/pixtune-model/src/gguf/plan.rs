//! What will be written: two files, their tensors and where each comes from.

use std::fs::File;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use pixtune_core::json::{document, list, object};
use pixtune_core::tokens::TokenizerVersion;
use pixtune_files::Existing;

use super::element::Element;
use super::error::GgufError;
use super::layout::{Piece, PlannedFile, planned};
use super::metadata::Entry;
use super::vocabulary::Vocabulary;
use super::write::{Job, Written, write};
use super::{text, vision};
use crate::weights::convert::{ConvertError, OutputDirectory, REPORT, check_target, tokenizer};
use crate::weights::{Checkpoint, Family, Module, Tensor, TensorName};

/// The options of a conversion to GGUF.
#[derive(Debug, Clone)]
pub struct Options {
    /// The checkpoint, in either format.
    pub source: PathBuf,
    /// The directory to write.
    pub target: PathBuf,
    /// A directory with the tokenizer, if the source has none.
    pub base: Option<PathBuf>,
    /// The name in the files and of them; that of the source's directory without it.
    pub name: Option<String>,
    /// The type of matrices; each keeps its own without it. Vectors are F32.
    pub element: Option<Element>,
    /// Whether to read everything back and compare it with what was computed.
    pub verify: bool,
    /// What may happen to a target that exists.
    pub existing: Existing,
}

/// A conversion that will go through unless the disk or the source fails.
#[derive(Debug)]
pub struct Plan {
    /// The requested conversion.
    pub options: Options,
    /// The checkpoint.
    pub source: Checkpoint,
    /// Warnings for the user.
    pub warnings: Vec<String>,
    pub(super) files: Vec<PlannedFile>,
}

/// The name of the file with the vision encoder, which programs look for beside the model.
const MMPROJ: &str = "mmproj";

impl Plan {
    /// Looks at source and target, and decides everything.
    pub fn new(options: Options) -> Result<Plan, GgufError> {
        let inputs: Vec<&Path> = [Some(&options.source), options.base.as_ref()]
            .into_iter()
            .flatten()
            .map(PathBuf::as_path)
            .collect();
        check_target(&inputs, &options.target, options.existing)?;
        let source = Checkpoint::open(&options.source)?;
        let config = source.config();
        if let Some(what) = text::unsupported(&config.text) {
            let what = format!("{what}, which llama.cpp does not compute");
            return Err(GgufError::Unsupported { what });
        }
        let mut warnings: Vec<String> = config.warnings().collect();
        let rows = config.text.vocab_size;
        let vocabulary = Vocabulary::find(&inputs)?;
        if vocabulary.len() > rows {
            let path = options.source.clone();
            return Err(ConvertError::Vocabulary { path, tokens: vocabulary.len(), rows }.into());
        }
        if vocabulary.len() < rows {
            warnings.push(format!(
                "the vocabulary has {} tokens, and the model {rows}: the last rows get tokens that no text has",
                vocabulary.len()
            ));
        }
        let name = options.name.clone().unwrap_or_else(|| model_name(&options.source));
        let element = options.element.unwrap_or_else(|| prevailing(&source));
        let files = [text::name as fn(TensorName) -> Option<String>, vision::name]
            .map(|naming| pieces(&source, &options, naming));
        let [text_pieces, mut vision_pieces] = files;
        vision_pieces.push(break_row(&source, &vocabulary)?);
        let parameters = |pieces: &[Piece]| -> u64 {
            pieces.iter().map(|piece| piece.entry.dimensions.iter().product::<u64>()).sum()
        };
        let mut keys = text::metadata(config, &name, element, parameters(&text_pieces));
        let template = chat_template(config.family, vocabulary.version(), &inputs)?;
        if template.is_none() {
            warnings.push(
                "there is neither a tekken.json, which states the layout of chats, nor a chat_template.jinja: the file has no chat \
                 template, so start llama.cpp with `--chat-template-file` and that of the model"
                    .to_owned(),
            );
        }
        vocabulary.write(rows, template.as_deref(), &mut keys);
        let vision_keys = vision::metadata(config, &name, element, parameters(&vision_pieces));
        warnings.extend(fallbacks(element, text_pieces.iter().chain(&vision_pieces)));
        let suffix = element.as_str();
        let files = vec![
            planned(format!("{name}-{suffix}.gguf"), &keys, text_pieces),
            planned(format!("{MMPROJ}-{name}-{suffix}.gguf"), &vision_keys, vision_pieces),
        ];
        Ok(Plan { options, source, warnings, files })
    }

    /// Bytes that will be written.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(PlannedFile::length).sum()
    }

    /// The names of the files: of the text decoder, and of the vision encoder with the projector.
    pub fn names(&self) -> [&str; 2] {
        [self.files[0].name.as_str(), self.files[1].name.as_str()]
    }

    /// Writes everything and moves it to its place.
    pub fn run(&self, watch: &mut dyn FnMut(u64, u64)) -> Result<Written, GgufError> {
        self.run_with(&[], watch)
    }

    /// The same with further small files in the output, each a name and its text.
    pub fn run_with(
        &self,
        further: &[(&str, String)],
        watch: &mut dyn FnMut(u64, u64),
    ) -> Result<Written, GgufError> {
        self.run_until(further, &mut |done, total| {
            watch(done, total);
            ControlFlow::Continue(())
        })
    }

    /// The same, unless `watch` ends the run, which then writes nothing and fails with [`ConvertError::Interrupted`].
    pub fn run_until(
        &self,
        further: &[(&str, String)],
        watch: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Written, GgufError> {
        let directory = OutputDirectory::create(&self.options.target)?;
        let total = self.bytes();
        let mut done = 0;
        let job = Job { source: &self.source, files: &self.files, verify: self.options.verify };
        let written = write(job, directory.path(), &mut |bytes| {
            done += bytes;
            watch(done, total)
        })?;
        directory.write(REPORT, self.report(&written).as_bytes())?;
        for (name, text) in further {
            directory.write(name, text.as_bytes())?;
        }
        directory.commit()?;
        Ok(written)
    }

    fn report(&self, written: &Written) -> String {
        document(object(|out| {
            out.field("pixtune", env!("CARGO_PKG_VERSION"));
            out.field("from", self.source.format().as_str()).field("to", "gguf");
            out.field(
                "files",
                list(written.files.iter().map(|(name, bytes)| {
                    object(move |file| {
                        file.field("name", name.as_str()).field("bytes", *bytes);
                    })
                })),
            );
            out.field("tensors", written.tensors).field("permuted", written.permuted);
            out.field(
                "types",
                object(|types| {
                    for (element, count) in &written.elements {
                        types.field(element.as_str(), *count);
                    }
                }),
            );
            out.field("warnings", list(self.warnings.iter().map(String::as_str)));
        }))
    }
}

/// Larger templates are none.
const MAX_TEMPLATE: u64 = 1 << 20;

/// The template of chats: for Pixtral ours, for other models the one that lies beside the model, or ours of the vocabulary's version.
fn chat_template(
    family: Family,
    version: Option<TokenizerVersion>,
    directories: &[&Path],
) -> Result<Option<String>, GgufError> {
    if family == Family::Pixtral {
        return Ok(tokenizer::chat_template(version.unwrap_or(TokenizerVersion::V3)));
    }
    let mut paths = directories.iter().map(|directory| directory.join("chat_template.jinja"));
    let Some(path) = paths.find(|path| path.is_file()) else {
        return Ok(version.and_then(tokenizer::chat_template));
    };
    let read = |source| GgufError::Read { path: path.clone(), source };
    let mut text = String::new();
    File::open(&path).map_err(read)?.take(MAX_TEMPLATE + 1).read_to_string(&mut text).map_err(read)?;
    if text.len() as u64 > MAX_TEMPLATE {
        let why = format!("it has more than {MAX_TEMPLATE} bytes");
        return Err(GgufError::Tokenizer { path, why });
    }
    Ok(Some(text))
}

/// The name of a model: that of its directory.
fn model_name(source: &Path) -> String {
    let whole = source.canonicalize().unwrap_or_else(|_| source.to_owned());
    let name = whole.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy());
    name.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect()
}

/// The type of most bytes.
fn prevailing(source: &Checkpoint) -> Element {
    let bytes = |element: Element| -> u64 {
        source
            .tensors()
            .filter(|tensor| Element::of(tensor.dtype()) == element)
            .map(|tensor| tensor.length())
            .sum()
    };
    [Element::F32, Element::F16, Element::BF16]
        .into_iter()
        .max_by_key(|element| bytes(*element))
        .unwrap_or(Element::BF16)
}

/// The tensors of a file, in the order of the forward pass.
fn pieces(source: &Checkpoint, options: &Options, naming: fn(TensorName) -> Option<String>) -> Vec<Piece> {
    let piece = |tensor: Tensor<'_>| {
        let name = naming(tensor.name)?;
        let dimensions = tensor.shape().iter().rev().map(|side| *side as u64).collect();
        let entry = Entry { name, dimensions, element: element_of(&tensor, options.element) };
        Some(Piece { entry, from: tensor.name, row: None })
    };
    source.tensors().filter_map(piece).collect()
}

/// The type of a tensor: vectors are F32, which is what llama.cpp computes with; so are the convolution and the patch merger, which it
/// computes as one, but in a file of F16.
fn element_of(tensor: &Tensor<'_>, wanted: Option<Element>) -> Element {
    let wanted = wanted.unwrap_or_else(|| Element::of(tensor.dtype()));
    let columns = tensor.shape().last().copied().unwrap_or(1);
    match (tensor.shape().len(), tensor.name.module) {
        (0 | 1, _) => Element::F32,
        (_, Module::PatchConv | Module::PatchMerger) if wanted != Element::F16 => Element::F32,
        _ if !wanted.holds_rows_of(columns) => Element::F16,
        _ => wanted,
    }
}

/// Matrices whose rows are not whole blocks.
fn fallbacks<'p>(element: Element, pieces: impl Iterator<Item = &'p Piece>) -> Option<String> {
    let other = pieces.filter(|piece| piece.entry.element == Element::F16 && element == Element::Q8_0);
    let names: Vec<&str> = other.map(|piece| piece.entry.name.as_str()).collect();
    let first = names.first()?;
    Some(format!(
        "{} of {} matrices are F16: their rows are not multiples of 32, such as `{first}`",
        names.len(),
        element.as_str()
    ))
}

/// The row of the embedding that ends a row of patches.
fn break_row(source: &Checkpoint, vocabulary: &Vocabulary) -> Result<Piece, GgufError> {
    let missing = || GgufError::Unsupported { what: "its vocabulary has no [IMG_BREAK]".to_owned() };
    let row = vocabulary.special("[IMG_BREAK]").ok_or_else(missing)?;
    let entry = Entry {
        name: vision::BREAK.to_owned(),
        dimensions: vec![source.config().text.hidden_size as u64],
        element: Element::F32,
    };
    Ok(Piece { entry, from: Module::Embedding.weight(), row: Some(row) })
}
