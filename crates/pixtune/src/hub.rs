//! Names of models on the Hugging Face hub where a path was expected.

use std::env;
use std::path::{Path, PathBuf};

use pixtune_core::spec;
use pixtune_model::weights::found::snapshot;

/// How to get the model of a name; `None` if it is no name of the hub.
pub fn hint(path: &Path) -> Option<String> {
    let given = path.to_str()?;
    // A short name of a known model is that of a directory here.
    let name = Some(given).filter(|name| is_id(name)).or_else(|| id_of(given))?;
    if let Some(cached) = cached(name) {
        return Some(format!(
            "pixtune reads directories; the cache of this machine has it: give `{}`",
            cached.display()
        ));
    }
    let directory = given.rsplit('/').next().unwrap_or(given);
    Some(format!(
        "pixtune downloads nothing: run `hf download {name} --local-dir {directory}`, and give `{directory}`"
    ))
}

/// The name on the hub of a model that goes by a shorter one.
pub fn id_of(name: &str) -> Option<&'static str> {
    let spec = spec::find(name).filter(|_| !name.contains('/'))?;
    spec.aliases.iter().copied().find(|alias| is_id(alias))
}

/// `org/name`, as the hub allows it.
fn is_id(name: &str) -> bool {
    let allowed = |step: &str| {
        !step.is_empty()
            && step.len() <= 96
            && step.starts_with(|first: char| first.is_ascii_alphanumeric())
            && step.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    name.split_once('/')
        .is_some_and(|(owner, model)| allowed(owner) && allowed(model) && !Path::new(owner).exists())
}

/// The snapshot of a model in the cache of huggingface_hub.
fn cached(name: &str) -> Option<PathBuf> {
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || variable("HF_HOME").or_else(|| Some(variable("HOME")?.join(".cache/huggingface")));
    let cache = variable("HF_HUB_CACHE").or_else(|| Some(home()?.join("hub")))?;
    snapshot(&cache.join(format!("models--{}", name.replace('/', "--"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinguishes_ids_from_paths() {
        for id in ["mistral-community/pixtral-12b", "mistralai/Pixtral-12B-2409"] {
            assert!(is_id(id), "{id}");
        }
        for path in ["pixtral-12b", "/models/pixtral", "./a/b", "../a", "a/b/c", "src/model", "a//b", "a b/c"]
        {
            assert!(!is_id(path), "{path}");
        }
    }
}
