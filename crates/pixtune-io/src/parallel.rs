//! Work on many threads, with results in order.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Takes jobs from `next`, works on them on `threads` threads and hands the results to `sink` in the order of the
/// jobs. There is no extra thread: the thread that finishes the oldest job passes on all results that are ready.
///
/// At most a few jobs per thread are running or waiting, so memory does not grow with their number. The first error of
/// `next` or `sink` ends the run and is returned.
pub fn ordered<Job: Send, Done: Send, Error: Send>(
    threads: usize,
    next: impl FnMut() -> Result<Option<Job>, Error> + Send,
    work: impl Fn(Job) -> Done + Sync,
    sink: impl FnMut(Done) -> Result<(), Error> + Send,
) -> Result<(), Error> {
    let threads = threads.max(1);
    let queue = Queue {
        source: Mutex::new(Source { next, taken: 0, ended: false }),
        ready: Mutex::new(Ready { done: BTreeMap::new(), passed: 0, error: None }),
        moved: Condvar::new(),
        sink: Mutex::new(sink),
        window: 4 * threads as u64,
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| queue.run(&work));
        }
        queue.run(&work);
    });
    let ready = queue.ready.into_inner().unwrap_or_else(PoisonError::into_inner);
    ready.error.map_or(Ok(()), Err)
}

struct Source<Next> {
    next: Next,
    taken: u64,
    ended: bool,
}

struct Ready<Done, Error> {
    done: BTreeMap<u64, Done>,
    /// How many results were passed to the sink.
    passed: u64,
    error: Option<Error>,
}

struct Queue<Next, Sink, Done, Error> {
    source: Mutex<Source<Next>>,
    ready: Mutex<Ready<Done, Error>>,
    moved: Condvar,
    sink: Mutex<Sink>,
    window: u64,
}

/// A panic ends the run in its own thread; the data behind the lock is still consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<Job, Done, Error, Next, Sink> Queue<Next, Sink, Done, Error>
where
    Next: FnMut() -> Result<Option<Job>, Error>,
    Sink: FnMut(Done) -> Result<(), Error>,
{
    fn run(&self, work: &impl Fn(Job) -> Done) {
        while let Some((number, job)) = self.take() {
            let done = work(job);
            lock(&self.ready).done.insert(number, done);
            self.pass_on();
        }
    }

    fn take(&self) -> Option<(u64, Job)> {
        let mut source = lock(&self.source);
        if source.ended {
            return None;
        }
        self.wait_for_room(source.taken)?;
        match (source.next)() {
            Ok(Some(job)) => {
                source.taken += 1;
                Some((source.taken - 1, job))
            }
            Ok(None) => {
                source.ended = true;
                None
            }
            Err(error) => {
                source.ended = true;
                self.fail(error);
                None
            }
        }
    }

    /// Waits until the results are not too far behind; `None` when the run has failed.
    fn wait_for_room(&self, taken: u64) -> Option<()> {
        let mut ready = lock(&self.ready);
        while ready.error.is_none() && taken >= ready.passed + self.window {
            ready = self.moved.wait(ready).unwrap_or_else(PoisonError::into_inner);
        }
        ready.error.is_none().then_some(())
    }

    /// Passes the sink every result that is next, unless another thread is doing so: that thread checks again after each
    /// result, so none is left.
    fn pass_on(&self) {
        loop {
            let Ok(mut sink) = self.sink.try_lock() else { return };
            while let Some(done) = self.take_ready() {
                if let Err(error) = sink(done) {
                    self.fail(error);
                }
                lock(&self.ready).passed += 1;
                self.moved.notify_all();
            }
            drop(sink);
            // A result may have come between the last check and the release of the sink.
            let ready = lock(&self.ready);
            if ready.error.is_some() || !ready.done.contains_key(&ready.passed) {
                return;
            }
        }
    }

    fn take_ready(&self) -> Option<Done> {
        let mut ready = lock(&self.ready);
        if ready.error.is_some() {
            return None;
        }
        let turn = ready.passed;
        ready.done.remove(&turn)
    }

    fn fail(&self, error: Error) {
        lock(&self.ready).error.get_or_insert(error);
        self.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn squares(threads: usize, jobs: u64, fail_at: Option<u64>) -> (Vec<u64>, Result<(), u64>) {
        let mut number = 0;
        let mut seen = Vec::new();
        let next = || {
            number += 1;
            Ok((number <= jobs).then_some(number - 1))
        };
        let work = |job: u64| {
            // Uneven work, so that results come out of order.
            (0..(job * 7919) % 1000).fold(job, |sum, step| std::hint::black_box(sum ^ step ^ step));
            job * job
        };
        let sink = |square| match fail_at {
            Some(at) if square == at * at => Err(at),
            _ => {
                seen.push(square);
                Ok(())
            }
        };
        let result = ordered(threads, next, work, sink);
        (seen, result)
    }

    #[test]
    fn passes_results_in_order() {
        for threads in [1, 2, 7] {
            let (seen, result) = squares(threads, 5000, None);
            assert_eq!(result, Ok(()));
            assert!(seen.iter().copied().eq((0..5000).map(|n| n * n)), "{threads} threads");
        }
    }

    #[test]
    fn ends_at_the_first_error() {
        for threads in [1, 3] {
            let (seen, result) = squares(threads, 5000, Some(321));
            assert_eq!((seen.len(), result), (321, Err(321)));
        }
    }

    #[test]
    fn an_error_of_the_source_is_returned() {
        let mut left = 10;
        let next = || {
            left -= 1;
            if left == 0 { Err("disk") } else { Ok(Some(left)) }
        };
        assert_eq!(ordered(2, next, |n: i32| n, |_| Ok(())), Err("disk"));
    }
}
