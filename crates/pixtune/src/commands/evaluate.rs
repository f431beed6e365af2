//! `pixtune evaluate`.

mod compare;
mod judge;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pixtune_core::diagnostic::Diagnostic;
use pixtune_core::phrasing::Phrasing;
use pixtune_core::score::{Family, Variant};
use pixtune_core::text::counted;
use pixtune_evaluate::{
    AnswerSource, Benchmark, BenchmarkChoice, Contestant, EvaluatePlan, Evaluation, Existing, Threshold,
    Watch, evaluate, junit, scores_line,
};
use pixtune_infer::{RemoteOptions, Sampling};
use pixtune_io::image::Limits;
use pixtune_io::prepare::Watch as _;
use pixtune_io::side_files::references_name;

use super::threads;
use crate::Outcome;
use crate::args::{EvaluateArgs, MetricArg, VariantArg};
use crate::error::Error;
use crate::ui::{self, Format, Ui, Verbosity};

/// Evaluates a model.
pub fn run(args: EvaluateArgs, verbosity: Verbosity) -> Result<Outcome, Error> {
    let plan = plan(&args)?;
    let mut watch = Shown { ui: Ui::new(args.format, verbosity), started: false };
    if let (None, Some(path)) = (&args.references, &plan.references) {
        watch.ui.note(&format!("references: those in `{}` (set them with `--references`)", path.display()));
    }
    let evaluation = evaluate(&plan, &mut watch)?;
    watch.ui.end();
    if let Some(path) = &args.junit {
        let broken = |source| Error::Write { path: path.clone(), source };
        pixtune_files::write(path, junit(&evaluation).as_bytes()).map_err(broken)?;
    }
    match args.format {
        Format::Json => ui::put(&scores_line(&plan, &evaluation))?,
        Format::Human => ui::put(&table::text(&plan, &evaluation))?,
    }
    Ok(Outcome::of(!evaluation.is_fine(), || reason(&evaluation)))
}

/// Why the exit code is 1.
fn reason(evaluation: &Evaluation) -> String {
    match evaluation.missed().next() {
        Some((threshold, reached)) => {
            format!("{} is {reached:.4}, below the {} of `--fail-under`", threshold.name, threshold.least)
        }
        None if evaluation.invalid > 0 => {
            format!("{} cannot be evaluated", counted(evaluation.invalid, "sample"))
        }
        None => "some samples have no score; `--resume` asks for their answers again".to_owned(),
    }
}

/// Shows findings, and how many answers are there.
struct Shown {
    ui: Ui,
    started: bool,
}

impl Watch for Shown {
    fn finding(&mut self, diagnostic: &Diagnostic) {
        self.ui.finding(diagnostic);
    }

    fn note(&mut self, text: &str) {
        self.ui.note(text);
    }

    fn answered(&mut self, done: u64, of: u64, name: &str) {
        if !self.started || done == 1 {
            self.ui.start_bar("{bar:20} {pos}/{len} answers  {eta_precise} left  {wide_msg}", of, done);
            self.started = true;
        }
        self.ui.advance(done, name);
    }
}

fn plan(args: &EvaluateArgs) -> Result<EvaluatePlan, Error> {
    if let Some(parent) = args.junit.as_ref().and_then(|path| path.parent())
        && !parent.as_os_str().is_empty()
        && !parent.is_dir()
    {
        return Err(Error::argument(format!("--junit: the directory `{}` does not exist", parent.display())));
    }
    if args.model.is_some() {
        args.device.find()?;
    }
    let benchmark = benchmark(args)?;
    let (family, variant) = metric(args, benchmark.as_ref());
    let contestant = contestant(args)?;
    let compared = compare::compared(args, &contestant)?;
    Ok(EvaluatePlan {
        data: args.data.clone(),
        references: args.references.clone().or_else(|| match benchmark {
            Some(_) => None,
            None => references_beside(args.data.as_deref()),
        }),
        benchmark,
        fetch: args.fetch.options(Limits::default().max_bytes)?,
        contestant,
        compared,
        judge: judge::plan(args)?,
        family,
        variant,
        tolerance: tolerance(args.tolerance)?,
        phrasings: phrasings(args.phrasings.as_deref())?,
        sampling: Sampling::new(args.temperature, args.seed).map_err(Error::argument)?,
        max_tokens: args.max_tokens,
        limit: args.limit,
        concurrency: usize::from(args.concurrency),
        device: args.device,
        load_in_4bit: args.load_in_4bit,
        threads: threads(args.threads),
        seed: args.seed,
        thresholds: args.fail_under.iter().map(|text| threshold(text)).collect::<Result<_, _>>()?,
        out: args.out.clone(),
        existing: match (args.resume, args.force) {
            (true, _) => Existing::Resume,
            (false, true) => Existing::Replace,
            (false, false) => Existing::Keep,
        },
    })
}

/// The references that `prepare` wrote beside the samples: of the validation split of a directory, or of the split of a file.
pub(super) fn references_beside(data: Option<&Path>) -> Option<PathBuf> {
    let data = data?;
    let found = match data.is_dir() {
        true => data.join(references_name("validation")),
        false => {
            let name = data.file_name()?.to_str()?;
            let split = name.split(['.', '-']).next()?;
            data.with_file_name(references_name(split))
        }
    };
    found.is_file().then_some(found)
}

/// The benchmark, and what its prompts end with.
fn benchmark(args: &EvaluateArgs) -> Result<Option<BenchmarkChoice>, Error> {
    let Some(benchmark) = args.benchmark.as_deref().and_then(Benchmark::find) else { return Ok(None) };
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path);
        text.map_err(|source| pixtune_io::read::ReadError::Io { path: path.clone(), source })
    };
    let instructions = args.instructions.as_ref().map(read).transpose()?;
    let instructions = instructions.map(|text| text.trim_end().to_owned());
    let variant = args.variant.map_or(Variant::Mistral, variant);
    Ok(Some(BenchmarkChoice { benchmark, variant, instructions }))
}

/// The metric: the one that was named, that of the benchmark, or the one that fits the references. `--variant` also chooses the
/// prompts of a benchmark, so a metric without that variant has its only one.
fn metric(args: &EvaluateArgs, choice: Option<&BenchmarkChoice>) -> (Option<Family>, Option<Variant>) {
    let variant = args.variant.map(variant);
    match (family(args.metric), choice) {
        (None, Some(choice)) => {
            let (family, variant) = choice.benchmark.metric(variant);
            (Some(family), variant)
        }
        (Some(family), Some(_)) => (Some(family), variant.filter(|one| family.variants().contains(one))),
        (family, None) => (family, variant),
    }
}

fn contestant(args: &EvaluateArgs) -> Result<Contestant, Error> {
    if let Some(model) = &args.model {
        let adapter = args.adapter.clone();
        let name = adapter.as_ref().unwrap_or(model).display().to_string();
        return Ok(Contestant { name, source: AnswerSource::Local { model: model.clone(), adapter } });
    }
    if let (Some(endpoint), Some(model)) = (&args.endpoint, &args.served_model) {
        let source = AnswerSource::Endpoint(remote(args, endpoint, model)?);
        return Ok(Contestant { name: model.clone(), source });
    }
    let Some(path) = &args.predictions else {
        let message = "nothing gives answers; set `--model DIR`, `--endpoint URL` with `--served-model NAME`, or `--predictions FILE`";
        return Err(Error::argument(message));
    };
    let name = path.display().to_string();
    Ok(Contestant { name, source: AnswerSource::Predictions(path.clone()) })
}

fn remote(args: &EvaluateArgs, endpoint: &str, model: &str) -> Result<RemoteOptions, Error> {
    let timeout = Duration::try_from_secs_f64(args.timeout).ok().filter(|timeout| !timeout.is_zero());
    let Some(timeout) = timeout else {
        return Err(Error::argument(format!(
            "--timeout {} is not a positive number of seconds",
            args.timeout
        )));
    };
    Ok(RemoteOptions {
        endpoint: endpoint.to_owned(),
        model: model.to_owned(),
        key: std::env::var(&args.api_key_env).ok(),
        timeout,
        retries: args.retries,
        backoff: Duration::from_millis(500),
        requests_per_minute: args.requests_per_minute,
    })
}

fn family(metric: MetricArg) -> Option<Family> {
    match metric {
        MetricArg::Auto => None,
        MetricArg::Exact => Some(Family::Exact),
        MetricArg::Relaxed => Some(Family::Relaxed),
        MetricArg::Anywhere => Some(Family::Anywhere),
        MetricArg::Anls => Some(Family::Anls),
        MetricArg::Vqa => Some(Family::Vqa),
        MetricArg::Mcq => Some(Family::Choice),
        MetricArg::Json => Some(Family::Fields),
        MetricArg::Contains => Some(Family::Contains),
        MetricArg::Number => Some(Family::Number),
    }
}

pub(super) fn variant(variant: VariantArg) -> Variant {
    match variant {
        VariantArg::Mistral => Variant::Mistral,
        VariantArg::Lmms => Variant::Lmms,
        VariantArg::Official => Variant::Official,
    }
}

fn tolerance(given: Option<f64>) -> Result<Option<f64>, Error> {
    match given {
        Some(number) if !number.is_finite() || number < 0.0 => {
            Err(Error::argument(format!("--tolerance {number} is not a number of 0 or above")))
        }
        given => Ok(given),
    }
}

/// A number of built-in phrasings, or a file of templates.
fn phrasings(given: Option<&str>) -> Result<Vec<Phrasing>, Error> {
    let Some(given) = given else { return Ok(vec![Phrasing::as_written()]) };
    if let Ok(count) = given.parse() {
        return Phrasing::built_in(count)
            .map_err(|error| Error::argument(format!("--phrasings {given}: {error}")));
    }
    let path = Path::new(given);
    let text = fs::read_to_string(path)
        .map_err(|source| pixtune_io::read::ReadError::Io { path: path.to_owned(), source })?;
    Phrasing::read(&text).map_err(|error| Error::argument(format!("`{given}`: {error}")))
}

fn threshold(text: &str) -> Result<Threshold, Error> {
    let parsed =
        text.split_once('=').and_then(|(name, least)| Some((name.trim(), least.trim().parse().ok()?)));
    match parsed {
        Some((name, least)) if (0.0..=1.0).contains(&least) => Ok(Threshold { name: name.to_owned(), least }),
        _ => Err(Error::argument(format!(
            "--fail-under {text} is not NAME=X with X from 0 to 1, such as relaxed=0.8"
        ))),
    }
}
