//! The files beside the data: a configuration or script that leaves the data as it is, and a README.

mod axolotl;
mod llama_factory;
mod ms_swift;
mod readme;
mod run;
mod trl;
mod unsloth;
mod yaml;

use pixtune_core::plan::{TrainingPlan, Wish};
use pixtune_core::spec::ModelSpec;
use pixtune_core::split::GivenSplit;
use pixtune_core::target::Method;
use pixtune_io::manifest::OutputFile;

use crate::trainer::Trainer;
pub(crate) use run::KEPT;
pub use run::{Run, RunSettings};
use yaml::Yaml;

/// What a configuration needs to know beyond the data.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The model that is trained: a directory, or a name on a hub.
    pub base_model: String,
    /// BLAKE3 of the tokenizer file that counts; `None` for the built-in vocabulary.
    pub tokenizer_blake3: Option<String>,
    /// Model, GPU and method of the training; layouts without a configuration need none.
    pub wish: Option<Wish>,
    /// The run of a job; without one, the configuration follows the plan.
    pub run: Option<RunSettings>,
}

/// What configurations are made from.
pub(crate) struct Context<'c> {
    pub(crate) trainer: &'static Trainer,
    pub(crate) spec: &'c ModelSpec,
    pub(crate) settings: &'c Settings,
    /// The plan that a configuration follows; without one, there is no configuration.
    pub(crate) training: Option<&'c TrainingPlan>,
    /// Samples of training and validation.
    pub(crate) samples: [u64; 2],
    /// The data files of training, validation and test.
    pub(crate) files: &'c [Vec<OutputFile>],
    /// Tokens of the longest sample of training and validation.
    pub(crate) longest: u64,
    /// Samples of the test split.
    pub(crate) test_samples: u64,
}

/// A file of an export.
pub(crate) struct ConfigFile {
    pub(crate) name: &'static str,
    pub(crate) text: String,
}

/// The configuration of a trainer for a dataset that is not exported yet, or nothing if the trainer has none: the first file
/// beside the data.
pub fn configuration(
    trainer: &'static Trainer,
    spec: &ModelSpec,
    settings: &Settings,
    training: &TrainingPlan,
) -> Option<String> {
    let dataset = &training.dataset;
    let file = |split: GivenSplit, samples: u64| match samples {
        0 => vec![],
        _ => vec![OutputFile {
            path: format!("{}.parquet", split.as_str()),
            bytes: 0,
            lines: samples,
            blake3: String::new(),
        }],
    };
    let files = [
        file(GivenSplit::Train, dataset.train.samples),
        file(GivenSplit::Validation, dataset.validation.samples),
        vec![],
    ];
    let longest = dataset.train.lengths.max().max(dataset.validation.lengths.max());
    let context = Context {
        trainer,
        spec,
        settings,
        training: Some(training),
        samples: [dataset.train.samples, dataset.validation.samples],
        files: &files,
        longest,
        test_samples: 0,
    };
    let mut files = self::files(&context);
    trainer.layout.is_configured().then(|| files.swap_remove(0).text)
}

/// The files of an export beside its data.
pub(crate) fn files(context: &Context<'_>) -> Vec<ConfigFile> {
    let mut files = match context.trainer.id {
        "trl" | "trl-completion" => trl::files(context),
        "unsloth" => unsloth::files(context),
        "axolotl" => axolotl::files(context),
        "llama-factory" => llama_factory::files(context),
        "ms-swift" => ms_swift::files(context),
        _ => vec![],
    };
    files.push(ConfigFile { name: "README.md", text: readme::text(context) });
    files
}

impl Context<'_> {
    fn has_validation(&self) -> bool {
        !self.files[1].is_empty()
    }

    fn is_quantized(&self) -> bool {
        self.method() == Some(Method::Qlora)
    }

    fn is_full(&self) -> bool {
        self.method() == Some(Method::Full)
    }

    fn method(&self) -> Option<Method> {
        self.settings.wish.map(|wish| wish.method)
    }

    /// The smallest length that truncates nothing: above the longest sample, as a trainer that divides it between prompt and
    /// response rounds down.
    fn length(&self) -> u64 {
        (self.longest + 1).next_multiple_of(64)
    }

    fn rank(&self) -> u64 {
        self.settings.wish.map_or(0, |wish| wish.rank)
    }

    /// The run of a job, if the configuration is for one.
    fn run(&self) -> Option<Run> {
        self.settings.run.as_ref().zip(self.training).map(|(settings, training)| settings.resolve(training))
    }

    fn is_on_cpu(&self) -> bool {
        self.settings.run.is_some_and(|settings| settings.on_cpu)
    }

    /// What the numbers of the training come from.
    fn source(&self) -> &'static str {
        match self.settings.run {
            None => "The training that `pixtune plan` computes",
            Some(_) => "The training of the job",
        }
    }

    /// Batch, epochs or steps, and rate, under the trainer's names of epochs and scheduler.
    fn rate(&self, yaml: &mut Yaml, [epochs, scheduler]: [&str; 2]) {
        match self.run() {
            None => {
                let Some(TrainingPlan { schedule, .. }) = self.training else { return };
                yaml.set("gradient_accumulation_steps", schedule.batch.value as u64);
                yaml.set(epochs, schedule.advised_epochs.value as u64);
                yaml.set("learning_rate", decimal(schedule.learning_rate.value));
                yaml.set(scheduler, "cosine").set("warmup_steps", schedule.warmup_steps);
            }
            Some(run) => {
                yaml.set("gradient_accumulation_steps", run.samples_per_step).set("max_steps", run.steps);
                yaml.set("learning_rate", decimal(run.learning_rate));
                yaml.set("weight_decay", decimal(run.weight_decay));
                yaml.set(scheduler, "cosine").set("warmup_steps", run.warmup_steps);
            }
        }
    }

    /// Batch, rate and epochs. Images differ in size, so a device gets one sample at a time.
    fn schedule(&self, yaml: &mut Yaml) {
        yaml.because("per_device_train_batch_size", 1, "per device: with N devices, divide the next by N");
        self.rate(yaml, ["num_train_epochs", "lr_scheduler_type"]);
        if self.has_validation() {
            match self.run() {
                None => yaml.set("eval_strategy", "epoch"),
                Some(run) => yaml.set("eval_strategy", "steps").set("eval_steps", run.save_steps),
            };
            yaml.set("per_device_eval_batch_size", 1);
        }
    }

    /// The precision of the computation, and where it runs if that is not a GPU.
    fn precision(&self, yaml: &mut Yaml) {
        match self.is_on_cpu() {
            false => yaml.set("bf16", true),
            true => yaml.set("bf16", false).set("use_cpu", true),
        };
    }

    /// Where the results go.
    fn saving(&self, yaml: &mut Yaml) {
        yaml.comment("Results");
        yaml.set("output_dir", "output").set("logging_steps", 1);
        let seed = match self.run() {
            None => {
                yaml.set("save_strategy", "epoch");
                42
            }
            Some(run) => {
                yaml.set("save_strategy", "steps").set("save_steps", run.save_steps);
                yaml.set("save_total_limit", KEPT);
                run.seed
            }
        };
        yaml.set("report_to", "none").set("seed", seed);
    }
}

/// The linear layers of the decoder in the checkpoint of transformers, as a regular expression: those that `pixtune plan`
/// counts.
const TARGETS: &str = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)";

/// A number as Python and YAML read it as a float: `1e-4` would be a text in YAML 1.1.
fn decimal(value: f64) -> String {
    let text = value.to_string();
    if text.contains('.') { text } else { format!("{text}.0") }
}
