//! What wakes and ends a thread that works in the background.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How often running work is looked at.
const INTERVAL: Duration = Duration::from_millis(250);

/// Wakes a thread, and ends it.
#[derive(Debug, Default)]
pub struct Signal {
    state: Mutex<SignalState>,
    condition: Condvar,
}

#[derive(Debug, Default)]
struct SignalState {
    is_set: bool,
    ends: bool,
}

impl Signal {
    /// Lets the thread look at its work at once.
    pub fn wake(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_set = true;
        self.condition.notify_all();
    }

    /// Ends the thread; processes go on, and the next server follows them.
    pub fn end(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ends = true;
        self.condition.notify_all();
    }

    /// Whether the work is to end.
    pub fn has_ended(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ends
    }

    /// Sleeps, unless the work is to end; true if it is.
    pub fn sleep(&self, time: Duration) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.condition.wait_timeout_while(state, time, |state| !state.ends);
        waited.unwrap_or_else(PoisonError::into_inner).0.ends
    }

    /// Waits a moment, or until it is woken; false when the work is to end.
    pub fn wait(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.condition.wait_timeout_while(state, INTERVAL, |state| !state.is_set && !state.ends);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_set = false;
        !state.ends
    }
}
