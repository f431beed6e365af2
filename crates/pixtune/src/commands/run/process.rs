//! A stage as a process of this program. It prints to the same terminal and gets Ctrl-C itself; this process waits for it.

use std::ffi::OsString;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::Error;
use crate::ui::Verbosity;

/// How long a signal or the end of a stage may wait.
const INTERVAL: Duration = Duration::from_millis(50);

/// Starts stages.
pub(super) struct Processes {
    program: Vec<OsString>,
    is_quiet: bool,
    /// SIGTERM, which goes to this process alone.
    is_ended: Arc<AtomicBool>,
}

impl Processes {
    /// From now on, signals end a stage, and with it the run.
    pub(super) fn new(program: Vec<OsString>, verbosity: Verbosity) -> Result<Processes, Error> {
        let failed = |source| Error::Signal { source };
        let is_ended = Arc::new(AtomicBool::new(false));
        flag::register(SIGTERM, Arc::clone(&is_ended)).map_err(failed)?;
        // The terminal sends it to the stage too, which saves its work and ends.
        flag::register(SIGINT, Arc::new(AtomicBool::new(false))).map_err(failed)?;
        Ok(Processes { program, is_quiet: verbosity == Verbosity::Quiet, is_ended })
    }

    /// Runs a command with a further word, quietly or not, and returns its exit code; that of a signal is what a shell makes of
    /// it.
    pub(super) fn run(&self, words: &[String], further: Option<&str>, is_quiet: bool) -> Result<u8, Error> {
        let failed = |error| Error::argument(format!("cannot start `pixtune {}`: {error}", words[0]));
        let mut program = self.program.iter();
        let mut command = Command::new(program.next().map_or("pixtune".as_ref(), OsString::as_os_str));
        command.args(program).args(words).args(further);
        if self.is_quiet || is_quiet {
            command.arg("--quiet");
        }
        let mut child = command.spawn().map_err(failed)?;
        let mut was_told = false;
        loop {
            if let Some(status) = child.try_wait().map_err(failed)? {
                let signal = std::os::unix::process::ExitStatusExt::signal(&status);
                let code = status.code().unwrap_or_else(|| 128 + signal.unwrap_or_default());
                return Ok(u8::try_from(code).unwrap_or(2));
            }
            if self.is_ended.load(Ordering::Relaxed) && !was_told {
                was_told = true;
                terminate(&child);
            }
            thread::sleep(INTERVAL);
        }
    }
}

/// Sends SIGTERM, at which a stage saves its work.
fn terminate(child: &Child) {
    let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
}
