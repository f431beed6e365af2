//! `pixtune train`.

mod data;
mod tables;
mod view;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use pixtune_core::text::grouped;
use pixtune_io::prepare::parse_bytes;
use pixtune_model::kernels::CpuKernels;
use pixtune_model::network::{LoraConfig, Network, NetworkError, NetworkOptions, Targets};
use pixtune_train::data::data_files;
use pixtune_train::directory::{Directory, Start, names};
use pixtune_train::dry_run::forecast;
use pixtune_train::model::{Choice, Model};
use pixtune_train::progress::Progress;
use pixtune_train::settings::{Length, Plan, Settings, Unusable};
use pixtune_train::trainer::{Run, train};
use pixtune_train::{TrainError, checkpoint, report};

use self::data::Data;
use self::view::View;
use crate::Outcome;
use crate::args::{TrainArgs, UnusableArg};
use crate::error::Error;
use crate::ui::{self, Format};

pub fn run(args: &TrainArgs) -> Result<Outcome, Error> {
    let settings = settings(args)?;
    let options = NetworkOptions {
        activation_budget: args
            .activation_memory
            .as_deref()
            .map(parse_bytes)
            .transpose()
            .map_err(Error::argument)?,
    };
    let stop = stop_when_asked()?;
    let mut ui = View::new(args.format, args.quiet);
    let model = Model::open(&args.model, &choice(args))?;
    model.checkpoint().config().warnings().for_each(|warning| ui.note(&format!("warning: {warning}")));
    let files = data_files(&args.data, args.validation.as_deref()).map_err(TrainError::from)?;
    if let Some(remark) =
        files.manifest.as_ref().map(|manifest| model.check_manifest(manifest)).transpose()?.flatten()
    {
        ui.note(&format!("warning: {remark}"));
    }
    let directory = if args.dry_run { None } else { Some(Directory::open(&args.out, start(args))?) };
    let data = Data::index(args, &files, &model, &settings, &mut ui)?;
    let plan =
        Plan::new(settings, args.model.clone(), model.inputs()?, &data.train, data.validation.as_ref())?;
    let kernels =
        CpuKernels::new(plan.settings.threads).map_err(NetworkError::from).map_err(TrainError::from)?;
    let mut network =
        Network::load(kernels, model.checkpoint(), &plan.settings.lora, options).map_err(TrainError::from)?;
    let Some(directory) = directory else {
        let forecast = forecast(&plan, &mut network, &data.train)?;
        ui.end();
        tell(args.format, &tables::forecast(&plan, &forecast), &tables::forecast_json(&plan, &forecast))?;
        return Ok(data.outcome(0));
    };
    let plan_json = plan.to_json(network.trained_parameters());
    let progress = match args.resume {
        true => resume(&plan, &directory, &mut network, &ui)?,
        false => Progress::default(),
    };
    directory.write(names::PLAN, plan_json.as_bytes())?;
    ui.note(tables::plan(&plan, network.trained_parameters()).trim_end());
    ui.begin(&plan, &progress);
    let run = Run {
        plan: &plan,
        network: &mut network,
        train: &data.train,
        validation: data.validation.as_ref(),
        directory: &directory,
        stop: &stop,
    };
    let result = train(run, progress, &mut ui);
    ui.end();
    report::write(&directory, &plan)?;
    let summary = result?;
    tell(args.format, &tables::closing(args, &plan, &summary, &ui), &tables::summary_json(&summary))?;
    Ok(data.outcome(summary.left_out))
}

fn tell(format: Format, table: &str, json: &str) -> Result<(), Error> {
    ui::put(if format == Format::Json { json } else { table })
}

fn settings(args: &TrainArgs) -> Result<Settings, Error> {
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let cache = parse_bytes(&args.cache).map_err(Error::argument)?;
    let settings = Settings {
        lora: LoraConfig {
            rank: args.lora_rank,
            alpha: args.lora_alpha,
            rslora: args.rslora,
            dropout: args.lora_dropout,
            targets: Targets::parse(&args.targets).map_err(TrainError::from)?,
            seed: args.seed,
        },
        learning_rate: args.learning_rate,
        length: match (args.steps, args.epochs) {
            (Some(steps), _) => Length::Steps(steps),
            (None, epochs) => Length::Epochs(epochs.unwrap_or(3)),
        },
        batch_tokens: args.batch_tokens,
        accumulate: args.accumulate,
        warmup: args.warmup.parse().map_err(Error::argument)?,
        weight_decay: args.weight_decay,
        max_grad_norm: args.max_grad_norm,
        eval_every: args.eval_every,
        patience: args.patience,
        save_every: args.save_every,
        keep: args.keep_checkpoints,
        seed: args.seed,
        unusable: match args.invalid_samples {
            UnusableArg::Refuse => Unusable::Refuse,
            UnusableArg::Skip => Unusable::Skip,
        },
        threads: args.threads.map_or(available, usize::from),
        cache_bytes: usize::try_from(cache).map_err(Error::argument)?,
    };
    settings.check()?;
    Ok(settings)
}

fn choice(args: &TrainArgs) -> Choice {
    match &args.tokenizer {
        None => Choice::Beside,
        Some(name) if name == Path::new("pixtral-12b") => Choice::BuiltIn,
        Some(path) => Choice::File(path.clone()),
    }
}

fn start(args: &TrainArgs) -> Start {
    match (args.resume, args.force) {
        (true, _) => Start::Resume,
        (_, true) => Start::Replace,
        _ => Start::Fresh,
    }
}

/// Ctrl-C and SIGTERM ask for an end after the batch under way; a second Ctrl-C ends at once.
fn stop_when_asked() -> Result<Arc<AtomicBool>, Error> {
    let stop = Arc::new(AtomicBool::new(false));
    let failed = |source| Error::Signal { source };
    // The order matters: the first signal finds the flag down and only raises it.
    signal_hook::flag::register_conditional_shutdown(signal_hook::consts::SIGINT, 130, Arc::clone(&stop))
        .map_err(failed)?;
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(failed)?;
    }
    Ok(stop)
}

/// Goes on from the newest checkpoint of the same run.
fn resume(
    plan: &Plan,
    directory: &Directory,
    network: &mut Network<'_, CpuKernels>,
    ui: &View,
) -> Result<Progress, TrainError> {
    plan.check_same(directory)?;
    let progress = checkpoint::restore(directory, network)?;
    match progress.step {
        0 => ui.note("no checkpoint was written yet: starting from the beginning"),
        step => ui.note(&format!("going on after step {} of {}", grouped(step), grouped(plan.steps))),
    }
    Ok(progress)
}
