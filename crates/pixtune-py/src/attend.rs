//! Work on another thread, while the thread that Python called hands findings and progress to Python and looks for Ctrl-C.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use pixtune::library::{self, Event, Hear};
use pixtune_core::json::{self, object};
use pyo3::prelude::*;

use crate::errors::raised;

/// How long Ctrl-C and progress may wait.
const INTERVAL: Duration = Duration::from_millis(50);

/// What Python wants to hear: `event(kind, text)`, and `progress(done, total)` in bytes or rows.
pub struct Callbacks {
    event: Option<Py<PyAny>>,
    progress: Option<Py<PyAny>>,
}

/// The kind of an event, and its JSON or text.
type Told = (&'static str, String);

/// What the two threads share.
#[derive(Default)]
struct Shared {
    progress: Mutex<Option<(u64, u64)>>,
    is_interrupted: AtomicBool,
}

struct Heard {
    shared: Arc<Shared>,
    out: SyncSender<Told>,
    /// A word for each event that the callback has handled. Never locked: only so that threads may share this.
    handled: Mutex<Receiver<()>>,
}

impl Hear for Heard {
    fn event(&mut self, event: Event<'_>) {
        let told = match event {
            Event::Finding(diagnostic) => ("finding", diagnostic.to_json()),
            Event::Note(text) => ("note", text.to_owned()),
            Event::Change { file, line, change } => {
                let text = json::text(object(|out| {
                    out.field("rule", change.rule.id).field("fixed", change.fix.as_str());
                    out.field("file", file).field("line", line);
                    out.field("pointer", &change.pointer).field("message", &change.message);
                }));
                ("change", text)
            }
        };
        // The job waits until the callback returns: an exception ends it before it does anything else. Nobody answers once the call
        // has failed.
        if self.out.send(told).is_ok() {
            let _ = self.handled.get_mut().unwrap_or_else(PoisonError::into_inner).recv();
        }
    }

    fn progress(&mut self, done: u64, total: u64) {
        *self.shared.progress.lock().unwrap_or_else(PoisonError::into_inner) = Some((done, total));
    }

    fn is_interrupted(&self) -> bool {
        self.shared.is_interrupted.load(Ordering::Relaxed)
    }
}

impl Callbacks {
    /// Those that are given.
    pub fn new(event: Option<Py<PyAny>>, progress: Option<Py<PyAny>>) -> Callbacks {
        Callbacks { event, progress }
    }

    /// Runs a job without the lock of the interpreter. An exception of a callback, or Ctrl-C, ends the job and is raised.
    pub fn attend<T: Send>(
        &self,
        py: Python<'_>,
        job: impl FnOnce(&mut dyn Hear) -> Result<T, library::Error> + Send,
    ) -> PyResult<T> {
        let done = py.detach(|| {
            thread::scope(|scope| {
                let (out, told) = sync_channel(1);
                let (handling, handled) = sync_channel(1);
                let shared = Arc::new(Shared::default());
                let mut heard = Heard { shared: Arc::clone(&shared), out, handled: Mutex::new(handled) };
                let worker = scope.spawn(move || library::guarded(|| job(&mut heard)));
                let failure = self.pass_on(&told, &handling, &shared);
                match (failure, worker.join()) {
                    (Some(failure), _) => Err(failure),
                    (None, Ok(done)) => Ok(done),
                    (None, Err(panic)) => std::panic::resume_unwind(panic),
                }
            })
        })?;
        done.map_err(|error| raised(py, &error))
    }

    /// Passes on what is heard until the job ends; the exception that ended it.
    fn pass_on(&self, told: &Receiver<Told>, handled: &SyncSender<()>, shared: &Shared) -> Option<PyErr> {
        let mut failure = None;
        let mut looked = Instant::now();
        loop {
            let event = match told.recv_timeout(INTERVAL) {
                Ok(event) => Some(event),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let is_heard = event.is_some();
            // After a failure, what is still sent is only received, so that the job can end.
            let is_due = looked.elapsed() >= INTERVAL;
            if failure.is_none() && (is_due || is_heard) {
                let passed = Python::attach(|py| {
                    self.pass(py, event)?;
                    if is_due { self.look(py, shared) } else { Ok(()) }
                });
                looked = if is_due { Instant::now() } else { looked };
                if let Err(error) = passed {
                    shared.is_interrupted.store(true, Ordering::Relaxed);
                    failure = Some(error);
                }
            }
            if is_heard {
                // The job waits for it.
                let _ = handled.send(());
            }
        }
        failure.or_else(|| Python::attach(|py| self.look(py, shared)).err())
    }

    fn pass(&self, py: Python<'_>, told: Option<Told>) -> PyResult<()> {
        match (&self.event, told) {
            (Some(event), Some(told)) => event.call1(py, told).map(|_| ()),
            _ => Ok(()),
        }
    }

    fn look(&self, py: Python<'_>, shared: &Shared) -> PyResult<()> {
        py.check_signals()?;
        let reached = shared.progress.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (reached, &self.progress) {
            (Some(reached), Some(progress)) => progress.call1(py, reached).map(|_| ()),
            _ => Ok(()),
        }
    }
}
