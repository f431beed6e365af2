//! The commands that carry out a plan.

use std::path::Path;

use pixtune_core::plan::TrainingPlan;
use pixtune_core::target::Method;
use pixtune_core::text::shell_word;

use crate::args::PlanArgs;
use crate::hub;
use crate::model::Model;

/// Commands to copy: download the model if it is not here, measure, train. None for what `train` does not do.
pub(super) fn commands(args: &PlanArgs, model: &Model, plan: &TrainingPlan) -> Vec<Vec<String>> {
    let is_trainable = plan.wish.method != Method::Full && plan.dataset.train.samples > 0;
    let [data] = &args.inputs[..] else { return Vec::new() };
    if !is_trainable {
        return Vec::new();
    }
    let directory =
        model.directory().map_or_else(|| model.spec.id.to_owned(), |path| path.display().to_string());
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut out = Vec::new();
    if !Path::new(&directory).exists()
        && let Some(id) = hub::id_of(model.spec.id)
    {
        out.push([words(&format!("hf download {id} --local-dir")), vec![shell_word(&directory)]].concat());
    }
    let mut train = words("pixtune train --model");
    train.extend([shell_word(&directory), "--data".to_owned(), shell_word(&data.to_string_lossy())]);
    train.extend(words("--out run"));
    if let Some(tokenizer) = &args.counting.tokenizer {
        train.extend(["--tokenizer".to_owned(), shell_word(&tokenizer.to_string_lossy())]);
    }
    let schedule = &plan.schedule;
    train.extend(words(&format!(
        "--lora-rank {} --learning-rate {:e} --epochs {} --warmup {} --batch-tokens {} --accumulate {}",
        plan.wish.rank,
        schedule.learning_rate.value,
        schedule.advised_epochs.value,
        schedule.warmup.value,
        schedule.batching.tokens,
        schedule.batching.batches,
    )));
    if plan.wish.method == Method::Qlora {
        train.push("--load-in-4bit".to_owned());
    }
    if let Some(whole) = plan.wish.whole.list() {
        train.extend(["--train-full".to_owned(), whole.to_owned()]);
    }
    out.push([&train[..], &["--dry-run".to_owned()]].concat());
    out.push(train);
    out
}

/// A command in lines of at most `columns` characters that a shell joins.
pub(super) fn folded(words: &[String], columns: usize) -> String {
    let (mut out, mut column) = ("  ".to_owned(), 2);
    for (index, word) in words.iter().enumerate() {
        let length = word.chars().count();
        if index > 0 && column + 1 + length + 2 > columns {
            out.push_str(" \\\n    ");
            column = 4;
        } else if index > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_long_commands_where_a_shell_joins_them() {
        let words = vec!["word".to_owned(); 30];
        assert_eq!(folded(&words[..2], 80), "  word word\n");
        let folded = folded(&words, 40);
        assert!(folded.lines().all(|line| line.chars().count() <= 40), "{folded}");
        assert_eq!(folded.replace(" \\\n    ", " ").trim(), words.join(" "));
    }
}
