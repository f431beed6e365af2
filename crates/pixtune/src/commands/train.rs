//! `pixtune train`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use pixtune_io::prepare::parse_bytes;
use pixtune_model::kernels::CpuKernels;
use pixtune_model::network::{LoraConfig, Network, NetworkError, NetworkOptions, Targets};
use pixtune_train::data::{DataFiles, Dataset, data_files};
use pixtune_train::dry_run::{Forecast, forecast};
use pixtune_train::folder::{Folder, Start, names};
use pixtune_train::model::{Choice, Model};
use pixtune_train::progress::Progress;
use pixtune_train::settings::{Length, Plan, Settings, Unusable};
use pixtune_train::trainer::{Run, Summary, train};
use pixtune_train::{TrainError, checkpoint, report};

use crate::Outcome;
use crate::args::{TrainArgs, UnusableArg};
use crate::error::Error;
use crate::train_ui::{TrainUi, duration};
use crate::ui::{self, Format, bytes, counted, grouped};

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
    let mut ui = TrainUi::new(args.format, args.quiet);
    let model = Model::open(&args.model, &choice(args))?;
    model.checkpoint().config().warnings().for_each(|warning| ui.note(&format!("warning: {warning}")));
    let files = data_files(&args.data, args.validation.as_deref()).map_err(TrainError::from)?;
    if let Some(remark) =
        files.manifest.as_ref().map(|manifest| model.check_manifest(manifest)).transpose()?.flatten()
    {
        ui.note(&format!("warning: {remark}"));
    }
    let folder = if args.dry_run { None } else { Some(Folder::open(&args.out, start(args))?) };
    let data = Data::index(args, &files, &model, &settings, &mut ui)?;
    let plan =
        Plan::new(settings, args.model.clone(), model.inputs()?, &data.train, data.validation.as_ref())?;
    let kernels =
        CpuKernels::new(plan.settings.threads).map_err(NetworkError::from).map_err(TrainError::from)?;
    let mut network =
        Network::load(kernels, model.checkpoint(), &plan.settings.lora, options).map_err(TrainError::from)?;
    let Some(folder) = folder else {
        let forecast = forecast(&plan, &mut network, &data.train)?;
        ui.end();
        tell(args.format, &forecast_table(&plan, &forecast), &forecast_json(&plan, &forecast))?;
        return Ok(data.outcome(0));
    };
    let plan_json = plan.to_json(network.trained_parameters());
    let progress = match args.resume {
        true => resume(&plan, &folder, &mut network, &ui)?,
        false => Progress::default(),
    };
    folder.write(names::PLAN, plan_json.as_bytes())?;
    ui.begin(&plan, &progress);
    let run = Run {
        plan: &plan,
        network: &mut network,
        train: &data.train,
        validation: data.validation.as_ref(),
        folder: &folder,
        stop: &stop,
    };
    let result = train(run, progress, &mut ui);
    ui.end();
    report::write(&folder, &plan)?;
    let summary = result?;
    tell(args.format, &closing_table(args, &plan, &summary, &ui), &summary_json(&summary))?;
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

/// The indexed data of a run.
struct Data<'m> {
    train: Dataset<'m>,
    validation: Option<Dataset<'m>>,
}

impl<'m> Data<'m> {
    /// Reads every line once, and refuses a run that has nothing to train on or would leave out samples unasked.
    fn index(
        args: &TrainArgs,
        files: &DataFiles,
        model: &'m Model,
        settings: &Settings,
        ui: &mut TrainUi,
    ) -> Result<Data<'m>, Error> {
        let index = |paths: &[PathBuf], ui: &mut TrainUi| {
            let Settings { batch_tokens, threads, .. } = *settings;
            Dataset::index(paths, model.encoder(), batch_tokens as usize, threads, ui)
                .map_err(TrainError::from)
        };
        let train = index(&files.train, ui)?;
        let validation = match &files.validation[..] {
            [] => None,
            paths => Some(index(paths, ui)?),
        };
        let mut data = Data { train, validation };
        data.tell_changed_files(files, ui);
        data.refuse_unusable(settings)?;
        data.refuse_empty(args, ui)?;
        Ok(data)
    }

    fn sets(&self) -> impl Iterator<Item = &Dataset<'m>> {
        std::iter::once(&self.train).chain(&self.validation)
    }

    fn unusable(&self) -> u64 {
        self.sets().flat_map(|data| data.unusable().values()).sum()
    }

    fn refuse_unusable(&self, settings: &Settings) -> Result<(), TrainError> {
        let (unusable, usable) =
            (self.unusable(), self.sets().map(|data| data.entries().len() as u64).sum::<u64>());
        if unusable > 0 && settings.unusable == Unusable::Refuse {
            return Err(TrainError::Unusable { unusable, samples: usable + unusable });
        }
        Ok(())
    }

    fn refuse_empty(&mut self, args: &TrainArgs, ui: &TrainUi) -> Result<(), TrainError> {
        let names = |data: &Dataset<'_>| {
            data.files().iter().map(|file| format!("`{}`", file.name)).collect::<Vec<_>>().join(", ")
        };
        if self.train.entries().is_empty() {
            return Err(TrainError::NoSamples { what: names(&self.train) });
        }
        let empty = self.validation.take_if(|data| data.entries().is_empty());
        if let Some(empty) = empty {
            if args.validation.is_some() {
                return Err(TrainError::NoSamples { what: names(&empty) });
            }
            ui.note(&format!("{} has no sample", names(&empty)));
        }
        match (&self.validation, args.patience) {
            (None, Some(_)) => Err(TrainError::Setting {
                reason: "--patience needs validation data: without it no evaluation can be better or worse"
                    .to_owned(),
            }),
            (None, None) => {
                ui.note("nothing is held out: the last adapter is kept, and overfitting cannot be seen");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The data may have been edited since it was prepared; that is allowed, but it is told.
    fn tell_changed_files(&self, files: &DataFiles, ui: &TrainUi) {
        let Some(manifest) = &files.manifest else { return };
        for file in self.sets().flat_map(Dataset::files) {
            if manifest.hash_of(Path::new(&file.name)).is_some_and(|hash| hash != file.blake3) {
                ui.note(&format!("`{}` is not as `prepare` wrote it: it was changed since", file.name));
            }
        }
    }

    fn outcome(&self, left_out: u64) -> Outcome {
        if self.unusable() + left_out > 0 { Outcome::Findings } else { Outcome::Fine }
    }
}

/// Goes on from the newest checkpoint of the same run.
fn resume(
    plan: &Plan,
    folder: &Folder,
    network: &mut Network<'_, CpuKernels>,
    ui: &TrainUi,
) -> Result<Progress, TrainError> {
    plan.check_same(folder)?;
    let progress = checkpoint::restore(folder, network)?;
    match progress.step {
        0 => ui.note("no checkpoint was written yet: starting from the beginning"),
        step => ui.note(&format!("going on after step {} of {}", grouped(step), grouped(plan.steps))),
    }
    Ok(progress)
}

fn row(out: &mut String, name: &str, value: &str) {
    out.push_str(&format!("{name:<16}{value}\n"));
}

fn plan_rows(out: &mut String, plan: &Plan, trained_parameters: usize) {
    let [samples, tokens, trained] = plan.train;
    let lora = &plan.settings.lora;
    row(
        out,
        "adapter",
        &format!(
            "rank {}, alpha {}, {}: {} trained parameters",
            lora.rank,
            lora.alpha,
            lora.targets,
            grouped(trained_parameters as u64)
        ),
    );
    row(
        out,
        "an epoch",
        &format!(
            "{}, {} tokens ({} trained), {}",
            counted(samples, "sample"),
            grouped(tokens),
            grouped(trained),
            counted(plan.steps_per_epoch, "step")
        ),
    );
    let [samples, tokens, trained] = plan.validation;
    let held_out = format!(
        "{}, {} tokens ({} trained), every {}",
        counted(samples, "sample"),
        grouped(tokens),
        grouped(trained),
        counted(plan.eval_every, "step")
    );
    row(out, "validation", if samples == 0 { "none" } else { &held_out });
    let batches = counted(u64::from(plan.packing.accumulate), "batch");
    let batches = if plan.packing.accumulate == 1 { batches } else { batches.replace("batchs", "batches") };
    row(
        out,
        "the run",
        &format!(
            "{}, each of {batches} of {} tokens at most; warm-up {}",
            counted(plan.steps, "step"),
            grouped(u64::from(plan.packing.batch_tokens)),
            counted(plan.schedule.warmup, "step"),
        ),
    );
}

fn forecast_table(plan: &Plan, forecast: &Forecast) -> String {
    let mut out = String::new();
    plan_rows(&mut out, plan, forecast.trained_parameters);
    let memory = &forecast.memory;
    let total = memory.total() + forecast.waiting;
    let largest = grouped(forecast.largest_batch);
    row(&mut out, "memory", &format!("{} for the largest batch, {largest} tokens", bytes(total)));
    row(&mut out, "  weights", &bytes(memory.weights));
    row(&mut out, "  adapter", &format!("{}, gradients and optimiser included", bytes(memory.adapter)));
    let layers = memory.layers;
    let recomputed = match memory.recomputed_layers {
        0 => format!("{}, nothing is computed again", bytes(memory.kept)),
        again => format!("{}, {again} of {layers} layers are computed again", bytes(memory.kept)),
    };
    row(&mut out, "  activations", &recomputed);
    row(&mut out, "  in work", &bytes(memory.working));
    row(&mut out, "  samples", &format!("{}, waiting or kept for the next epoch", bytes(forecast.waiting)));
    for (index, step) in forecast.steps.iter().enumerate() {
        let name = format!("measured {}", index + 1);
        let rate = step.tokens as f64 / step.seconds.max(1e-9);
        let seconds =
            format!("{:.2} s for {} tokens, {rate:.0} tokens/s", step.seconds, grouped(step.tokens));
        row(&mut out, &name, &seconds);
    }
    if let Some((seconds, evaluating)) = whole_run(plan, forecast) {
        let evaluating = if plan.validation[0] == 0 {
            String::new()
        } else {
            format!(", and about {} of evaluation", duration(evaluating))
        };
        row(&mut out, "in all", &format!("about {} of training{evaluating}", duration(seconds)));
    }
    out
}

/// Seconds of all steps, and of all evaluations: a forward pass is a third of a step or less.
fn whole_run(plan: &Plan, forecast: &Forecast) -> Option<(f64, f64)> {
    let epochs = plan.steps as f64 / plan.steps_per_epoch.max(1) as f64;
    let training = forecast.seconds(plan.train[1])? * epochs;
    let evaluations = plan.steps.div_ceil(plan.eval_every) + 1;
    Some((training, forecast.seconds(plan.validation[1])? / 3.0 * evaluations as f64))
}

fn forecast_json(plan: &Plan, forecast: &Forecast) -> String {
    let memory = &forecast.memory;
    let steps: Vec<String> = forecast
        .steps
        .iter()
        .map(|step| format!("{{\"tokens\":{},\"seconds\":{:.4}}}", step.tokens, step.seconds))
        .collect();
    let [samples, tokens, trained] = plan.train;
    format!(
        "{{\"trained_parameters\":{},\"samples\":{samples},\"tokens\":{tokens},\"trained_tokens\":{trained},\
         \"steps\":{},\"steps_per_epoch\":{},\"largest_batch\":{},\"memory\":{{\"weights\":{},\"adapter\":{},\
         \"activations\":{},\"in_work\":{},\"samples\":{}}},\"recomputed_layers\":{},\"layers\":{},\"measured\":[{}]}}\n",
        forecast.trained_parameters,
        plan.steps,
        plan.steps_per_epoch,
        forecast.largest_batch,
        memory.weights,
        memory.adapter,
        memory.kept,
        memory.working,
        forecast.waiting,
        memory.recomputed_layers,
        memory.layers,
        steps.join(","),
    )
}

fn closing_table(args: &TrainArgs, plan: &Plan, summary: &Summary, ui: &TrainUi) -> String {
    let mut out = String::new();
    let Progress { step, tokens, baseline, best, last_evaluation, .. } = summary.progress;
    let early = if summary.stopped_early { ", ended early: validation got no better" } else { "" };
    let time = duration(ui.seconds());
    row(
        &mut out,
        "trained",
        &format!(
            "{} of {}, {} tokens, {time}{early}",
            counted(step, "step"),
            grouped(plan.steps),
            grouped(tokens)
        ),
    );
    if let (Some(first), Some(last)) = (ui.first_loss(), summary.final_loss) {
        row(&mut out, "loss", &format!("{first:.4} → {last:.4}"));
    }
    if let (Some((at, loss)), Some(before)) = (best, baseline) {
        let last = match last_evaluation {
            Some((last, loss)) if last != at => format!(", {loss:.4} at the end"),
            _ => String::new(),
        };
        let text = format!("{before:.4} → {loss:.4} at step {}{last}", grouped(at));
        row(&mut out, "validation", &text);
        if loss >= before {
            out.push_str("                no better than without an adapter\n");
        }
    }
    let which = match best {
        Some((at, _)) => format!("of step {}, the best", grouped(at)),
        None => format!("of step {}, the last", grouped(step)),
    };
    row(&mut out, "adapter", &format!("{} ({which})", args.out.join(names::ADAPTER).display()));
    row(&mut out, "report", &args.out.join(names::REPORT).display().to_string());
    out
}

fn summary_json(summary: &Summary) -> String {
    let number = |number: Option<f64>| number.map_or("null".to_owned(), |number| number.to_string());
    let Progress { step, tokens, baseline, best, .. } = summary.progress;
    format!(
        "{{\"steps\":{step},\"tokens\":{tokens},\"loss\":{},\"valid_loss_before\":{},\"best_step\":{},\
         \"best_valid_loss\":{},\"stopped_early\":{},\"left_out\":{}}}\n",
        number(summary.final_loss),
        number(baseline),
        best.map_or("null".to_owned(), |(step, _)| step.to_string()),
        number(best.map(|(_, loss)| loss)),
        summary.stopped_early,
        summary.left_out,
    )
}
