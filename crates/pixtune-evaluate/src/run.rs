//! An evaluation from the plan to the output directory.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use pixtune_core::diagnostic::Diagnostic;
use pixtune_core::phrasing::Phrasing;
use pixtune_core::score::Scorer;
use pixtune_files::{Occupant, WorkDirectory};
use pixtune_infer::{ModelDirectory, ModelError, RemoteModel, TokenizerSource, load};
use pixtune_model::adapter::Adapter;
use pixtune_model::network::NetworkOptions;

use crate::answers::{AnswerLog, Asker};
use crate::benchmark::{DIRECTORY, convert};
use crate::compare::compare;
use crate::contest::{Answers, Entrant, Files, Outcome, Rules, Standing, contest};
use crate::data::{Dataset, Hear, Kind, hash};
use crate::error::EvaluateError;
use crate::evaluation::{Evaluation, MOST_FAILURES};
use crate::judge::{Judges, PairJudgement, judge_models};
use crate::metric::Choice;
use crate::pairs::judge_pairs;
use crate::plan::{AnswerSource, Contestant, EvaluatePlan, Existing};
use crate::predictions::Predictions;
use crate::report;
use crate::scores::scores_json;
use crate::watch::Watch;
use crate::written::LinesOut;

/// The name of the mean rating, as a share of 10, in thresholds.
const JUDGE: &str = "judge";
/// The name of the share of judged pairs that the model wins.
const WIN_RATE: &str = "judge-win-rate";
/// The file that marks an output of this command.
const MARKER: &str = "scores.json";
const PREDICTIONS: &str = "predictions.jsonl";
const COMPARED: &str = "compared.jsonl";
const JUDGEMENTS: &str = "judgements.jsonl";
const LOG: &str = "answers.jsonl";

/// Evaluates a model. Nothing is left under the name of the output directory unless all of it is complete.
pub fn evaluate(plan: &EvaluatePlan, watch: &mut (dyn Watch + Send)) -> Result<Evaluation, EvaluateError> {
    let (work, log) = open_output(plan)?;
    let result = run(plan, &work, &log, watch);
    match &result {
        // What was answered stays, so that another run can go on.
        Err(_) if log.len() > 0 => {}
        Err(_) => {
            let _ = work.discard();
        }
        Ok(_) => {
            let broken = |source| EvaluateError::Write { path: plan.out.clone(), source };
            work.publish().map_err(broken)?;
        }
    }
    result
}

fn run(
    plan: &EvaluatePlan,
    work: &WorkDirectory,
    log: &AnswerLog,
    watch: &mut (dyn Watch + Send),
) -> Result<Evaluation, EvaluateError> {
    let broken = |source| EvaluateError::Write { path: plan.out.clone(), source };
    let staged = work.stage().map_err(broken)?;
    let mut kept = Kept { watch, failures: Vec::new() };
    let dataset = open_data(plan, &staged, &mut |finding| kept.finding(finding))?;
    let metric = Choice::new(plan, &dataset.profile)?;
    check_thresholds(plan, metric.scorer)?;
    let judge_models = plan.judge.as_ref().map_or(Ok(Vec::new()), judge_models)?;
    let judges =
        plan.judge.as_ref().and_then(|judge| Judges::new(judge, &judge_models, log, plan.concurrency));
    let rules = Rules {
        plan,
        dataset: &dataset,
        scorer: metric.scorer,
        labels: dataset.profile.labels(),
        judges: judges.as_ref(),
    };
    let files = [PREDICTIONS, COMPARED].map(|name| staged.join(name));
    let mut judgements = judges.as_ref().map(|_| LinesOut::create(&staged.join(JUDGEMENTS))).transpose()?;
    let mut invalid = dataset.invalid;
    let mut answers_of = |contestant, of, predictions| {
        let judgements = judgements.as_mut();
        answers_of(rules, (contestant, of), log, Files { predictions, judgements }, &mut invalid, &mut kept)
    };
    let (standing, outcomes) = answers_of(&plan.contestant, "model", &files[0])?;
    let compared = match &plan.compared {
        None => None,
        Some(other) => Some(answers_of(other, "compared", &files[1])?),
    };
    let pairs = match (&judges, &plan.judge, &compared, judgements.as_mut()) {
        (Some(judges), Some(judge), Some((base, results)), Some(lines)) if judge.pairs => {
            let models = [(&standing, &outcomes[..]), (base, &results[..])];
            Some(judge_pairs(rules, judges, models, &files, lines, &mut kept)?)
        }
        _ => None,
    };
    if let Some(lines) = judgements {
        lines.finish()?;
    }
    let comparison = compared.as_ref().and_then(|(_, base)| compare(&outcomes, base, plan.seed));
    let thresholds = plan.thresholds.iter();
    let evaluation = Evaluation {
        files: dataset.file_names().map(str::to_owned).collect(),
        samples: dataset.entries.len() as u64,
        invalid,
        thresholds: thresholds
            .map(|least| (least.clone(), reached(&metric, &standing, pairs.as_ref(), &least.name)))
            .collect(),
        metric,
        standing,
        compared: compared.as_ref().map(|(standing, _)| standing.clone()),
        comparison,
        pairs,
        costs: judges.as_ref().map(Judges::costs).unwrap_or_default(),
        failures: kept.failures,
    };
    let page = report::page(report::Found {
        plan,
        evaluation: &evaluation,
        dataset: &dataset,
        outcomes: &outcomes,
        base: compared.as_ref().map(|(_, outcomes)| &outcomes[..]),
        files: &files,
    })?;
    for (name, text) in [(MARKER, scores_json(plan, &evaluation)), ("report.html", page)] {
        let path = staged.join(name);
        fs::write(&path, text).map_err(|source| EvaluateError::Write { path, source })?;
    }
    Ok(evaluation)
}

/// Hears everything and keeps the first findings.
struct Kept<'w> {
    watch: &'w mut (dyn Watch + Send),
    failures: Vec<Diagnostic>,
}

impl Watch for Kept<'_> {
    fn finding(&mut self, diagnostic: &Diagnostic) {
        if self.failures.len() < MOST_FAILURES {
            self.failures.push(diagnostic.clone());
        }
        self.watch.finding(diagnostic);
    }

    fn note(&mut self, text: &str) {
        self.watch.note(text);
    }

    fn answered(&mut self, done: u64, of: u64, name: &str) {
        self.watch.answered(done, of, name);
    }
}

/// The work directory, and the answers that are there already.
fn open_output(plan: &EvaluatePlan) -> Result<(WorkDirectory, AnswerLog), EvaluateError> {
    let path = || plan.out.clone();
    let broken = |source| EvaluateError::Write { path: plan.out.clone(), source };
    let occupant = Occupant::of(&plan.out, MARKER).map_err(broken)?;
    match occupant {
        Occupant::Foreign | Occupant::NotADirectory => return Err(EvaluateError::Foreign { path: path() }),
        Occupant::Ours if plan.existing == Existing::Keep => {
            return Err(EvaluateError::Exists { path: path() });
        }
        Occupant::Ours | Occupant::Nothing => {}
    }
    let log = WorkDirectory::path_for(&plan.out).map_err(broken)?.join(LOG);
    let has_answers = fs::metadata(&log).is_ok_and(|about| about.len() > 0);
    if has_answers && plan.existing == Existing::Keep {
        return Err(EvaluateError::Unfinished { path: path() });
    }
    let work = WorkDirectory::open(&plan.out)?;
    let keep: &[&str] = if plan.existing == Existing::Resume { &[LOG] } else { &[] };
    work.clear(keep).map_err(broken)?;
    let answers = AnswerLog::open(&log).map_err(broken)?;
    if plan.existing == Existing::Resume && occupant == Occupant::Ours {
        for name in [PREDICTIONS, COMPARED, JUDGEMENTS] {
            let earlier = plan.out.join(name);
            if earlier.is_file() {
                answers.import(&earlier).map_err(broken)?;
            }
        }
    }
    Ok((work, answers))
}

fn open_data(plan: &EvaluatePlan, staged: &Path, hear: &mut Hear<'_>) -> Result<Dataset, EvaluateError> {
    if let (Some(choice), Some(data)) = (&plan.benchmark, &plan.data) {
        let (samples, invalid) = convert(choice, data, staged, plan.limit, hear)?;
        let mut dataset = Dataset::open(&samples, Kind::Conversations, plan, hear)?;
        dataset.invalid += invalid;
        dataset.rename(plan.out.join(DIRECTORY).join(samples.file_name().unwrap_or_default()));
        return Ok(dataset);
    }
    let (path, kind) = match (&plan.data, plan.contestant.source.predictions()) {
        (Some(data), _) => (data, Kind::Conversations),
        (None, Some(predictions)) => (predictions, Kind::Predictions),
        (None, None) => return Err(EvaluateError::NoSamples { name: String::new() }),
    };
    Dataset::open(path, kind, plan, hear)
}

/// Gets the answers of one contestant and scores them.
fn answers_of(
    rules: Rules<'_>,
    (contestant, of): (&Contestant, &'static str),
    log: &AnswerLog,
    files: Files<'_>,
    invalid: &mut u64,
    watch: &mut (dyn Watch + Send),
) -> Result<(Standing, Vec<Outcome>), EvaluateError> {
    let plan = rules.plan;
    let entrant =
        |answers, phrasings, threads| Entrant { name: &contestant.name, of, answers, phrasings, threads };
    let result = match &contestant.source {
        AnswerSource::Endpoint(options) => {
            let model = RemoteModel::new(options.clone())?;
            let identity = format!("{} at {}", options.model, options.endpoint);
            let asker = Asker::new(&model, identity, log, plan.concurrency);
            let answers = Answers::Model(asker);
            contest(rules, &entrant(&answers, &plan.phrasings, plan.concurrency), files, watch)?
        }
        AnswerSource::Local { model, adapter } => {
            let directory = ModelDirectory::open(model, &TokenizerSource::DirectoryOrBuiltIn)?;
            let opened = adapter.as_deref().map(|path| Adapter::open(path, None)).transpose()?;
            note_model(&directory, opened.as_ref(), watch);
            let device = plan.device.open(plan.threads).map_err(ModelError::from)?;
            let identity = [Some(model), adapter.as_ref()].map(|path| path.map(|path| stamp(path)));
            let in_4bit = if plan.load_in_4bit { ", in 4 bits" } else { "" };
            let identity = format!("local {identity:x?} on {}{in_4bit}", device.name());
            let options = NetworkOptions { load_in_4bit: plan.load_in_4bit, ..NetworkOptions::default() };
            let loaded = load(&directory, opened.as_ref(), options, device)?;
            let answers = Answers::Model(Asker::new(&*loaded, identity, log, 1));
            contest(rules, &entrant(&answers, &plan.phrasings, 1), files, watch)?
        }
        AnswerSource::Predictions(file) => {
            let mut predictions =
                Predictions::open(file, plan.threads, &mut |finding| watch.finding(finding))?;
            let matched = predictions
                .matched(rules.dataset, plan.limit.is_some(), &mut |finding| watch.finding(finding))?;
            // In predictions with their references, a line that cannot be used is an invalid sample already.
            if rules.dataset.kind == Kind::Conversations || plan.contestant.source.predictions() != Some(file)
            {
                *invalid += predictions.invalid;
            }
            let phrasings: Vec<Phrasing> =
                predictions.phrasings.iter().map(|name| Phrasing::named(name)).collect();
            let answers = Answers::Predictions { predictions: &predictions, matched };
            // A judge is asked as any endpoint; without one, answers are only read.
            let threads = if plan.judge.is_some() { plan.concurrency } else { plan.threads };
            contest(rules, &entrant(&answers, &phrasings, threads), files, watch)?
        }
    };
    let (standing, outcomes) = result;
    if standing.count(|tally| tally.scored) == 0 {
        return Err(EvaluateError::NothingAnswered {
            contestant: contestant.name.clone(),
            samples: outcomes.len() as u64,
            is_file: contestant.source.predictions().is_some(),
            reason: standing.failures.first.unwrap_or_default(),
        });
    }
    Ok((standing, outcomes))
}

/// Passes on what is wrong with a model that can be used.
fn note_model(directory: &ModelDirectory, adapter: Option<&Adapter>, watch: &mut dyn Watch) {
    for warning in directory.checkpoint().config().warnings() {
        watch.note(&format!("warning: {}: {warning}", directory.path().display()));
    }
    if directory.tokenizer().is_none() {
        let path = directory.path().display();
        watch.note(&format!("`{path}` has no tekken.json: using the built-in vocabulary of Pixtral 12B"));
    }
    for warning in adapter.into_iter().flat_map(|adapter| &adapter.warnings) {
        watch.note(&format!("warning: {warning}"));
    }
}

/// Changes with every file of a model directory. Of weights, which take minutes to read, only parts are compared.
fn stamp(directory: &Path) -> u128 {
    let mut files: Vec<(String, PathBuf)> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .collect();
    files.sort();
    let stamps = files.iter().map(|(name, path)| format!("{name} {:?}", stamp_of_file(path).ok()));
    hash(stamps.collect::<Vec<_>>().join("\n").as_bytes())
}

/// Length and content of a file; of a large one, blocks at equal distances.
fn stamp_of_file(path: &Path) -> io::Result<(u64, u128)> {
    const BLOCKS: u64 = 256;
    const BLOCK: u64 = 64 << 10;
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut bytes = Vec::new();
    if length <= BLOCKS * BLOCK {
        file.read_to_end(&mut bytes)?;
        return Ok((length, hash(&bytes)));
    }
    for block in 0..BLOCKS {
        file.seek(SeekFrom::Start((length - BLOCK) / (BLOCKS - 1) * block))?;
        file.by_ref().take(BLOCK).read_to_end(&mut bytes)?;
    }
    Ok((length, hash(&bytes)))
}

/// Rejects thresholds of scores that this run does not have.
fn check_thresholds(plan: &EvaluatePlan, scorer: Scorer) -> Result<(), EvaluateError> {
    let mut known: Vec<String> = vec![scorer.family().id().to_owned()];
    known.extend(scorer.named([(); 3]).into_iter().map(|(name, ())| name.to_owned()));
    known.dedup();
    known.extend(plan.judge.as_ref().map(|_| JUDGE.to_owned()));
    known.extend(plan.judge.as_ref().filter(|judge| judge.pairs).map(|_| WIN_RATE.to_owned()));
    match plan.thresholds.iter().find(|threshold| !known.contains(&threshold.name)) {
        Some(unknown) => Err(EvaluateError::UnknownScore { name: unknown.name.clone(), known }),
        None => Ok(()),
    }
}

/// The score of a name, over all phrasings, with failed answers as wrong ones.
fn reached(metric: &Choice, standing: &Standing, pairs: Option<&PairJudgement>, name: &str) -> f64 {
    if name == metric.scorer.family().id() {
        return standing.score_with_failures();
    }
    if name == JUDGE {
        let judgement = standing.judgement.as_ref();
        return judgement.map_or(0.0, |judgement| judgement.first.mean_with_failures()) / 10.0;
    }
    if name == WIN_RATE {
        return pairs.map_or(0.0, PairJudgement::win_rate_with_failures);
    }
    let Some(level) = metric.scorer.names().iter().position(|known| *known == name) else { return 0.0 };
    let scores = standing.phrasings.iter().map(|(_, tally)| {
        let (scored, failed) = (tally.scored as f64, tally.failed as f64);
        tally.level_scores()[level].map_or(0.0, |score| score * scored / (scored + failed))
    });
    pixtune_core::score::Spread::of(scores).map_or(0.0, |spread| spread.mean)
}
