//! `pixtune generate`.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::num::NonZero;
use std::path::Path;

use pixtune_core::sample::{Assistant, Content, Message, Part, Sample};
use pixtune_core::spec::{ModelSpec, PIXTRAL_12B};
use pixtune_core::tokens::{ChatEncoder, Layout, Tekken};
use pixtune_io::image::{Limits, ModelInput, model_input};
use pixtune_io::read::ReadError;
use pixtune_io::tokens::TokenizerFile;
use pixtune_model::adapter::Adapter;
use pixtune_model::generate::{Ended, Sampling, Stop, generate};
use pixtune_model::kernels::CpuKernels;
use pixtune_model::network::{
    Batch, Image, LoraConfig, ModelShape, Network, NetworkError, NetworkOptions, Sequence,
};
use pixtune_model::weights::Checkpoint;

use super::ends_quietly;
use crate::Outcome;
use crate::args::GenerateArgs;
use crate::error::Error;
use crate::ui::{Format, Ui};

/// Answers a prompt.
pub fn run(args: GenerateArgs) -> Result<Outcome, Error> {
    let ui = Ui::new(Format::Human, args.quiet);
    let checkpoint = Checkpoint::open(&args.model)?;
    checkpoint.config().warnings().for_each(|warning| ui.note(&format!("warning: {warning}")));
    let shape = ModelShape::new(checkpoint.config())?;
    let spec = spec_of(&shape);
    let tokenizer = tokenizer(&args.model, &shape, &ui)?;
    let tekken = match &tokenizer {
        Some(file) => &file.tekken,
        None => Tekken::embedded(),
    };
    let prompt = prompt(&args, &ChatEncoder { spec: &spec, tekken, layout: Layout::MistralCommon })?;
    if !(args.temperature.is_finite() && args.temperature >= 0.0) {
        return Err(Error::argument("--temperature is 0 or above"));
    }
    let length = prompt.tokens().saturating_add(args.max_tokens);
    let limit = checkpoint.config().text.max_positions.unwrap_or(PIXTRAL_12B.context);
    if length > limit {
        return Err(Error::argument(format!(
            "{} tokens of the prompt and {} of the answer pass the {limit} this model reads",
            prompt.tokens(),
            args.max_tokens
        )));
    }
    ui.note(&format!("{} tokens in the prompt", prompt.tokens()));
    ui.start_bar("{spinner} {msg}  {elapsed}", 1, 0);
    ui.set_text("loading the model");
    let network = network(&args, &checkpoint, &ui)?;
    ui.set_text("reading the prompt");
    let sampling = match args.temperature {
        0.0 => Sampling::Greedy,
        temperature => Sampling::Temperature { temperature, seed: args.seed },
    };
    let stop = Stop { end: tekken.marks().end, max_tokens: args.max_tokens };
    let mut answer = Answer { tekken, pending: Vec::new() };
    let ended = generate(&network, &prompt, (sampling, &stop), |token| {
        ui.clear_bar();
        answer.push(token)
    });
    ui.clear_bar();
    match ended.and_then(|ended| answer.finish().map(|()| ended)) {
        Ok(Ended::End) => Ok(Outcome::Fine),
        Ok(Ended::Length) => {
            ui.note(&format!("stopped after {} tokens (--max-tokens)", args.max_tokens));
            Ok(Outcome::Fine)
        }
        Err(error) => ends_quietly(error),
    }
}

fn network<'w>(
    args: &GenerateArgs,
    checkpoint: &'w Checkpoint,
    ui: &Ui,
) -> Result<Network<'w, CpuKernels>, Error> {
    let all = || std::thread::available_parallelism().map_or(1, NonZero::get);
    let kernels = CpuKernels::new(args.threads.unwrap_or_else(all)).map_err(NetworkError::from)?;
    let Some(directory) = &args.adapter else { return Ok(Network::load_frozen(kernels, checkpoint)?) };
    let adapter = Adapter::open(directory, None)?;
    adapter.warnings.iter().for_each(|warning| ui.note(&format!("warning: {warning}")));
    let mut network =
        Network::load(kernels, checkpoint, &LoraConfig::of(&adapter)?, NetworkOptions::default())?;
    network.load_adapter(&adapter)?;
    Ok(network)
}

/// How this model cuts images; the rest is Pixtral 12B's.
fn spec_of(shape: &ModelShape) -> ModelSpec {
    let (patch, max_side) = (shape.patch as u32, (shape.image_side * shape.patch) as u32);
    ModelSpec { patch, max_side, image: shape.image_token, ..PIXTRAL_12B }
}

/// `tekken.json` beside the weights. None: the built-in vocabulary, which has to have the model's size.
fn tokenizer(directory: &Path, shape: &ModelShape, ui: &Ui) -> Result<Option<TokenizerFile>, Error> {
    let path = directory.join("tekken.json");
    let (file, name, size) = match path.exists() {
        true => {
            let file = TokenizerFile::read(&path)?;
            let size = file.tekken.len();
            (Some(file), path.display().to_string(), size)
        }
        false => (None, "the vocabulary of Pixtral 12B".to_owned(), Tekken::embedded().len()),
    };
    if size != shape.vocabulary {
        return Err(Error::argument(format!(
            "{name} has {size} tokens and the model {}; put the tekken.json of this model into `{}`",
            shape.vocabulary,
            directory.display()
        )));
    }
    if file.is_none() {
        ui.note("no tekken.json beside the weights: the vocabulary of Pixtral 12B is used");
    }
    Ok(file)
}

/// The prompt as a user's turn, up to where the answer begins.
fn prompt(args: &GenerateArgs, encoder: &ChatEncoder) -> Result<Batch, Error> {
    let inputs = args.images.iter().map(|path| image(path, encoder.spec)).collect::<Result<Vec<_>, _>>()?;
    let content = match inputs.len() {
        0 => Content::Text(args.prompt.clone()),
        count => {
            let parts = (0..count).map(Part::Image);
            Content::Parts(parts.chain([Part::Text(args.prompt.clone())]).collect())
        }
    };
    // An answer has to follow for the layout to be complete; it is cut off again.
    let answer = Assistant { content: Some(Content::Text("x".to_owned())), ..Assistant::default() };
    let messages = vec![Message::User(content), Message::Assistant(answer)];
    let sample = Sample { messages, tools: Vec::new(), images: vec![(); inputs.len()] };
    let sizes: Vec<(u32, u32)> = inputs.iter().map(|input| (input.grid.width, input.grid.height)).collect();
    let encoded = encoder.encode(&sample, &sizes).map_err(|finding| Error::argument(finding.message))?;
    let length = encoded.counts.runs.first().filter(|run| !run.trained).map_or(0, |run| run.tokens);
    let images = inputs.into_iter().map(|input| Image {
        pixels: input.pixels.into(),
        rows: input.grid.rows as usize,
        columns: input.grid.columns as usize,
    });
    let sequence = Sequence {
        ids: encoded.ids[..length].to_vec(),
        trained: vec![false; length],
        images: images.collect(),
    };
    Ok(Batch::pack(&[sequence], encoder.spec.image).map_err(NetworkError::from)?)
}

fn image(path: &Path, spec: &ModelSpec) -> Result<ModelInput, Error> {
    let broken = |source| ReadError::Io { path: path.to_owned(), source };
    let limits = Limits::default();
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(broken)?;
    file.take(limits.max_bytes + 1).read_to_end(&mut bytes).map_err(broken)?;
    model_input(&bytes, spec, &limits)
        .map_err(|error| Error::argument(format!("`{}`: {error}", path.display())))
}

/// Prints tokens as soon as they are whole characters.
struct Answer<'t> {
    tekken: &'t Tekken,
    pending: Vec<u32>,
}

impl Answer<'_> {
    fn push(&mut self, token: u32) -> Result<(), Error> {
        self.pending.push(token);
        let text = self.tekken.decode(&self.pending);
        // A character of four bytes has at most four tokens; then it is broken, and printed as that.
        if text.ends_with(char::REPLACEMENT_CHARACTER) && self.pending.len() < 4 {
            return Ok(());
        }
        self.pending.clear();
        write(&text)
    }

    fn finish(&mut self) -> Result<(), Error> {
        let text = self.tekken.decode(&self.pending);
        write(&format!("{text}\n"))
    }
}

fn write(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|source| Error::Output { source })
}
