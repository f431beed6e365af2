//! What a user can choose about a run, and what follows from it once the data is known.

use std::path::PathBuf;

use pixtune_core::json::{self, Value, quoted};
use pixtune_model::network::LoraConfig;

use crate::data::{Dataset, Epoch, Packing};
use crate::directory::{Directory, names};
use crate::error::TrainError;
use crate::schedule::{Schedule, Warmup};

/// How long a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So many passes over the data.
    Epochs(u64),
    /// So many steps, through as many passes as they take.
    Steps(u64),
}

/// What becomes of samples that cannot be trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unusable {
    /// The run does not start.
    #[default]
    Refuse,
    /// They are told and left out.
    Skip,
}

/// Everything a user can choose about the training itself.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The adapter.
    pub lora: LoraConfig,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// How long.
    pub length: Length,
    /// Tokens of a batch at most.
    pub batch_tokens: u32,
    /// Batches of a step.
    pub accumulate: u32,
    /// How long the learning rate rises.
    pub warmup: Warmup,
    /// AdamW's weight decay.
    pub weight_decay: f64,
    /// Longer gradients are scaled down to this.
    pub max_grad_norm: f64,
    /// Steps between evaluations; by default a tenth of the run.
    pub eval_every: Option<u64>,
    /// Evaluations without a better one after which the run ends.
    pub patience: Option<u64>,
    /// Steps between checkpoints; by default as evaluations.
    pub save_every: Option<u64>,
    /// Checkpoints that are kept.
    pub keep: usize,
    /// Draws the order of samples, the adapter's first values and dropout.
    pub seed: u64,
    /// What becomes of samples that cannot be trained on.
    pub unusable: Unusable,
    /// Threads to decode and compute on.
    pub threads: usize,
    /// Bytes of decoded samples that are kept in memory.
    pub cache_bytes: usize,
}

impl Settings {
    /// Refuses what makes no sense before any work is done.
    pub fn check(&self) -> Result<(), TrainError> {
        self.lora.check()?;
        let refuse = |reason: &str| Err(TrainError::Setting { reason: reason.to_owned() });
        let positive = |number: f64| number.is_finite() && number > 0.0;
        match self {
            _ if !positive(self.learning_rate) => refuse("--learning-rate is a number above 0"),
            _ if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) => {
                refuse("--weight-decay is a number from 0")
            }
            _ if !positive(self.max_grad_norm) => refuse("--max-grad-norm is a number above 0"),
            _ if matches!(self.length, Length::Epochs(0) | Length::Steps(0)) => {
                refuse("a run has at least one step")
            }
            _ if self.batch_tokens == 0 || self.accumulate == 0 => refuse("a step has at least one batch"),
            _ if self.accumulate > 65_536 => refuse("--accumulate is at most 65,536"),
            _ if self.eval_every == Some(0) || self.save_every == Some(0) => {
                refuse("`every` is at least one step")
            }
            _ if self.patience == Some(0) => refuse("--patience is at least one evaluation"),
            _ => Ok(()),
        }
    }
}

/// A file that the run depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its name as the user gave it.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// BLAKE3 of its bytes; of weights, whose reading would take minutes, none.
    pub blake3: Option<String>,
}

/// A run whose every number is known before its first step.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The choices.
    pub settings: Settings,
    /// The model's directory as the user gave it.
    pub model: PathBuf,
    /// Steps of the whole run.
    pub steps: u64,
    /// Steps of the first epoch; later ones differ a little, because samples come in another order.
    pub steps_per_epoch: u64,
    /// The learning rate of each step.
    pub schedule: Schedule,
    /// Steps between evaluations.
    pub eval_every: u64,
    /// Steps between checkpoints.
    pub save_every: u64,
    /// How samples are put together.
    pub packing: Packing,
    /// Samples, tokens and trained tokens of an epoch.
    pub train: [u64; 3],
    /// The same of validation.
    pub validation: [u64; 3],
    /// What the run reads: its configuration, tokenizer and data.
    pub inputs: Vec<Input>,
}

impl Plan {
    /// Works out the run.
    pub fn new(
        settings: Settings,
        model: PathBuf,
        mut inputs: Vec<Input>,
        train: &Dataset<'_>,
        validation: Option<&Dataset<'_>>,
    ) -> Result<Plan, TrainError> {
        settings.check()?;
        let Settings { batch_tokens, accumulate, seed, .. } = settings;
        let packing = Packing { batch_tokens, accumulate, seed };
        let epoch_steps = |number| Epoch::new(train.entries(), packing, number).steps() as u64;
        let steps_per_epoch = epoch_steps(0);
        let steps = match settings.length {
            Length::Steps(steps) => steps,
            Length::Epochs(epochs) => steps_per_epoch + (1..epochs).map(epoch_steps).sum::<u64>(),
        };
        for file in train.files().iter().chain(validation.iter().flat_map(|data| data.files())) {
            let blake3 = Some(file.blake3.clone());
            let input = Input { path: file.name.clone(), bytes: file.bytes, blake3 };
            // The same file may be trained on and held out, to see how a set is learned by heart.
            if !inputs.contains(&input) {
                inputs.push(input);
            }
        }
        let sizes = |data: &Dataset<'_>| {
            let (tokens, trained) = data.tokens();
            [data.entries().len() as u64, tokens, trained]
        };
        let eval_every = settings.eval_every.unwrap_or_else(|| steps.div_ceil(10).max(1));
        let warmup = settings.warmup.steps(steps);
        Ok(Plan {
            schedule: Schedule { peak: settings.learning_rate, warmup, total: steps },
            eval_every,
            save_every: settings.save_every.unwrap_or(eval_every),
            steps,
            steps_per_epoch,
            packing,
            train: sizes(train),
            validation: validation.map_or([0; 3], sizes),
            inputs,
            settings,
            model,
        })
    }

    /// Name and value (JSON text) of every choice that the numbers of a run depend on.
    pub fn choices(&self) -> Vec<(&'static str, String)> {
        let Settings { lora, .. } = &self.settings;
        let mut choices = Vec::new();
        let mut push = |name, value| choices.push((name, value));
        push("model", quoted(&self.model.display().to_string()));
        push("steps", self.steps.to_string());
        push("lora_rank", lora.rank.to_string());
        push("lora_alpha", lora.alpha.to_string());
        push("rslora", lora.rslora.to_string());
        push("lora_dropout", lora.dropout.to_string());
        push("targets", quoted(&lora.targets.to_string()));
        push("learning_rate", self.settings.learning_rate.to_string());
        push("warmup_steps", self.schedule.warmup.to_string());
        push("weight_decay", self.settings.weight_decay.to_string());
        push("max_grad_norm", self.settings.max_grad_norm.to_string());
        push("batch_tokens", self.packing.batch_tokens.to_string());
        push("accumulate", self.packing.accumulate.to_string());
        push("eval_every", self.eval_every.to_string());
        push("patience", self.settings.patience.map_or("null".to_owned(), |patience| patience.to_string()));
        push("seed", self.packing.seed.to_string());
        let skip = self.settings.unusable == Unusable::Skip;
        push("invalid_samples", quoted(if skip { "skip" } else { "refuse" }));
        choices
    }

    /// Name and value (JSON text) of everything the numbers of a run depend on: a run goes on only where all are the same.
    fn decides(&self) -> Vec<(String, String)> {
        let mut members: Vec<(String, String)> =
            self.choices().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        for Input { path, bytes, blake3 } in &self.inputs {
            let blake3 = blake3.as_deref().map_or("null".to_owned(), quoted);
            members.push((format!("input {path}"), format!("{{\"bytes\": {bytes}, \"blake3\": {blake3}}}")));
        }
        members
    }

    /// Refuses to go on with a run that was another.
    pub fn check_same(&self, directory: &Directory) -> Result<(), TrainError> {
        let path = directory.join(names::PLAN);
        let damaged = |reason: String| TrainError::Damaged { path: path.clone(), reason };
        let text = std::fs::read_to_string(&path).map_err(|error| damaged(error.to_string()))?;
        let value = json::parse(&text).map_err(|error| damaged(error.to_string()))?.value;
        let before = value
            .get("plan")
            .and_then(Value::as_object)
            .ok_or_else(|| damaged("it has no `plan`".to_owned()))?;
        let compact =
            |text: &str| json::parse(text).map_or_else(|_| text.to_owned(), |json| json.value.to_string());
        let now: Vec<(String, String)> =
            self.decides().into_iter().map(|(name, value)| (name, compact(&value))).collect();
        let was: Vec<(String, String)> =
            before.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let find = |members: &[(String, String)], name: &str| {
            members
                .iter()
                .find(|(other, _)| other == name)
                .map_or("nothing".to_owned(), |(_, value)| value.clone())
        };
        let all = was.iter().chain(&now).map(|(name, _)| name);
        // How samples that cannot be used are treated may change: it does so when one turns up on the way.
        let mut all = all.filter(|name| *name != "invalid_samples");
        match all.find(|name| find(&was, name) != find(&now, name)) {
            None => Ok(()),
            Some(name) => Err(TrainError::OtherPlan {
                path: directory.path().to_owned(),
                name: name.clone(),
                before: find(&was, name),
                now: find(&now, name),
            }),
        }
    }

    /// `plan.json`: what decides, and what follows from it.
    pub fn to_json(&self, trained_parameters: usize) -> String {
        let object = |members: &[(String, String)]| {
            let lines = members.iter().map(|(name, value)| format!("    {}: {value}", quoted(name)));
            lines.collect::<Vec<_>>().join(",\n")
        };
        let data = |[samples, tokens, trained]: [u64; 3]| {
            format!("{{\"samples\": {samples}, \"tokens\": {tokens}, \"trained_tokens\": {trained}}}")
        };
        format!(
            "{{\n  \"pixtune\": {},\n  \"plan\": {{\n{}\n  }},\n  \"save_every\": {},\n  \"steps_per_epoch\": {},\n  \
             \"trained_parameters\": {trained_parameters},\n  \"train\": {},\n  \"validation\": {}\n}}\n",
            quoted(env!("CARGO_PKG_VERSION")),
            object(&self.decides()),
            self.save_every,
            self.steps_per_epoch,
            data(self.train),
            data(self.validation),
        )
    }
}
