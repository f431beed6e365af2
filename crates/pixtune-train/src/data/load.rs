//! Batches loaded on other threads while the network works on the previous ones.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use pixtune_core::diagnostic::Diagnostic;
use pixtune_io::parallel;
use pixtune_model::network::Sequence;

use super::{DataError, Dataset, Sample};

/// A loaded batch.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Its samples.
    pub sequences: Vec<Sequence>,
    /// Samples that turned out to be invalid.
    pub findings: Vec<Diagnostic>,
}

/// Decoded samples, as many as fit into a budget. The first ones stay: an epoch reads every sample once, so evicting the
/// least recently used would evict exactly those that are needed next.
#[derive(Debug)]
pub struct Cache {
    budget: usize,
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    samples: HashMap<u32, Arc<Sample>>,
    bytes: usize,
}

impl Cache {
    /// An empty cache of `budget` bytes.
    pub fn new(budget: usize) -> Cache {
        Cache { budget, contents: Mutex::default() }
    }

    fn get(&self, index: u32) -> Option<Arc<Sample>> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner).samples.get(&index).cloned()
    }

    fn put(&self, index: u32, sample: &Arc<Sample>) {
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        if contents.bytes + sample.bytes <= self.budget && !contents.samples.contains_key(&index) {
            contents.bytes += sample.bytes;
            contents.samples.insert(index, Arc::clone(sample));
        }
    }
}

/// Loaded batches in the order of their jobs.
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

/// What to load samples with.
#[derive(Debug, Clone, Copy)]
pub struct Loading<'d> {
    /// The samples.
    pub dataset: &'d Dataset<'d>,
    /// Samples that are decoded already.
    pub cache: &'d Cache,
    /// Threads to decode on.
    pub threads: usize,
}

/// Loads the samples of each job, a batch, on other threads while `body` takes the batches. At most a few batches per thread
/// wait for the consumer, so memory is bounded; loading ends when `body` returns.
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

/// Loading ends early: the receiver is gone, or it got an error.
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
