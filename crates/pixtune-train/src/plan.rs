//! A run whose every number is known before its first step: `plan.json`.

use std::borrow::Cow;
use std::fs;
use std::path::PathBuf;

use pixtune_core::json::{self, Value, differences, document, object, spaced};

use crate::data::{Dataset, Epoch, Packing};
use crate::directory::{RunDirectory, names};
use crate::error::TrainError;
use crate::schedule::Schedule;
use crate::settings::{InvalidSamples, Length, Settings};

/// A file that the run depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its path as the user named it.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// BLAKE3 of its contents; `None` for weights, which would take minutes to read.
    pub blake3: Option<String>,
}

/// What a dataset holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DatasetSize {
    /// Samples.
    pub samples: u64,
    /// Tokens of all samples.
    pub tokens: u64,
    /// Tokens that count in the loss.
    pub trained_tokens: u64,
}

/// The plan of a run: settings, and what follows from them and the data.
#[derive(Debug, Clone)]
pub struct RunPlan {
    /// The settings.
    pub settings: Settings,
    /// The model directory as the user named it.
    pub model: PathBuf,
    /// Steps of the whole run.
    pub steps: u64,
    /// Steps of the first epoch; later epochs differ a little, because their order of samples differs.
    pub steps_per_epoch: u64,
    /// The learning rate of each step.
    pub schedule: Schedule,
    /// Steps between evaluations.
    pub eval_every: u64,
    /// Steps between checkpoints.
    pub save_every: u64,
    /// How samples are packed into batches.
    pub packing: Packing,
    /// The training split.
    pub train: DatasetSize,
    /// The validation split, if there is one.
    pub validation: Option<DatasetSize>,
    /// What the run reads: configuration, weights, tokenizer and data.
    pub inputs: Vec<Input>,
}

impl RunPlan {
    /// Derives the plan of a run.
    pub fn new(
        settings: Settings,
        model: PathBuf,
        mut inputs: Vec<Input>,
        train: &Dataset<'_>,
        validation: Option<&Dataset<'_>>,
    ) -> Result<RunPlan, TrainError> {
        settings.check()?;
        let Settings { batch_tokens, accumulate, seed, .. } = settings;
        let packing = Packing { batch_tokens, accumulate, seed };
        let epoch_steps = |number| Epoch::new(train.entries(), packing, number).steps() as u64;
        let steps_per_epoch = epoch_steps(0);
        let steps = match settings.length {
            Length::Steps(steps) => steps,
            Length::Epochs(epochs) => steps_per_epoch + (1..epochs).map(epoch_steps).sum::<u64>(),
        };
        add_files(&mut inputs, train);
        validation.into_iter().for_each(|dataset| add_files(&mut inputs, dataset));
        let eval_every = settings.eval_every.unwrap_or_else(|| steps.div_ceil(10).max(1));
        let warmup = settings.warmup.steps(steps);
        Ok(RunPlan {
            schedule: Schedule { peak: settings.learning_rate, warmup, total: steps },
            eval_every,
            save_every: settings.save_every.unwrap_or(eval_every),
            steps,
            steps_per_epoch,
            packing,
            train: size(train),
            validation: validation.map(size),
            inputs,
            settings,
            model,
        })
    }

    /// Every option that the numbers of a run depend on.
    pub fn options(&self) -> Vec<(&'static str, Value<'static>)> {
        let RunPlan { settings, packing, .. } = self;
        let lora = &settings.lora;
        let invalid_samples = match settings.invalid_samples {
            InvalidSamples::Refuse => "refuse",
            InvalidSamples::Skip => "skip",
        };
        vec![
            ("model", text(self.model.display())),
            ("steps", number(self.steps)),
            ("lora_rank", number(lora.rank)),
            ("lora_alpha", number(lora.alpha)),
            ("rslora", Value::Bool(lora.rslora)),
            ("lora_dropout", number(lora.dropout)),
            ("targets", text(&lora.targets)),
            ("train_full", if lora.whole.is_empty() { Value::Null } else { text(&lora.whole) }),
            ("load_in_4bit", if settings.load_in_4bit { Value::Bool(true) } else { Value::Null }),
            ("learning_rate", number(settings.learning_rate)),
            ("warmup_steps", number(self.schedule.warmup)),
            ("weight_decay", number(settings.weight_decay)),
            ("max_grad_norm", number(settings.max_grad_norm)),
            ("batch_tokens", number(packing.batch_tokens)),
            ("accumulate", number(packing.accumulate)),
            ("eval_every", number(self.eval_every)),
            ("eval_metric", settings.metric.map_or(Value::Null, |metric| text(metric.name()))),
            ("eval_samples", settings.metric.map_or(Value::Null, |metric| number(metric.samples))),
            ("patience", settings.patience.map_or(Value::Null, number)),
            ("seed", number(packing.seed)),
            (INVALID_SAMPLES, text(invalid_samples)),
        ]
    }

    /// The options and inputs: a run is only resumed where all of them are the same.
    fn identity(&self) -> Vec<(Cow<'static, str>, Value<'static>)> {
        let options = self.options().into_iter().map(|(name, value)| (Cow::Borrowed(name), value));
        let inputs = self.inputs.iter().map(|Input { path, bytes, blake3 }| {
            let members = [("bytes", number(bytes)), ("blake3", blake3.as_ref().map_or(Value::Null, text))];
            let members = members.map(|(name, value)| (Cow::Borrowed(name), value));
            (Cow::Owned(format!("input {path}")), Value::Object(members.into()))
        });
        options.chain(inputs).collect()
    }

    /// `plan.json`: what the run depends on, and what follows from it.
    pub fn to_json(&self, trained_parameters: usize) -> String {
        let size = |size: DatasetSize| {
            spaced(object(move |data| {
                data.field("samples", size.samples)
                    .field("tokens", size.tokens)
                    .field("trained_tokens", size.trained_tokens);
            }))
        };
        let identity = self.identity();
        let identity = object(|plan| {
            plan.fields(identity.iter().map(|(name, value)| (name, spaced(value))));
        });
        document(object(|file| {
            file.field("pixtune", env!("CARGO_PKG_VERSION"))
                .field("plan", identity)
                .field("save_every", self.save_every)
                .field("steps_per_epoch", self.steps_per_epoch)
                .field("trained_parameters", trained_parameters)
                .field("train", size(self.train))
                .field("validation", size(self.validation.unwrap_or_default()));
        }))
    }

    /// Refuses to resume a run that was started with other options or inputs, and names them. A run may become longer: the
    /// result is then its length before.
    ///
    /// A longer run has the learning rate of its new schedule from the step that it has reached, as transformers' Trainer does,
    /// and the order of samples that a run of the new length has from the beginning.
    pub fn check_resumes(&self, directory: &RunDirectory) -> Result<Option<u64>, TrainError> {
        let path = directory.join(names::PLAN);
        let damaged = |reason: String| TrainError::Damaged { path: path.clone(), reason };
        let text = fs::read_to_string(&path).map_err(|error| damaged(error.to_string()))?;
        let saved = json::parse(&text).map_err(|error| damaged(error.to_string()))?.value;
        let before = saved.get("plan").filter(|plan| plan.as_object().is_some());
        let before = before.ok_or_else(|| damaged("it has no `plan`".to_owned()))?;
        let mut differences = differences(before, &Value::Object(self.identity()));
        // A sample may turn out to be invalid during the run; the user then decides to skip it.
        differences.retain(|difference| difference.key != INVALID_SAMPLES);
        // An option that a run of an earlier version did not have, and that is not set here either.
        differences
            .retain(|difference| difference.before.is_some() || difference.now.as_deref() != Some("null"));
        let shorter = match before.get("steps") {
            Some(Value::Number(steps)) => steps.parse().ok().filter(|steps| *steps < self.steps),
            _ => None,
        };
        if shorter.is_some() {
            differences.retain(|difference| !FOLLOW_FROM_LENGTH.contains(&difference.key.as_str()));
        }
        match differences.is_empty() {
            true => Ok(shorter),
            false => Err(TrainError::OtherPlan { path: directory.path().to_owned(), differences }),
        }
    }
}

/// Options that change when a run becomes longer.
const FOLLOW_FROM_LENGTH: [&str; 3] = ["steps", "warmup_steps", "eval_every"];

/// The option that may change when a run is resumed.
const INVALID_SAMPLES: &str = "invalid_samples";

fn add_files(inputs: &mut Vec<Input>, dataset: &Dataset<'_>) {
    for file in dataset.files() {
        let blake3 = Some(file.blake3.clone());
        let input = Input { path: file.name.clone(), bytes: file.bytes, blake3 };
        // The same file may be trained on and evaluated on, to see how well a dataset is memorized.
        if !inputs.contains(&input) {
            inputs.push(input);
        }
    }
}

fn size(dataset: &Dataset<'_>) -> DatasetSize {
    let (tokens, trained_tokens) = dataset.tokens();
    DatasetSize { samples: dataset.entries().len() as u64, tokens, trained_tokens }
}

fn number(number: impl ToString) -> Value<'static> {
    Value::Number(Cow::Owned(number.to_string()))
}

fn text(text: impl ToString) -> Value<'static> {
    Value::String(Cow::Owned(text.to_string()))
}
