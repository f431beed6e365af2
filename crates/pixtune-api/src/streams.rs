//! The events of jobs as streams send them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use pixtune_core::json::{object, raw, text};

use crate::store::{Event, Job, Store, StoreError};

/// Events that are sent at once.
const BATCH: u64 = 50;

/// Batches that are kept.
const KEPT: usize = 256;

/// Events of a job after one, as they are sent.
#[derive(Debug, Clone)]
pub struct Batch {
    version: u64,
    /// The number of the last event.
    pub last: i64,
    /// The events, as lines of server-sent events.
    pub text: Bytes,
    /// There are no more for now.
    pub is_all: bool,
    /// The job has ended: no more will follow.
    pub has_ended: bool,
}

/// The newest batches: most streams of a job are at the same event, and share what they send.
#[derive(Debug, Default)]
pub struct Batches {
    newest: Mutex<HashMap<(i64, i64), Batch>>,
}

impl Batches {
    /// The events after one, as of a version of the database.
    pub fn next(&self, store: &Store, job: &Job, (after, version): (i64, u64)) -> Result<Batch, StoreError> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        // A full batch never changes; what follows the last event may.
        let is_current = |batch: &&Batch| !batch.is_all || batch.version == version;
        let known = newest.get(&(job.seq, after)).filter(is_current);
        if let Some(batch) = known {
            return Ok(batch.clone());
        }
        // Whether it has ended is asked first: events come before the end.
        let has_ended = store.job(&job.project, &job.id)?.is_none_or(|job| job.status.is_final());
        let events = store.events_after(job.seq, after, BATCH)?;
        let text: String = events.iter().map(|event| format!("data: {}\n\n", event_line(event))).collect();
        let batch = Batch {
            version,
            last: events.last().map_or(after, |event| event.seq),
            text: text.into(),
            is_all: (events.len() as u64) < BATCH,
            has_ended,
        };
        if newest.len() >= KEPT {
            newest.clear();
        }
        newest.insert((job.seq, after), batch.clone());
        Ok(batch)
    }
}

fn event_line(event: &Event) -> String {
    text(object(|out| {
        out.field("seq", event.seq).field("kind", event.kind.as_str()).field("level", event.level.as_str());
        out.field("message", &event.message).field("created_at", event.created_at);
        out.field("data", raw(event.data.as_deref().unwrap_or("{}")));
    }))
}
