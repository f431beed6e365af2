//! Ctrl-C and SIGTERM in commands that can be killed at any time.

use std::io::{self, Write as _};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::Error;
use crate::ui::Ui;

/// How long a signal may wait.
const INTERVAL: Duration = Duration::from_millis(50);

/// On Ctrl-C or SIGTERM, removes the progress bar, prints `last_line()`, and ends the process with the shell's exit code
/// for the signal.
pub fn print_on_signals(ui: &Ui, last_line: impl Fn() -> String + Send + 'static) -> Result<(), Error> {
    let received = Arc::new(AtomicUsize::new(0));
    for signal in [SIGINT, SIGTERM] {
        let number = usize::try_from(signal).unwrap_or_default();
        flag::register_usize(signal, Arc::clone(&received), number)
            .map_err(|source| Error::Signal { source })?;
    }
    let bar = ui.bar();
    thread::spawn(move || {
        loop {
            match received.load(Ordering::Relaxed) {
                0 => thread::sleep(INTERVAL),
                signal => {
                    bar.finish_and_clear();
                    let _ = writeln!(io::stderr(), "{}", last_line());
                    process::exit(128 + i32::try_from(signal).unwrap_or_default());
                }
            }
        }
    });
    Ok(())
}
