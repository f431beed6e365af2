//! What the server knows, in SQLite: keys, files, jobs and models in one database, events of jobs in another.
//!
//! The first database is flushed to disk at every change, so that what a client was told survives a power cut. The second
//! one takes many small changes that can be made again from a run's metrics; a kill loses nothing of it, a power cut the
//! last moments.

mod batches;
mod events;
mod files;
mod jobs;
mod keys;
mod models;
mod schema;
mod uploads;
mod webhooks;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

pub use batches::{Batch, BatchQuery, BatchStatus, NewBatch};
pub use events::{Event, EventKind, Followed, Level, NewEvent};
pub use files::{File, FileQuery, NewFile};
pub use jobs::{Created, Job, JobQuery, JobStatus, NewJob, Process, Same, Wish};
pub use keys::{Key, Scope};
pub use models::{NewModel, TunedModel};
pub use uploads::{Part, Upload};
pub use webhooks::{Delivery, EVENTS as WEBHOOK_EVENTS, LastDelivery, Webhook};

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed.
    #[error("the database failed: {0}")]
    Sql(#[from] rusqlite::Error),
    /// A newer version wrote it.
    #[error("`{}` was written by a newer pixtune (schema {found}, this version has {supported})", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// The version of its schema.
        found: i64,
        /// The newest version that is supported.
        supported: i64,
    },
}

/// Both databases. Writers take their connection in line; readers have their own and do not wait for them.
#[derive(Debug)]
pub struct Store {
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    events: Mutex<Connection>,
}

/// The name of the first database.
pub const DATABASE: &str = "pixtune.db";

/// The name of the database with the events.
pub const EVENTS: &str = "events.db";

impl Store {
    /// Opens or creates the databases of a data directory.
    pub fn open(directory: &Path) -> Result<Store, StoreError> {
        let path = directory.join(DATABASE);
        let mut writer = connect(&path, "FULL")?;
        schema::migrate(&mut writer, &path, schema::MAIN)?;
        let reader = connect(&path, "FULL")?;
        let path = directory.join(EVENTS);
        let mut events = connect(&path, "NORMAL")?;
        schema::migrate(&mut events, &path, schema::EVENTS)?;
        Ok(Store { writer: Mutex::new(writer), reader: Mutex::new(reader), events: Mutex::new(events) })
    }

    /// Copies a database that may be in use to a new file, as of one moment.
    pub fn backup(from: &Path, to: &Path) -> Result<(), StoreError> {
        let source = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        source.busy_timeout(Duration::from_secs(30))?;
        source.execute("VACUUM INTO ?1", [to.to_string_lossy()])?;
        Ok(())
    }

    /// Whether the database answers.
    pub fn ping(&self) -> Result<(), StoreError> {
        Ok(self.reader().query_row("SELECT 1", [], |_| Ok(()))?)
    }

    fn writer(&self) -> MutexGuard<'_, Connection> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn events(&self) -> MutexGuard<'_, Connection> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connect(path: &Path, synchronous: &str) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}
