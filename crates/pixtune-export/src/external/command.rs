//! What trains: a trainer whose command is known, or a command with placeholders.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use pixtune_core::text::shell_word;

use super::ExternalError;
use super::saved::Saved;
use crate::trainer::{self, Trainer};

/// What trains.
#[derive(Debug, Clone, PartialEq)]
pub enum TrainerCommand {
    /// A trainer, whose command follows from its guide.
    Known(&'static Trainer),
    /// A command for a POSIX shell, with placeholders.
    Template(String),
}

/// The placeholders of a command, and what they stand for.
pub const PLACEHOLDERS: &[(&str, &str)] = &[
    ("data", "the exported data, the directory that the command runs in"),
    ("out", "where the command writes metrics.jsonl, adapter/ and checkpoints/step-N"),
    ("model", "the directory of the base model"),
    ("plan", "a JSON file with all settings of the run"),
    ("resume", "the newest checkpoint in {out}, empty in a new run"),
    ("steps", "the steps of the run"),
    ("samples_per_step", "samples per step"),
    ("learning_rate", "peak learning rate"),
    ("weight_decay", "weight decay"),
    ("warmup_steps", "steps in which the learning rate rises"),
    ("save_steps", "steps between checkpoints"),
    ("lora_rank", "rank of the adapter"),
    ("seed", "seed of the run"),
    ("device", "cpu or cuda"),
];

/// Paths that a command gets.
pub(super) struct Paths<'p> {
    pub(super) data: &'p Path,
    pub(super) output: &'p Path,
    pub(super) model: &'p Path,
    /// The directory with the plan.
    pub(super) plan: &'p Path,
}

/// Trainers whose commands are known.
fn known() -> impl Iterator<Item = &'static Trainer> {
    trainer::ALL.iter().copied().filter(|trainer| !trainer.guide.run.is_empty())
}

impl TrainerCommand {
    /// The name of a trainer, or a command. The error is a message.
    pub fn parse(text: &str) -> Result<TrainerCommand, String> {
        if let Some(trainer) = known().find(|trainer| trainer.id == text) {
            return Ok(TrainerCommand::Known(trainer));
        }
        let mut has_out = false;
        fill(text, &mut |name| {
            has_out |= name == "out";
            PLACEHOLDERS.iter().any(|(known, _)| *known == name).then(String::new)
        })
        .map_err(|name| {
            let known: Vec<String> = PLACEHOLDERS.iter().map(|(name, _)| format!("{{{name}}}")).collect();
            format!("`{{{name}}}` is not a placeholder of a trainer's command: {} are", known.join(", "))
        })?;
        if !has_out {
            let names: Vec<&str> = known().map(|trainer| trainer.id).collect();
            return Err(format!(
                "`{text}` is neither a trainer ({}) nor a command: a command has to contain `{{out}}`, the directory that it \
                 writes to",
                names.join(", ")
            ));
        }
        Ok(TrainerCommand::Template(text.to_owned()))
    }

    /// The name in plans and messages.
    pub fn name(&self) -> &str {
        match self {
            TrainerCommand::Known(trainer) => trainer.id,
            TrainerCommand::Template(_) => "command",
        }
    }

    /// The program of a known trainer, and how it is installed.
    pub fn program(&self) -> Option<(&'static str, &'static str)> {
        match self {
            TrainerCommand::Known(trainer) => {
                let program = trainer.guide.run.split(' ').next().unwrap_or_default();
                Some((program, trainer.guide.install))
            }
            TrainerCommand::Template(_) => None,
        }
    }

    /// The command line of a run, for a shell.
    fn line(&self, paths: &Paths<'_>, saved: &Saved, checkpoint: Option<&(u64, String)>) -> String {
        let text = match (self, checkpoint) {
            (TrainerCommand::Known(trainer), None) => return trainer.guide.run.to_owned(),
            (TrainerCommand::Known(trainer), Some((step, _))) => {
                return trainer.guide.resume.replace("checkpoint-N", &format!("checkpoint-{step}"));
            }
            (TrainerCommand::Template(text), _) => text,
        };
        let run = &saved.run;
        let path = |path: &Path| shell_word(&path.to_string_lossy());
        let value = |name: &str| {
            Some(match name {
                "data" => path(paths.data),
                "out" => path(paths.output),
                "model" => path(paths.model),
                "plan" => path(&paths.plan.join("plan.json")),
                "resume" => checkpoint.map_or("''".to_owned(), |(_, name)| path(&paths.output.join(name))),
                "steps" => run.steps.to_string(),
                "samples_per_step" => run.samples_per_step.to_string(),
                "learning_rate" => run.learning_rate.to_string(),
                "weight_decay" => run.weight_decay.to_string(),
                "warmup_steps" => run.warmup_steps.to_string(),
                "save_steps" => run.save_steps.to_string(),
                "lora_rank" => saved.lora_rank.to_string(),
                "seed" => run.seed.to_string(),
                "device" => if run.on_cpu { "cpu" } else { "cuda" }.to_owned(),
                _ => return None,
            })
        };
        // Its placeholders were checked when it was parsed.
        fill(text, &mut { value }).unwrap_or_else(|_| text.clone())
    }

    /// Starts the command in the exported data.
    pub(super) fn start(
        &self,
        paths: &Paths<'_>,
        saved: &Saved,
        checkpoint: Option<(u64, String)>,
    ) -> Result<Child, ExternalError> {
        let line = self.line(paths, saved, checkpoint.as_ref());
        let mut command = Command::new("sh");
        command.arg("-c").arg(&line).current_dir(paths.data).stdin(Stdio::null());
        // Its output is shown as it comes, not when a buffer is full; its telemetry would wait for a network.
        command.env("PYTHONUNBUFFERED", "1").env("AXOLOTL_DO_NOT_TRACK", "1");
        if saved.run.on_cpu {
            command.env("CUDA_VISIBLE_DEVICES", "").env("ACCELERATE_USE_CPU", "true");
        }
        command.spawn().map_err(|source| ExternalError::Start { command: line, source })
    }

    /// Why the command failed, from what it printed to a log since a position.
    pub(super) fn failed(&self, status: ExitStatus, log: Option<(&Path, u64)>) -> ExternalError {
        let command = match self {
            TrainerCommand::Known(trainer) => trainer.guide.run.to_owned(),
            TrainerCommand::Template(text) => text.clone(),
        };
        // A shell reports the signal of its command as a code.
        let code = status.code();
        match signal(status).or(code.filter(|code| *code > 128).map(|code| code - 128)) {
            Some(signal) => ExternalError::Killed { command, signal },
            None => {
                let text = log.map(|(path, start)| tail(path, start)).unwrap_or_default();
                ExternalError::Failed { command, code: code.unwrap_or(-1), reason: reason(&text) }
            }
        }
    }
}

#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal(_: ExitStatus) -> Option<i32> {
    None
}

/// Replaces placeholders; `${NAME}` is a variable of the shell, `{{` and `}}` are braces. The error is the name of a
/// placeholder that has no value.
fn fill(text: &str, value: &mut dyn FnMut(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        let from = &rest[at..];
        let doubled = ["{{", "}}"].iter().any(|brace| from.starts_with(brace));
        let end = from.find('}');
        if doubled {
            out.push_str(&from[..1]);
            rest = &from[2..];
        } else if from.starts_with('}') || out.ends_with('$') || end.is_none() {
            out.push_str(&from[..1]);
            rest = &from[1..];
        } else {
            let end = end.unwrap_or_default();
            let name = &from[1..end];
            out.push_str(&value(name).ok_or_else(|| name.to_owned())?);
            rest = &from[end + 1..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// What was printed last.
fn tail(path: &Path, start: u64) -> String {
    const MOST: u64 = 64 << 10;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(start.max(length.saturating_sub(MOST))))?;
        let mut bytes = Vec::new();
        file.take(MOST).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    // Without a log, the message has the exit code.
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

/// The error in a trainer's output: the last exception of Python that is not about a child process, else the last line.
fn reason(text: &str) -> String {
    const MOST: usize = 500;
    let is_exception = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default();
        let last = name.rsplit('.').next().unwrap_or_default();
        (last.ends_with("Error") || last.ends_with("Exception"))
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "._".contains(c))
            && !["CalledProcessError", "ChildFailedError"].contains(&last)
    };
    let lines = || text.lines().rev().map(str::trim).filter(|line| !line.is_empty());
    let line = lines().find(is_exception).or_else(|| lines().next()).unwrap_or("it printed nothing");
    line.chars().take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_checked_before_a_job_needs_them() {
        assert!(matches!(TrainerCommand::parse("trl"), Ok(TrainerCommand::Known(_))));
        let command = "X=${HOME} python t.py --to {out} --json '{{\"a\":1}}' --lr {learning_rate}";
        assert_eq!(TrainerCommand::parse(command), Ok(TrainerCommand::Template(command.to_owned())));
        let error = |text: &str| TrainerCommand::parse(text).unwrap_err();
        assert!(
            error("axoltl").contains("is neither a trainer (trl, trl-completion, unsloth"),
            "{}",
            error("axoltl")
        );
        assert!(error("python t.py {out} {lr}").contains("`{lr}` is not a placeholder"));
    }

    #[test]
    fn values_are_words_of_the_shell() {
        let filled = fill("t.py {out} ${HOME} {{x}} {", &mut |_| Some(shell_word("/a b/c"))).unwrap();
        assert_eq!(filled, "t.py '/a b/c' ${HOME} {x} {");
    }

    #[test]
    fn the_error_of_a_trainer_is_found_in_its_output() {
        let text = "Traceback (most recent call last):\n  File \"a.py\"\ntorch.OutOfMemoryError: CUDA out of memory.\n\
                    Traceback (most recent call last):\nsubprocess.CalledProcessError: Command 'x' returned 1.\n";
        assert_eq!(reason(text), "torch.OutOfMemoryError: CUDA out of memory.");
        assert_eq!(reason("one\ntwo\n\n"), "two");
        assert_eq!(reason(""), "it printed nothing");
    }
}
