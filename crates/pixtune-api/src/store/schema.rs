//! The tables, and the steps from each version of them to the next.

use std::path::Path;

use rusqlite::Connection;

use super::StoreError;

/// The steps of the first database: step N leads to version N + 1. A step that was released never changes.
pub const MAIN: &[&str] = &[
    "
CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    project TEXT NOT NULL,
    scope TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
);
CREATE TABLE files (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    purpose TEXT NOT NULL,
    source TEXT NOT NULL,
    blob TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    samples INTEGER,
    invalid INTEGER NOT NULL,
    invalid_lines BLOB NOT NULL,
    findings TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    deleted_at INTEGER
);
CREATE INDEX files_of_project ON files (project, seq) WHERE deleted_at IS NULL;
CREATE INDEX files_with_blob ON files (blob) WHERE deleted_at IS NULL;
CREATE TABLE uploads (
    id TEXT PRIMARY KEY,
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    purpose TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    status TEXT NOT NULL,
    file TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);
CREATE TABLE parts (
    id TEXT PRIMARY KEY,
    upload TEXT NOT NULL REFERENCES uploads (id),
    blob TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX parts_of_upload ON parts (upload);
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    project TEXT NOT NULL,
    vendor TEXT NOT NULL,
    status TEXT NOT NULL,
    wish TEXT NOT NULL,
    request TEXT NOT NULL,
    request_hash BLOB NOT NULL,
    model TEXT NOT NULL,
    suffix TEXT,
    priority INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    modified_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    attempts INTEGER NOT NULL,
    pid INTEGER,
    pid_started INTEGER,
    slot TEXT,
    samples INTEGER NOT NULL,
    steps INTEGER,
    epochs INTEGER,
    trained_tokens INTEGER,
    tuned_model TEXT,
    result_file TEXT,
    error_code TEXT,
    error_message TEXT
);
CREATE INDEX jobs_of_project ON jobs (project, seq);
CREATE INDEX jobs_by_status ON jobs (status);
CREATE TABLE models (
    id TEXT PRIMARY KEY,
    project TEXT NOT NULL,
    base TEXT NOT NULL,
    job TEXT NOT NULL,
    adapter TEXT NOT NULL,
    step INTEGER,
    name TEXT,
    description TEXT,
    created_at INTEGER NOT NULL,
    archived INTEGER NOT NULL,
    deleted_at INTEGER
);
CREATE INDEX models_of_project ON models (project, created_at) WHERE deleted_at IS NULL;
",
    "
CREATE TABLE batches (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    project TEXT NOT NULL,
    vendor TEXT NOT NULL,
    status TEXT NOT NULL,
    model TEXT,
    inputs TEXT NOT NULL,
    metadata TEXT NOT NULL,
    total INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    cancelled_at INTEGER,
    finished_at INTEGER,
    expires_at INTEGER NOT NULL,
    output_file TEXT,
    error_file TEXT,
    error_line INTEGER,
    error_message TEXT,
    deleted_at INTEGER
);
CREATE INDEX batches_of_project ON batches (project, seq);
CREATE INDEX batches_by_status ON batches (status);
",
    "
CREATE TABLE webhooks (
    id TEXT PRIMARY KEY,
    project TEXT NOT NULL,
    url TEXT NOT NULL,
    events TEXT NOT NULL,
    secret BLOB NOT NULL,
    allows_private INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    deleted_at INTEGER
);
CREATE TABLE deliveries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook TEXT NOT NULL REFERENCES webhooks (id),
    event TEXT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    next_at INTEGER,
    delivered_at INTEGER,
    error TEXT
);
CREATE INDEX deliveries_due ON deliveries (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX deliveries_of_webhook ON deliveries (webhook, seq);
",
    // Files were checked for Pixtral 12B before.
    "
ALTER TABLE files ADD COLUMN rules TEXT NOT NULL DEFAULT 'v3/16/1/1024';
ALTER TABLE keys ADD COLUMN vendor TEXT;
",
];

/// The steps of the database with the events of jobs.
pub const EVENTS: &[&str] = &["
CREATE TABLE events (
    job INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    level TEXT NOT NULL,
    message TEXT NOT NULL,
    data TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (job, seq)
) WITHOUT ROWID;
CREATE TABLE followed (
    job INTEGER PRIMARY KEY,
    bytes INTEGER NOT NULL,
    next INTEGER NOT NULL
);
"];

/// Brings a database to the newest version, one transaction per step, so that a kill leaves it at a version.
pub fn migrate(connection: &mut Connection, path: &Path, steps: &[&str]) -> Result<(), StoreError> {
    let version = |connection: &Connection| {
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
    };
    let found = version(connection)?;
    let supported = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    if found > supported {
        return Err(StoreError::Newer { path: path.to_owned(), found, supported });
    }
    for (number, step) in (1_i64..).zip(steps) {
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        // Another process may have made the step in the meantime.
        if version(&transaction)? < number {
            transaction.execute_batch(step)?;
            transaction.pragma_update(None, "user_version", number)?;
        }
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_the_database_of_a_newer_version() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, Path::new("a.db"), MAIN).unwrap();
        migrate(&mut connection, Path::new("a.db"), MAIN).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        let error = migrate(&mut connection, Path::new("a.db"), MAIN).unwrap_err();
        let message = format!("newer pixtune (schema 99, this version has {})", MAIN.len());
        assert!(error.to_string().contains(&message), "{error}");
    }

    #[test]
    fn steps_that_were_made_are_not_repeated() {
        let mut connection = Connection::open_in_memory().unwrap();
        let steps = [
            "CREATE TABLE a (x INTEGER); INSERT INTO a VALUES (1);",
            "ALTER TABLE a ADD COLUMN y INTEGER DEFAULT 2;",
        ];
        migrate(&mut connection, Path::new("a.db"), &steps[..1]).unwrap();
        migrate(&mut connection, Path::new("a.db"), &steps).unwrap();
        let rows: Vec<(i64, i64)> = connection
            .prepare("SELECT x, y FROM a")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(rows, [(1, 2)]);
    }
}
