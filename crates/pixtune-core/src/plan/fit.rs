//! Which targets can train on the data as it is, and what they require.

use super::{Dataset, Time, Wish};
use crate::target::{PLANNED, Target};
use crate::text::counted;

/// Whether a target can train on the data.
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

/// What a target requires for this dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// The target.
    pub target: &'static Target,
    /// Settings that the run needs.
    pub settings: Vec<String>,
    /// Changes that the data or the request needs.
    pub changes: Vec<String>,
    /// What else to know.
    pub notes: Vec<String>,
}

impl Fit {
    fn of(target: &'static Target, dataset: &Dataset, wish: &Wish, time: &Time) -> Fit {
        Fit {
            target,
            settings: settings(target, dataset, wish),
            changes: changes(target, dataset, wish),
            notes: notes(target, time),
        }
    }

    /// Whether the target can train on the data.
    pub fn verdict(&self) -> Verdict {
        match (self.settings.is_empty(), self.changes.is_empty()) {
            (true, true) => Verdict::AsItIs,
            (false, true) => Verdict::WithSettings,
            _ => Verdict::AfterChanges,
        }
    }
}

/// Compares every planned target.
pub(super) fn all(dataset: &Dataset, wish: &Wish, time: &Time) -> Vec<Fit> {
    PLANNED.iter().map(|target| Fit::of(target, dataset, wish, time)).collect()
}

/// Bytes of decoded images above which they are opened one by one.
const DECODED: u64 = 8_000_000_000;

fn settings(target: &Target, dataset: &Dataset, wish: &Wish) -> Vec<String> {
    let training = &target.training;
    let longest = dataset.train.lengths.max().max(dataset.validation.lengths.max());
    let decoded = dataset.train.pixels * 3;
    let mixed_sizes = training.mixed_sizes_setting.filter(|_| dataset.train.sizes_differ);
    let decoded_images = training.decoded_images_setting.filter(|_| decoded > DECODED);
    let fill = |template: &str, value: String| template.replacen("{}", &value, 1);
    let mut out = Vec::new();
    out.extend(training.length_setting.map(|setting| fill(setting, longest.to_string())));
    out.extend(training.pixels_setting.map(|setting| fill(setting, wish.shape.largest_image().to_string())));
    out.extend(training.settings.iter().map(|&setting| setting.to_owned()));
    out.extend(mixed_sizes.map(str::to_owned));
    out.extend(decoded_images.map(|setting| fill(setting, format!("{:.0}", decoded as f64 / 1e9))));
    out
}

fn changes(target: &Target, dataset: &Dataset, wish: &Wish) -> Vec<String> {
    let training = &target.training;
    let mut out = Vec::new();
    if !training.methods.contains(&wish.method) {
        let methods: Vec<&str> = training.methods.iter().map(|method| method.as_str()).collect();
        out.push(format!("`--method {}`: no other method is supported", methods.join("` or `")));
    }
    out.extend(passed_limits(target, dataset));
    let with_system = dataset.train.with_system;
    if with_system > 0 && !training.keeps_system_prompts {
        out.push(format!(
            "fold the system prompt of {} into a user message, as `pixtune export --to {}` does: the chat template drops it",
            counted(with_system, "sample"),
            target.id
        ));
    }
    out.extend(training.changes.iter().map(|&change| change.to_owned()));
    out
}

fn passed_limits(target: &Target, dataset: &Dataset) -> Vec<String> {
    let megabytes = |bytes: u64| format!("{:.0} MB", bytes as f64 / 1e6);
    let (train, validation) = (&dataset.train, &dataset.validation);
    let most_images = train.most_images.max(validation.most_images);
    let mut out = Vec::new();
    if train.largest_file > target.refused_file_bytes {
        out.push(format!(
            "split the file of {}: the limit per upload is {}",
            megabytes(train.largest_file),
            megabytes(target.refused_file_bytes)
        ));
    }
    if validation.bytes > target.max_validation_bytes {
        out.push(format!(
            "a smaller validation split: it has {}, the limit is {limit} (`prepare --validation {}`)",
            megabytes(validation.bytes),
            megabytes(target.max_validation_bytes).replace(' ', ""),
            limit = megabytes(target.max_validation_bytes),
        ));
    }
    if most_images > target.max_images as u64 {
        out.push(format!(
            "at most {} per sample: one has {most_images}",
            counted(target.max_images as u64, "image")
        ));
    }
    if train.samples < target.min_samples {
        out.push(format!("at least {}", counted(target.min_samples, "sample")));
    }
    out
}

/// CPU cores that a time is given for.
const CORES: f64 = 16.0;

fn notes(target: &Target, time: &Time) -> Vec<String> {
    let training = &target.training;
    let on_cpu = training.core_flops.map(|flops| {
        let hours = time.operations / (flops * CORES) / 3600.0;
        let span = match hours {
            _ if hours < 1.0 => format!("{:.0} minutes", (hours * 60.0).max(1.0)),
            _ if hours < 48.0 => format!("{hours:.0} hours"),
            _ => format!("{:.0} days", hours / 24.0),
        };
        format!(
            "on the CPU alone, without a GPU: about {span} per epoch on {CORES:.0} cores, at the {:.0} gigaflops per core that \
             bench/train measured on two (guess: that {CORES:.0} do as well)",
            flops / 1e9
        )
    });
    on_cpu.into_iter().chain(training.notes.iter().map(|&note| note.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::plan;
    use super::super::tests::{dataset, wish};
    use super::*;
    use crate::target::Method;

    fn fit(dataset: &Dataset, method: Method, id: &str) -> Fit {
        let plan = plan(dataset.clone(), wish("h100-80gb", method));
        plan.fits.into_iter().find(|fit| fit.target.id == id).unwrap()
    }

    #[test]
    fn limits_are_changes_where_the_data_passes_them() {
        let mut set = dataset(1000, 2000);
        assert_eq!(fit(&set, Method::Lora, "mistral").verdict(), Verdict::AsItIs);
        set.train.largest_file = 600_000_000;
        set.validation.bytes = 2_000_000;
        set.train.most_images = 9;
        assert_eq!(
            fit(&set, Method::Lora, "mistral").changes,
            [
                "split the file of 600 MB: the limit per upload is 512 MB",
                "a smaller validation split: it has 2 MB, the limit is 1 MB (`prepare --validation 1MB`)",
                "at most 8 images per sample: one has 9",
            ]
        );
    }

    #[test]
    fn dropped_system_prompts_are_a_change() {
        let mut set = dataset(1000, 2000);
        assert_eq!(fit(&set, Method::Lora, "axolotl").verdict(), Verdict::WithSettings);
        set.train.with_system = 5;
        assert_eq!(fit(&set, Method::Lora, "axolotl").verdict(), Verdict::AfterChanges);
    }

    #[test]
    fn settings_carry_the_numbers_of_the_dataset() {
        let mut set = dataset(10, 2000);
        set.train.sizes_differ = true;
        set.train.pixels = 4_000_000_000;
        assert_eq!(fit(&set, Method::Lora, "ms-swift").settings[0], "--max_length 2000 or more");
        assert_eq!(fit(&set, Method::Lora, "ms-swift").settings.len(), 2);
        assert!(fit(&set, Method::Lora, "unsloth").settings[2].contains("takes 12 GB"));
        assert!(fit(&set, Method::Lora, "llama-factory").settings[1].contains("1048576"));
    }

    #[test]
    fn pixtune_trains_adapters_on_the_cpu() {
        let set = dataset(1000, 2000);
        let ours = fit(&set, Method::Lora, "pixtune");
        assert_eq!(ours.verdict(), Verdict::AsItIs);
        assert!(ours.notes[0].contains("about 32 hours per epoch on 16 cores"), "{ours:?}");
        assert_eq!(fit(&set, Method::Qlora, "pixtune").verdict(), Verdict::AsItIs);
        assert_eq!(fit(&set, Method::Full, "pixtune").verdict(), Verdict::AfterChanges);
    }
}
