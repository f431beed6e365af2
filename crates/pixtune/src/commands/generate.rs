//! `pixtune generate`.

use std::fs;
use std::io::{self, Write as _};
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::thread::available_parallelism;

use pixtune_core::sample::{Content, Message, Part, Sample};
use pixtune_core::text::counted;
use pixtune_infer::{
    AnswerError, Answerer, Event, FinishReason, ModelDirectory, Request, Sampling, TokenizerSource, Usage,
    load,
};
use pixtune_io::image::{Limits, load_file};
use pixtune_io::read::ReadError;
use pixtune_model::adapter::Adapter;
use pixtune_model::network::NetworkOptions;

use super::ends_quietly;
use crate::Outcome;
use crate::args::GenerateArgs;
use crate::error::Error;
use crate::ui::{Format, Ui, Verbosity};

/// Answers a prompt.
pub fn run(args: GenerateArgs, verbosity: Verbosity) -> Result<Outcome, Error> {
    let ui = Ui::new(Format::Human, verbosity);
    let request = request(&args)?;
    let threads = args.threads.unwrap_or_else(|| available_parallelism().map_or(1, NonZero::get));
    let device = args.device.open(threads)?;
    device.gpu_name().iter().for_each(|name| ui.note(&format!("answering on {name}, in bf16")));
    let directory = open_model(&args.model, &ui)?;
    let adapter = args.adapter.as_deref().map(|path| open_adapter(path, &ui)).transpose()?;
    let other_base = adapter.as_ref().and_then(|adapter| adapter.base_warning(directory.checkpoint()));
    other_base.iter().for_each(|warning| ui.note(&format!("warning: {warning}")));
    ui.start_bar("{spinner} {msg}  {elapsed}", 1, 0);
    ui.set_text("loading the model");
    let options = NetworkOptions { load_in_4bit: args.load_in_4bit, ..NetworkOptions::default() };
    let model = load(&directory, adapter.as_ref(), options, device)?;
    ui.set_text("reading the prompt");
    match print_answer(&*model, &request, &args, &ui) {
        Ok(()) => Ok(Outcome::Fine),
        Err(error) => ends_quietly(error),
    }
}

/// The prompt as one user message, images first.
fn request(args: &GenerateArgs) -> Result<Request, Error> {
    let images = args.images.iter().map(|path| read_image(path)).collect::<Result<Vec<_>, _>>()?;
    let content = match images.len() {
        0 => Content::Text(args.prompt.clone()),
        count => {
            let parts = (0..count).map(Part::Image);
            Content::Parts(parts.chain([Part::Text(args.prompt.clone())]).collect())
        }
    };
    let conversation = Sample { messages: vec![Message::User(content)], images, ..Sample::default() };
    let sampling = Sampling::new(args.temperature, args.seed).map_err(Error::argument)?;
    Ok(Request::new(conversation, sampling, args.max_tokens))
}

fn read_image(path: &Path) -> Result<Arc<[u8]>, Error> {
    let text = path.to_string_lossy();
    if text.starts_with("http://") || text.starts_with("https://") {
        return Err(Error::argument(format!(
            "`{text}` is a URL, and --image takes a file: download it first"
        )));
    }
    // A path that leads nowhere is reported as that of any other input.
    fs::metadata(path).map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
    let image = load_file(path, &Limits::default())
        .map_err(|error| Error::argument(format!("`{}` {error}", path.display())))?;
    Ok(image.bytes.into())
}

fn open_model(path: &Path, ui: &Ui) -> Result<ModelDirectory, Error> {
    let directory = ModelDirectory::open(path, &TokenizerSource::DirectoryOrBuiltIn)?;
    directory.checkpoint().config().warnings().for_each(|warning| ui.note(&format!("warning: {warning}")));
    if directory.tokenizer().is_none() {
        ui.note("the model directory has no tekken.json: using the built-in vocabulary of Pixtral 12B");
    }
    Ok(directory)
}

fn open_adapter(path: &Path, ui: &Ui) -> Result<Adapter, Error> {
    let adapter = Adapter::open(path, None)?;
    let untrained = adapter.untrained()?.map(|untrained| untrained.to_string());
    let other = adapter.other_weights.iter().map(|name| format!("`{name}` has weights that are not applied"));
    let warnings = adapter.warnings.iter().cloned().chain(untrained).chain(other);
    warnings.for_each(|warning| ui.note(&format!("warning: {warning}")));
    Ok(adapter)
}

/// Prints the answer as it is generated.
fn print_answer(model: &dyn Answerer, request: &Request, args: &GenerateArgs, ui: &Ui) -> Result<(), Error> {
    let error = |error: AnswerError| match error {
        AnswerError::Image { index, source } => {
            Error::argument(format!("`{}` {source}", args.images[index].display()))
        }
        error => Error::Answer(error),
    };
    for event in model.answer(request).map_err(error)? {
        let event = event.map_err(error)?;
        ui.clear_bar();
        match event {
            Event::Text(text) => print(&text)?,
            Event::Token(_) | Event::ToolCalls => {}
            Event::Finished { reason, usage } => {
                print("\n")?;
                ui.note(&summary(reason, usage));
            }
        }
    }
    Ok(())
}

fn summary(reason: FinishReason, Usage { prompt_tokens, completion_tokens }: Usage) -> String {
    let stopped = match reason {
        FinishReason::Stop => "",
        FinishReason::Length => "; stopped at --max-tokens",
    };
    let prompt = counted(prompt_tokens as u64, "prompt token");
    format!("{prompt}, {}{stopped}", counted(completion_tokens as u64, "answer token"))
}

fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|source| Error::Output { source })
}
