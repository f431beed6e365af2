//! Conversion between formats, data types and sizes of shards, with a few buffers of memory.
//!
//! [`Plan::new`] refuses everything that can be refused; [`Plan::run`] moves the bytes. A [`Change`] alters weights on
//! their way, which is how adapters are merged in the same pass.

mod error;
mod extras;
mod layout;
mod output;
pub(crate) mod read_back;
mod report;
mod route;
pub(crate) mod stream;
pub(crate) mod tokenizer;
mod transfer;
mod verify;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;

use pixtune_core::json::{self, Value};
use pixtune_files::Existing;

use super::config::{self, ModelConfig, WrittenConfig};
use super::dtype::Dtype;
use super::error::Problems;
use super::names::{Module, TensorName};
use super::{Checkpoint, Format, Reader};
use stream::Done;

pub use error::ConvertError;
pub use extras::{Extra, Origin};
pub(crate) use extras::{MAX_TOKENIZER, read_tekken};
pub use layout::PlannedFile;

pub use output::{OutputDirectory, REPORT, check_target};
pub use report::{Distance, Merged, MergedInto, Report};
pub use transfer::NotFinite;
pub(crate) use transfer::count_not_finite;

/// The options of a conversion.
#[derive(Debug, Clone)]
pub struct Options {
    /// The checkpoint.
    pub source: PathBuf,
    /// The directory to write.
    pub target: PathBuf,
    /// Its format.
    pub to: Format,
    /// A directory of the same model with what the source lacks: configuration, tokenizer.
    pub base: Option<PathBuf>,
    /// The type of every tensor; each keeps its own without it.
    pub dtype: Option<Dtype>,
    /// Most bytes of tensors in one file; one file for all without it.
    pub shard_bytes: Option<u64>,
    /// Whether a head that is tied to the embedding gets a tensor of its own.
    pub untie: bool,
    /// The larger vocabulary of the output, if a [`Change`] adds tokens.
    pub growth: Option<Growth>,
    /// Whether processor, tokenizer and chat template are also written where source and output are both Hugging Face's, and
    /// neither source nor base has them.
    pub complete: bool,
    /// Whether to read everything back and compare it with the source.
    pub verify: bool,
    /// What may happen to a target that exists.
    pub existing: Existing,
}

impl Options {
    /// A conversion of everything as it is, which is verified and replaces nothing.
    pub fn new(source: impl Into<PathBuf>, target: impl Into<PathBuf>, to: Format) -> Options {
        Options {
            source: source.into(),
            target: target.into(),
            to,
            base: None,
            dtype: None,
            shard_bytes: None,
            untie: false,
            growth: None,
            complete: false,
            verify: true,
            existing: Existing::Keep,
        }
    }
}

/// A vocabulary with more tokens than the source's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    /// Rows of embedding and head.
    pub rows: usize,
    /// A directory that may hold the tokenizer with the added tokens.
    pub tokenizer: PathBuf,
}

/// Why a change could not be made.
pub type ChangeError = Box<dyn std::error::Error + Send + Sync>;

/// A change of weights while they are converted.
pub trait Change: Sync {
    /// Whether it changes this tensor of the output.
    fn concerns(&self, tensor: TensorName) -> bool;

    /// Changes some rows of a tensor. `rows` are whole rows from `first_row` on, in the order of the source's format
    /// ([`Checkpoint::row_order`]); they are rounded once to the type of the output afterwards.
    fn apply(&self, tensor: TensorName, first_row: usize, rows: &mut [f32]) -> Result<(), ChangeError>;
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What it is doing.
    pub stage: Stage,
    /// Bytes done in this stage.
    pub done: u64,
    /// Bytes of this stage.
    pub total: u64,
}

/// What hears how far a run is, and can end it.
pub type Watch<'w> = dyn FnMut(Progress) -> ControlFlow<()> + 'w;

/// The stages of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Reading, changing and writing.
    Write,
    /// Reading back and comparing what was not compared while writing.
    Verify,
}

/// A conversion that will go through unless the disk or the source fails.
#[derive(Debug)]
pub struct Plan {
    /// The requested conversion.
    pub options: Options,
    /// The checkpoint.
    pub source: Checkpoint,
    /// The files of weights.
    pub files: Vec<PlannedFile>,
    /// The configuration.
    pub config: WrittenConfig,
    /// Tokenizer and other small files.
    pub extras: Vec<Extra>,
    /// What a [`Change`] that is given to [`Plan::run`] does, for the report.
    pub merged: Option<Merged>,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Looks at source, base and target, and decides everything.
    pub fn new(options: Options) -> Result<Plan, ConvertError> {
        let inputs: Vec<&Path> = [Some(&options.source), options.base.as_ref()]
            .into_iter()
            .flatten()
            .map(PathBuf::as_path)
            .collect();
        check_target(&inputs, &options.target, options.existing)?;
        let mut warnings = Vec::new();
        let source = open_source(&options, &mut warnings)?;
        source.config().check_expressible(source.directory(), source.format(), options.to)?;
        check_tied_head(&source)?;
        let shape = layout::Shape {
            format: options.to,
            dtype: options.dtype,
            shard_bytes: options.shard_bytes,
            untie: options.untie,
            vocabulary: options.growth.as_ref().map(|growth| growth.rows),
        };
        let files = layout::plan(&source, shape)?;
        for (piece, place) in
            files.iter().flat_map(|file| file.pieces.iter().zip(&file.layout.header.tensors))
        {
            route::Route::new(&source, *piece, place, options.to.row_order())?;
        }
        let mut config = source.config().clone();
        if options.untie {
            config.tied = false;
        }
        let dtype = prevailing_dtype(&files, &mut warnings);
        let base = base_config(&options, &config)?;
        if let Some(growth) = &options.growth {
            config.text.vocab_size = growth.rows;
        }
        let config = config::write(&config, source.format(), options.to, dtype, base.as_ref());
        let extras = extras::plan(&options, &source, &mut warnings)?;
        warn(&options, &source, &files, &mut warnings);
        Ok(Plan { options, source, files, config, extras, merged: None, warnings })
    }

    /// Writes everything and moves it to its place.
    pub fn run(
        &self,
        change: Option<&dyn Change>,
        watch: &mut dyn FnMut(Progress),
    ) -> Result<Report, ConvertError> {
        self.run_until(change, &mut |progress| {
            watch(progress);
            ControlFlow::Continue(())
        })
    }

    /// The same, unless `watch` ends the run, which then writes nothing and fails with [`ConvertError::Interrupted`].
    pub fn run_until(
        &self,
        change: Option<&dyn Change>,
        watch: &mut Watch<'_>,
    ) -> Result<Report, ConvertError> {
        let directory = OutputDirectory::create(&self.options.target)?;
        let total = self.files.iter().map(|file| file.layout.file_length()).sum();
        let transfer = transfer::Transfer {
            source: &self.source,
            files: &self.files,
            order: self.options.to.row_order(),
            change,
        };
        let check = |back: &mut read_back::ReadBack, hashes: &Receiver<blake3::Hash>| {
            verify::read_back(self, change, hashes, back)
        };
        let (mut done, mut compared) = (0, 0);
        let (not_finite, verified) = transfer.run(
            directory.path(),
            self.options.verify.then_some(check),
            &mut |bytes| match bytes {
                Done::Written(bytes) => {
                    done += bytes;
                    watch(Progress { stage: Stage::Write, done, total })
                }
                Done::ReadBack(bytes) => {
                    compared += bytes;
                    watch(Progress { stage: Stage::Verify, done: compared, total: self.bytes() })
                }
            },
        )?;
        directory.write(self.options.to.config_file(), self.config.text.as_bytes())?;
        if let Some(index) = layout::index(&self.files) {
            directory.write(&layout::index_name(self.options.to), index.as_bytes())?;
        }
        for extra in &self.extras {
            extra.write(&directory)?;
        }
        if self.options.verify {
            verify::compare_config(self, directory.path())?;
        }
        let report = Report::new(self, not_finite, verified);
        directory.write(REPORT, json::document(&report).as_bytes())?;
        directory.commit()?;
        Ok(report)
    }

    /// Bytes of tensors that will be written.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.layout.file_length() - file.layout.header.data_start).sum()
    }
}

/// Opens the source; where a directory holds both formats, the one that is not the target's.
pub(crate) fn open_source(options: &Options, warnings: &mut Vec<String>) -> Result<Checkpoint, ConvertError> {
    let formats = Checkpoint::formats(&options.source)?;
    if formats.len() < 2 {
        return Ok(Checkpoint::open(&options.source)?);
    }
    let from = options.to.other();
    warnings.push(format!(
        "the source contains both formats; the weights in the {} format are converted",
        from.as_str()
    ));
    Ok(Checkpoint::open_as(&options.source, from)?)
}

/// The base's configuration in the format of the target, where it has one; of another model it is refused.
fn base_config(options: &Options, config: &ModelConfig) -> Result<Option<Value<'static>>, ConvertError> {
    let Some(base) = &options.base else { return Ok(None) };
    let mut found = None;
    for format in [options.to.other(), options.to] {
        if !base.join(format.config_file()).is_file() {
            continue;
        }
        let other = ModelConfig::read(base, format)?;
        let problems = differences(config, &other);
        if !problems.0.is_empty() {
            return Err(ConvertError::OtherBase { path: base.join(format.config_file()), problems });
        }
        found = (format == options.to).then_some(other.source);
    }
    Ok(found)
}

/// Sizes in which two models differ.
pub(crate) fn differences(ours: &ModelConfig, base: &ModelConfig) -> Problems {
    let (a, b) = (&ours.text, &base.text);
    let (v, w) = (&ours.vision, &base.vision);
    let sizes = [
        ("hidden size", a.hidden_size, b.hidden_size),
        ("feed-forward size", a.intermediate_size, b.intermediate_size),
        ("layers", a.layers, b.layers),
        ("heads", a.heads, b.heads),
        ("kv heads", a.kv_heads, b.kv_heads),
        ("vocabulary", a.vocab_size, b.vocab_size),
        ("vision hidden size", v.hidden_size, w.hidden_size),
        ("vision feed-forward size", v.intermediate_size, w.intermediate_size),
        ("vision layers", v.layers, w.layers),
        ("vision heads", v.heads, w.heads),
        ("patch size", v.patch_size, w.patch_size),
    ];
    let differing = sizes.into_iter().filter(|(_, a, b)| a != b);
    Problems(differing.map(|(name, a, b)| format!("{name}: {a} in the source, {b} in the base")).collect())
}

/// A head that is stored although it is tied has to equal the embedding.
fn check_tied_head(source: &Checkpoint) -> Result<(), ConvertError> {
    let Some(head) = source.tensor(Module::Head.weight()) else { return Ok(()) };
    let Some(embedding) = source.tensor(Module::Embedding.weight()) else { return Ok(()) };
    // A file of a class whose default is a tied output may have another output all the same: the stored one is used.
    if source.config().stated.tied != Some(true) || source.config().family.merges_patches() {
        return Ok(());
    }
    let differs = || ConvertError::TiedHeadDiffers { name: head.info.name.clone() };
    if head.dtype() != embedding.dtype() {
        return Err(differs());
    }
    let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut readers = [Reader::default(), Reader::default()];
    let mut at = 0;
    while at < head.length() {
        let bytes = (head.length() - at).min(1 << 20) as usize;
        head.read_at(&mut readers[0], &mut a[..bytes], at)?;
        embedding.read_at(&mut readers[1], &mut b[..bytes], at)?;
        if a[..bytes] != b[..bytes] {
            return Err(differs());
        }
        at += bytes as u64;
    }
    Ok(())
}

/// The type most bytes are of, which the configuration names.
fn prevailing_dtype(files: &[PlannedFile], warnings: &mut Vec<String>) -> Dtype {
    let mut bytes = [0u64; Dtype::ALL.len()];
    for tensor in files.iter().flat_map(|file| &file.layout.header.tensors) {
        bytes[tensor.dtype as usize] += tensor.bytes();
    }
    let present: Vec<Dtype> = Dtype::ALL.into_iter().filter(|dtype| bytes[*dtype as usize] > 0).collect();
    let most = present.iter().copied().max_by_key(|dtype| bytes[*dtype as usize]).unwrap_or(Dtype::BF16);
    if present.len() > 1 {
        let names: Vec<&str> = present.iter().map(|dtype| dtype.torch_name()).collect();
        warnings
            .push(format!("the tensors are of several types ({}); --dtype makes them one", names.join(", ")));
    }
    most
}

fn warn(options: &Options, source: &Checkpoint, files: &[PlannedFile], warnings: &mut Vec<String>) {
    warnings.extend(source.config().warnings());
    if options.to == Format::Mistral && files.len() > 1 {
        warnings.push(
            "mistral-inference reads only a single consolidated.safetensors; vLLM takes shards".to_owned(),
        );
    }
    if options.to == Format::Mistral && source.config().tied && !options.untie {
        warnings.push(
            "the head is tied to the embedding and has no tensor; mistral-inference needs one: --untie writes it"
                .to_owned(),
        );
    }
    let narrows =
        |dtype| source.tensors().any(|tensor| tensor.dtype() == Dtype::F32 && dtype == Some(Dtype::BF16));
    if options.dtype == Some(Dtype::F16) {
        warnings
            .push("f16 holds values up to 65504; larger ones become infinite and are reported".to_owned());
    } else if narrows(options.dtype) {
        warnings.push("f32 weights are rounded to bf16, to the nearest, ties to even".to_owned());
    }
}
