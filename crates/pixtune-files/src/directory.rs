//! A directory that appears whole or not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::lock::{DirectoryLock, LockError};
use crate::paths::{beside, parent, remove, resolve};
use crate::sync::{sync_directory, sync_tree};

/// What is under the name that an output directory will have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occupant {
    /// Nothing, or a directory with nothing in it but perhaps a lock file.
    Nothing,
    /// An output of this program.
    Ours,
    /// A directory with something else in it.
    Foreign,
    /// A file.
    NotADirectory,
}

impl Occupant {
    /// Looks at a target. A directory is ours where it holds a file with the name `marker`.
    pub fn of(target: &Path, marker: &str) -> io::Result<Occupant> {
        let about = match fs::metadata(target) {
            Ok(about) => about,
            // Where a parent is a file, creating the target reports it.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Occupant::Nothing);
            }
            Err(error) => return Err(error),
        };
        if !about.is_dir() {
            return Ok(Occupant::NotADirectory);
        }
        for entry in fs::read_dir(target)? {
            if entry?.file_name() != DirectoryLock::FILE {
                let is_ours = target.join(marker).is_file();
                return Ok(if is_ours { Occupant::Ours } else { Occupant::Foreign });
            }
        }
        Ok(Occupant::Nothing)
    }
}

/// The directory `TARGET.partial`, in which a run makes `TARGET`, locked against other runs. It outlives a run that was
/// killed, so that another one can resume it.
#[derive(Debug)]
pub struct WorkDirectory {
    path: PathBuf,
    target: PathBuf,
    _lock: DirectoryLock,
}

/// The directory inside that becomes the target.
const STAGED: &str = "final";

impl WorkDirectory {
    /// Where the work directory of a target is.
    pub fn path_for(target: &Path) -> io::Result<PathBuf> {
        beside(&resolve(target), ".partial")
    }

    /// Creates or opens the work directory and locks it; what an earlier run left in it stays.
    pub fn open(target: &Path) -> Result<WorkDirectory, LockError> {
        let io = |path: &Path, source| LockError::Io { path: path.to_owned(), source };
        let path = WorkDirectory::path_for(target).map_err(|source| io(target, source))?;
        fs::create_dir_all(&path).map_err(|source| io(&path, source))?;
        let lock = DirectoryLock::acquire(&path)?;
        Ok(WorkDirectory { path, target: resolve(target), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes everything but the entries with these names.
    pub fn clear(&self, keep: &[&str]) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            if name != DirectoryLock::FILE && !keep.iter().any(|kept| name == *kept) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Creates the empty directory that becomes the target.
    pub fn stage(&self) -> io::Result<PathBuf> {
        let staged = self.path.join(STAGED);
        remove(&staged)?;
        fs::create_dir(&staged)?;
        Ok(staged)
    }

    /// Makes a directory inside the work directory the one that becomes the target, in one rename.
    pub fn stage_from(&self, made: &Path) -> io::Result<()> {
        let staged = self.path.join(STAGED);
        remove(&staged)?;
        fs::rename(made, staged)
    }

    /// Takes back what a run staged that was killed before it could publish it.
    pub fn unstage_to(&self, made: &Path) -> io::Result<()> {
        let staged = self.path.join(STAGED);
        if !made.exists() && staged.exists() { fs::rename(staged, made) } else { Ok(()) }
    }

    /// Gives the staged directory its name, in place of a directory that has it, and removes the work directory.
    pub fn publish(&self) -> io::Result<()> {
        let staged = self.path.join(STAGED);
        sync_tree(&staged)?;
        if fs::symlink_metadata(&self.target).is_err() {
            fs::rename(&staged, &self.target)?;
        } else if !exchange(&staged, &self.target)? {
            swap(&staged, &self.target)?;
        }
        sync_directory(parent(&self.target));
        self.discard()
    }

    /// Removes the work directory and everything in it.
    pub fn discard(&self) -> io::Result<()> {
        remove(&self.path)
    }
}

/// Gives a directory its name, unless another process was faster to make the same: then this one is removed.
pub fn publish_once(made: &Path, target: &Path) -> io::Result<()> {
    sync_tree(made)?;
    if let Err(error) = fs::rename(made, target) {
        if !target.is_dir() {
            return Err(error);
        }
        return remove(made);
    }
    sync_directory(parent(target));
    Ok(())
}

/// Replaces a directory where two names cannot be exchanged: by two renames, with a moment between them when nothing has
/// the name of the target. The old one waits beside it and not in the work directory, which may be removed.
fn swap(staged: &Path, target: &Path) -> io::Result<()> {
    let replaced = beside(target, ".replaced")?;
    remove(&replaced)?;
    fs::rename(target, &replaced)?;
    fs::rename(staged, target).inspect_err(|_| {
        let _ = fs::rename(&replaced, target);
    })?;
    remove(&replaced)
}

/// Exchanges two names in one step. False where the system or the file system cannot.
#[cfg(target_os = "linux")]
fn exchange(one: &Path, other: &Path) -> io::Result<bool> {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt as _;
    let (one, other) =
        (CString::new(one.as_os_str().as_bytes())?, CString::new(other.as_os_str().as_bytes())?);
    // SAFETY: both pointers are to strings that end in a zero and outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            libc::AT_FDCWD,
            one.as_ptr(),
            libc::AT_FDCWD,
            other.as_ptr(),
            libc::RENAME_EXCHANGE,
        )
    };
    if result == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP) => Ok(false),
        _ => Err(error),
    }
}

#[cfg(not(target_os = "linux"))]
fn exchange(_: &Path, _: &Path) -> io::Result<bool> {
    Ok(false)
}

/// A directory that a run makes in one go. Dropped before [`WholeDirectory::commit`], it leaves nothing behind.
#[derive(Debug)]
pub struct WholeDirectory {
    work: WorkDirectory,
    staged: PathBuf,
    committed: bool,
}

impl WholeDirectory {
    /// Starts a directory that will have this name; what a killed run left is removed.
    pub fn create(target: &Path) -> Result<WholeDirectory, LockError> {
        let work = WorkDirectory::open(target)?;
        let staged = work.clear(&[]).and_then(|()| work.stage());
        let staged = staged.map_err(|source| LockError::Io { path: work.path.clone(), source })?;
        Ok(WholeDirectory { work, staged, committed: false })
    }

    /// Where to write until it is committed.
    pub fn path(&self) -> &Path {
        &self.staged
    }

    /// Gives the directory its name, in place of one that has it.
    pub fn commit(mut self) -> io::Result<()> {
        self.work.publish()?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for WholeDirectory {
    fn drop(&mut self) {
        if !self.committed {
            // A run that failed gives its disk space back. If that fails too, the first error is the one to report.
            let _ = self.work.discard();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_two_directories_gets_the_name() {
        let root = tempfile::tempdir().unwrap();
        let (one, other) = (directory(root.path().join("one")), directory(root.path().join("other")));
        let target = root.path().join("target");
        publish_once(&one, &target).unwrap();
        publish_once(&other, &target).unwrap();
        assert_eq!((content(&target), other.exists()), ("one".to_owned(), false));
        assert!(publish_once(&root.path().join("absent"), &root.path().join("new")).is_err());
    }

    /// A directory with one file, whose content is its name.
    fn directory(path: PathBuf) -> PathBuf {
        fs::create_dir(&path).unwrap();
        fs::write(path.join("file"), path.file_name().unwrap().to_string_lossy().as_bytes()).unwrap();
        path
    }

    fn content(path: &Path) -> String {
        fs::read_to_string(path.join("file")).unwrap()
    }

    #[test]
    fn swaps_in_two_renames() {
        let root = tempfile::tempdir().unwrap();
        let (new, old) = (directory(root.path().join("new")), directory(root.path().join("old")));
        swap(&new, &old).unwrap();
        assert_eq!(content(&old), "new");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn failed_swap_restores_the_old_directory() {
        let root = tempfile::tempdir().unwrap();
        let old = directory(root.path().join("old"));
        swap(&root.path().join("absent"), &old).unwrap_err();
        assert_eq!(content(&old), "old");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn exchanges_two_directories() {
        let root = tempfile::tempdir().unwrap();
        let (one, other) = (directory(root.path().join("one")), directory(root.path().join("other")));
        if exchange(&one, &other).unwrap() {
            assert_eq!((content(&one), content(&other)), ("other".to_owned(), "one".to_owned()));
        }
        assert!(exchange(&one, &root.path().join("absent")).is_err());
    }
}
