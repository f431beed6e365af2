//! Makes names and contents last through a power cut.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Syncs the names in a directory. Only Unix can, and some file systems refuse even there: no reason to fail, because
/// renames are atomic without it.
pub(crate) fn sync_directory(directory: &Path) {
    if let Ok(directory) = File::open(directory) {
        let _ = directory.sync_all();
    }
}

/// Syncs every file below a directory, then the names. Files that were synced before cost nothing.
pub(crate) fn sync_tree(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => sync_tree(&entry.path())?,
            false => File::open(entry.path())?.sync_all()?,
        }
    }
    sync_directory(directory);
    Ok(())
}
