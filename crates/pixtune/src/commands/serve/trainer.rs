//! What trains the jobs of `serve`, and where.

use std::path::Path;

use pixtune_api::{CPU, ExternalTrainer};
use pixtune_export::external::TrainerCommand;
use pixtune_export::trainer;

use crate::args::ServeOptions;
use crate::error::Error;

/// The trainer of `--trainer`; none for pixtune itself. What a job would fail for is an error now.
pub(super) fn external<'m>(
    args: &ServeOptions,
    models: impl Iterator<Item = &'m Path>,
) -> Result<Option<ExternalTrainer>, Error> {
    if args.trainer == "pixtune" {
        return Ok(None);
    }
    let command = TrainerCommand::parse(&args.trainer).map_err(Error::argument)?;
    if trainer::Trainer::find(&args.trainer_layout).is_none() {
        let names: Vec<&str> = trainer::ALL.iter().map(|trainer| trainer.id).collect();
        let message = format!("`{}` is not a layout: {} are", args.trainer_layout, names.join(", "));
        return Err(Error::argument(message));
    }
    if let Some((program, install)) = command.program() {
        if !is_on_path(program) {
            return Err(Error::argument(format!(
                "`{program}`, which trains with `--trainer {}`, is not installed\n  hint: {install}",
                command.name()
            )));
        }
        for model in models {
            if !model.join("config.json").is_file() {
                return Err(Error::argument(format!(
                    "`{}` is not in the format of transformers, which `--trainer {}` needs\n  hint: pixtune convert {} DIR --to hf",
                    model.display(),
                    command.name(),
                    model.display()
                )));
            }
        }
    }
    Ok(Some(ExternalTrainer { command: args.trainer.clone(), layout: args.trainer_layout.clone() }))
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Where jobs run, one at a time each.
pub(super) fn slots(gpus: Option<&str>, is_external: bool) -> Result<Vec<String>, Error> {
    let Some(text) = gpus else {
        let found = if is_external { found_gpus() } else { Vec::new() };
        return Ok(if found.is_empty() { vec![CPU.to_owned()] } else { found });
    };
    if !is_external {
        return Err(Error::argument(
            "`pixtune train` computes on the CPU: `--gpus` needs `--trainer` with a trainer that uses GPUs",
        ));
    }
    let wrong = || {
        Error::argument(format!(
            "--gpus takes a number of GPUs or a list such as `0,1` (`1,` is GPU 1 alone), not `{text}`"
        ))
    };
    if let Ok(number) = text.parse::<u32>() {
        return if (1..=64).contains(&number) {
            Ok((0..number).map(|gpu| gpu.to_string()).collect())
        } else {
            Err(wrong())
        };
    }
    let slots: Vec<String> =
        text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let is_name = |name: &String| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let is_twice = slots.iter().enumerate().any(|(index, name)| slots[..index].contains(name));
    if slots.is_empty() || is_twice || !slots.iter().all(is_name) {
        return Err(wrong());
    }
    Ok(slots)
}

/// The GPUs of this machine, as their driver shows them.
fn found_gpus() -> Vec<String> {
    (0..64)
        .map(|gpu: u32| gpu.to_string())
        .take_while(|gpu| Path::new("/dev").join(format!("nvidia{gpu}")).exists())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_a_number_or_a_list() {
        let slots = |text: &str| slots(Some(text), true).map_err(|error| error.to_string());
        assert_eq!(slots("2"), Ok(vec!["0".to_owned(), "1".to_owned()]));
        assert_eq!(slots("0,3"), Ok(vec!["0".to_owned(), "3".to_owned()]));
        assert_eq!(slots("1,"), Ok(vec!["1".to_owned()]));
        for wrong in ["0", "", ",", "1,1", "a b", "100"] {
            assert!(slots(wrong).is_err(), "{wrong}");
        }
    }
}
