//! Events of jobs, in their order.

use rusqlite::{Row, TransactionBehavior, params};

use super::{Store, StoreError};
use crate::clock::now;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// The job is in a new state.
    Status,
    /// A text for people.
    Message,
    /// Metrics of a step.
    Metrics,
    /// A checkpoint, with its metrics.
    Checkpoint,
}

/// How serious an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As expected.
    Info,
    /// Something to look at.
    Warn,
    /// The job failed.
    Error,
}

const KINDS: [(EventKind, &str); 4] = [
    (EventKind::Status, "status"),
    (EventKind::Message, "message"),
    (EventKind::Metrics, "metrics"),
    (EventKind::Checkpoint, "checkpoint"),
];

const LEVELS: [(Level, &str); 3] = [(Level::Info, "info"), (Level::Warn, "warn"), (Level::Error, "error")];

impl EventKind {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        KINDS.into_iter().find(|(kind, _)| *kind == self).map_or("message", |(_, name)| name)
    }
}

impl Level {
    /// The name in answers.
    pub fn as_str(self) -> &'static str {
        LEVELS.into_iter().find(|(level, _)| *level == self).map_or("info", |(_, name)| name)
    }
}

/// An event of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number within the job, from 1.
    pub seq: i64,
    /// What it is about.
    pub kind: EventKind,
    /// How serious it is.
    pub level: Level,
    /// For people.
    pub message: String,
    /// For programs: a JSON object.
    pub data: Option<String>,
    /// When it happened.
    pub created_at: i64,
}

/// How far the metrics of a run are events already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Followed {
    /// Bytes of the file.
    pub bytes: u64,
    /// The first step that is not an event; a resumed run repeats steps.
    pub next: u64,
}

/// An event to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// What it is about.
    pub kind: EventKind,
    /// How serious it is.
    pub level: Level,
    /// For people.
    pub message: String,
    /// For programs: a JSON object.
    pub data: Option<String>,
}

impl NewEvent {
    /// A message without data.
    pub fn message(level: Level, message: impl Into<String>) -> NewEvent {
        NewEvent { kind: EventKind::Message, level, message: message.into(), data: None }
    }

    /// A new state of the job.
    pub fn status(message: impl Into<String>) -> NewEvent {
        NewEvent { kind: EventKind::Status, level: Level::Info, message: message.into(), data: None }
    }
}

impl Event {
    fn read(row: &Row<'_>) -> rusqlite::Result<Event> {
        let (kind, level): (String, String) = (row.get(1)?, row.get(2)?);
        Ok(Event {
            seq: row.get(0)?,
            kind: KINDS
                .into_iter()
                .find(|(_, name)| *name == kind)
                .map_or(EventKind::Message, |(kind, _)| kind),
            level: LEVELS
                .into_iter()
                .find(|(_, name)| *name == level)
                .map_or(Level::Info, |(level, _)| level),
            message: row.get(3)?,
            data: row.get(4)?,
            created_at: row.get(5)?,
        })
    }
}

const COLUMNS: &str = "seq, kind, level, message, data, created_at";

impl Store {
    /// Appends events to a job. With `followed`, they are those of the metrics up to there; both are stored or neither.
    pub fn add_events(
        &self,
        job: i64,
        events: &[NewEvent],
        followed: Option<Followed>,
    ) -> Result<(), StoreError> {
        let mut connection = self.events();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let sql = "SELECT coalesce(max(seq), 0) FROM events WHERE job = ?1";
        let last: i64 = transaction.prepare_cached(sql)?.query_row([job], |row| row.get(0))?;
        let insert = "INSERT INTO events (job, seq, kind, level, message, data, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        for (seq, event) in (last + 1..).zip(events) {
            let (kind, level) = (event.kind.as_str(), event.level.as_str());
            transaction.prepare_cached(insert)?.execute(params![
                job,
                seq,
                kind,
                level,
                event.message,
                event.data,
                now()
            ])?;
        }
        if let Some(Followed { bytes, next }) = followed {
            let sql = "INSERT INTO followed (job, bytes, next) VALUES (?1, ?2, ?3)
                ON CONFLICT (job) DO UPDATE SET bytes = ?2, next = ?3";
            let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            transaction.execute(sql, params![job, number(bytes), number(next)])?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// How far the metrics of a job are events already.
    pub fn followed(&self, job: i64) -> Result<Followed, StoreError> {
        let sql = "SELECT coalesce(max(bytes), 0), coalesce(max(next), 0) FROM followed WHERE job = ?1";
        let (bytes, next): (i64, i64) =
            self.events().query_row(sql, [job], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Followed { bytes: bytes.unsigned_abs(), next: next.unsigned_abs() })
    }

    /// Events of a job after one, in order, `limit` at most.
    pub fn events_after(&self, job: i64, seq: i64, limit: u64) -> Result<Vec<Event>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM events WHERE job = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3");
        self.listed_events(&sql, job, seq, limit)
    }

    /// Events of a job before one, the newest first, `limit` at most.
    pub fn events_before(&self, job: i64, seq: i64, limit: u64) -> Result<Vec<Event>, StoreError> {
        let sql =
            format!("SELECT {COLUMNS} FROM events WHERE job = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3");
        self.listed_events(&sql, job, seq, limit)
    }

    /// The same without those that only name a state, which one of the APIs has no events for.
    pub fn texts_before(&self, job: i64, seq: i64, limit: u64) -> Result<Vec<Event>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM events WHERE job = ?1 AND seq < ?2 AND kind <> 'status' ORDER BY seq DESC LIMIT ?3"
        );
        self.listed_events(&sql, job, seq, limit)
    }

    fn listed_events(&self, sql: &str, job: i64, seq: i64, limit: u64) -> Result<Vec<Event>, StoreError> {
        let connection = self.events();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let events = connection
            .prepare_cached(sql)?
            .query_map(params![job, seq, limit], Event::read)?
            .collect::<Result<_, _>>()?;
        Ok(events)
    }

    /// The checkpoints of a job, in order.
    pub fn checkpoint_events(&self, job: i64) -> Result<Vec<Event>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM events WHERE job = ?1 AND seq > ?2 AND kind = 'checkpoint' ORDER BY seq LIMIT ?3"
        );
        self.listed_events(&sql, job, 0, u64::MAX)
    }
}
