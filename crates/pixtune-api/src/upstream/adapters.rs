//! Adapters on an upstream server: converted to names that it applies, checked, loaded and unloaded.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use pixtune_files::Existing;
use pixtune_model::adapter::check::{Server, check};
use pixtune_model::adapter::{Adapter, Conversion, Dialect};
use pixtune_model::weights::{Checkpoint, Format};

use super::{Asked, Upstream, named};
use crate::error::ApiError;

impl Upstream {
    /// Makes a tuned model answer there: writes its adapter for the server, unless it is there, and loads it.
    pub fn load(&self, asked: Asked<'_>) -> Result<(), ApiError> {
        // The lock is held while an adapter is converted: the next request finds it loaded.
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(adapter) = asked.adapter else { return Ok(()) };
        if loaded.contains(asked.id) {
            return Ok(());
        }
        let name = directory_name(asked.id);
        let target = self.adapters.join(&name);
        if !target.is_dir() {
            self.write(asked, adapter, &target)?;
        }
        self.check(asked, &target)?;
        let there =
            self.options.adapters_there.as_ref().map_or_else(|| target.clone(), |there| there.join(&name));
        let body = named(asked.id, Some(&there.to_string_lossy()));
        match self.connection.post("/v1/load_lora_adapter", &body) {
            Ok(_) => {}
            Err(super::connection::Failure::Refused(400, message))
                if message.contains("already been loaded") => {}
            Err(failure) if failure.is_unknown_path() => {
                return Err(ApiError::bad_gateway(
                    "the upstream server does not load adapters while it runs: start vLLM with `--enable-lora` and the \
                     environment variable VLLM_ALLOW_RUNTIME_LORA_UPDATING=True",
                ));
            }
            Err(super::connection::Failure::Refused(404, message)) => {
                return Err(ApiError::bad_gateway(format!(
                    "the upstream server does not find the adapter in `{}`: {message} (`--upstream-adapters` sets a directory \
                     that both servers reach)",
                    there.display()
                )));
            }
            Err(failure) => return Err(failure.into()),
        }
        loaded.insert(asked.id.to_owned());
        Ok(())
    }

    /// Removes the adapter of a model that is deleted or archived.
    pub fn unload(&self, id: &str) -> Result<(), ApiError> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.remove(id);
        let target = self.adapters.join(directory_name(id));
        let is_there = target.is_dir();
        pixtune_files::remove(&target).map_err(|error| ApiError::internal(error.to_string()))?;
        if is_there {
            // A server that is down has no adapters to unload.
            let _ = self.connection.post("/v1/unload_lora_adapter", &named(id, None));
        }
        Ok(())
    }

    /// How the server reads its checkpoint: as it is told, else in the format of the base's directory.
    fn server(&self, base: &Path) -> Server {
        let by_files = || match base.join("config.json").is_file() {
            true => Server::VllmHf,
            false => Server::VllmMistral,
        };
        self.options.server.unwrap_or_else(by_files)
    }

    fn base(&self, asked: Asked<'_>) -> Result<Checkpoint, ApiError> {
        let format = self.server(&asked.base.path).format();
        let opened =
            Checkpoint::open_as(&asked.base.path, format).or_else(|_| Checkpoint::open(&asked.base.path));
        opened.map_err(|error| ApiError::internal(error.to_string()))
    }

    fn write(&self, asked: Asked<'_>, adapter: &Path, target: &Path) -> Result<(), ApiError> {
        let failed = |error: &dyn std::fmt::Display| {
            ApiError::internal(format!("the adapter cannot be converted for the upstream server: {error}"))
        };
        std::fs::create_dir_all(&self.adapters).map_err(|error| failed(&error))?;
        let adapter = Adapter::open(adapter, None).map_err(|error| failed(&error))?;
        let base = self.base(asked)?;
        let to = match self.server(&asked.base.path).format() {
            Format::Hf => Dialect::Peft,
            Format::Mistral => Dialect::VllmConsolidated,
        };
        let conversion = Conversion::new(&adapter, &base, to, target, None, Existing::Replace);
        conversion.and_then(|conversion| conversion.run()).map_err(|error| failed(&error))?;
        Ok(())
    }

    /// The verdict of `adapter check`: a server that ignores a module would answer with another model.
    fn check(&self, asked: Asked<'_>, target: &Path) -> Result<(), ApiError> {
        let failed = |error: &dyn std::fmt::Display| ApiError::internal(error.to_string());
        let adapter = Adapter::open(target, None).map_err(|error| failed(&error))?;
        let base = self.base(asked)?;
        let report = check(&adapter, &base, self.server(&asked.base.path), self.options.adapter_options)
            .map_err(|error| failed(&error))?;
        if report.is_fine() {
            return Ok(());
        }
        let module = report.modules.iter().find(|module| module.verdict.as_str() != "applied");
        let why = match module {
            Some(module) => format!("{}: {} ({})", module.path, module.verdict.as_str(), module.reason),
            None => report.problems.join("; "),
        };
        Err(ApiError::conflict(format!(
            "the upstream server would not answer with the tuned model `{}`: {why}",
            asked.id
        ))
        .coded("adapter_not_applied"))
    }
}

/// The name of a directory for a model, whose id has characters that a path should not have.
fn directory_name(id: &str) -> PathBuf {
    let plain: String = id
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' })
        .take(100)
        .collect();
    let hash = blake3::hash(id.as_bytes()).to_hex();
    PathBuf::from(format!("{plain}-{}", &hash[..8]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_models_are_no_paths() {
        let name = |id: &str| directory_name(id).to_string_lossy().into_owned();
        assert!(name("ft:tiny:pixtune::0a").starts_with("ft_tiny_pixtune__0a-"));
        assert_ne!(name("a:b"), name("a_b"));
        assert!(!name("../../etc").contains('/'));
    }
}
