//! Jobs by their properties, a page at a time.

use rusqlite::OptionalExtension as _;

use super::{COLUMNS, Job, JobStatus, sql_number};
use crate::store::{Store, StoreError};

/// Which jobs, and which page of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobQuery {
    /// Only those of this base model.
    pub model: Option<String>,
    /// Only in these states.
    pub statuses: Option<Vec<JobStatus>>,
    /// Only with this suffix.
    pub suffix: Option<String>,
    /// Only created at or after this time.
    pub created_after: Option<i64>,
    /// Only created before this time.
    pub created_before: Option<i64>,
    /// Only with these members of `metadata` in their request.
    pub metadata: Vec<(String, String)>,
    /// Only jobs created before this one.
    pub after: Option<String>,
    /// How many to pass over.
    pub offset: u64,
    /// How many at most.
    pub limit: u64,
}

/// Conditions of a query, as SQL over the values that are bound to it.
fn filter(project: &str, query: &JobQuery) -> (String, Vec<rusqlite::types::Value>) {
    use rusqlite::types::Value as Sql;
    let mut sql = "project = ?".to_owned();
    let mut values = vec![Sql::Text(project.to_owned())];
    let mut add = |condition: &str, value: Option<Sql>| {
        if let Some(value) = value {
            sql.push_str(" AND ");
            sql.push_str(condition);
            values.push(value);
        }
    };
    add("model = ?", query.model.clone().map(Sql::Text));
    add("suffix = ?", query.suffix.clone().map(Sql::Text));
    add("created_at >= ?", query.created_after.map(Sql::Integer));
    add("created_at < ?", query.created_before.map(Sql::Integer));
    if let Some(statuses) = &query.statuses {
        let names: Vec<String> = statuses.iter().map(|status| format!("'{}'", status.as_str())).collect();
        sql.push_str(&format!(" AND status IN ({})", names.join(", ")));
    }
    for (key, value) in &query.metadata {
        sql.push_str(" AND EXISTS (SELECT 1 FROM json_each(request, '$.metadata') AS of WHERE of.key = ? AND of.value = ?)");
        values.extend([Sql::Text(key.clone()), Sql::Text(value.clone())]);
    }
    (sql, values)
}

impl Store {
    /// The job with this id.
    pub fn job(&self, project: &str, id: &str) -> Result<Option<Job>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1 AND project = ?2");
        Ok(self.reader().prepare_cached(&sql)?.query_row([id, project], Job::read).optional()?)
    }

    /// A page of jobs, the newest first, and how many there are on all pages.
    pub fn jobs(&self, project: &str, query: &JobQuery) -> Result<(Vec<Job>, u64), StoreError> {
        let (mut condition, mut values) = filter(project, query);
        let reader = self.reader();
        let count = format!("SELECT count(*) FROM jobs WHERE {condition}");
        let total: i64 = reader
            .prepare_cached(&count)?
            .query_row(rusqlite::params_from_iter(&values), |row| row.get(0))?;
        if let Some(id) = &query.after {
            condition.push_str(" AND seq < coalesce((SELECT seq FROM jobs WHERE id = ?), 0)");
            values.push(id.clone().into());
        }
        values.extend([sql_number(query.limit).into(), sql_number(query.offset).into()]);
        let sql = format!("SELECT {COLUMNS} FROM jobs WHERE {condition} ORDER BY seq DESC LIMIT ? OFFSET ?");
        let jobs = reader
            .prepare_cached(&sql)?
            .query_map(rusqlite::params_from_iter(&values), Job::read)?
            .collect::<Result<_, _>>()?;
        Ok((jobs, total.unsigned_abs()))
    }

    /// Every job in one of these states, in the order in which they are started.
    pub fn jobs_in(&self, statuses: &[JobStatus]) -> Result<Vec<Job>, StoreError> {
        let names: Vec<String> = statuses.iter().map(|status| format!("'{}'", status.as_str())).collect();
        let sql = format!(
            "SELECT {COLUMNS} FROM jobs WHERE status IN ({}) ORDER BY priority DESC, seq",
            names.join(", ")
        );
        let reader = self.reader();
        let jobs = reader.prepare_cached(&sql)?.query_map([], Job::read)?.collect::<Result<_, _>>()?;
        Ok(jobs)
    }

    /// How many jobs are in each state.
    pub fn job_counts(&self) -> Result<Vec<(JobStatus, u64)>, StoreError> {
        let reader = self.reader();
        let mut statement = reader.prepare_cached("SELECT count(*) FROM jobs WHERE status = ?1")?;
        let mut count = |status: JobStatus| {
            let count: i64 = statement.query_row([status.as_str()], |row| row.get(0))?;
            Ok((status, count.unsigned_abs()))
        };
        JobStatus::all().map(&mut count).collect()
    }

    /// Whether a job or a batch that has not ended uses a file.
    pub fn is_file_used(&self, file: &str) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM jobs WHERE status IN ('validated', 'queued', 'paused', 'running') AND instr(request, ?1) > 0)
             OR EXISTS (SELECT 1 FROM batches WHERE status IN ('queued', 'running', 'cancelling') AND instr(inputs, ?1) > 0)";
        Ok(self.reader().query_row(sql, [format!("\"{file}\"")], |row| row.get(0))?)
    }
}
