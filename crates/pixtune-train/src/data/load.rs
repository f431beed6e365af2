//! Batches made ready on other threads while the network works on the ones before.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use pixtune_core::diagnostic::Diagnostic;
use pixtune_io::parallel;
use pixtune_model::network::Sequence;

use super::{DataError, Dataset, Sample};

/// A batch that is ready.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Its samples.
    pub sequences: Vec<Sequence>,
    /// Samples that turned out to be unusable.
    pub findings: Vec<Diagnostic>,
}

/// Samples that were loaded before, as many as the budget holds. The first to come stay: an epoch meets every sample once,
/// so throwing out the oldest would throw out just what comes next.
#[derive(Debug)]
pub struct Cache {
    budget: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    samples: HashMap<u32, Arc<Sample>>,
    bytes: usize,
}

impl Cache {
    /// A cache of so many bytes.
    pub fn new(budget: usize) -> Cache {
        Cache { budget, kept: Mutex::default() }
    }

    fn get(&self, index: u32) -> Option<Arc<Sample>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).samples.get(&index).cloned()
    }

    fn put(&self, index: u32, sample: &Arc<Sample>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.bytes + sample.bytes <= self.budget && !kept.samples.contains_key(&index) {
            kept.bytes += sample.bytes;
            kept.samples.insert(index, Arc::clone(sample));
        }
    }
}

/// Batches in the order of their jobs.
#[derive(Debug)]
pub struct Loader {
    ready: Receiver<Result<Loaded, DataError>>,
}

impl Iterator for Loader {
    type Item = Result<Loaded, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.ready.recv().ok()
    }
}

/// What loading needs.
#[derive(Debug, Clone, Copy)]
pub struct Loading<'d> {
    /// Where samples come from.
    pub dataset: &'d Dataset<'d>,
    /// What was loaded before.
    pub cache: &'d Cache,
    /// Threads to decode on.
    pub threads: usize,
}

/// Loads the samples of each job on threads of its own and lets `body` take them as they come. At most a few batches for
/// each thread wait, so memory stays bounded whatever the data; what `body` leaves is not loaded.
pub fn with_loader<Jobs, Done>(loading: Loading<'_>, jobs: Jobs, body: impl FnOnce(Loader) -> Done) -> Done
where
    Jobs: Iterator<Item = Vec<u32>> + Send,
{
    std::thread::scope(|scope| {
        let (send, ready) = sync_channel(1);
        scope.spawn(move || fill(loading, jobs, &send));
        body(Loader { ready })
    })
}

/// Why loading ends early: the receiver went away, or it has been told of an error.
struct Ended;

fn fill(
    loading: Loading<'_>,
    mut jobs: impl Iterator<Item = Vec<u32>> + Send,
    send: &SyncSender<Result<Loaded, DataError>>,
) {
    let work = |job: Vec<u32>| load(loading, &job);
    let sink = |loaded: Result<Loaded, DataError>| {
        let failed = loaded.is_err();
        match send.send(loaded) {
            Ok(()) if !failed => Ok(()),
            _ => Err(Ended),
        }
    };
    let _ended_early = parallel::ordered(loading.threads, || Ok(jobs.next()), work, sink);
}

fn load(Loading { dataset, cache, .. }: Loading<'_>, job: &[u32]) -> Result<Loaded, DataError> {
    let mut loaded = Loaded::default();
    for &index in job {
        let sample = match cache.get(index) {
            Some(sample) => sample,
            None => match dataset.load(index)? {
                Err(finding) => {
                    loaded.findings.push(finding);
                    continue;
                }
                Ok(sample) => {
                    let sample = Arc::new(sample);
                    cache.put(index, &sample);
                    sample
                }
            },
        };
        // Pixels are shared, so only the ids are copied.
        loaded.sequences.push(sample.sequence.clone());
    }
    Ok(loaded)
}
