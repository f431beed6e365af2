//! Which request is next: hosts take turns, a host gets at most so many requests at a time, and none before its time.
//!
//! Pure: it knows neither threads nor the clock. A job is returned by [`Schedule::next`], and ended by [`Schedule::done`]
//! or [`Schedule::retry`].

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::FetchError;

/// A host that could not be reached this often, one attempt after the other…
const MOST_FAILURES: u32 = 12;

/// …and for this long, is not tried again: each further URL there would wait in vain.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);

/// The jobs that wait, by host.
#[derive(Debug)]
pub(super) struct Schedule<Job> {
    per_host: usize,
    hosts: HashMap<Arc<str>, Host<Job>>,
    /// Hosts that have a job and may run it; the one whose turn it is first.
    ready: VecDeque<Arc<str>>,
    /// What becomes ready at its time. The number separates equal times.
    later: BTreeMap<(Instant, u64), (Arc<str>, Option<Job>)>,
    number: u64,
}

#[derive(Debug)]
struct Host<Job> {
    waiting: VecDeque<Job>,
    running: usize,
    /// Whether it is among the ready ones.
    listed: bool,
    paused_until: Option<Instant>,
    /// How often in a row it could not be reached, and since when.
    failures: Option<(u32, Instant)>,
    /// Why it is not tried again.
    unreachable: Option<FetchError>,
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub(super) enum Next<Job> {
    /// Run a job.
    Run(Arc<str>, Job),
    /// Fail a job: its host cannot be reached.
    Fail(Arc<str>, Job, FetchError),
    /// Wait until this time, or for the next job.
    Wait(Option<Instant>),
}

impl<Job> Schedule<Job> {
    /// No jobs, of which a host gets at most `per_host` at a time.
    pub(super) fn new(per_host: usize) -> Schedule<Job> {
        let per_host = per_host.max(1);
        Schedule {
            per_host,
            hosts: HashMap::new(),
            ready: VecDeque::new(),
            later: BTreeMap::new(),
            number: 0,
        }
    }

    /// Adds a job.
    pub(super) fn push(&mut self, host: &str, job: Job) {
        let name = match self.hosts.get_key_value(host) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(host),
        };
        self.host(&name).waiting.push_back(job);
        self.list(&name);
    }

    /// What to do next.
    pub(super) fn next(&mut self, now: Instant) -> Next<Job> {
        self.wake(now);
        while let Some(name) = self.ready.pop_front() {
            let host = self.host(&name);
            host.listed = false;
            if let Some(until) = host.paused_until.filter(|until| *until > now) {
                self.put_off(until, &name, None);
                continue;
            }
            host.paused_until = None;
            let Some(job) = host.waiting.pop_front() else { continue };
            host.running += 1;
            let unreachable = host.unreachable.clone();
            self.list(&name);
            return match unreachable {
                Some(error) => Next::Fail(name, job, error),
                None => Next::Run(name, job),
            };
        }
        Next::Wait(self.later.keys().next().map(|(at, _)| *at))
    }

    /// A job has ended.
    pub(super) fn done(&mut self, name: &Arc<str>) {
        self.host(name).running -= 1;
        self.list(name);
        let is_idle = |host: &mut &Host<Job>| {
            host.running == 0 && host.waiting.is_empty() && host.failures.is_none() && !host.listed
        };
        if self.hosts.get(name).as_mut().is_some_and(is_idle) {
            self.hosts.remove(name);
        }
    }

    /// A job has ended and is to be run again, not before `at`.
    pub(super) fn retry(&mut self, name: &Arc<str>, job: Job, at: Instant) {
        self.host(name).running -= 1;
        self.put_off(at, name, Some(job));
        self.list(name);
    }

    /// No job of the host starts before `until`.
    pub(super) fn pause(&mut self, name: &Arc<str>, until: Instant) {
        let paused = &mut self.host(name).paused_until;
        *paused = (*paused).max(Some(until));
    }

    /// The host has responded.
    pub(super) fn reached(&mut self, name: &Arc<str>) {
        self.host(name).failures = None;
    }

    /// The host could not be reached; returns how often in a row.
    pub(super) fn not_reached(&mut self, name: &Arc<str>, error: &FetchError, now: Instant) -> u32 {
        let host = self.host(name);
        let (count, since) = host.failures.unwrap_or((0, now));
        host.failures = Some((count + 1, since));
        if count + 1 >= MOST_FAILURES && now.duration_since(since) >= GIVE_UP_AFTER {
            host.unreachable = Some(error.clone());
        }
        count + 1
    }

    fn host(&mut self, name: &Arc<str>) -> &mut Host<Job> {
        self.hosts.entry(Arc::clone(name)).or_insert_with(|| Host {
            waiting: VecDeque::new(),
            running: 0,
            listed: false,
            paused_until: None,
            failures: None,
            unreachable: None,
        })
    }

    /// Lists a host as ready, if it is.
    fn list(&mut self, name: &Arc<str>) {
        let per_host = self.per_host;
        let host = self.host(name);
        if !host.listed && host.running < per_host && !host.waiting.is_empty() {
            host.listed = true;
            self.ready.push_back(Arc::clone(name));
        }
    }

    fn put_off(&mut self, at: Instant, name: &Arc<str>, job: Option<Job>) {
        self.number += 1;
        self.later.insert((at, self.number), (Arc::clone(name), job));
    }

    /// Moves what has become ready.
    fn wake(&mut self, now: Instant) {
        while let Some(entry) = self.later.first_entry()
            && entry.key().0 <= now
        {
            let (name, job) = entry.remove();
            // A job that was put off is older than those that wait.
            job.into_iter().for_each(|job| self.host(&name).waiting.push_front(job));
            self.list(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(jobs: &[(&str, u32)]) -> Schedule<u32> {
        let mut schedule = Schedule::new(2);
        jobs.iter().for_each(|(host, job)| schedule.push(host, *job));
        schedule
    }

    fn run(schedule: &mut Schedule<u32>, now: Instant) -> Option<u32> {
        match schedule.next(now) {
            Next::Run(_, job) => Some(job),
            _ => None,
        }
    }

    #[test]
    fn hosts_take_turns_up_to_their_limit() {
        let now = Instant::now();
        let mut schedule = schedule(&[("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5)]);
        let order: Vec<_> = std::iter::from_fn(|| run(&mut schedule, now)).collect();
        assert_eq!(order, [1, 4, 5, 2], "the third of `a` waits");
        schedule.done(&"a".into());
        assert_eq!(run(&mut schedule, now), Some(3));
        for host in ["a", "a", "b", "c"] {
            schedule.done(&host.into());
        }
        assert!(schedule.hosts.is_empty(), "hosts without jobs are forgotten");
    }

    #[test]
    fn a_retry_waits_and_does_not_hold_up_others() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut schedule = schedule(&[("a", 1), ("b", 2)]);
        assert_eq!(run(&mut schedule, now), Some(1));
        schedule.retry(&"a".into(), 1, now + second);
        assert_eq!(run(&mut schedule, now), Some(2));
        assert_eq!(schedule.next(now), Next::Wait(Some(now + second)));
        assert_eq!(run(&mut schedule, now + second), Some(1));
    }

    #[test]
    fn a_paused_host_starts_nothing() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut schedule = schedule(&[("a", 1), ("a", 2), ("b", 3)]);
        schedule.pause(&"a".into(), now + second);
        assert_eq!(run(&mut schedule, now), Some(3));
        assert_eq!(schedule.next(now), Next::Wait(Some(now + second)));
        assert_eq!(run(&mut schedule, now + second), Some(1));
    }

    #[test]
    fn a_host_that_cannot_be_reached_is_given_up() {
        let (now, host) = (Instant::now(), Arc::from("a"));
        let error = FetchError::Unreachable("connection refused".into());
        let mut schedule = schedule(&[("a", 1), ("a", 2)]);
        for nth in 0..MOST_FAILURES {
            schedule.not_reached(&host, &error, now + Duration::from_secs(u64::from(nth)));
        }
        assert_eq!(run(&mut schedule, now), Some(1), "it was tried often, but not for long");
        schedule.not_reached(&host, &error, now + GIVE_UP_AFTER);
        assert_eq!(schedule.next(now), Next::Fail(host, 2, error));
    }
}
