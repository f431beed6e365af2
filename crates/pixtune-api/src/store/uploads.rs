//! Uploads in parts, before they become files.

use rusqlite::{OptionalExtension as _, Row, params};

use super::{Store, StoreError};
use crate::clock::now;
use crate::ids;

/// An upload in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub project: String,
    /// The name of the file.
    pub name: String,
    /// What the file is for.
    pub purpose: String,
    /// The size of the file, as announced.
    pub bytes: u64,
    /// `pending`, `completed`, `cancelled`.
    pub status: String,
    /// The file that it became.
    pub file: Option<String>,
    /// When it was created.
    pub created_at: i64,
    /// When its parts are removed.
    pub expires_at: i64,
}

/// A part of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its id.
    pub id: String,
    /// The hash that names its content.
    pub blob: String,
    /// Its size.
    pub bytes: u64,
    /// When it was created.
    pub created_at: i64,
}

/// Parts that are not completed are kept for an hour, as at OpenAI.
const LIFETIME: i64 = 3600;

const COLUMNS: &str = "id, project, name, purpose, bytes, status, file, created_at, expires_at";

impl Upload {
    fn read(row: &Row<'_>) -> rusqlite::Result<Upload> {
        Ok(Upload {
            id: row.get(0)?,
            project: row.get(1)?,
            name: row.get(2)?,
            purpose: row.get(3)?,
            bytes: row.get::<_, i64>(4)?.unsigned_abs(),
            status: row.get(5)?,
            file: row.get(6)?,
            created_at: row.get(7)?,
            expires_at: row.get(8)?,
        })
    }
}

impl Part {
    fn read(row: &Row<'_>) -> rusqlite::Result<Part> {
        Ok(Part {
            id: row.get(0)?,
            blob: row.get(1)?,
            bytes: row.get::<_, i64>(2)?.unsigned_abs(),
            created_at: row.get(3)?,
        })
    }
}

impl Store {
    /// Begins an upload.
    pub fn create_upload(
        &self,
        project: &str,
        name: &str,
        purpose: &str,
        bytes: u64,
    ) -> Result<Upload, StoreError> {
        let created_at = now();
        let upload = Upload {
            id: ids::id("upload"),
            project: project.to_owned(),
            name: name.to_owned(),
            purpose: purpose.to_owned(),
            bytes,
            status: "pending".to_owned(),
            file: None,
            created_at,
            expires_at: created_at + LIFETIME,
        };
        self.writer().execute(
            "INSERT INTO uploads (id, project, name, purpose, bytes, status, created_at, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, 'pending', ?6, ?7)",
            params![
                upload.id,
                project,
                name,
                purpose,
                i64::try_from(bytes).unwrap_or(i64::MAX),
                created_at,
                upload.expires_at
            ],
        )?;
        Ok(upload)
    }

    /// The upload with this id.
    pub fn upload(&self, project: &str, id: &str) -> Result<Option<Upload>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM uploads WHERE id = ?1 AND project = ?2");
        Ok(self.reader().prepare_cached(&sql)?.query_row([id, project], Upload::read).optional()?)
    }

    /// Adds a part; `None` if the upload is not pending.
    pub fn create_part(&self, upload: &str, blob: &str, bytes: u64) -> Result<Option<Part>, StoreError> {
        let part = Part { id: ids::id("part"), blob: blob.to_owned(), bytes, created_at: now() };
        let added = self.writer().execute(
            "INSERT INTO parts (id, upload, blob, bytes, created_at)
             SELECT ?1, id, ?3, ?4, ?5 FROM uploads WHERE id = ?2 AND status = 'pending'",
            params![part.id, upload, blob, i64::try_from(bytes).unwrap_or(i64::MAX), part.created_at],
        )?;
        Ok((added > 0).then_some(part))
    }

    /// The parts of an upload.
    pub fn parts(&self, upload: &str) -> Result<Vec<Part>, StoreError> {
        let reader = self.reader();
        let mut statement =
            reader.prepare_cached("SELECT id, blob, bytes, created_at FROM parts WHERE upload = ?1")?;
        let parts = statement.query_map([upload], Part::read)?.collect::<Result<_, _>>()?;
        Ok(parts)
    }

    /// Ends a pending upload, with the file that it became; false if it is not pending. Its parts are forgotten.
    pub fn end_upload(&self, id: &str, status: &str, file: Option<&str>) -> Result<bool, StoreError> {
        let mut writer = self.writer();
        let transaction = writer.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let sql = "UPDATE uploads SET status = ?2, file = ?3 WHERE id = ?1 AND status = 'pending'";
        let ended = transaction.execute(sql, params![id, status, file])? > 0;
        if ended {
            transaction.execute("DELETE FROM parts WHERE upload = ?1", [id])?;
        }
        transaction.commit()?;
        Ok(ended)
    }

    /// Pending uploads that have expired.
    pub fn expired_uploads(&self) -> Result<Vec<String>, StoreError> {
        let reader = self.reader();
        let mut statement =
            reader.prepare_cached("SELECT id FROM uploads WHERE status = 'pending' AND expires_at < ?1")?;
        let uploads = statement.query_map([now()], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(uploads)
    }
}
