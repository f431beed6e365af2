//! Where the tasks of a run read and write.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};

use super::super::{Preparation, PrepareError};

/// The directory of the fragments.
pub(super) const FRAGMENTS: &str = "fragments";

/// The directory that becomes the dataset, as [`pixtune_files::WorkDirectory::stage`] names it.
const STAGED: &str = "final";

/// A plan and its work directory, which every machine sees.
#[derive(Debug, Clone, Copy)]
pub(super) struct Workplace<'w> {
    pub(super) plan: &'w Preparation,
    pub(super) work: &'w Path,
}

impl<'w> Workplace<'w> {
    /// Where the directories of the fragments are.
    pub(super) fn fragments(&self) -> PathBuf {
        self.work.join(FRAGMENTS)
    }

    /// Where the files of the dataset are put together.
    pub(super) fn staged(&self) -> PathBuf {
        self.work.join(STAGED)
    }

    /// What could not be written.
    pub(super) fn write_error(&self) -> impl Fn(io::Error) -> PrepareError + Copy + 'w {
        let work = self.work;
        move |source| PrepareError::Write { path: work.to_owned(), source }
    }
}

/// A word that no other process has.
pub(super) fn unique() -> String {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    format!("{:016x}", hasher.finish())
}
