//! Files that clients uploaded, and results of jobs.

use rusqlite::{OptionalExtension as _, Row, params};

use super::{Store, StoreError};
use crate::clock::now;
use crate::ids;

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its place in the order of creation.
    pub seq: i64,
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub project: String,
    /// Its name, as the client gave it; never a path on this machine.
    pub name: String,
    /// What it is for.
    pub purpose: String,
    /// `upload` or `mistral` (results).
    pub source: String,
    /// The hash that names its content.
    pub blob: String,
    /// Its size.
    pub bytes: u64,
    /// Samples in it, if it is training data.
    pub samples: Option<u64>,
    /// Samples that cannot be trained on.
    pub invalid: u64,
    /// Their line numbers, ascending, each a little-endian `u64`.
    pub invalid_lines: Vec<u8>,
    /// The first findings, a JSON list.
    pub findings: Option<String>,
    /// The rules by which samples are invalid, as text.
    pub rules: String,
    /// When it was created.
    pub created_at: i64,
    /// When it will be removed.
    pub expires_at: Option<i64>,
}

impl File {
    fn read(row: &Row<'_>) -> rusqlite::Result<File> {
        Ok(File {
            seq: row.get(0)?,
            id: row.get(1)?,
            project: row.get(2)?,
            name: row.get(3)?,
            purpose: row.get(4)?,
            source: row.get(5)?,
            blob: row.get(6)?,
            bytes: row.get::<_, i64>(7)?.unsigned_abs(),
            samples: row.get::<_, Option<i64>>(8)?.map(i64::unsigned_abs),
            invalid: row.get::<_, i64>(9)?.unsigned_abs(),
            invalid_lines: row.get(10)?,
            findings: row.get(11)?,
            created_at: row.get(12)?,
            expires_at: row.get(13)?,
            rules: row.get(14)?,
        })
    }

    /// The line numbers of samples that cannot be trained on, ascending.
    pub fn invalid_line_numbers(&self) -> impl Iterator<Item = u64> {
        self.invalid_lines.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes))
    }
}

const COLUMNS: &str = "seq, id, project, name, purpose, source, blob, bytes, samples, invalid, invalid_lines, findings, created_at, expires_at, rules";

/// A list carries no line numbers and no findings: both can be large.
const LISTED: &str = "seq, id, project, name, purpose, source, blob, bytes, samples, invalid, x'', NULL, created_at, expires_at, rules";

/// A file to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// Whose it is.
    pub project: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub purpose: String,
    /// Where it comes from.
    pub source: &'static str,
    /// The hash that names its content.
    pub blob: String,
    /// Its size.
    pub bytes: u64,
    /// Samples in it, if it is training data.
    pub samples: Option<u64>,
    /// Line numbers of samples that cannot be trained on.
    pub invalid_lines: Vec<u64>,
    /// The first findings, a JSON list.
    pub findings: Option<String>,
    /// The rules by which samples are invalid, as text.
    pub rules: String,
    /// When it will be removed.
    pub expires_at: Option<i64>,
}

/// Which files, and which page of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileQuery {
    /// Only with this purpose.
    pub purpose: Option<String>,
    /// Only with this text in the name.
    pub search: Option<String>,
    /// Only from this source.
    pub source: Option<String>,
    /// Only files beyond this one, in the order of the list.
    pub after: Option<String>,
    /// The oldest first, instead of the newest.
    pub is_ascending: bool,
    /// How many to pass over.
    pub offset: u64,
    /// How many at most.
    pub limit: u64,
}

fn sql_number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Store {
    /// Stores a file. The same name and content again is the file that is there.
    pub fn create_file(&self, new: &NewFile) -> Result<File, StoreError> {
        let mut writer = self.writer();
        let transaction = writer.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let same = format!(
            "SELECT {COLUMNS} FROM files WHERE blob = ?1 AND project = ?2 AND name = ?3 AND purpose = ?4 AND deleted_at IS NULL"
        );
        let found = transaction
            .query_row(&same, params![new.blob, new.project, new.name, new.purpose], File::read)
            .optional()?;
        if let Some(file) = found {
            return Ok(file);
        }
        let id = ids::id("file");
        let lines: Vec<u8> = new.invalid_lines.iter().flat_map(|line| line.to_le_bytes()).collect();
        transaction.execute(
            "INSERT INTO files (id, project, name, purpose, source, blob, bytes, samples, invalid, invalid_lines, findings, created_at, expires_at, rules)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            params![
                id,
                new.project,
                new.name,
                new.purpose,
                new.source,
                new.blob,
                sql_number(new.bytes),
                new.samples.map(sql_number),
                sql_number(new.invalid_lines.len() as u64),
                lines,
                new.findings,
                now(),
                new.expires_at,
                new.rules
            ],
        )?;
        let sql = format!("SELECT {COLUMNS} FROM files WHERE id = ?1");
        let file = transaction.query_row(&sql, [&id], File::read)?;
        transaction.commit()?;
        Ok(file)
    }

    /// The file with this id.
    pub fn file(&self, project: &str, id: &str) -> Result<Option<File>, StoreError> {
        let sql =
            format!("SELECT {COLUMNS} FROM files WHERE id = ?1 AND project = ?2 AND deleted_at IS NULL");
        Ok(self.reader().prepare_cached(&sql)?.query_row([id, project], File::read).optional()?)
    }

    /// A page of files, and how many there are on all pages.
    pub fn files(&self, project: &str, query: &FileQuery) -> Result<(Vec<File>, u64), StoreError> {
        let reader = self.reader();
        let filter = "project = ?1 AND deleted_at IS NULL AND (?2 IS NULL OR purpose = ?2) AND (?3 IS NULL OR instr(name, ?3) > 0)
             AND (?4 IS NULL OR source = ?4)";
        let (order, beyond) = if query.is_ascending { ("ASC", ">") } else { ("DESC", "<") };
        let after: Option<i64> = match &query.after {
            None => None,
            // An id that does not exist has nothing beyond it.
            Some(id) => Some(
                reader
                    .query_row("SELECT seq FROM files WHERE id = ?1 AND project = ?2", [id, project], |row| {
                        row.get(0)
                    })
                    .optional()?
                    .unwrap_or(if query.is_ascending { i64::MAX } else { 0 }),
            ),
        };
        let total: i64 = reader
            .prepare_cached(&format!("SELECT count(*) FROM files WHERE {filter}"))?
            .query_row(params![project, query.purpose, query.search, query.source], |row| row.get(0))?;
        let sql = format!(
            "SELECT {LISTED} FROM files WHERE {filter} AND (?5 IS NULL OR seq {beyond} ?5) ORDER BY seq {order} LIMIT ?6 OFFSET ?7"
        );
        let (limit, offset) = (sql_number(query.limit), sql_number(query.offset));
        let files = reader
            .prepare_cached(&sql)?
            .query_map(
                params![project, query.purpose, query.search, query.source, after, limit, offset],
                File::read,
            )?
            .collect::<Result<_, _>>()?;
        Ok((files, total.unsigned_abs()))
    }

    /// Removes a file. Returns its content's name if no other file has the content.
    pub fn delete_file(&self, project: &str, id: &str) -> Result<Option<String>, StoreError> {
        let mut writer = self.writer();
        let transaction = writer.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let sql = "UPDATE files SET deleted_at = ?3 WHERE id = ?1 AND project = ?2 AND deleted_at IS NULL RETURNING blob";
        let blob: Option<String> =
            transaction.query_row(sql, params![id, project, now()], |row| row.get(0)).optional()?;
        let unused = match blob {
            Some(blob) if !is_blob_used(&transaction, &blob)? => Some(blob),
            _ => None,
        };
        transaction.commit()?;
        Ok(unused)
    }

    /// Whether any file or part of an upload has this content.
    pub fn is_blob_used(&self, blob: &str) -> Result<bool, StoreError> {
        Ok(is_blob_used(&self.writer(), blob)?)
    }

    /// Files that have expired, with their projects.
    pub fn expired_files(&self) -> Result<Vec<(String, String)>, StoreError> {
        let reader = self.reader();
        let mut statement = reader
            .prepare_cached("SELECT project, id FROM files WHERE expires_at < ?1 AND deleted_at IS NULL")?;
        let files =
            statement.query_map([now()], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        Ok(files)
    }

    /// The bytes of all contents of a project.
    pub fn stored_bytes(&self, project: &str) -> Result<u64, StoreError> {
        let sql = "SELECT coalesce(sum(bytes), 0) FROM files WHERE project = ?1 AND deleted_at IS NULL";
        let bytes: i64 = self.reader().prepare_cached(sql)?.query_row([project], |row| row.get(0))?;
        Ok(bytes.unsigned_abs())
    }
}

fn is_blob_used(connection: &rusqlite::Connection, blob: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM files WHERE blob = ?1 AND deleted_at IS NULL) OR EXISTS (SELECT 1 FROM parts WHERE blob = ?1)";
    connection.query_row(sql, [blob], |row| row.get(0))
}
