//! Who can take the data as it is, and what would have to change.

use super::{Dataset, Method, Time, Wish};
use crate::target::MISTRAL;

/// Whether a platform takes the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it is.
    AsItIs,
    /// As it is, with settings.
    WithSettings,
    /// After a conversion or a change of the data.
    AfterChanges,
}

impl Verdict {
    /// The words in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::AsItIs => "as-it-is",
            Verdict::WithSettings => "with-settings",
            Verdict::AfterChanges => "after-changes",
        }
    }
}

/// A platform and what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// Its name, with the version that was looked at.
    pub name: &'static str,
    /// Whether it takes the data.
    pub verdict: Verdict,
    /// What has to be set.
    pub settings: Vec<String>,
    /// What has to change.
    pub changes: Vec<String>,
    /// What to know all the same.
    pub notes: Vec<String>,
    /// How we know: what was run, what was read.
    pub seen: &'static str,
}

impl Platform {
    fn new(name: &'static str, seen: &'static str, settings: Vec<String>, changes: Vec<String>) -> Platform {
        let verdict = match (settings.is_empty(), changes.is_empty()) {
            (true, true) => Verdict::AsItIs,
            (false, true) => Verdict::WithSettings,
            _ => Verdict::AfterChanges,
        };
        Platform { name, verdict, settings, changes, notes: Vec::new(), seen }
    }
}

/// Every platform.
pub(super) fn all(dataset: &Dataset, wish: &Wish, time: &Time) -> Vec<Platform> {
    vec![
        pixtune(wish, time),
        server(dataset),
        axolotl(dataset),
        swift(dataset),
        trl(dataset),
        llama_factory(dataset, wish),
        unsloth(dataset),
    ]
}

fn longest(dataset: &Dataset) -> u64 {
    dataset.train.lengths.max().max(dataset.validation.lengths.max())
}

/// Floating-point operations a second of one core: `bench/train` measured 101 billion on two virtual cores of an AMD EPYC
/// (2026-11-24), a little more than half of what a single-precision matrix product reaches there.
const CORE: f64 = 50e9;

/// Cores that a time is given for.
const CORES: f64 = 16.0;

/// This program: adapters of Pixtral, on the processor.
fn pixtune(wish: &Wish, time: &Time) -> Platform {
    let mut changes = Vec::new();
    if wish.method != Method::Lora {
        changes.push("`--method lora`: it trains adapters beside whole weights and nothing else".to_owned());
    }
    if wish.shape.patch.1 > 1 {
        changes.push("Pixtral 12B or Large: models that merge patches are not trained".to_owned());
    }
    let mut platform = Platform::new("pixtune train", "this program", vec![], changes);
    let hours = time.operations / (CORE * CORES) / 3600.0;
    let span = match hours {
        _ if hours < 1.0 => format!("{:.0} minutes", (hours * 60.0).max(1.0)),
        _ if hours < 48.0 => format!("{hours:.0} hours"),
        _ => format!("{:.0} days", hours / 24.0),
    };
    platform.notes.push(format!(
        "on the processor alone, on no card: about {span} an epoch on {CORES:.0} cores, at the 50 gigaflops a core that bench/train measured on two (guess: that {CORES:.0} do as well)"
    ));
    platform.notes.push("`pixtune train --dry-run` says what memory it takes".to_owned());
    platform
}

fn server(dataset: &Dataset) -> Platform {
    let mut changes = Vec::new();
    let megabytes = |bytes: u64| format!("{:.0} MB", bytes as f64 / 1e6);
    let largest = dataset.train.largest_file;
    if largest > MISTRAL.refused_file_bytes {
        changes.push(format!("cut the file of {}: 512 MB is the limit of one upload", megabytes(largest)));
    }
    let held_out = dataset.validation.bytes;
    if held_out > MISTRAL.max_validation_bytes {
        changes.push(format!(
            "hold out less: validation has {}, 1 MB is the limit (`prepare --validation 1MB`)",
            megabytes(held_out)
        ));
    }
    let most = dataset.train.most_images.max(dataset.validation.most_images);
    if most > MISTRAL.max_images as u64 {
        changes.push(format!("a sample has {most} images; hosted services take {}", MISTRAL.max_images));
    }
    if dataset.train.samples < MISTRAL.min_samples {
        changes.push(format!("at least {} samples", MISTRAL.min_samples));
    }
    let seen = "limits: docs.mistral.ai, text and vision fine-tuning; at least 10 samples: mistral-finetune, validate_data.py";
    let mut platform = Platform::new("server with Mistral's API", seen, vec![], changes);
    platform.notes.push(
        "Mistral's own service calls fine-tuning deprecated (docs.mistral.ai/resources/deprecated/finetuning)".to_owned(),
    );
    platform
}

/// Axolotl 0.19: the collator was run on Mistral's lines; samples are neither cut nor left out by `sequence_len`.
fn axolotl(dataset: &Dataset) -> Platform {
    let settings = vec![
        format!("sequence_len: {} or more (nothing is cut to it)", longest(dataset)),
        "chat_template: pixtral, processor_type: AutoProcessor, skip_prepare_dataset: true, remove_unused_columns: false, sample_packing: false"
            .to_owned(),
    ];
    let seen = "its collator was run on such lines; settings: docs.axolotl.ai/docs/multimodal.html";
    Platform::new("Axolotl 0.19", seen, settings, system_is_dropped(dataset))
}

fn system_is_dropped(dataset: &Dataset) -> Vec<String> {
    let with = dataset.train.with_system;
    let text =
        || format!("fold the system prompt of {with} samples into a user turn: its chat template drops it");
    if with > 0 { vec![text()] } else { vec![] }
}

/// ms-swift 4.6: reads Mistral's lines; a batch of images of different sizes failed.
fn swift(dataset: &Dataset) -> Platform {
    let mut settings = vec![format!("--max_length {} or more", longest(dataset))];
    if dataset.train.sizes_differ {
        settings
            .push("--per_device_train_batch_size 1: a batch with images of different sizes fails".to_owned());
    }
    Platform::new("ms-swift 4.6", "run on such lines", settings, vec![])
}

/// TRL 1.16: run with a tiny model. Its `assistant_only_loss` refuses data with images, so that only prompt and completion
/// keep prompts out of the loss.
fn trl(dataset: &Dataset) -> Platform {
    let settings = vec![format!(
        "max_length=None or {} and more: the default of 1,024 cuts into images",
        longest(dataset)
    )];
    let changes = vec![
        "columns `prompt` and `completion` whose parts are {\"type\": \"image\"}, and a column `images`; with `messages` prompts and images are trained as well, because `assistant_only_loss` refuses images".to_owned(),
        "a chat template that takes lists of parts in answers: the model's own fails".to_owned(),
    ];
    let seen = "run with a tiny model; trl/trainer/sft_config.py and sft_trainer.py";
    Platform::new("TRL 1.16", seen, settings, changes)
}

/// LLaMA-Factory 0.9.5: run up to the collator.
fn llama_factory(dataset: &Dataset, wish: &Wish) -> Platform {
    let side = wish.shape.patch.0 * if wish.shape.patch.1 > 1 { 110 } else { 64 };
    let settings = vec![
        format!("cutoff_len: {} or more, else images are cut in two (default 2,048)", longest(dataset)),
        format!("image_max_pixels: {} or more; the default shrinks images to 768×768", side * side),
    ];
    let changes = vec!["`<image>` places in the text and image files beside it".to_owned()];
    let seen = "run up to its collator; hparams/data_args.py and model_args.py";
    Platform::new("LLaMA-Factory 0.9.5", seen, settings, changes)
}

/// Unsloth (zoo 2026.10.7): read, not run.
fn unsloth(dataset: &Dataset) -> Platform {
    let mut settings = vec![
        format!("max_seq_length={} or more", longest(dataset)),
        "its collator with train_on_responses_only=True, instruction_part and response_part: without, prompts are trained as well"
            .to_owned(),
    ];
    let decoded = dataset.train.pixels * 3;
    if decoded > 8_000_000_000 {
        settings.push(format!(
            "images opened one by one: a list of them decoded takes {:.0} GB of memory",
            decoded as f64 / 1e9
        ));
    }
    let changes = vec!["parts {\"type\": \"image\", \"image\": …} with opened images".to_owned()];
    let seen = "read, not run: unsloth_zoo/vision_utils.py; unsloth.ai/docs/basics/vision-fine-tuning";
    Platform::new("Unsloth 2026.10", seen, settings, changes)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{dataset, wish};
    use super::super::{Method, plan};
    use super::*;

    #[test]
    fn limits_of_a_platform_are_told_where_the_data_passes_them() {
        let mut set = dataset(1000, 2000);
        let verdict = |set: &Dataset, name: &str| {
            let plan = plan(set.clone(), wish("h100-80gb", Method::Lora));
            plan.platforms.into_iter().find(|platform| platform.name.contains(name)).unwrap()
        };
        assert_eq!(verdict(&set, "Mistral").verdict, Verdict::AsItIs);
        set.train.largest_file = 600_000_000;
        set.validation.bytes = 2_000_000;
        set.train.most_images = 9;
        assert_eq!(verdict(&set, "Mistral").changes.len(), 3);
        assert_eq!(verdict(&set, "Axolotl").verdict, Verdict::WithSettings);
        set.train.with_system = 5;
        assert_eq!(verdict(&set, "Axolotl").verdict, Verdict::AfterChanges);
        let ours = verdict(&set, "pixtune train");
        assert_eq!(ours.verdict, Verdict::AsItIs);
        assert!(ours.notes[0].contains("on no card: about 32 hours an epoch on 16 cores"), "{ours:?}");
        let qlora = plan(set, wish("h100-80gb", Method::Qlora));
        assert_eq!(qlora.platforms[0].verdict, Verdict::AfterChanges);
    }
}
