//! Rows in their order, with the downloads of later rows already on their way.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{InputRows, NextRow, Preparation, PrepareError};
use crate::fetch::FetchCounts;
use crate::read::Fingerprint;

/// Rows that are read ahead at most, and bytes of them: while some hosts are slow, the downloads from others go on.
const MOST_ROWS: usize = 1 << 16;
const MOST_BYTES: usize = 64 << 20;

/// Time between two reports of the downloads.
const REPORT_EVERY: Duration = Duration::from_millis(250);

/// Reads rows ahead if their images are fetched.
pub(super) struct Ahead<'a> {
    plan: &'a Preparation,
    rows: InputRows<'a>,
    read: VecDeque<(NextRow, Vec<String>)>,
    bytes: usize,
    /// Why no more rows are read; an error is due when the rows before it were passed on.
    ended: Option<Result<(), PrepareError>>,
    reported: Instant,
}

impl<'a> Ahead<'a> {
    pub(super) fn new(plan: &'a Preparation, rows: InputRows<'a>) -> Ahead<'a> {
        Ahead { plan, rows, read: VecDeque::new(), bytes: 0, ended: None, reported: Instant::now() }
    }

    /// The next row, once its images are downloaded or known to fail.
    pub(super) fn next(
        &mut self,
        mut report: impl FnMut(&FetchCounts),
    ) -> Result<Option<NextRow>, PrepareError> {
        let plan = self.plan;
        let Some(fetcher) = plan.scanner.fetcher() else { return self.rows.next() };
        while self.ended.is_none() && self.read.len() < MOST_ROWS && self.bytes < MOST_BYTES {
            match self.rows.next() {
                Ok(Some(next)) => {
                    let (at, row, ..) = &next;
                    let urls = plan.scanner.urls(plan.inputs[at.file as usize].origin(), row);
                    urls.iter().for_each(|url| fetcher.request(url));
                    self.bytes += row.size();
                    self.read.push_back((next, urls));
                }
                Ok(None) => self.ended = Some(Ok(())),
                Err(error) => self.ended = Some(Err(error)),
            }
        }
        let Some((next, urls)) = self.read.pop_front() else {
            return self.ended.replace(Ok(())).map_or(Ok(()), |ended| ended).map(|()| None);
        };
        self.bytes -= next.1.size();
        for url in urls {
            while !fetcher.wait(&url, REPORT_EVERY) {
                report(&fetcher.counts());
            }
        }
        if self.reported.elapsed() >= REPORT_EVERY {
            self.reported = Instant::now();
            report(&fetcher.counts());
        }
        Ok(Some(next))
    }

    pub(super) fn into_fingerprints(self) -> Vec<Fingerprint> {
        self.rows.fingerprints
    }
}
