//! Who can take the data as it is, and what would have to change.

use super::{Dataset, Memory, Wish};
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
}

impl Platform {
    fn new(name: &'static str, settings: Vec<String>, changes: Vec<String>) -> Platform {
        let verdict = match (settings.is_empty(), changes.is_empty()) {
            (true, true) => Verdict::AsItIs,
            (false, true) => Verdict::WithSettings,
            _ => Verdict::AfterChanges,
        };
        Platform { name, verdict, settings, changes }
    }
}

/// Every platform.
pub(super) fn all(dataset: &Dataset, wish: &Wish, memory: &Memory) -> Vec<Platform> {
    vec![
        pixtune(memory, dataset),
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

fn pixtune(memory: &Memory, dataset: &Dataset) -> Platform {
    let mut changes = Vec::new();
    if memory.micro.is_none() && dataset.train.samples > 0 {
        changes.push("a card with more memory, or shorter samples".to_owned());
    }
    Platform::new("pixtune train", vec![], changes)
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
    let most = dataset.train.most_pictures.max(dataset.validation.most_pictures);
    if most > MISTRAL.max_images as u64 {
        changes.push(format!("a sample has {most} pictures; hosted services take {}", MISTRAL.max_images));
    }
    if dataset.train.samples < MISTRAL.min_samples {
        changes.push(format!("at least {} samples", MISTRAL.min_samples));
    }
    Platform::new("server with Mistral's API", vec![], changes)
}

/// Axolotl 0.19: the collator was run on Mistral's lines; samples are neither cut nor left out by `sequence_len`.
fn axolotl(dataset: &Dataset) -> Platform {
    let settings = vec![
        format!("sequence_len: {} or more (nothing is cut to it)", longest(dataset)),
        "chat_template: pixtral, sample_packing: false".to_owned(),
    ];
    Platform::new("Axolotl 0.19", settings, system_is_dropped(dataset))
}

fn system_is_dropped(dataset: &Dataset) -> Vec<String> {
    let with = dataset.train.with_system;
    let text =
        || format!("fold the system prompt of {with} samples into a user turn: its chat template drops it");
    if with > 0 { vec![text()] } else { vec![] }
}

/// ms-swift 4.6: reads Mistral's lines; a batch of pictures of different sizes failed.
fn swift(dataset: &Dataset) -> Platform {
    let mut settings = vec![format!("--max_length {} or more", longest(dataset))];
    if dataset.train.sizes_differ {
        settings.push(
            "--per_device_train_batch_size 1: a batch with pictures of different sizes fails".to_owned(),
        );
    }
    Platform::new("ms-swift 4.6", settings, vec![])
}

/// TRL 1.16: run with a tiny model.
fn trl(dataset: &Dataset) -> Platform {
    let settings = vec![format!(
        "max_length=None or {} and more: the default of 1,024 cuts into pictures",
        longest(dataset)
    )];
    let changes = vec![
        "`messages` whose parts are {\"type\": \"image\"}, and a column `images`".to_owned(),
        "a chat template that takes lists of parts in answers: the model's own fails".to_owned(),
    ];
    Platform::new("TRL 1.16", settings, changes)
}

/// LLaMA-Factory 0.9.5: run up to the collator.
fn llama_factory(dataset: &Dataset, wish: &Wish) -> Platform {
    let side = wish.shape.patch.0 * if wish.shape.patch.1 > 1 { 110 } else { 64 };
    let settings = vec![
        format!("cutoff_len: {} or more, else pictures are cut in two", longest(dataset)),
        format!("image_max_pixels: {} or more; the default shrinks pictures to 768×768", side * side),
    ];
    let changes = vec!["`<image>` places in the text and picture files beside it".to_owned()];
    Platform::new("LLaMA-Factory 0.9.5", settings, changes)
}

/// Unsloth (zoo 2026.10.7): read, not run.
fn unsloth(dataset: &Dataset) -> Platform {
    let mut settings = vec![format!("max_seq_length={} or more", longest(dataset))];
    let decoded = dataset.train.pixels * 3;
    if decoded > 8_000_000_000 {
        settings.push(format!(
            "pictures opened one by one: a list of them decoded takes {:.0} GB of memory",
            decoded as f64 / 1e9
        ));
    }
    let changes = vec![
        "parts {\"type\": \"image\", \"image\": …} with opened pictures (its collator; not run here)"
            .to_owned(),
    ];
    Platform::new("Unsloth 2026.10", settings, changes)
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
        set.train.most_pictures = 9;
        assert_eq!(verdict(&set, "Mistral").changes.len(), 3);
        assert_eq!(verdict(&set, "Axolotl").verdict, Verdict::WithSettings);
        set.train.with_system = 5;
        assert_eq!(verdict(&set, "Axolotl").verdict, Verdict::AfterChanges);
        assert_eq!(verdict(&set, "pixtune train").verdict, Verdict::AsItIs);
    }
}
