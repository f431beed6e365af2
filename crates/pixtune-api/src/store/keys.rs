//! API keys: only their hashes are stored.

use rusqlite::{OptionalExtension as _, Row, params};

use super::{Store, StoreError};
use crate::clock::now;
use crate::ids;
use crate::vendor::Vendor;

/// What a key may do; each scope includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Read objects and chat.
    Read,
    /// Create, change and delete objects.
    Write,
    /// Objects of every project, metrics of the server.
    Admin,
}

impl Scope {
    /// The name in the database and in flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Write => "write",
            Scope::Admin => "admin",
        }
    }

    /// The scope with this name.
    pub fn parse(name: &str) -> Option<Scope> {
        [Scope::Read, Scope::Write, Scope::Admin].into_iter().find(|scope| scope.as_str() == name)
    }
}

/// A key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its id.
    pub id: String,
    /// What the user calls it.
    pub name: String,
    /// Whose objects it reaches.
    pub project: String,
    /// What it may do.
    pub scope: Scope,
    /// Whose shapes its requests are answered in where the path does not decide.
    pub vendor: Option<Vendor>,
    /// When it was created.
    pub created_at: i64,
    /// When it was revoked.
    pub revoked_at: Option<i64>,
}

const COLUMNS: &str = "id, name, project, scope, created_at, revoked_at, vendor";

impl Key {
    fn read(row: &Row<'_>) -> rusqlite::Result<Key> {
        let scope: String = row.get(3)?;
        Ok(Key {
            id: row.get(0)?,
            name: row.get(1)?,
            project: row.get(2)?,
            scope: Scope::parse(&scope).unwrap_or(Scope::Read),
            created_at: row.get(4)?,
            revoked_at: row.get(5)?,
            vendor: row.get::<_, Option<String>>(6)?.as_deref().and_then(Vendor::parse),
        })
    }
}

impl Store {
    /// Creates a key and returns its secret, which is not stored.
    pub fn create_key(
        &self,
        name: &str,
        project: &str,
        scope: Scope,
        vendor: Option<Vendor>,
    ) -> Result<(Key, String), StoreError> {
        let secret = format!("pixtune-{}", ids::hex(&ids::random::<32>()));
        let key = Key {
            id: ids::id("key"),
            name: name.to_owned(),
            project: project.to_owned(),
            scope,
            vendor,
            created_at: now(),
            revoked_at: None,
        };
        self.insert_key(&key, &secret)?;
        Ok((key, secret))
    }

    fn insert_key(&self, key: &Key, secret: &str) -> Result<(), StoreError> {
        let hash = blake3::hash(secret.as_bytes());
        self.writer().execute(
            "INSERT INTO keys (id, name, project, scope, hash, created_at, vendor) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                key.id,
                key.name,
                key.project,
                key.scope.as_str(),
                hash.as_bytes(),
                key.created_at,
                key.vendor.map(Vendor::as_str)
            ],
        )?;
        Ok(())
    }

    /// The key with this secret, if it is valid. The lookup is by hash, so its time tells nothing of the secret.
    pub fn key_of(&self, secret: &str) -> Result<Option<Key>, StoreError> {
        let hash = blake3::hash(secret.as_bytes());
        let sql = format!("SELECT {COLUMNS} FROM keys WHERE hash = ?1 AND revoked_at IS NULL");
        Ok(self.reader().prepare_cached(&sql)?.query_row([&hash.as_bytes()[..]], Key::read).optional()?)
    }

    /// Every key, the oldest first.
    pub fn keys(&self) -> Result<Vec<Key>, StoreError> {
        let reader = self.reader();
        let mut statement =
            reader.prepare_cached(&format!("SELECT {COLUMNS} FROM keys ORDER BY created_at, id"))?;
        let keys = statement.query_map([], Key::read)?.collect::<Result<_, _>>()?;
        Ok(keys)
    }

    /// Revokes a key by its id or name; false if no valid key has it.
    pub fn revoke_key(&self, id: &str) -> Result<bool, StoreError> {
        let sql = "UPDATE keys SET revoked_at = ?2 WHERE (id = ?1 OR name = ?1) AND revoked_at IS NULL";
        Ok(self.writer().execute(sql, params![id, now()])? > 0)
    }

    /// Whether any key is valid.
    pub fn has_keys(&self) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM keys WHERE revoked_at IS NULL)";
        Ok(self.reader().query_row(sql, [], |row| row.get(0))?)
    }
}
