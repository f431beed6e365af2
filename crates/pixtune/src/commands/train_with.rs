//! `pixtune train-with`: a job of `serve` that another trainer runs.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pixtune_core::diagnostic::Diagnostic;
use pixtune_core::metrics::Record;
use pixtune_core::text::counted_as;
use pixtune_core::tokens::{ChatEncoder, Layout};
use pixtune_export::external::{ExternalReporter, ExternalRun, TrainerCommand, train};
use pixtune_export::trainer::Trainer;
use pixtune_export::{ExportPlan, ExportReporter, RunSettings, Settings, Source, default_shard_bytes};
use pixtune_io::image::Limits;
use pixtune_io::progress::Progress;
use pixtune_io::read::Elements;
use pixtune_train::metrics::MetricsWriter;
use pixtune_train::report::{ComparedRun, compare};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::{export, threads};
use crate::Outcome;
use crate::args::TrainWithArgs;
use crate::error::Error;
use crate::model::Model;

/// Trains, and writes what `pixtune train` would write.
pub fn run(args: &TrainWithArgs) -> Result<Outcome, Error> {
    let stopped = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register(signal, Arc::clone(&stopped)).map_err(|source| Error::Signal { source })?;
    }
    let command = TrainerCommand::parse(&args.trainer).map_err(Error::argument)?;
    let model = Model::open_without_option(&args.model.to_string_lossy())?;
    let run = ExternalRun {
        export: plan(args, &command, &model)?,
        command,
        model: args.model.clone(),
        out: args.out.clone(),
        log: args.log.clone(),
    };
    let summary = train(run, &mut Printer, &|| stopped.load(Ordering::Relaxed))?;
    write_pages(args)?;
    Ok(Outcome::of(summary.rejected > 0, || {
        let rejected = counted_as(summary.rejected, "sample was rejected", "samples were rejected");
        format!("{rejected}; `{}` lists the reasons", args.export.join("rejected.jsonl").display())
    }))
}

fn plan(args: &TrainWithArgs, command: &TrainerCommand, model: &Model) -> Result<ExportPlan<'static>, Error> {
    let trainer = match command {
        TrainerCommand::Known(trainer) => trainer,
        TrainerCommand::Template(_) => Trainer::find(&args.layout)
            .ok_or_else(|| Error::argument(format!("`{}` is not a layout", args.layout)))?,
    };
    let mut files = vec![args.data.clone()];
    files.extend(args.validation.clone());
    let run = RunSettings {
        steps: args.steps,
        epochs: args.epochs,
        samples_per_step: args.samples_per_step,
        learning_rate: args.learning_rate,
        weight_decay: args.weight_decay,
        warmup: args.warmup,
        seed: args.seed,
        on_cpu: args.on_cpu,
    };
    Ok(ExportPlan {
        source: Source::open(&files)?,
        trainer,
        system: trainer.system.default_place(),
        // The images that the model sees in training are those of the reference.
        resize_to_patches: true,
        encoder: ChatEncoder {
            spec: model.spec,
            tokenizer: model.vocabulary(),
            layout: Layout::MistralCommon,
        },
        settings: Settings {
            base_model: export::base_model(None, model)?,
            tokenizer_blake3: model.tokenizer.map(|file| file.blake3.clone()),
            wish: Some(export::wish(&args.training, model)?),
            run: Some(run),
        },
        limits: Limits::default(),
        shard_bytes: default_shard_bytes(trainer),
        out: args.export.clone(),
        resume: false,
        force: true,
        threads: threads(args.threads.map(usize::from)),
    })
}

/// The page of the run, and events for TensorBoard.
fn write_pages(args: &TrainWithArgs) -> Result<(), Error> {
    let page = compare(&[ComparedRun::read(&args.out)?]);
    let path = args.out.join("report.html");
    write(&path, page.as_bytes())?;
    if args.tensorboard {
        let path = args.out.join("metrics.jsonl");
        let length = path.metadata().map_err(|source| Error::Write { path: path.clone(), source })?.len();
        MetricsWriter::open(path, length)?.write_events(args.out.join("tensorboard"))?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    pixtune_files::write(path, bytes).map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Prints to the log of the job.
struct Printer;

impl ExportReporter for Printer {
    fn elements(&mut self, file: &str, elements: Elements) {
        eprintln!("{file}: {}", elements.note());
    }

    fn finding(&mut self, diagnostic: &Diagnostic) {
        eprintln!("{diagnostic}");
    }

    fn progress(&mut self, _: Progress) {}
}

impl ExternalReporter for Printer {
    fn note(&mut self, text: &str) {
        eprintln!("{text}");
    }

    fn record(&mut self, _: &Record) -> std::io::Result<()> {
        Ok(())
    }
}
