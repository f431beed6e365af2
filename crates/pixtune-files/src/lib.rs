//! Outputs that appear whole or not at all, locks against a second run, and direct I/O. Knows nothing of what is written.
//!
//! An output is written under a name of its own beside its target, so that both are on one file system, and gets its name
//! by a rename. The order is the same everywhere:
//!
//! 1. write the content under the temporary name;
//! 2. `fsync` every file, so that no name ever stands for data that a power cut loses;
//! 3. `fsync` the directories that hold the files, so that a directory is complete before it gets its name;
//! 4. rename, which is atomic: readers see the old output or the new one;
//! 5. `fsync` the parent directory, so that the rename itself lasts.
//!
//! Steps 3 and 5 are skipped where the system cannot sync a directory; the rename is atomic anyway.
//!
//! A target that is a symbolic link is followed: what it points to is replaced, and the link stays.

pub mod direct;
mod directory;
mod file;
mod lock;
mod paths;
mod sync;

pub use directory::{Occupant, WholeDirectory, WorkDirectory, publish_once};
pub use file::{WholeFile, write};
pub use lock::{DirectoryLock, LockError};
pub use paths::remove;

/// Whether an output that exists may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It may not.
    Keep,
    /// It may.
    Replace,
}
