//! Rows in archives, whose members are never written to disk: WebDataset shards, which are read in order, and tables beside
//! the images that they name.

mod folder;
pub(super) mod members;
pub mod tar;
pub mod zip;

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::ReadError;
use super::positioned::{AnyFile, ReadFrom};

pub(super) use folder::Folder;
pub use folder::Member;

/// Whether a tar archive holds a table and files that it names. The walk ends at the first two members with one key: they are
/// a row of a shard.
pub(super) fn starts_with_table(path: &Path) -> Result<bool, ReadError> {
    let file = AnyFile::open(path).map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
    let find = || -> io::Result<bool> {
        let mut walk = tar::Walk::new(ReadFrom { file: Arc::new(file), at: 0 });
        let mut before = None;
        while let Some(member) = members::next_part(&mut walk)? {
            let key = members::key(&member.name).to_owned();
            if members::is_table(member.name[key.len()..].trim_start_matches('.')) {
                return Ok(true);
            }
            if before.as_ref() == Some(&key) {
                return Ok(false);
            }
            before = Some(key);
        }
        Ok(false)
    };
    find().map_err(|source| ReadError::Malformed {
        path: path.to_owned(),
        format: "a tar archive",
        source: source.into(),
    })
}
