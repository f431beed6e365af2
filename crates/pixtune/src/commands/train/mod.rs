//! `pixtune train`.

mod data;
mod tables;
mod view;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use pixtune_core::plan::defaults;
use pixtune_core::score::{Family, Scorer};
use pixtune_core::text::{counted, grouped};
use pixtune_evaluate::References;
use pixtune_infer::{ModelDirectory, TokenizerSource};
use pixtune_io::prepare::parse_bytes;
use pixtune_model::adapter::Adapter;
use pixtune_model::kernels::{DeviceTask, Kernels};
use pixtune_model::network::{LoraConfig, Network, NetworkOptions, Targets, WholeRegions};
use pixtune_train::data::{DataFiles, Dataset, Indexing, data_files};
use pixtune_train::directory::{RunDirectory, Start, names};
use pixtune_train::dry_run::forecast;
use pixtune_train::inputs::{adapter_input, check_manifest, model_inputs};
use pixtune_train::plan::RunPlan;
use pixtune_train::settings::{EvalMetric, InvalidSamples, Length, Settings};
use pixtune_train::state::RunState;
use pixtune_train::trainer::{Run, train};
use pixtune_train::{TrainError, checkpoint, report};
use signal_hook::consts::{SIGINT, SIGTERM};

use self::data::Data;
use self::view::View;
use super::evaluate;
use crate::Outcome;
use crate::args::{InvalidSamplesArg, TrainArgs};
use crate::error::Error;
use crate::model;
use crate::ui::{self, Format, Verbosity};

const IN_4BIT_ON_CPU: &str = "the CPU computes with the numbers of the 4-bit weights in bf16, which needs the memory of 16-bit weights; a GPU holds 4 bits";

/// Trains an adapter, or only prints the plan.
pub fn run(args: &TrainArgs, verbosity: Verbosity) -> Result<Outcome, Error> {
    let mut settings = settings(args)?;
    let options = network_options(args)?;
    let device = args.device.open(settings.threads)?;
    let stop = stop_on_signals()?;
    let mut view = View::new(args.format, verbosity, args.log_every);
    match device.gpu_name() {
        Some(name) => view.note(&format!("training on {name}, in bf16")),
        None if args.load_in_4bit => view.note(IN_4BIT_ON_CPU),
        None => {}
    }
    let model = ModelDirectory::open(&args.model, &tokenizer_source(args))?;
    settings.learning_rate = learning_rate(args, &model);
    let initial = args.init_adapter.as_deref().map(|path| Adapter::open(path, None)).transpose()?;
    if let Some(adapter) = &initial {
        let own = LoraConfig::of(adapter).map_err(TrainError::from)?;
        let (dropout, seed) = (settings.lora.dropout, settings.lora.seed);
        settings.lora = LoraConfig { dropout, seed, ..own };
        adapter.warnings.iter().for_each(|warning| view.note(&format!("warning: {warning}")));
    }
    settings.warnings().iter().for_each(|warning| view.note(&format!("warning: {warning}")));
    let files = data_files(&args.data, args.validation.as_deref()).map_err(TrainError::from)?;
    print_warnings(&model, &files, &view)?;
    let directory = match args.dry_run {
        true => None,
        false => Some(RunDirectory::open(&args.out, start(args))?),
    };
    let data = Data::index(args, &files, &model, &settings, &mut view)?;
    data.set_defaults(args, &mut settings);
    let mut inputs = model_inputs(&model)?;
    inputs.extend(initial.as_ref().map(adapter_input).transpose()?);
    let plan = RunPlan::new(settings, args.model.clone(), inputs, &data.train, data.validation.as_ref())?;
    let directory = directory.as_ref();
    let job = Job {
        args,
        plan: &plan,
        model: &model,
        options,
        data: &data,
        initial: initial.as_ref(),
        directory,
        stop: &stop,
        view: &mut view,
    };
    device.run(job)
}

/// A run that can start.
struct Job<'j> {
    args: &'j TrainArgs,
    plan: &'j RunPlan,
    model: &'j ModelDirectory,
    options: NetworkOptions,
    data: &'j Data<'j>,
    /// The adapter that the run starts with.
    initial: Option<&'j Adapter>,
    /// The output; `None` for a dry run.
    directory: Option<&'j RunDirectory>,
    stop: &'j AtomicBool,
    view: &'j mut View,
}

impl DeviceTask for Job<'_> {
    type Output = Result<Outcome, Error>;

    fn run<K: Kernels>(self, kernels: K) -> Result<Outcome, Error> {
        let lora = &self.plan.settings.lora;
        let network = Network::load(kernels, self.model.checkpoint(), lora, self.options);
        let mut network = network.map_err(TrainError::from)?;
        if let Some(adapter) = self.initial {
            network.load_adapter(adapter).map_err(TrainError::from)?;
        }
        match self.directory {
            None => self.dry_run(&mut network),
            Some(directory) => self.train(&mut network, directory),
        }
    }
}

impl Job<'_> {
    fn dry_run<K: Kernels>(self, network: &mut Network<'_, K>) -> Result<Outcome, Error> {
        let forecast = forecast(self.plan, network, &self.data.train)?;
        self.view.end();
        ui::put(&match self.args.format {
            Format::Json => tables::forecast_json(self.plan, &forecast),
            Format::Human => tables::forecast(self.plan, &forecast),
        })?;
        Ok(self.data.outcome(0))
    }

    fn train<K: Kernels>(
        self,
        network: &mut Network<'_, K>,
        directory: &RunDirectory,
    ) -> Result<Outcome, Error> {
        let Job { args, plan, data, stop, view, .. } = self;
        let plan_json = plan.to_json(network.trained_parameters());
        let state = match args.resume {
            true => resume(plan, directory, network, view)?,
            false => RunState::default(),
        };
        directory.write(names::PLAN, plan_json.as_bytes())?;
        view.note(tables::plan(plan, network.trained_parameters()).trim_end());
        view.begin(plan, &state);
        let validation = data.validation.as_ref();
        let references = references(plan, data, view)?;
        let run = Run {
            plan,
            network,
            train: &data.train,
            validation,
            directory,
            stop,
            events: args.tensorboard,
            examples: usize::from(args.samples),
            references: &references,
        };
        let result = train(run, state, view);
        view.end();
        report::write(directory, plan)?;
        let summary = result?;
        ui::put(&match args.format {
            Format::Json => tables::summary_json(&summary),
            Format::Human => tables::summary(args, plan, &summary, view),
        })?;
        Ok(data.outcome(summary.skipped))
    }
}

/// The rate that was given, or the one for models of this size.
fn learning_rate(args: &TrainArgs, model: &ModelDirectory) -> f64 {
    let weights = model.checkpoint().config().decoder_linear_weights();
    args.learning_rate.unwrap_or(defaults::learning_rate(weights))
}

/// Everything that the arguments alone decide; [`learning_rate`] and [`Data::set_defaults`] decide the rest.
fn settings(args: &TrainArgs) -> Result<Settings, Error> {
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let cache = parse_bytes(&args.cache).map_err(Error::argument)?;
    let whole = args.train_full.as_deref().map(WholeRegions::parse);
    let settings = Settings {
        lora: LoraConfig {
            rank: args.lora_rank,
            alpha: args.lora_alpha,
            rslora: args.rslora,
            dropout: args.lora_dropout,
            targets: Targets::parse(&args.targets).map_err(TrainError::from)?,
            whole: whole.transpose().map_err(TrainError::from)?.unwrap_or_default(),
            seed: args.seed,
        },
        learning_rate: args.learning_rate.unwrap_or(defaults::learning_rate(0)),
        length: match (args.steps, args.epochs) {
            (Some(steps), _) => Length::Steps(steps),
            (None, epochs) => Length::Epochs(epochs.unwrap_or(defaults::epochs(0))),
        },
        batch_tokens: args.batch_tokens.unwrap_or(defaults::MAX_BATCH_TOKENS),
        accumulate: args.accumulate.unwrap_or(1),
        warmup: args.warmup.parse().map_err(Error::argument)?,
        weight_decay: args.weight_decay,
        max_grad_norm: args.max_grad_norm,
        eval_every: args.eval_every,
        metric: metric(args)?,
        patience: args.patience,
        save_every: args.save_every,
        keep: args.keep_checkpoints,
        seed: args.seed,
        invalid_samples: match args.invalid_samples {
            InvalidSamplesArg::Refuse => InvalidSamples::Refuse,
            InvalidSamplesArg::Skip => InvalidSamples::Skip,
        },
        threads: args.threads.map_or(available, usize::from),
        load_in_4bit: args.load_in_4bit,
        cache_bytes: usize::try_from(cache).map_err(Error::argument)?,
    };
    settings.check()?;
    Ok(settings)
}

/// The metric that is computed at every evaluation.
fn metric(args: &TrainArgs) -> Result<Option<EvalMetric>, Error> {
    let Some(family) = args.eval_metric.as_deref().and_then(Family::find) else { return Ok(None) };
    let variant = args.eval_variant.map(evaluate::variant);
    let scorer = Scorer::new(family, variant, None).map_err(Error::argument)?;
    Ok(Some(EvalMetric { scorer, samples: args.eval_samples as usize }))
}

/// References that `prepare` wrote beside the validation samples. Lines that cannot be used are findings.
fn references(plan: &RunPlan, data: &Data<'_>, view: &mut View) -> Result<References, Error> {
    let files = data.validation.as_ref().filter(|_| plan.settings.metric.is_some());
    let [file] = files.map_or(&[][..], Dataset::files) else {
        if files.is_some() {
            view.note("references beside the samples are used for a single validation file only");
        }
        return Ok(References::default());
    };
    let Some(path) = evaluate::references_beside(Some(Path::new(&file.name))) else {
        return Ok(References::default());
    };
    view.note(&format!("references: those in `{}`", path.display()));
    let threads = plan.settings.threads;
    Ok(References::read(&path, threads, &mut |finding| Indexing::finding(view, finding))?)
}

fn network_options(args: &TrainArgs) -> Result<NetworkOptions, Error> {
    let budget = args.activation_memory.as_deref().map(parse_bytes).transpose();
    Ok(NetworkOptions {
        activation_budget: budget.map_err(Error::argument)?,
        load_in_4bit: args.load_in_4bit,
    })
}

fn tokenizer_source(args: &TrainArgs) -> TokenizerSource {
    model::source(args.tokenizer.as_deref(), TokenizerSource::Directory)
}

fn start(args: &TrainArgs) -> Start {
    match (args.resume, args.force) {
        (true, _) => Start::Resume,
        (_, true) => Start::Replace,
        _ => Start::Fresh,
    }
}

/// Prints what is doubtful about the model's configuration and about the data it was prepared for.
fn print_warnings(model: &ModelDirectory, files: &DataFiles, view: &View) -> Result<(), Error> {
    let manifest = check_manifest(model, files)?;
    let warnings = model.checkpoint().config().warnings().chain(manifest);
    warnings.for_each(|warning| view.note(&format!("warning: {warning}")));
    Ok(())
}

/// The first Ctrl-C or SIGTERM stops the run after the current batch, a second Ctrl-C at once.
fn stop_on_signals() -> Result<Arc<AtomicBool>, Error> {
    let stop = Arc::new(AtomicBool::new(false));
    let failed = |source| Error::Signal { source };
    // The order matters: the first signal finds the flag unset and only sets it.
    signal_hook::flag::register_conditional_shutdown(SIGINT, 130, Arc::clone(&stop)).map_err(failed)?;
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(failed)?;
    }
    Ok(stop)
}

/// Restores the newest checkpoint of the same run.
fn resume<K: Kernels>(
    plan: &RunPlan,
    directory: &RunDirectory,
    network: &mut Network<'_, K>,
    view: &View,
) -> Result<RunState, TrainError> {
    let shorter = plan.check_resumes(directory)?;
    let state = checkpoint::restore(directory, network)?;
    if let Some(steps) = shorter {
        view.note(&format!(
            "the run had {}: it continues with the learning rate of a run of {} at the step reached",
            counted(steps, "step"),
            grouped(plan.steps)
        ));
    }
    match state.step {
        0 => view.note("no checkpoint was written yet: starting from the beginning"),
        step => view.note(&format!("resuming after step {} of {}", grouped(step), grouped(plan.steps))),
    }
    Ok(state)
}
