//! The plan of a training run: steps, rates, memory, time, and which targets can train on the data.
//!
//! A pure function of exact counts. Every number carries its basis: computed, published or a guess.

mod activations;
pub mod defaults;
mod fit;
mod gpu;
mod json;
mod memory;
mod schedule;
mod shape;
mod time;
mod warnings;

use crate::quality::Histogram;
use crate::target::Method;

pub use activations::{ADAPTER_BYTES, LayerStack, LayerWidths};
pub use fit::{Fit, Verdict};
pub use gpu::{GPUS, Gpu, Reached};
pub use memory::{ACTIVATIONS, Autograd, Memory, Micro, Part, USABLE_WHY};
pub use schedule::Schedule;
pub use shape::{ModelShape, SHAPES};
pub use time::{Machine, Time};

/// The basis of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// Computed from the counts and the model's sizes.
    Computed,
    /// Published by others, in this source.
    Published(&'static str),
    /// Guessed, for this reason.
    Guess(&'static str),
}

impl Basis {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Basis::Computed => "computed",
            Basis::Published(_) => "published",
            Basis::Guess(_) => "guess",
        }
    }

    /// The source or the reason.
    pub fn source(self) -> Option<&'static str> {
        match self {
            Basis::Computed => None,
            Basis::Published(source) | Basis::Guess(source) => Some(source),
        }
    }
}

/// A number and its basis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// The number.
    pub value: f64,
    /// Its basis.
    pub basis: Basis,
}

/// The counts of one split.
#[derive(Debug, Clone, Default)]
pub struct SplitCounts {
    /// Samples.
    pub samples: u64,
    /// Tokens.
    pub tokens: u64,
    /// Of these, tokens of images.
    pub image_tokens: u64,
    /// Of these, trained tokens.
    pub trained_tokens: u64,
    /// Images.
    pub images: u64,
    /// Maximum images per sample.
    pub most_images: u64,
    /// Tokens per sample.
    pub lengths: Histogram,
    /// Bytes of the largest file.
    pub largest_file: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Pixels of all images.
    pub pixels: u64,
    /// Samples with a system prompt.
    pub with_system: u64,
    /// Whether images differ in size from the first image of the dataset.
    pub sizes_differ: bool,
}

/// The counts of a dataset.
#[derive(Debug, Clone, Default)]
pub struct Dataset {
    /// The training split.
    pub train: SplitCounts,
    /// The validation split.
    pub validation: SplitCounts,
    /// Rejected rows.
    pub refused: u64,
    /// The most frequent answer and its share.
    pub top_answer: Option<(String, f64)>,
    /// Answers that are refusals, placeholders or seem cut off.
    pub doubtful_answers: u64,
    /// Where the special tokens come from, if not from a file.
    pub special_tokens: Option<&'static str>,
}

/// The requested training.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// The model.
    pub shape: &'static ModelShape,
    /// The context length in tokens.
    pub context: u64,
    /// The GPU.
    pub gpu: Gpu,
    /// The training method.
    pub method: Method,
    /// The LoRA rank.
    pub rank: u64,
    /// What is trained as whole tensors beside LoRA.
    pub whole: WholeParts,
}

/// Parts of the model that are trained as whole tensors beside LoRA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WholeParts {
    /// The layers between vision encoder and text decoder.
    pub projector: bool,
    /// The vision encoder.
    pub vision: bool,
}

impl WholeParts {
    /// The parts as `train --train-full` takes them; `None` if there are none.
    pub fn list(self) -> Option<&'static str> {
        match (self.projector, self.vision) {
            (false, false) => None,
            (true, false) => Some("projector"),
            (false, true) => Some("vision"),
            (true, true) => Some("projector,vision"),
        }
    }
}

/// A warning about the planned training.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: &'static str,
}

/// The plan of a training run.
#[derive(Debug, Clone)]
pub struct TrainingPlan {
    /// The requested training.
    pub wish: Wish,
    /// The counts of the dataset.
    pub dataset: Dataset,
    /// Epochs, steps, rates.
    pub schedule: Schedule,
    /// The memory.
    pub memory: Memory,
    /// The time per epoch.
    pub time: Time,
    /// The same training on other GPUs.
    pub machines: Vec<Machine>,
    /// Which targets can train on the data.
    pub fits: Vec<Fit>,
    /// Warnings.
    pub warnings: Vec<Warning>,
}

/// Makes a plan.
pub fn plan(dataset: Dataset, wish: Wish) -> TrainingPlan {
    let batch = schedule::batch(&dataset, &wish);
    let memory = Memory::of(&dataset, &wish, batch.value);
    let schedule = Schedule::of(&dataset, &wish, batch, &memory);
    let time = Time::of(&dataset, &wish, &memory);
    let machines = time::machines(&dataset, &wish, batch.value);
    let fits = fit::all(&dataset, &wish, &time);
    let warnings = warnings::all(&dataset, &wish, &schedule, &memory);
    TrainingPlan { wish, dataset, schedule, memory, time, machines, fits, warnings }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::spec;

    /// A dataset of `samples` samples with `tokens` tokens each, a tenth of them trained.
    pub(crate) fn dataset(samples: u64, tokens: u64) -> Dataset {
        let side = |samples: u64| {
            let mut lengths = Histogram::default();
            (0..samples).for_each(|_| lengths.add(tokens));
            SplitCounts {
                samples,
                tokens: samples * tokens,
                image_tokens: samples * tokens / 2,
                trained_tokens: samples * tokens / 10,
                images: samples,
                most_images: u64::from(samples > 0),
                lengths,
                largest_file: samples * 1000,
                bytes: samples * 1000,
                pixels: samples * 512 * 512,
                ..SplitCounts::default()
            }
        };
        Dataset { train: side(samples), validation: side(samples / 10), ..Dataset::default() }
    }

    pub(crate) fn wish(gpu: &str, method: Method) -> Wish {
        let shape = ModelShape::of(&spec::PIXTRAL_12B).unwrap();
        Wish {
            shape,
            context: 131_072,
            gpu: Gpu::find(gpu).unwrap(),
            method,
            rank: 16,
            whole: WholeParts::default(),
        }
    }

    #[test]
    fn empty_dataset_has_a_plan() {
        for method in Method::ALL {
            let plan = plan(Dataset::default(), wish("h100-80gb", method));
            assert_eq!(plan.schedule.steps, [0, 0, 0]);
            assert!(plan.warnings[0].message.contains("no sample"), "{:?}", plan.warnings);
            assert!(plan.to_json().contains("\"samples\":0"));
        }
    }
}
