//! The version of a trainer in the active Python environment.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use pixtune_export::trainer::Package;

/// A warning if the active environment has the trainer in a version with which exports were not tested.
pub(super) fn untested(package: &Package) -> Option<String> {
    let environments = ["VIRTUAL_ENV", "CONDA_PREFIX"].iter().filter_map(env::var_os).map(PathBuf::from);
    let version = environments.into_iter().find_map(|environment| installed(&environment, package.name))?;
    let is_tested = version == package.tested || version.starts_with(&format!("{}.", package.tested));
    (!is_tested).then(|| {
        let Package { name, tested } = package;
        format!(
            "warning: {name} {version} is installed in the active environment; exports were tested with {name} {tested}, and another \
             version may read the files differently"
        )
    })
}

/// The version of a distribution in an environment, by the name of its metadata: `NAME-VERSION.dist-info`.
fn installed(environment: &Path, name: &str) -> Option<String> {
    let interpreters = fs::read_dir(environment.join("lib")).ok()?.flatten().map(|entry| entry.path());
    interpreters.into_iter().find_map(|interpreter| {
        let packages = fs::read_dir(interpreter.join("site-packages")).ok()?.flatten();
        packages.into_iter().find_map(|entry| {
            let file = entry.file_name().to_string_lossy().into_owned();
            let (found, version) = file.strip_suffix(".dist-info")?.split_once('-')?;
            // Distributions are named with underscores there, in any case.
            let is_it = found.eq_ignore_ascii_case(&name.replace('-', "_"));
            is_it.then(|| version.to_owned())
        })
    })
}
