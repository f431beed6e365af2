//! Webhooks, and the notices that are on their way to them.

use pixtune_core::json::{self, object};
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::{Store, StoreError};
use crate::clock::now;
use crate::ids;

/// What jobs and batches report.
pub const EVENTS: [&str; 7] = [
    "fine_tuning.job.succeeded",
    "fine_tuning.job.failed",
    "fine_tuning.job.cancelled",
    "batch.completed",
    "batch.failed",
    "batch.expired",
    "batch.cancelled",
];

/// An address that is notified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its id.
    pub id: String,
    /// Whose jobs and batches it is about.
    pub project: String,
    /// Where notices go.
    pub url: String,
    /// The events that it gets; empty for all.
    pub events: Vec<String>,
    /// The key of its signatures.
    pub secret: Vec<u8>,
    /// It may be on this machine or in a private network.
    pub allows_private: bool,
    /// When it was created.
    pub created_at: i64,
}

/// A notice on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its place in the order of events.
    pub seq: i64,
    /// The id of the event.
    pub event: String,
    /// The body.
    pub body: String,
    /// How often it was sent.
    pub attempts: u32,
    /// Where it goes.
    pub webhook: Webhook,
}

/// The newest notice of a webhook, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastDelivery {
    /// The type of its event.
    pub kind: String,
    /// How often it was sent.
    pub attempts: u32,
    /// When it was accepted.
    pub delivered_at: Option<i64>,
    /// When it is sent next.
    pub next_at: Option<i64>,
    /// Why it was not accepted the last time.
    pub error: Option<String>,
}

impl Webhook {
    fn read(row: &Row<'_>) -> rusqlite::Result<Webhook> {
        let events: String = row.get(3)?;
        Ok(Webhook {
            id: row.get(0)?,
            project: row.get(1)?,
            url: row.get(2)?,
            events: events.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            secret: row.get(4)?,
            allows_private: row.get(5)?,
            created_at: row.get(6)?,
        })
    }
}

const COLUMNS: &str = "id, project, url, events, secret, allows_private, created_at";

/// Stores a notice for each webhook of a project that gets the event, in the transaction of the change that it reports.
pub(super) fn enqueue(
    transaction: &Transaction<'_>,
    project: &str,
    kind: &str,
    of: &str,
) -> rusqlite::Result<()> {
    let sql = format!("SELECT {COLUMNS} FROM webhooks WHERE project = ?1 AND deleted_at IS NULL");
    let mut statement = transaction.prepare_cached(&sql)?;
    let webhooks: Vec<Webhook> = statement.query_map([project], Webhook::read)?.collect::<Result<_, _>>()?;
    for webhook in webhooks {
        if !webhook.events.is_empty() && !webhook.events.iter().any(|event| event == kind) {
            continue;
        }
        let id = format!("evt_{}", ids::hex(&ids::random::<16>()));
        let body = json::text(object(|event| {
            event.field("object", "event").field("id", &id).field("type", kind).field("created_at", now());
            event.field(
                "data",
                object(|data| {
                    data.field("id", of);
                }),
            );
        }));
        transaction.execute(
            "INSERT INTO deliveries (webhook, event, kind, body, created_at, attempts, next_at) VALUES (?1, ?2, ?3, ?4, ?5, 0, ?5)",
            params![webhook.id, id, kind, body, now()],
        )?;
    }
    Ok(())
}

impl Store {
    /// Creates a webhook.
    pub fn create_webhook(
        &self,
        (project, url): (&str, &str),
        events: &[String],
        allows_private: bool,
    ) -> Result<Webhook, StoreError> {
        let webhook = Webhook {
            id: format!("wh_{}", ids::hex(&ids::random::<12>())),
            project: project.to_owned(),
            url: url.to_owned(),
            events: events.to_vec(),
            secret: ids::random::<32>().to_vec(),
            allows_private,
            created_at: now(),
        };
        self.writer().execute(
            "INSERT INTO webhooks (id, project, url, events, secret, allows_private, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![webhook.id, project, url, events.join(" "), webhook.secret, allows_private, webhook.created_at],
        )?;
        Ok(webhook)
    }

    /// Every webhook, with its newest notice.
    pub fn webhooks(&self) -> Result<Vec<(Webhook, Option<LastDelivery>)>, StoreError> {
        let reader = self.reader();
        let sql = format!("SELECT {COLUMNS} FROM webhooks WHERE deleted_at IS NULL ORDER BY created_at, id");
        let mut statement = reader.prepare(&sql)?;
        let webhooks: Vec<Webhook> = statement.query_map([], Webhook::read)?.collect::<Result<_, _>>()?;
        let last = |webhook: &Webhook| {
            let sql = "SELECT kind, attempts, delivered_at, next_at, error FROM deliveries WHERE webhook = ?1 ORDER BY seq DESC LIMIT 1";
            reader
                .query_row(sql, [&webhook.id], |row| {
                    Ok(LastDelivery {
                        kind: row.get(0)?,
                        attempts: row.get(1)?,
                        delivered_at: row.get(2)?,
                        next_at: row.get(3)?,
                        error: row.get(4)?,
                    })
                })
                .optional()
        };
        let with_last = webhooks.into_iter().map(|webhook| {
            let last = last(&webhook)?;
            Ok((webhook, last))
        });
        with_last.collect()
    }

    /// Removes a webhook, and the notices on their way to it; false if there is none.
    pub fn remove_webhook(&self, id: &str) -> Result<bool, StoreError> {
        let mut writer = self.writer();
        let transaction = writer.transaction()?;
        let sql = "UPDATE webhooks SET deleted_at = ?2 WHERE id = ?1 AND deleted_at IS NULL";
        let is_removed = transaction.execute(sql, params![id, now()])? > 0;
        transaction.execute("DELETE FROM deliveries WHERE webhook = ?1", [id])?;
        transaction.commit()?;
        Ok(is_removed)
    }

    /// Notices that are to be sent now, the oldest first.
    pub fn due_deliveries(&self, most: u32) -> Result<Vec<Delivery>, StoreError> {
        let columns: Vec<String> = COLUMNS.split(", ").map(|name| format!("w.{name}")).collect();
        let sql = format!(
            "SELECT {}, d.seq, d.event, d.body, d.attempts FROM deliveries d JOIN webhooks w ON w.id = d.webhook
             WHERE d.next_at <= ?1 AND w.deleted_at IS NULL ORDER BY d.next_at, d.seq LIMIT ?2",
            columns.join(", ")
        );
        let reader = self.reader();
        let mut statement = reader.prepare_cached(&sql)?;
        let rows = statement.query_map(params![now(), most], |row| {
            Ok(Delivery {
                webhook: Webhook::read(row)?,
                seq: row.get(7)?,
                event: row.get(8)?,
                body: row.get(9)?,
                attempts: row.get(10)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Removes notices of a month ago that are not sent any more.
    pub fn prune_deliveries(&self) -> Result<(), StoreError> {
        const MONTH: i64 = 30 * 24 * 3600;
        let sql = "DELETE FROM deliveries WHERE next_at IS NULL AND created_at < ?1";
        self.writer().execute(sql, [now() - MONTH])?;
        Ok(())
    }

    /// Stores that a notice was accepted.
    pub fn delivered(&self, seq: i64) -> Result<(), StoreError> {
        let sql = "UPDATE deliveries SET attempts = attempts + 1, delivered_at = ?2, next_at = NULL, error = NULL WHERE seq = ?1";
        self.writer().execute(sql, params![seq, now()])?;
        Ok(())
    }

    /// Stores that a notice was not accepted, and after how many seconds it is sent again; `None` for never.
    pub fn undelivered(&self, seq: i64, error: &str, again: Option<i64>) -> Result<(), StoreError> {
        let sql = "UPDATE deliveries SET attempts = attempts + 1, next_at = ?2, error = ?3 WHERE seq = ?1";
        self.writer().execute(sql, params![seq, again.map(|seconds| now() + seconds), error])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{BatchStatus, NewBatch};
    use crate::vendor::Vendor;

    #[test]
    fn the_end_of_a_batch_is_a_notice_for_those_that_asked_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let all = store.create_webhook(("p", "http://a/"), &[], false).unwrap();
        store.create_webhook(("p", "http://b/"), &["batch.failed".to_owned()], false).unwrap();
        store.create_webhook(("other", "http://c/"), &[], false).unwrap();
        let new = NewBatch {
            project: "p".to_owned(),
            vendor: Vendor::OpenAi,
            model: None,
            inputs: vec![],
            metadata: "{}".to_owned(),
            lifetime: 60,
        };
        let batch = store.create_batch(&new).unwrap();
        store.finish_batch(&batch.id, BatchStatus::Succeeded, (None, None), None).unwrap();
        // A batch ends once.
        store.finish_batch(&batch.id, BatchStatus::Failed, (None, None), None).unwrap();
        let due = store.due_deliveries(10).unwrap();
        assert_eq!(due.iter().map(|due| &due.webhook).collect::<Vec<_>>(), [&all]);
        assert!(due[0].body.contains(r#""type":"batch.completed""#) && due[0].body.contains(&batch.id));
        store.undelivered(due[0].seq, "status 500", Some(1000)).unwrap();
        assert_eq!(store.due_deliveries(10).unwrap(), []);
        let last = || {
            let webhooks = store.webhooks().unwrap();
            webhooks.into_iter().find(|(webhook, _)| webhook.id == all.id).unwrap().1.unwrap()
        };
        let last_now = last();
        assert_eq!((last_now.attempts, last_now.error.as_deref()), (1, Some("status 500")));
        store.delivered(due[0].seq).unwrap();
        assert!(last().delivered_at.is_some());
        assert!(store.remove_webhook(&all.id).unwrap() && !store.remove_webhook(&all.id).unwrap());
    }
}
