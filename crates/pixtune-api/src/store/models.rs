//! Tuned models: adapters and the bases that they belong to.

use std::path::PathBuf;

use rusqlite::{OptionalExtension as _, Row, params};

use super::{Store, StoreError};
use crate::clock::now;

/// A tuned model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunedModel {
    /// Its id: `ft:BASE:…`.
    pub id: String,
    /// Whose it is.
    pub project: String,
    /// The base model.
    pub base: String,
    /// The job that made it.
    pub job: String,
    /// The directory of its adapter.
    pub adapter: PathBuf,
    /// The step of a checkpoint; `None` for the result of a job.
    pub step: Option<u64>,
    /// A name that the user gave it.
    pub name: Option<String>,
    /// A description that the user gave it.
    pub description: Option<String>,
    /// When it was made.
    pub created_at: i64,
    /// Not to be used until it is unarchived.
    pub is_archived: bool,
}

/// Where a tuned model comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'o> {
    /// Whose it is.
    pub project: &'o str,
    /// The base model.
    pub base: &'o str,
    /// The job that made it.
    pub job: &'o str,
}

/// A tuned model to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewModel {
    /// Its id.
    pub id: String,
    /// The directory of its adapter.
    pub adapter: PathBuf,
    /// The step of a checkpoint.
    pub step: Option<u64>,
}

const COLUMNS: &str = "id, project, base, job, adapter, step, name, description, created_at, archived";

impl TunedModel {
    fn read(row: &Row<'_>) -> rusqlite::Result<TunedModel> {
        Ok(TunedModel {
            id: row.get(0)?,
            project: row.get(1)?,
            base: row.get(2)?,
            job: row.get(3)?,
            adapter: PathBuf::from(row.get::<_, String>(4)?),
            step: row.get::<_, Option<i64>>(5)?.map(i64::unsigned_abs),
            name: row.get(6)?,
            description: row.get(7)?,
            created_at: row.get(8)?,
            is_archived: row.get(9)?,
        })
    }
}

/// Stores a model in the transaction that ends its job.
pub(super) fn insert(
    connection: &rusqlite::Connection,
    origin: Origin<'_>,
    model: &NewModel,
) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO models (id, project, base, job, adapter, step, created_at, archived) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0)
         ON CONFLICT (id) DO NOTHING",
        params![
            model.id,
            origin.project,
            origin.base,
            origin.job,
            model.adapter.to_string_lossy(),
            model.step.and_then(|step| i64::try_from(step).ok()),
            now()
        ],
    )?;
    Ok(())
}

impl Store {
    /// Stores the model of a checkpoint.
    pub fn create_model(&self, origin: Origin<'_>, model: &NewModel) -> Result<(), StoreError> {
        Ok(insert(&self.writer(), origin, model)?)
    }

    /// The tuned model with this id.
    pub fn model(&self, project: &str, id: &str) -> Result<Option<TunedModel>, StoreError> {
        let sql =
            format!("SELECT {COLUMNS} FROM models WHERE id = ?1 AND project = ?2 AND deleted_at IS NULL");
        Ok(self.reader().prepare_cached(&sql)?.query_row([id, project], TunedModel::read).optional()?)
    }

    /// The tuned models of a project, the newest first.
    pub fn models(&self, project: &str) -> Result<Vec<TunedModel>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM models WHERE project = ?1 AND deleted_at IS NULL ORDER BY created_at DESC, id"
        );
        let reader = self.reader();
        let models =
            reader.prepare_cached(&sql)?.query_map([project], TunedModel::read)?.collect::<Result<_, _>>()?;
        Ok(models)
    }

    /// Changes name and description where they are given.
    pub fn describe_model(
        &self,
        project: &str,
        id: &str,
        name: Option<&str>,
        description: Option<&str>,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE models SET name = coalesce(?3, name), description = coalesce(?4, description) WHERE id = ?1 AND project = ?2";
        self.writer().execute(sql, params![id, project, name, description])?;
        Ok(())
    }

    /// Archives or unarchives a model.
    pub fn archive_model(&self, project: &str, id: &str, is_archived: bool) -> Result<(), StoreError> {
        let sql = "UPDATE models SET archived = ?3 WHERE id = ?1 AND project = ?2";
        self.writer().execute(sql, params![id, project, is_archived])?;
        Ok(())
    }

    /// Removes a model. Its files stay with its job.
    pub fn delete_model(&self, project: &str, id: &str) -> Result<(), StoreError> {
        let sql = "UPDATE models SET deleted_at = ?3 WHERE id = ?1 AND project = ?2 AND deleted_at IS NULL";
        self.writer().execute(sql, params![id, project, now()])?;
        Ok(())
    }
}
