//! The command line that trains a job.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pixtune_core::json;

use super::JobFiles;
use crate::catalog::BaseModel;
use crate::request::job::{Hyperparameters, JobRequest};
use crate::store::Job;

/// What trains jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trainer {
    /// The words that start `pixtune`, whose command `train` is run: the program, perhaps with words before the command.
    pub program: Vec<OsString>,
    /// Another trainer, which its command `train-with` runs.
    pub external: Option<ExternalTrainer>,
}

/// Another trainer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalTrainer {
    /// Its name, or its command.
    pub command: String,
    /// The layout of the data of a command.
    pub layout: String,
}

/// The name of the slot for jobs on the CPU.
pub const CPU: &str = "cpu";

/// Checkpoints of a run that can be used as models.
const CHECKPOINTS: u32 = 3;

/// Validation samples that the model answers at each evaluation.
const EXAMPLES: u32 = 4;

/// What `pixtune plan` computes of files.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Planned {
    /// Tokens of an epoch.
    pub tokens: u64,
    /// Operations of an epoch.
    pub operations: f64,
}

impl Trainer {
    /// Runs `pixtune plan`. The error is a message.
    pub fn plan(&self, base: &Path, files: impl Iterator<Item = PathBuf>) -> Result<Planned, String> {
        let (program, leading) = self.program.split_first().ok_or("no program is known")?;
        let mut command = Command::new(program);
        command.args(leading).arg("plan").args(files).arg("--model").arg(base).args([
            "--format",
            "json",
            "--quiet",
            "--exit-zero",
        ]);
        let output = command
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("`pixtune plan` cannot be started: {error}"))?;
        let failed = || format!("`pixtune plan` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        if !output.status.success() {
            return Err(failed());
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let plan = json::parse(text.trim()).map_err(|_| failed())?.value;
        let number =
            |value: Option<&json::Value<'_>>| value.and_then(|value| json::text(value).parse::<f64>().ok());
        let tokens =
            plan.get("data").and_then(|data| data.get("train")).and_then(|train| train.get("tokens"));
        match (number(tokens), number(plan.get("operations_an_epoch"))) {
            (Some(tokens), Some(operations)) => Ok(Planned { tokens: tokens as u64, operations }),
            _ => Err(failed()),
        }
    }

    /// What a job asks for that has no effect with this trainer.
    pub fn notes(&self, request: &JobRequest) -> Vec<String> {
        let ignored = self.external.is_some() && request.hyperparameters.seq_len.is_some();
        let note = "`hyperparameters.seq_len` has no effect: the trainer of this server gets whole samples, and \
                    `batch_size` decides how many";
        ignored.then(|| note.to_owned()).into_iter().collect()
    }

    /// The words of the command line of a job in a slot.
    pub(super) fn words(
        &self,
        (job, slot): (&Job, &str),
        request: &JobRequest,
        base: &BaseModel,
        files: &JobFiles,
    ) -> Vec<OsString> {
        let mut words = self.program.clone();
        match &self.external {
            None => words.extend(own_words(request, files)),
            Some(external) => words.extend(external_words(external, slot, files)),
        }
        let mut option = |name: &str, value: OsString| words.extend([name.into(), value]);
        option("--model", base.path.clone().into());
        option("--data", files.training().into());
        option("--out", files.run().into());
        if !request.validation.is_empty() {
            option("--validation", files.validation().into());
        }
        for (name, value) in settings(job, &request.hyperparameters, base) {
            if self.external.is_none() || name != "--batch-tokens" {
                option(name, value.into());
            }
        }
        if let Some(seed) = request.seed {
            option("--seed", seed.to_string().into());
        }
        if request.wandb.is_some() {
            words.push("--tensorboard".into());
        }
        words
    }
}

/// What only `pixtune train` takes.
fn own_words(request: &JobRequest, files: &JobFiles) -> Vec<OsString> {
    let mut words: Vec<OsString> =
        vec!["train".into(), "--keep-checkpoints".into(), CHECKPOINTS.to_string().into()];
    if !request.validation.is_empty() {
        words.extend(["--samples".into(), EXAMPLES.to_string().into()]);
    }
    // Whoever interrupted a run before its first checkpoint left its plan, and `--resume` begins anew.
    if files.plan().exists() {
        words.push("--resume".into());
    }
    words
}

/// What only `pixtune train-with` takes; it continues a run that is there by itself.
fn external_words(external: &ExternalTrainer, slot: &str, files: &JobFiles) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["train-with".into(), external.command.clone().into()];
    words.extend(["--layout".into(), external.layout.clone().into()]);
    words.extend(["--export".into(), files.export().into(), "--log".into(), files.log().into()]);
    if slot == CPU {
        words.push("--on-cpu".into());
    }
    words
}

/// Hyperparameters as options; what is not given is left to the defaults of `train`.
fn settings(job: &Job, hyper: &Hyperparameters, base: &BaseModel) -> Vec<(&'static str, String)> {
    let mut options = Vec::new();
    let epochs = hyper.epochs.map(|epochs| match epochs.fract() == 0.0 {
        true => ("--epochs", (epochs as u64).to_string()),
        false => ("--steps", fractional(job.samples, epochs, hyper.batch_size).to_string()),
    });
    options.extend(hyper.steps.map(|steps| ("--steps", steps.to_string())).or(epochs));
    let multiple = hyper.learning_rate_multiplier.map(|multiplier| base.learning_rate * multiplier);
    options.extend(hyper.learning_rate.or(multiple).map(|rate| ("--learning-rate", format!("{rate:e}"))));
    options.extend(hyper.weight_decay.map(|decay| ("--weight-decay", decay.to_string())));
    // With a point it is a fraction of the steps, without one their number.
    options.extend(hyper.warmup_fraction.map(|fraction| ("--warmup", format!("{fraction:?}"))));
    match (hyper.batch_size, hyper.seq_len) {
        (Some(samples), _) => options.push(("--samples-per-step", samples.to_string())),
        (None, Some(tokens)) => options.push(("--batch-tokens", tokens.to_string())),
        (None, None) => {}
    }
    options.extend(hyper.lora_rank.map(|rank| ("--lora-rank", rank.to_string())));
    options
}

/// The steps of a part of an epoch.
fn fractional(samples: u64, epochs: f64, per_step: Option<u64>) -> u64 {
    let per_step = per_step.unwrap_or_else(|| pixtune_core::plan::defaults::samples_per_step(samples)).max(1);
    (samples as f64 * epochs / per_step as f64).round().max(1.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(hyper: Hyperparameters) -> String {
        let base = BaseModel { learning_rate: 1e-4, ..BaseModel::gone("m") };
        let job = Job::example(100);
        settings(&job, &hyper, &base).into_iter().map(|(name, value)| format!("{name} {value} ")).collect()
    }

    #[test]
    fn hyperparameters_become_options() {
        assert_eq!(words(Hyperparameters::default()), "");
        let openai = Hyperparameters {
            epochs: Some(3.0),
            batch_size: Some(4),
            learning_rate_multiplier: Some(0.5),
            ..Hyperparameters::default()
        };
        assert_eq!(words(openai), "--epochs 3 --learning-rate 5e-5 --samples-per-step 4 ");
        let mistral = Hyperparameters {
            steps: Some(10),
            epochs: Some(2.0),
            learning_rate: Some(1e-4),
            weight_decay: Some(0.1),
            warmup_fraction: Some(1.0),
            seq_len: Some(4096),
            ..Hyperparameters::default()
        };
        assert_eq!(
            words(mistral),
            "--steps 10 --learning-rate 1e-4 --weight-decay 0.1 --warmup 1.0 --batch-tokens 4096 "
        );
        let half = Hyperparameters { epochs: Some(0.5), ..Hyperparameters::default() };
        assert_eq!(words(half), "--steps 6 ");
    }
}
