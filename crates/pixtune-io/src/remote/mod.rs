//! Files in object stores and on web servers: `s3://`, `gs://`, `az://`, `http://` and `https://`.
//!
//! A path that is such a URL is used like that of a file. An [`Object`] is read by ranges of bytes. It has one version for a run: the
//! one that was there when it was opened first. A later version is an error, never mixed with the first. Credentials come from
//! the environment, as the tools of the stores use it.

mod cloud;
mod error;
mod location;
mod object;
mod profile;
mod transport;
mod web;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;

pub use error::RemoteError;
pub(crate) use location::{extension_of, is_remote, shown};
pub use object::Object;

use cloud::Cloud;
use location::Location;

/// A place that objects are read from.
trait Store: Send + Sync {
    /// Reads a range of an object: of the version that is given, if one is. The range may end behind the object.
    fn read(
        &self,
        key: &str,
        range: std::ops::Range<u64>,
        version: Option<&str>,
    ) -> Result<Part, RemoteError>;

    /// The keys below a prefix that ends with a slash, or is empty.
    fn list(&self, prefix: &str) -> Result<Vec<String>, RemoteError>;

    /// Whether ranges of an object that was read can be read without what precedes them.
    fn has_ranges(&self, _key: &str) -> bool {
        true
    }
}

/// A range of an object, and what the response states about the object.
struct Part {
    bytes: Bytes,
    /// Bytes of the whole object.
    length: u64,
    /// What changes with the content: an entity tag or a date.
    version: Option<String>,
}

/// The stores and objects of this process. Credentials are those of the process, and so is the version of an object.
#[derive(Default)]
struct Registry {
    stores: Mutex<BTreeMap<String, Arc<dyn Store>>>,
    objects: Mutex<BTreeMap<PathBuf, Arc<Object>>>,
    fault: Mutex<Option<(PathBuf, RemoteError)>>,
}

fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(Registry::default)
}

/// Opens the object at a URL. The first time, its length and version are requested.
pub(crate) fn open(url: &Path) -> Result<Arc<Object>, RemoteError> {
    let objects = || registry().objects.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(object) = objects().get(url) {
        return Ok(Arc::clone(object));
    }
    let location = Location::of(url)?;
    let object = Arc::new(Object::open(store(&location)?, location.key)?);
    // Another thread may have been faster: its version counts.
    Ok(Arc::clone(objects().entry(url.to_owned()).or_insert(object)))
}

/// Reads a whole object that has at most `limit` bytes, without keeping it open. An error that is not about this object alone is
/// kept as the fault.
pub(crate) fn read(url: &str, limit: u64) -> Result<Bytes, RemoteError> {
    let read = || {
        let location = Location::of(Path::new(url))?;
        let part = store(&location)?.read(&location.key, 0..limit.saturating_add(1), None)?;
        match part.length > limit {
            true => Err(RemoteError::TooLarge(limit)),
            false => Ok(part.bytes),
        }
    };
    read().inspect_err(|error| {
        if error.is_of_store() {
            let mut fault = registry().fault.lock().unwrap_or_else(PoisonError::into_inner);
            fault.get_or_insert_with(|| (PathBuf::from(url), error.clone()));
        }
    })
}

/// Why a store cannot be read, once that has happened, and the object that was asked for: credentials have expired, the network is
/// down. A run that went on would reject every further row.
pub(crate) fn fault() -> Option<(PathBuf, RemoteError)> {
    registry().fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Reads from stores again after a fault.
pub(crate) fn forget_fault() {
    *registry().fault.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// The store that the URL of an object names, as requests are limited by it; `None` for web servers.
pub(crate) fn store_of(url: &str) -> Option<String> {
    let location = Location::of(Path::new(url)).ok()?;
    let is_object = location.scheme != location::Scheme::Web && !location.key.is_empty();
    is_object.then(|| location.store_id())
}

/// The URL of what a text in an object of this directory means: another object there, or in directories below or above.
pub(crate) fn beside(directory: &Path, written: &str) -> Option<String> {
    let directory = directory.to_str()?;
    let location = Location::of(Path::new(directory)).ok()?;
    let root = location.with_key("").to_string_lossy().trim_end_matches('/').to_owned();
    let below = directory.get(root.len()..)?.split(['?', '#']).next()?;
    let mut steps: Vec<&str> = Vec::new();
    for step in below.split('/').chain(written.split(['/', '\\'])) {
        match step {
            "" | "." => {}
            ".." => drop(steps.pop()?),
            step => steps.push(step),
        }
    }
    // What has a meaning in the URL of a web page is a part of the name here.
    let escape = |path: String| path.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    let path = steps.join("/");
    let path = if location.scheme == location::Scheme::Web { escape(path) } else { path };
    (!written.starts_with(['/', '\\']) && !steps.is_empty()).then(|| format!("{root}/{path}"))
}

/// The objects whose URLs begin with this one and a slash, sorted. Web servers have no lists.
pub(crate) fn list(url: &Path) -> Result<Vec<PathBuf>, RemoteError> {
    let location = Location::of(url)?;
    let prefix = location.key.trim_end_matches('/');
    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    let keys = store(&location)?.list(&prefix)?;
    let mut found: Vec<PathBuf> = keys.iter().map(|key| location.with_key(key)).collect();
    found.sort();
    Ok(found)
}

/// The store that an object is in: one for each bucket, so that credentials are requested once.
fn store(location: &Location) -> Result<Arc<dyn Store>, RemoteError> {
    let mut stores = registry().stores.lock().unwrap_or_else(PoisonError::into_inner);
    let id = location.store_id();
    if let Some(store) = stores.get(&id) {
        return Ok(Arc::clone(store));
    }
    let store: Arc<dyn Store> = match location.scheme {
        location::Scheme::Web => Arc::new(web::Web::new(location)),
        scheme => Arc::new(Cloud::open(scheme, &location.bucket)?),
    };
    stores.insert(id, Arc::clone(&store));
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_lie_beside_their_table() {
        for (directory, written, expected) in [
            ("s3://b/data", "images/1 %.png", Some("s3://b/data/images/1 %.png")),
            ("s3://b/data", "../1.png", Some("s3://b/1.png")),
            ("s3://b", "a\\1.png", Some("s3://b/a/1.png")),
            ("s3://b/data", "../../1.png", None),
            ("s3://b/data", "/etc/passwd", None),
            ("s3://b/data", "", Some("s3://b/data")),
            ("https://h:8/x", "a?b#c%.png", Some("https://h:8/x/a%3Fb%23c%25.png")),
        ] {
            assert_eq!(beside(Path::new(directory), written).as_deref(), expected, "{directory} {written}");
        }
    }
}
