//! `pixtune export`.

mod installed;

use std::path::Path;

use pixtune_core::diagnostic::Diagnostic;
use pixtune_core::json::{self, list, object};
use pixtune_core::plan::{TrainingPlan, WholeParts, Wish};
use pixtune_core::text::{counted, counted_as, grouped};
use pixtune_core::tokens::{ChatEncoder, Layout, SystemPrompt};
use pixtune_export::trainer::{System, Trainer};
use pixtune_export::{
    ExportPlan, ExportReporter, ExportSummary, Settings, Source, default_shard_bytes, max_shard_bytes,
    run as export,
};
use pixtune_files::WorkDirectory;
use pixtune_io::image::Limits;
use pixtune_io::prepare::{Watch as _, parse_bytes};
use pixtune_io::progress::Progress;
use pixtune_io::read::Elements;

use super::{gpu, note_counting, note_passed_over, threads};
use crate::Outcome;
use crate::args::{ExportArgs, TrainingArgs};
use crate::error::Error;
use crate::interrupt;
use crate::model::Model;
use crate::ui::{self, Format, Ui, Verbosity, bytes};

/// Exports a dataset and prints what was written.
pub fn run(args: ExportArgs, verbosity: Verbosity) -> Result<Outcome, Error> {
    let model = Model::open(&args.counting.model, args.counting.tokenizer.as_deref())?;
    let plan = plan(&args, &model)?;
    let mut printer = Printer(Ui::new(args.format, verbosity));
    hint_at_resuming(&plan.out, &printer.0)?;
    note_passed_over(&plan.source.notes, verbosity);
    note_counting(&plan.encoder, model.tokenizer, &|text| printer.0.note(text));
    note_system(&plan, &printer.0);
    if let Some(warning) = plan.trainer.package.as_ref().and_then(installed::untested) {
        printer.0.note(&warning);
    }
    let result = export(&plan, &mut printer);
    printer.0.end();
    let summary = result?;
    note_images(&plan, &summary, &printer.0);
    match args.format {
        Format::Json => ui::put(&summary_json(&plan, &summary))?,
        Format::Human if verbosity == Verbosity::Quiet => {}
        Format::Human => ui::put(&closing_table(&plan, &summary))?,
    }
    Ok(Outcome::of(summary.rejected > 0, || {
        let list = plan.out.join("rejected.jsonl");
        let rejected = counted_as(summary.rejected, "sample was rejected", "samples were rejected");
        format!("{rejected}; `{}` lists the reasons", list.display())
    }))
}

fn plan(args: &ExportArgs, model: &Model) -> Result<ExportPlan<'static>, Error> {
    let trainer = Trainer::find(&args.to)
        .ok_or_else(|| Error::argument(format!("`{}` is not a trainer of the list", args.to)))?;
    // What has no configuration needs no sizes.
    let wish = match model.shape() {
        None if !trainer.layout.is_configured() => None,
        _ => Some(wish(&args.training, model)?),
    };
    let shard_bytes = match &args.shard_size {
        Some(size) => parse_bytes(size).map_err(Error::argument)?,
        None => default_shard_bytes(trainer),
    };
    if let Some(most) = max_shard_bytes(trainer).filter(|most| shard_bytes > *most) {
        let most = bytes(most);
        return Err(Error::argument(format!(
            "files of {} have at most {most}: they are written at once",
            trainer.name
        )));
    }
    let settings = Settings {
        base_model: base_model(args.base_model.as_deref(), model)?,
        tokenizer_blake3: model.tokenizer.map(|file| file.blake3.clone()),
        wish,
        run: None,
    };
    Ok(ExportPlan {
        source: Source::open(&args.inputs)?,
        trainer,
        system: system_prompt(args.system.map(SystemPrompt::from), trainer)?,
        resize_to_patches: args.resize_to_patches,
        encoder: ChatEncoder {
            spec: model.spec,
            tokenizer: model.vocabulary(),
            layout: Layout::MistralCommon,
        },
        settings,
        limits: Limits::default(),
        shard_bytes,
        out: args.out.clone(),
        resume: args.resume,
        force: args.force,
        threads: threads(args.counting.threads),
    })
}

/// The training that the arguments ask for.
pub(super) fn wish(args: &TrainingArgs, model: &Model) -> Result<Wish, Error> {
    let shape = model.shape();
    let shape = shape
        .ok_or_else(|| Error::argument(format!("the dimensions of {} are not published", model.spec.id)))?;
    Ok(Wish {
        shape: Box::leak(Box::new(shape)),
        context: model.spec.context as u64,
        gpu: gpu::gpu(args)?,
        method: args.method.into(),
        rank: args.lora_rank,
        whole: WholeParts::default(),
    })
}

/// The configuration of a trainer for a plan.
pub(super) fn configuration(
    name: &str,
    hub_name: Option<&str>,
    model: &Model,
    plan: &TrainingPlan,
) -> Result<String, Error> {
    let settings = Settings {
        base_model: base_model(hub_name, model)?,
        tokenizer_blake3: model.tokenizer.map(|file| file.blake3.clone()),
        wish: Some(plan.wish),
        run: None,
    };
    Trainer::find(name)
        .and_then(|trainer| pixtune_export::configuration(trainer, model.spec, &settings, plan))
        .ok_or_else(|| Error::argument(format!("`{name}` has no configuration")))
}

/// The model as the configuration names it: a directory by its whole path, as the trainer runs in the export.
pub(super) fn base_model(given: Option<&str>, model: &Model) -> Result<String, Error> {
    let whole = |path: &Path| {
        let whole = path.canonicalize().map_err(|source| Error::Write { path: path.to_owned(), source });
        whole.map(|path| path.display().to_string())
    };
    match (given, model.directory()) {
        (Some(name), _) if Path::new(name).is_dir() => whole(Path::new(name)),
        (Some(name), _) => Ok(name.to_owned()),
        (None, Some(directory)) => whole(directory),
        (None, None) if model.spec.id == "pixtral-12b" => Ok("mistral-community/pixtral-12b".to_owned()),
        (None, None) => Err(Error::argument(format!(
            "give the directory of {} with `--model`, or its name on a hub with `--base-model`",
            model.spec.id
        ))),
    }
}

/// What an interrupted export has finished is kept beside the output.
fn hint_at_resuming(out: &Path, ui: &Ui) -> Result<(), Error> {
    let partial =
        WorkDirectory::path_for(out).map_err(|source| Error::Write { path: out.to_owned(), source })?;
    interrupt::print_on_signals(ui, move || match partial.is_dir() {
        true => format!(
            "interrupted: finished files are kept in `{}`; run the same command with `--resume` to continue, or with \
             `--force` to start over",
            partial.display()
        ),
        false => "interrupted: nothing was written".to_owned(),
    })
}

/// What happens to system prompts. Layouts that hold messages as they are keep them.
fn system_prompt(wanted: Option<SystemPrompt>, trainer: &Trainer) -> Result<SystemPrompt, Error> {
    match (wanted, trainer.renders_text) {
        (Some(SystemPrompt::Fold), false) => Err(Error::argument(format!(
            "`--system fold` does not apply to {}: it holds messages as they are, and the system prompt stays in its own",
            trainer.name
        ))),
        (Some(wanted), _) => Ok(wanted),
        (None, true) => Ok(SystemPrompt::Fold),
        (None, false) => Ok(SystemPrompt::Keep),
    }
}

/// Prints what happens to a system message that stays one.
fn note_system(plan: &ExportPlan<'_>, ui: &Ui) {
    let name = plan.trainer.name;
    match plan.trainer.system {
        _ if plan.system == SystemPrompt::Fold => {}
        System::Elsewhere(place) => ui.note(&format!(
            "warning: {name} puts system messages {place}, and mistral-common at the start of the last user message: tokens \
             differ from those of `pixtune tokens`"
        )),
        System::Drops(why) => ui.note(&format!("warning: {name} drops system messages: {why}")),
        System::AsTheReference => {}
    }
}

/// Prints how many images the trainer resizes.
fn note_images(plan: &ExportPlan<'_>, summary: &ExportSummary, ui: &Ui) {
    if summary.resized_by_trainer > 0 && plan.trainer.renders_text {
        let spec = plan.encoder.spec;
        ui.note(&format!(
            "{} not multiples of {} pixels: transformers resizes them with another filter than mistral-common; \
             `--resize-to-patches` writes them at the size that the model sees",
            counted_as(summary.resized_by_trainer, "image has sides that are", "images have sides that are"),
            spec.patch * spec.merge
        ));
    }
}

struct Printer(Ui);

impl ExportReporter for Printer {
    fn elements(&mut self, file: &str, elements: Elements) {
        self.0.note(&format!("{file}: {}", elements.note()));
    }

    fn finding(&mut self, diagnostic: &Diagnostic) {
        self.0.finding(diagnostic);
    }

    fn progress(&mut self, progress: Progress) {
        self.0.progress(progress);
    }
}

fn closing_table(plan: &ExportPlan<'_>, summary: &ExportSummary) -> String {
    let mut out = String::new();
    let mut row = |name: &str, value: String| out.push_str(&format!("{name:<16}{value}\n"));
    row("rows", grouped(summary.rows));
    for (name, samples) in ["  train", "  validation", "  test"].into_iter().zip(summary.samples) {
        if samples > 0 {
            row(name, grouped(samples));
        }
    }
    row("  rejected", grouped(summary.rejected));
    row("images", grouped(summary.images));
    row("tokens", format!("{} ({} trained)", grouped(summary.tokens), grouped(summary.trained_tokens)));
    row("  longest", grouped(summary.longest));
    for file in &summary.outputs {
        let path = plan.out.join(&file.path).display().to_string();
        let lines = match file.path.ends_with(".parquet") || file.path.ends_with(".tar") {
            true => counted(file.lines, "sample"),
            false => counted(file.lines, "line"),
        };
        row("written", format!("{path}  {lines}  {}", bytes(file.bytes)));
    }
    row("next", format!("see {}", plan.out.join("README.md").display()));
    out
}

fn summary_json(plan: &ExportPlan<'_>, summary: &ExportSummary) -> String {
    let special_tokens = plan.encoder.special_tokens();
    let [train, validation, test] = summary.samples;
    let tokens = object(|tokens| {
        tokens.field("total", summary.tokens).field("trained", summary.trained_tokens);
        tokens.field("max_sample", summary.longest).optional("special_tokens", special_tokens);
    });
    let outputs = summary.outputs.iter().map(|file| {
        object(move |output| {
            output.field("path", &file.path).field("bytes", file.bytes).field("lines", file.lines);
        })
    });
    json::line(object(|out| {
        out.field("to", plan.trainer.id).field("rows", summary.rows);
        out.field("train", train).field("validation", validation).field("test", test);
        out.field("rejected", summary.rejected).field("images", summary.images);
        out.field("resized_by_trainer", summary.resized_by_trainer);
        out.field("tokens", tokens).field("outputs", list(outputs));
    }))
}
