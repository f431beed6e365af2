//! A model, and perhaps an adapter, as a directory that a server can be started with.
//!
//! [`deploy`] chooses between merging the adapter and converting it to the dialect of the server, converts the weights, writes
//! every file that the server reads beside them, refuses what the server would ignore, and returns the commands that start it.

mod adapter;
mod error;
mod files;
mod start;
mod target;

use std::path::{Path, PathBuf};

use pixtune_files::Existing;

pub use error::DeployError;
pub use target::{Reads, Target};

use crate::adapter::check::MASK;
use crate::adapter::{Adapter, Merge};
use crate::gguf::{self, Element};
use crate::weights::convert::{self, Progress, check_target};
use crate::weights::{Checkpoint, Dtype, Format};
use adapter::Attached;

/// What becomes of an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// It is put beside the base if the base can be served as it is and the server applies all of it; otherwise it is merged.
    #[default]
    Auto,
    /// It is merged.
    Merged,
    /// It is put beside the base, or the run fails.
    Beside,
}

/// What is to be made ready.
#[derive(Debug, Clone)]
pub struct Options {
    /// The model directory, in either format.
    pub model: PathBuf,
    /// The adapter.
    pub adapter: Option<PathBuf>,
    /// The program that will serve it.
    pub target: Target,
    /// The directory to write.
    pub out: PathBuf,
    /// A directory of the same model with files that `model` lacks; of a quantized model, its original.
    pub base: Option<PathBuf>,
    /// What becomes of the adapter.
    pub form: Form,
    /// The type of the weights; each keeps its own without it.
    pub element: Option<Element>,
    /// Whether to read everything back and compare it.
    pub verify: bool,
    /// What may happen to an output that exists.
    pub existing: Existing,
}

/// What was done with the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// It was converted.
    Converted,
    /// The adapter was merged into it.
    Merged,
    /// The adapter was converted, and the base is served as it is.
    Beside,
}

impl Made {
    /// As outputs have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Made::Converted => "converted",
            Made::Merged => "merged",
            Made::Beside => "beside the base",
        }
    }
}

/// What was made ready.
#[derive(Debug)]
pub struct Deployed {
    /// What was done.
    pub made: Made,
    /// Why an adapter was merged that could have been put beside the base.
    pub because: Option<String>,
    /// The files of the output and their bytes.
    pub files: Vec<(String, u64)>,
    /// The commands that start the program, in order. Those of transformers are lines of Python.
    pub start: Vec<String>,
    /// Tensors with values that are not finite.
    pub not_finite: u64,
}

/// Hears of a run.
pub trait Watch {
    /// A warning for the user.
    fn warning(&mut self, text: &str);
    /// How far the run is.
    fn progress(&mut self, progress: Progress);
}

/// Makes a model ready to be served. The output appears whole or not at all.
pub fn deploy(options: &Options, watch: &mut dyn Watch) -> Result<Deployed, DeployError> {
    let inputs: Vec<&Path> = [Some(&options.model), options.adapter.as_ref(), options.base.as_ref()]
        .into_iter()
        .flatten()
        .map(PathBuf::as_path)
        .collect();
    check_target(&inputs, &options.out, options.existing)?;
    let adapter = options.adapter.as_deref().map(|path| Adapter::open(path, None)).transpose()?;
    let mut because = None;
    if let Some(adapter) = adapter.as_ref().filter(|_| options.form != Form::Merged) {
        match adapter::beside(options, adapter, watch)? {
            Attached::Written(deployed) => return Ok(deployed),
            Attached::Not(error) if options.form == Form::Beside => return Err(error),
            Attached::Not(DeployError::NoAdapters { .. }) => {}
            Attached::Not(error) => because = Some(error.to_string()),
        }
    }
    let deployed = match options.target.reads() {
        Reads::Checkpoint(format) => checkpoint(options, adapter.as_ref(), format, watch)?,
        Reads::Gguf => gguf_files(options, adapter.as_ref(), watch)?,
    };
    Ok(Deployed { because, ..deployed })
}

/// Writes a checkpoint with everything that the program reads beside it.
fn checkpoint(
    options: &Options,
    adapter: Option<&Adapter>,
    format: Format,
    watch: &mut dyn Watch,
) -> Result<Deployed, DeployError> {
    let conversion = conversion(options, &options.out, format)?;
    let refuse_missing = |plan: &convert::Plan| {
        let names = plan.extras.iter().map(|extra| extra.name.as_str());
        let directories: Vec<&Path> = [Some(&options.model), options.base.as_ref()]
            .into_iter()
            .flatten()
            .map(PathBuf::as_path)
            .collect();
        let files = files::missing(format, names, &directories);
        let (target, model) = (options.target, options.model.clone());
        if files.is_empty() { Ok(()) } else { Err(DeployError::MissingFiles { target, model, files }) }
    };
    let (report, foreign_template) = match adapter {
        None => {
            let plan = convert::Plan::new(conversion)?;
            refuse_missing(&plan)?;
            tell(&plan, options.target, watch);
            (plan.run(None, &mut |progress| watch.progress(progress))?, has_foreign_template(&plan))
        }
        Some(adapter) => {
            let mut merge = Merge::new(adapter, conversion)?;
            refuse_missing(merge.plan())?;
            tell(merge.plan(), options.target, watch);
            let foreign = has_foreign_template(merge.plan());
            (merge.run(&mut |progress| watch.progress(progress))?, foreign)
        }
    };
    let served = start::Served {
        target: options.target,
        model: &options.out,
        adapter: None,
        name: &name_of(&options.out),
        gguf: None,
        foreign_template,
    };
    Ok(Deployed {
        made: if adapter.is_some() { Made::Merged } else { Made::Converted },
        because: None,
        start: start::commands(&served),
        files: files_of(&options.out),
        not_finite: report.not_finite.len() as u64,
    })
}

/// The conversion to a checkpoint.
fn conversion(options: &Options, target: &Path, format: Format) -> Result<convert::Options, DeployError> {
    let dtype = match options.element {
        None => None,
        Some(Element::F32) => Some(Dtype::F32),
        Some(Element::F16) => Some(Dtype::F16),
        Some(Element::BF16) => Some(Dtype::BF16),
        Some(Element::Q8_0) => return Err(DeployError::Element { target: options.target }),
    };
    Ok(convert::Options {
        base: options.base.clone(),
        dtype,
        // What transformers 4 writes without being asked; Mistral's programs read one file.
        shard_bytes: (format == Format::Hf).then_some(5_000_000_000),
        // mistral-inference reads a head of its own.
        untie: options.target == Target::MistralInference,
        complete: true,
        verify: options.verify,
        existing: options.existing,
        ..convert::Options::new(&options.model, target, format)
    })
}

fn tell(plan: &convert::Plan, target: Target, watch: &mut dyn Watch) {
    plan.warnings.iter().for_each(|warning| watch.warning(warning));
    limits(&plan.source, target).iter().for_each(|warning| watch.warning(warning));
}

/// Heads that vLLM's attention on a CPU runs (measured with vLLM 0.32.0: others fail at the first request).
const VLLM_CPU_HEADS: [usize; 11] = [32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512];

/// What a program does not run.
fn limits(source: &Checkpoint, target: Target) -> Vec<String> {
    let config = source.config();
    let head = config.text.head_dim;
    let mut out = Vec::new();
    if target == Target::MistralInference && config.text.yarn.is_some() {
        out.push(
            "mistral-inference 1.6.0 has neither yarn positions nor queries that grow: it computes another model".to_owned(),
        );
    } else if config.family.merges_patches() && !matches!(target, Target::Transformers) {
        out.push(
            "this architecture, which merges patches, was not run with the program; what was tested is Pixtral".to_owned(),
        );
    }
    if matches!(target, Target::Vllm | Target::VllmMistral) && !VLLM_CPU_HEADS.contains(&head) {
        let known = VLLM_CPU_HEADS.map(|head| head.to_string()).join(", ");
        out.push(format!(
            "vLLM on a CPU fails at the first request: the heads of the text decoder have {head} values, and it runs {known}"
        ));
    }
    if target == Target::MistralInference {
        out.push(MASK.to_owned());
    }
    out
}

/// Whether there is a chat template that is not ours, so that vLLM may not recognize its parts.
fn has_foreign_template(plan: &convert::Plan) -> bool {
    let template = plan.extras.iter().find(|extra| extra.name.starts_with("chat_template."));
    let is_ours = template.is_some_and(|extra| extra.origin == convert::Origin::Written);
    plan.options.to == Format::Hf && !is_ours
}

/// The name of a model in requests: that of its directory.
fn name_of(out: &Path) -> String {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    if name.is_empty() { "tuned".to_owned() } else { name.into_owned() }
}

/// Writes GGUF files, of the merged model if there is an adapter.
fn gguf_files(
    options: &Options,
    adapter: Option<&Adapter>,
    watch: &mut dyn Watch,
) -> Result<Deployed, DeployError> {
    let name = name_of(&options.out);
    // llama.cpp reads GGUF alone, so a merge is written once in between; it is removed in any case.
    let merged = adapter.map(|adapter| merge_beside(options, adapter, watch)).transpose()?;
    let source = merged.as_ref().map_or(&options.model, |merged| &merged.0);
    let plan = gguf::Plan::new(gguf::Options {
        source: source.clone(),
        target: options.out.clone(),
        base: Some(options.base.clone().unwrap_or_else(|| options.model.clone())),
        name: Some(name.clone()),
        element: options.element,
        verify: options.verify,
        existing: options.existing,
    })?;
    plan.warnings.iter().for_each(|warning| watch.warning(warning));
    let [text, vision] = plan.names();
    let extra = match options.target {
        Target::Ollama => vec![("Modelfile", start::modelfile(text, vision))],
        _ => Vec::new(),
    };
    let written = plan.run_with(&extra, &mut |done, total| {
        watch.progress(Progress { stage: convert::Stage::Write, done, total });
    })?;
    let served = start::Served {
        target: options.target,
        model: &options.out,
        adapter: None,
        name: &name,
        gguf: Some([text, vision]),
        foreign_template: false,
    };
    Ok(Deployed {
        made: if adapter.is_some() { Made::Merged } else { Made::Converted },
        because: None,
        start: start::commands(&served),
        files: files_of(&options.out),
        not_finite: written.not_finite.len() as u64,
    })
}

/// A directory that is removed in the end.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = pixtune_files::remove(&self.0);
    }
}

/// Merges an adapter into a directory beside the output.
fn merge_beside(
    options: &Options,
    adapter: &Adapter,
    watch: &mut dyn Watch,
) -> Result<Temporary, DeployError> {
    let mut name = options.out.file_name().unwrap_or_default().to_owned();
    name.push(".merged");
    let target = options.out.with_file_name(name);
    let conversion = convert::Options {
        base: options.base.clone(),
        verify: false,
        // What a killed run left is ours.
        existing: Existing::Replace,
        ..convert::Options::new(&options.model, &target, Format::Mistral)
    };
    let mut merge = Merge::new(adapter, conversion)?;
    merge.plan().warnings.iter().for_each(|warning| watch.warning(warning));
    let temporary = Temporary(target);
    merge.run(&mut |progress| watch.progress(progress))?;
    Ok(temporary)
}

/// The files of the output and their bytes.
fn files_of(directory: &Path) -> Vec<(String, u64)> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<(String, u64)> = entries
        .map(|entry| {
            let bytes = entry.metadata().map_or(0, |about| about.len());
            (entry.file_name().to_string_lossy().into_owned(), bytes)
        })
        .collect();
    files.sort();
    files
}
