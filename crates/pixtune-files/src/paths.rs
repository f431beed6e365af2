//! Names beside a target, and removing what may be there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The path that an output really has: where a link is in its place, what the link points to.
pub(crate) fn resolve(target: &Path) -> PathBuf {
    match fs::symlink_metadata(target) {
        Ok(about) if about.is_symlink() => fs::canonicalize(target).unwrap_or_else(|_| target.to_owned()),
        _ => target.to_owned(),
    }
}

/// The name of a path with an ending added. `..` and the root have no name.
pub(crate) fn beside(path: &Path, ending: &str) -> io::Result<PathBuf> {
    let no_name = || io::Error::new(io::ErrorKind::InvalidInput, "the path does not end in a name");
    let mut name = path.file_name().ok_or_else(no_name)?.to_owned();
    name.push(ending);
    Ok(path.with_file_name(name))
}

/// The directory that holds a path.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Removes a file, a link or a directory with its content, if it is there.
pub fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
