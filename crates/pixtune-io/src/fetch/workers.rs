//! The threads that download, and what they know of each URL.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use blake3::Hash;
use ureq::Agent;
use ureq::http::Uri;

use super::cache::{Cache, Object};
use super::request::{Again, Failure, agent, download, download_object};
use super::schedule::{Next, Schedule};
use super::{FetchCounts, FetchError, FetchOptions};
use crate::network::{host, requested};
use crate::remote;

/// What all threads share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: FetchOptions,
    pub(super) cache: Cache,
    agent: Agent,
    state: Mutex<State>,
    /// There is a job, or the end.
    work: Condvar,
    /// A URL is decided.
    decided: Condvar,
    requests: AtomicU64,
    images: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Debug)]
struct State {
    schedule: Schedule<Job>,
    /// URLs that are on their way.
    pending: HashSet<Hash>,
    /// URLs that failed: they fail for the rest of the run, so that all rows with one URL have the same verdict.
    failed: HashMap<Hash, FetchError>,
    /// URLs with something else than an image.
    strays: HashMap<Hash, Object>,
    failures: BTreeMap<String, u64>,
    /// Why downloads cannot be stored.
    fault: Option<String>,
    threads: usize,
    idle: usize,
    closed: bool,
}

#[derive(Debug)]
struct Job {
    key: Hash,
    target: Target,
    /// Attempts that failed.
    failed: u32,
    /// Attempts that the server has put off.
    put_off: u32,
}

/// What is downloaded.
#[derive(Debug)]
enum Target {
    Web(Uri),
    /// The URL of an object in a store.
    Object(String),
}

impl Target {
    /// What a URL names, and what its requests are limited by.
    fn of(url: &str) -> Option<(Target, String)> {
        if let Some(uri) = requested(url) {
            let host = host(&uri);
            return Some((Target::Web(uri), host));
        }
        let store = remote::store_of(url)?;
        Some((Target::Object(url.to_owned()), store))
    }
}

/// The longest time that a server can put off an attempt, and how often.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const MOST_WAITS: u32 = 8;

/// The longest time between two attempts otherwise.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

impl Shared {
    pub(super) fn open(options: FetchOptions) -> io::Result<Arc<Shared>> {
        let cache = Cache::open(&options.cache)?;
        let state = State {
            schedule: Schedule::new(options.per_host),
            pending: HashSet::new(),
            failed: HashMap::new(),
            strays: HashMap::new(),
            failures: BTreeMap::new(),
            fault: None,
            threads: 0,
            idle: 0,
            closed: false,
        };
        Ok(Arc::new(Shared {
            agent: agent(&options),
            options,
            cache,
            state: Mutex::new(state),
            work: Condvar::new(),
            decided: Condvar::new(),
            requests: AtomicU64::new(0),
            images: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }))
    }

    /// A panic in one thread leaves the state consistent: it is changed in single steps.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn request(self: &Arc<Shared>, key: Hash, url: &str) {
        let mut state = self.lock();
        let is_known = |state: &State| {
            let State { pending, failed, strays, .. } = state;
            pending.contains(&key) || failed.contains_key(&key) || strays.contains_key(&key)
        };
        if is_known(&state) {
            return;
        }
        drop(state);
        if self.cache.lookup(&key).is_some() {
            return;
        }
        state = self.lock();
        if is_known(&state) {
            return;
        }
        let Some((target, host)) = Target::of(url) else {
            state.fail(key, FetchError::Url);
            return;
        };
        state.pending.insert(key);
        state.schedule.push(&host, Job { key, target, failed: 0, put_off: 0 });
        if state.idle == 0 && state.threads < self.options.connections.max(1) {
            state.threads += 1;
            let shared = Arc::clone(self);
            std::thread::spawn(move || shared.run());
        }
        drop(state);
        self.work.notify_one();
    }

    /// Waits until a URL is decided, or for the given time. Returns whether it is.
    pub(super) fn wait(&self, key: &Hash, timeout: Option<Duration>) -> bool {
        let until = timeout.map(|timeout| Instant::now() + timeout);
        let mut state = self.lock();
        while state.pending.contains(key) {
            state = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return false,
                Some(rest) => {
                    self.decided.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.decided.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        true
    }

    /// The bytes of a URL that is decided; `None` if they are not in the cache any more.
    pub(super) fn result(&self, key: &Hash) -> Result<Option<Vec<u8>>, FetchError> {
        let state = self.lock();
        if let Some(error) = state.failed.get(key) {
            return Err(error.clone());
        }
        let stray = state.strays.get(key).copied();
        drop(state);
        let Some(object) = stray.or_else(|| self.cache.lookup(key)) else { return Ok(None) };
        if object.length > self.options.max_bytes {
            return Err(FetchError::TooLarge(self.options.max_bytes));
        }
        let bytes = self.cache.read(&object);
        if bytes.is_none() {
            // Damaged: the next request downloads it again.
            self.lock().strays.remove(key);
            self.cache.forget(key);
        }
        Ok(bytes)
    }

    pub(super) fn counts(&self) -> FetchCounts {
        FetchCounts {
            requests: self.requests.load(Ordering::Relaxed),
            images: self.images.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            failures: self.lock().failures.clone(),
        }
    }

    pub(super) fn fault(&self) -> Option<io::Error> {
        self.lock().fault.clone().map(io::Error::other)
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_all();
    }

    /// Runs jobs until the end.
    fn run(&self) {
        let mut state = self.lock();
        while !state.closed {
            match state.schedule.next(Instant::now()) {
                Next::Run(host, job) => {
                    drop(state);
                    let failure = self.attempt(&job);
                    state = self.lock();
                    self.conclude(&mut state, &host, job, failure);
                }
                Next::Fail(host, job, error) => {
                    state.schedule.done(&host);
                    state.fail(job.key, error);
                    self.decided.notify_all();
                }
                Next::Wait(until) => {
                    state.idle += 1;
                    state = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                        Some(rest) => {
                            self.work.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0
                        }
                        None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
                    };
                    state.idle -= 1;
                }
            }
        }
    }

    /// Downloads once; returns what went wrong.
    fn attempt(&self, job: &Job) -> Result<Option<Object>, Failure> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let downloaded = match &job.target {
            Target::Web(uri) => download(&self.agent, &self.options, &self.cache, &job.key, uri)?,
            Target::Object(url) => download_object(&self.options, &self.cache, &job.key, url)?,
        };
        self.bytes.fetch_add(downloaded.object.length, Ordering::Relaxed);
        if downloaded.is_image {
            self.images.fetch_add(1, Ordering::Relaxed);
            return Ok(None);
        }
        Ok(Some(downloaded.object))
    }

    fn conclude(
        &self,
        state: &mut State,
        host: &Arc<str>,
        job: Job,
        result: Result<Option<Object>, Failure>,
    ) {
        let now = Instant::now();
        let failure = match result {
            Ok(stray) => {
                state.schedule.reached(host);
                state.schedule.done(host);
                if let Some(object) = stray {
                    *state.failures.entry("not an image".to_owned()).or_default() += 1;
                    state.strays.insert(job.key, object);
                }
                state.pending.remove(&job.key);
                self.notify();
                return;
            }
            Err(failure) => failure,
        };
        match &failure.error {
            FetchError::Unreachable(_) => {
                let times = state.schedule.not_reached(host, &failure.error, now);
                // One pause for the host instead of one for each of its URLs.
                state.schedule.pause(host, now + backoff(self.options.backoff, times.div_ceil(8)));
            }
            FetchError::Status(_) => state.schedule.reached(host),
            _ => {}
        }
        let mut job = job;
        match self.time_to_next(&mut job, &failure) {
            Some(wait) => {
                if let Again::After(_) = failure.again {
                    state.schedule.pause(host, now + wait);
                }
                state.schedule.retry(host, job, now + wait);
                self.work.notify_one();
            }
            None => {
                state.schedule.done(host);
                if let FetchError::Cache(why) = &failure.error {
                    state.fault.get_or_insert_with(|| why.clone());
                }
                state.fail(job.key, failure.error);
                self.notify();
            }
        }
    }

    fn notify(&self) {
        self.decided.notify_all();
        self.work.notify_one();
    }

    /// The time until a further attempt, which the job then counts, or `None` if it has failed for good.
    fn time_to_next(&self, job: &mut Job, failure: &Failure) -> Option<Duration> {
        match failure.again {
            Again::Later if job.failed + 1 < self.options.attempts => {
                job.failed += 1;
                Some(spread(backoff(self.options.backoff, job.failed), &job.key))
            }
            Again::After(wait) if job.put_off < MOST_WAITS && wait <= LONGEST_WAIT => {
                job.put_off += 1;
                Some(wait.max(self.options.backoff))
            }
            _ => None,
        }
    }
}

impl State {
    fn fail(&mut self, key: Hash, error: FetchError) {
        *self.failures.entry(error.cause()).or_default() += 1;
        self.pending.remove(&key);
        self.failed.insert(key, error);
    }
}

/// Doubles with each attempt.
fn backoff(first: Duration, attempt: u32) -> Duration {
    first.saturating_mul(1 << attempt.saturating_sub(1).min(10)).min(LONGEST_BACKOFF)
}

/// Half to one and a half of a time, by the URL: what failed together is not tried again together.
fn spread(time: Duration, key: &Hash) -> Duration {
    time.mul_f64(0.5 + f64::from(key.as_bytes()[0]) / 256.0)
}
