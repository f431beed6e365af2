//! The README of an export: what it holds, how to install the trainer, how to run, resume and evaluate.

use pixtune_core::text::{counted, grouped, shell_word};
use pixtune_io::manifest::OutputFile;

use super::Context;
use crate::trainer::Layout;

pub(super) fn text(context: &Context<'_>) -> String {
    let trainer = context.trainer;
    let mut out = String::new();
    if matches!(trainer.layout, Layout::Parts | Layout::PromptCompletion | Layout::Chats) {
        front_matter(context, &mut out);
    }
    out.push_str(&format!("# Training data for {}\n\n", trainer.name));
    let splits = ["training", "validation", "test"].iter().zip(context.files);
    let counts: Vec<String> = splits
        .filter(|(_, files)| !files.is_empty())
        .map(|(name, files)| {
            let samples = samples(context, name);
            format!("{} for {name} in {}", counted(samples, "sample"), counted(data_files(files), "file"))
        })
        .collect();
    out.push_str(&format!(
        "Written by pixtune {}: {}. The longest sample has {} tokens as {} counts them.\n",
        env!("CARGO_PKG_VERSION"),
        counts.join(", "),
        grouped(context.longest),
        context.spec.id,
    ));
    out.push_str(
        "`rejected.jsonl` lists the samples that are not here, each with its line and the reason.\n",
    );
    out.push_str(&usage(context));
    out
}

/// Files that hold samples, without an index.
fn data_files(files: &[OutputFile]) -> u64 {
    files.iter().filter(|file| !file.path.ends_with(".json")).count() as u64
}

fn samples(context: &Context<'_>, split: &str) -> u64 {
    let [training, validation] = context.samples;
    match split {
        "training" => training,
        "validation" => validation,
        _ => context.test_samples,
    }
}

/// What `datasets` reads of a README: which files are which split.
fn front_matter(context: &Context<'_>, out: &mut String) {
    out.push_str("---\nconfigs:\n- config_name: default\n  data_files:\n");
    for (split, files) in ["train", "validation", "test"].iter().zip(context.files) {
        if !files.is_empty() {
            out.push_str(&format!("  - split: {split}\n    path: data/{split}-*\n"));
        }
    }
    out.push_str("---\n\n");
}

/// Commands and notes of a trainer.
fn usage(context: &Context<'_>) -> String {
    let trainer = context.trainer;
    let mut out = String::new();
    let guide = trainer.guide;
    if !guide.install.is_empty() {
        // Those that load 4-bit weights need it; Axolotl and Unsloth depend on it.
        let more = if context.is_quantized() { " bitsandbytes" } else { "" };
        out.push_str(&format!("\n## Install\n\n```sh\n{}{more}\n```\n", guide.install));
    }
    match trainer.tested {
        "" => out.push_str("\nNot run here: it needs a GPU or a service. The files follow its source or its documentation.\n"),
        tested => {
            out.push_str(&format!(
                "\nTested with {tested}. Other versions may read the files differently.\n"
            ));
        }
    }
    for (title, command) in
        [("Train", guide.run), ("Resume", guide.resume), ("Try", guide.evaluate), ("Read", guide.read)]
    {
        if !command.is_empty() {
            let language = if title == "Read" { "python" } else { "sh" };
            out.push_str(&format!("\n## {title}\n\n```{language}\n{command}\n```\n"));
        }
    }
    if !guide.adapter.is_empty() && !context.is_full() {
        out.push_str(&format!(
            "\nThe adapter is in `{}`. `pixtune adapter check {}` shows what a server will apply of it.\n",
            guide.adapter, guide.adapter
        ));
    }
    if !guide.adapter.is_empty() && !context.is_full() {
        out.push_str(&format!(
            "\n## Evaluate\n\nServe the adapter, and score its answers to the prepared validation split:\n\n```sh\nvllm serve {base} \
             --enable-lora --lora-modules tuned={adapter} --max-lora-rank {rank}\npixtune evaluate PREPARED/validation.jsonl --endpoint \
             http://localhost:8000/v1 --served-model tuned --out evaluation\n```\n",
            base = shell_word(&context.settings.base_model),
            adapter = guide.adapter,
            rank = context.rank().next_power_of_two().max(8),
        ));
    }
    if !guide.notes.is_empty() {
        out.push_str("\n## Notes\n\n");
        guide.notes.iter().for_each(|note| out.push_str(&format!("- {note}\n")));
    }
    out
}
