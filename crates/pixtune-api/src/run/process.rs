//! The process that trains a job. It outlives the server: its exit code goes to a file, and its number and start time tell
//! whether it still runs.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::store::Process;

/// Runs its arguments after the first one, and writes their exit code to the file that the first one names. The signals of
/// its group are for the program, which decides what to save. What the program started and left running ends with it. The program
/// yields to the server, whose clients wait for milliseconds while a job takes hours.
const SCRIPT: &str = r#"trap : TERM INT HUP
out=$0
printf '%s\n' $$ >"$out.pid"
nice -n 10 "$@"
code=$?
printf '%s\n' "$code" >"$out.new" && mv "$out.new" "$out"
kill -KILL 0
"#;

/// A program to run.
#[derive(Debug)]
pub struct Program {
    /// The program and its arguments.
    pub words: Vec<OsString>,
    /// Variables of its environment.
    pub variables: Vec<(&'static str, String)>,
    /// Where its output is appended.
    pub log: PathBuf,
    /// Where its exit code goes.
    pub exit: PathBuf,
}

/// Starts a program in a group of its own.
pub fn start(program: &Program) -> io::Result<Process> {
    pixtune_files::remove(&program.exit)?;
    pixtune_files::remove(&pid_file(&program.exit))?;
    let log = OpenOptions::new().create(true).append(true).open(&program.log)?;
    let child = Command::new("sh")
        .arg("-c")
        .arg(SCRIPT)
        .arg(&program.exit)
        .args(&program.words)
        .envs(program.variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()?;
    let pid = i32::try_from(child.id()).map_err(|_| io::Error::other("the process id is too large"))?;
    let started = start_time(pid).unwrap_or_default();
    // Only its parent can collect a process that has ended; the exit code is in the file.
    std::thread::spawn(move || {
        let mut child = child;
        let _ = child.wait();
    });
    Ok(Process { pid, started })
}

fn pid_file(exit: &Path) -> PathBuf {
    exit.with_extension("pid")
}

/// The process that a server started and had no time to store.
pub fn unstored(exit: &Path) -> Option<Process> {
    let pid = fs::read_to_string(pid_file(exit)).ok()?.trim().parse().ok()?;
    Some(Process { pid, started: start_time(pid)? })
}

/// Whether the process still runs.
pub fn is_alive(process: Process) -> bool {
    start_time(process.pid).is_some_and(|started| started == process.started)
}

/// Sends a signal to the process and those that it started.
pub fn signal(process: Process, signal: i32) {
    if is_alive(process) {
        // SAFETY: the call has no memory to misuse; the group is that of our own child.
        unsafe { libc::kill(-process.pid, signal) };
    }
}

/// The exit code, once the process has ended.
pub fn exit_code(path: &Path) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// When a process started, in ticks since the machine did; `None` if it does not run, or only waits to be collected.
#[cfg(target_os = "linux")]
fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program, in parentheses, may have any characters.
    let rest = stat.rsplit_once(')')?.1;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    let started = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(started)
}

/// Other systems do not show the start time in a file: a process with the number counts as ours.
#[cfg(not(target_os = "linux"))]
fn start_time(pid: i32) -> Option<u64> {
    // SAFETY: signal 0 only asks whether the process exists.
    (unsafe { libc::kill(pid, 0) } == 0).then_some(0)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn run(directory: &Path, script: &str) -> (Process, PathBuf) {
        let words = ["sh", "-c", script].map(OsString::from).to_vec();
        let exit = directory.join("exit");
        let program = Program {
            words,
            variables: vec![("A", "1".to_owned())],
            log: directory.join("log"),
            exit: exit.clone(),
        };
        (start(&program).unwrap(), exit)
    }

    fn wait(process: Process) {
        let start = Instant::now();
        while is_alive(process) {
            assert!(start.elapsed() < Duration::from_secs(60), "the process does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn exit_codes_and_output_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let (process, exit) = run(directory.path(), "echo $A; nice; exit 3");
        let stored = fs::read_to_string(pid_file(&exit));
        wait(process);
        assert!(
            stored.is_err()
                || stored.is_ok_and(|pid| pid.is_empty() || pid.trim() == process.pid.to_string())
        );
        assert_eq!(unstored(&exit), None);
        assert_eq!(exit_code(&exit), Some(3));
        let log = fs::read_to_string(directory.path().join("log")).unwrap();
        let niceness: i32 = log.strip_prefix("1\n").unwrap().trim().parse().unwrap();
        assert!(niceness >= 10, "{niceness}");
        assert!(!is_alive(Process { started: process.started + 1, ..process }));
    }

    #[test]
    fn a_signal_lets_the_program_save_and_its_code_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let (process, exit) =
            run(directory.path(), "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done");
        while !fs::read_to_string(directory.path().join("log")).unwrap_or_default().contains("ready") {
            std::thread::sleep(Duration::from_millis(5));
        }
        signal(process, libc::SIGTERM);
        wait(process);
        assert_eq!(exit_code(&exit), Some(7));
    }

    #[test]
    fn what_a_program_leaves_running_ends_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let (process, exit) = run(directory.path(), "sleep 600 & exit 4");
        wait(process);
        assert_eq!(exit_code(&exit), Some(4));
        let start = Instant::now();
        // SAFETY: signal 0 only asks whether the group has processes.
        while unsafe { libc::kill(-process.pid, 0) } == 0 {
            assert!(start.elapsed() < Duration::from_secs(60), "a process is left");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_killed_process_leaves_no_exit_code() {
        let directory = tempfile::tempdir().unwrap();
        let (process, exit) = run(directory.path(), "sleep 60");
        signal(process, libc::SIGKILL);
        wait(process);
        assert_eq!(exit_code(&exit), None);
    }
}
