//! What is left on disk when a run ends, fails or is killed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; the helpers are not marked as tests"
)]

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use pixtune_files::{DirectoryLock, Existing, LockError, Occupant, WholeDirectory, WholeFile, WorkDirectory};
use tempfile::TempDir;

struct Case {
    root: TempDir,
}

impl Case {
    fn new() -> Case {
        Case { root: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Names in the directory, sorted.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn start_file(path: &Path, text: &str, existing: Existing) -> io::Result<WholeFile> {
    let mut file = WholeFile::create(path, existing)?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

fn start_directory(path: &Path, text: &str) -> WholeDirectory {
    let directory = WholeDirectory::create(path).unwrap();
    fs::write(directory.path().join("file"), text).unwrap();
    directory
}

#[test]
fn file_has_its_name_only_when_it_is_whole() {
    let case = Case::new();
    let file = start_file(&case.path("out"), "whole", Existing::Keep).unwrap();
    assert!(!case.path("out").exists());
    file.commit().unwrap();
    assert_eq!((case.names(), case.read("out")), (vec!["out".to_owned()], "whole".to_owned()));
}

#[test]
fn dropped_file_leaves_nothing() {
    let case = Case::new();
    drop(start_file(&case.path("out"), "half", Existing::Keep).unwrap());
    assert!(case.names().is_empty());
}

#[test]
fn existing_file_is_kept_unless_it_may_be_replaced() {
    let case = Case::new();
    let path = case.write("out", "old");
    let refused = start_file(&path, "new", Existing::Keep).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!((case.names(), case.read("out")), (vec!["out".to_owned()], "old".to_owned()));
    start_file(&path, "new", Existing::Replace).unwrap().commit().unwrap();
    assert_eq!((case.names(), case.read("out")), (vec!["out".to_owned()], "new".to_owned()));
}

#[test]
fn file_that_appears_meanwhile_is_kept() {
    let case = Case::new();
    let file = start_file(&case.path("out"), "new", Existing::Keep).unwrap();
    case.write("out", "of another program");
    assert_eq!(file.commit().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!((case.names(), case.read("out")), (vec!["out".to_owned()], "of another program".to_owned()));
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_stay() {
    let case = Case::new();
    case.write("disk/file", "old");
    case.write("disk/directory/file", "old");
    std::os::unix::fs::symlink("disk/file", case.path("file")).unwrap();
    std::os::unix::fs::symlink("disk/directory", case.path("directory")).unwrap();
    start_file(&case.path("file"), "new", Existing::Replace).unwrap().commit().unwrap();
    start_directory(&case.path("directory"), "new").commit().unwrap();
    assert_eq!(
        (case.read("disk/file"), case.read("disk/directory/file")),
        ("new".to_owned(), "new".to_owned())
    );
    assert!(case.path("file").is_symlink() && case.path("directory").is_symlink());
    assert_eq!(case.names(), ["directory", "disk", "file"]);
    assert_eq!(fs::read_dir(case.path("disk")).unwrap().count(), 2);
}

#[cfg(unix)]
#[test]
fn devices_are_never_replaced() {
    let refused = WholeFile::create(Path::new("/dev/null"), Existing::Replace).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn directory_has_its_name_only_when_it_is_whole() {
    let case = Case::new();
    let directory = start_directory(&case.path("out"), "whole");
    assert!(!case.path("out").exists());
    directory.commit().unwrap();
    assert_eq!((case.names(), case.read("out/file")), (vec!["out".to_owned()], "whole".to_owned()));
}

#[test]
fn dropped_directory_leaves_the_old_one() {
    let case = Case::new();
    case.write("out/file", "old");
    drop(start_directory(&case.path("out"), "half"));
    assert_eq!((case.names(), case.read("out/file")), (vec!["out".to_owned()], "old".to_owned()));
}

#[test]
fn committed_directory_replaces_the_old_one_with_everything_in_it() {
    let case = Case::new();
    case.write("out/old/file", "old");
    start_directory(&case.path("out"), "new").commit().unwrap();
    assert_eq!((case.names(), case.read("out/file")), (vec!["out".to_owned()], "new".to_owned()));
    assert!(!case.path("out/old").exists());
}

#[test]
fn path_without_a_name_is_refused() {
    for path in ["/", "..", "a/.."] {
        assert!(WholeFile::create(Path::new(path), Existing::Replace).is_err(), "{path}");
        assert!(WholeDirectory::create(Path::new(path)).is_err(), "{path}");
    }
}

#[test]
fn one_run_at_a_time() {
    let case = Case::new();
    let first = WorkDirectory::open(&case.path("out")).unwrap();
    assert!(matches!(WorkDirectory::open(&case.path("out")), Err(LockError::Held { .. })));
    drop(first);
    WorkDirectory::open(&case.path("out")).unwrap();
    let _lock = DirectoryLock::acquire(case.root.path()).unwrap();
    assert!(matches!(DirectoryLock::acquire(case.root.path()), Err(LockError::Held { .. })));
}

#[test]
fn work_directory_keeps_what_a_resumed_run_needs() {
    let case = Case::new();
    let work = WorkDirectory::open(&case.path("out")).unwrap();
    case.write("out.partial/journal", "rows");
    case.write("out.partial/old/file", "old");
    drop(work);
    let work = WorkDirectory::open(&case.path("out")).unwrap();
    assert_eq!(case.read("out.partial/journal"), "rows");
    work.clear(&["journal"]).unwrap();
    assert!(!case.path("out.partial/old").exists());
    fs::write(work.stage().unwrap().join("file"), case.read("out.partial/journal")).unwrap();
    work.publish().unwrap();
    assert_eq!((case.names(), case.read("out/file")), (vec!["out".to_owned()], "rows".to_owned()));
}

#[test]
fn occupants_are_told_apart() {
    let case = Case::new();
    case.write("ours/marker", "");
    case.write("foreign/file", "");
    case.write("locked/.lock", "");
    fs::create_dir(case.path("empty")).unwrap();
    for (name, occupant) in [
        ("ours", Occupant::Ours),
        ("foreign", Occupant::Foreign),
        ("empty", Occupant::Nothing),
        ("locked", Occupant::Nothing),
        ("absent", Occupant::Nothing),
        ("foreign/file", Occupant::NotADirectory),
        ("foreign/file/below", Occupant::Nothing),
    ] {
        assert_eq!(Occupant::of(&case.path(name), "marker").unwrap(), occupant, "{name}");
    }
}

/// Runs that end in the middle, each in a process of its own.
#[cfg(unix)]
mod interrupted {
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    use super::*;

    const DIRECTORY: &str = "PIXTUNE_FILES_TEST_DIRECTORY";

    /// The command that runs one of the tests below with a directory to write in.
    fn child(test: &str, case: &Case, shell: &str) -> Command {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{shell} exec \"$0\" \"$@\"")).arg(std::env::current_exe().unwrap());
        command.args(["--exact", &format!("interrupted::{test}"), "--nocapture", "--ignored"]);
        command.env(DIRECTORY, case.root.path()).stdout(Stdio::piped()).stderr(Stdio::null());
        command
    }

    fn directory() -> PathBuf {
        std::env::var_os(DIRECTORY).unwrap().into()
    }

    /// Tells the parent that everything is written but nothing committed, and waits to be killed.
    fn wait_to_be_killed() {
        println!("written");
        std::thread::sleep(std::time::Duration::from_secs(60));
    }

    fn kill_when_written(mut command: Command) {
        let mut child = command.spawn().unwrap();
        let mut output = child.stdout.take().unwrap();
        let mut seen = String::new();
        let mut byte = [0];
        while !seen.contains("written") && output.read(&mut byte).unwrap() == 1 {
            seen.push(char::from(byte[0]));
        }
        assert!(seen.contains("written"), "{seen}");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    #[ignore = "run by killed_file_leaves_nothing_under_its_name"]
    fn writes_a_file_until_killed() {
        let file = start_file(&directory().join("out"), &"x".repeat(3 << 20), Existing::Replace).unwrap();
        wait_to_be_killed();
        drop(file);
    }

    #[test]
    fn killed_file_leaves_nothing_under_its_name() {
        let case = Case::new();
        kill_when_written(child("writes_a_file_until_killed", &case, ""));
        assert!(!case.path("out").exists());
        // The next run takes over what the killed one left.
        start_file(&case.path("out"), "whole", Existing::Keep).unwrap().commit().unwrap();
        assert_eq!((case.names(), case.read("out")), (vec!["out".to_owned()], "whole".to_owned()));
    }

    #[test]
    #[ignore = "run by killed_directory_leaves_the_old_one"]
    fn writes_a_directory_until_killed() {
        let directory = start_directory(&directory().join("out"), "half");
        wait_to_be_killed();
        drop(directory);
    }

    #[test]
    fn killed_directory_leaves_the_old_one() {
        let case = Case::new();
        case.write("out/file", "old");
        kill_when_written(child("writes_a_directory_until_killed", &case, ""));
        assert_eq!(case.read("out/file"), "old");
        start_directory(&case.path("out"), "new").commit().unwrap();
        assert_eq!((case.names(), case.read("out/file")), (vec!["out".to_owned()], "new".to_owned()));
    }

    #[test]
    #[ignore = "run by full_disk_leaves_the_old_output"]
    fn writes_more_than_the_disk_holds() {
        let path = directory().join("file");
        let written = start_file(&path, &"x".repeat(1 << 20), Existing::Replace).and_then(WholeFile::commit);
        assert!(written.is_err());
        let whole = WholeDirectory::create(&directory().join("directory")).unwrap();
        assert!(fs::write(whole.path().join("file"), vec![0; 1 << 20]).is_err());
    }

    #[test]
    fn full_disk_leaves_the_old_output() {
        let case = Case::new();
        case.write("file", "old");
        case.write("directory/file", "old");
        // A limit on the size of files stands for the full disk: writes fail in the same way.
        let limit = "trap '' XFSZ; ulimit -f 64;";
        let ended = child("writes_more_than_the_disk_holds", &case, limit).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
        assert_eq!(case.names(), ["directory", "file"]);
        assert_eq!((case.read("file"), case.read("directory/file")), ("old".to_owned(), "old".to_owned()));
    }

    #[test]
    fn read_only_directory_is_an_error_before_any_work() {
        use std::os::unix::fs::PermissionsExt as _;
        let case = Case::new();
        fs::set_permissions(case.root.path(), fs::Permissions::from_mode(0o555)).unwrap();
        // The superuser writes anywhere.
        if fs::write(case.path("probe"), "").is_err() {
            let refused = WholeFile::create(&case.path("out"), Existing::Keep).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
            assert!(matches!(WholeDirectory::create(&case.path("out")), Err(LockError::Io { .. })));
        }
        fs::set_permissions(case.root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    }
}
