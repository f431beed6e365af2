//! URLs of objects: scheme, bucket and key. What gives access, such as the signature of a presigned URL, is not shown.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::RemoteError;

/// What kind of store a URL names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// Amazon S3 and what speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage.
    Azure,
    /// A web server.
    Web,
}

const SCHEMES: [(&str, Scheme); 8] = [
    ("s3://", Scheme::S3),
    ("s3a://", Scheme::S3),
    ("gs://", Scheme::Google),
    ("gcs://", Scheme::Google),
    ("az://", Scheme::Azure),
    ("azure://", Scheme::Azure),
    ("http://", Scheme::Web),
    ("https://", Scheme::Web),
];

fn scheme_of(url: &str) -> Option<(&'static str, Scheme)> {
    SCHEMES
        .into_iter()
        .find(|(prefix, _)| url.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)))
}

/// Whether a path is the URL of an object.
pub(crate) fn is_remote(path: &Path) -> bool {
    path.to_str().is_some_and(|url| scheme_of(url).is_some())
}

/// The extension in the name of a file or an object, in lower case. The query of a web URL is not part of the name.
pub(crate) fn extension_of(path: &Path) -> String {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let name = match path.to_str().and_then(scheme_of) {
        Some((_, Scheme::Web)) => name.split(['?', '#']).next().unwrap_or(name),
        _ => name,
    };
    Path::new(name).extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase()
}

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) scheme: Scheme,
    prefix: &'static str,
    /// The bucket, the container, or the host with its port.
    pub(super) bucket: String,
    /// The name in the bucket; of a web URL, the whole URL.
    pub(super) key: String,
}

impl Location {
    pub(super) fn of(url: &Path) -> Result<Location, RemoteError> {
        let invalid = || RemoteError::Url;
        let url = url.to_str().ok_or_else(invalid)?;
        let (prefix, scheme) = scheme_of(url).ok_or_else(invalid)?;
        let rest = &url[prefix.len()..];
        let (bucket, key) = match scheme {
            Scheme::Web => (rest.split(['/', '?', '#']).next().unwrap_or_default(), url),
            _ => rest.split_once('/').unwrap_or((rest, "")),
        };
        if bucket.is_empty() {
            return Err(invalid());
        }
        Ok(Location { scheme, prefix, bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// Objects of one store have the same.
    pub(super) fn store_id(&self) -> String {
        format!("{}{}", self.prefix, self.bucket)
    }

    /// The URL of another object in the bucket.
    pub(super) fn with_key(&self, key: &str) -> PathBuf {
        PathBuf::from(format!("{}{}/{key}", self.prefix, self.bucket))
    }
}

/// Parameters of a query that give access.
const SECRETS: [&str; 12] = [
    "x-amz-signature",
    "x-amz-credential",
    "x-amz-security-token",
    "x-goog-signature",
    "x-goog-credential",
    "sig",
    "signature",
    "token",
    "access_token",
    "api_key",
    "key",
    "policy",
];

/// A path as messages and files show it: user names, passwords and signatures in URLs are replaced.
pub(crate) fn shown(path: &str) -> String {
    let Some((prefix, Scheme::Web)) = scheme_of(path) else { return path.to_owned() };
    let rest = &path[prefix.len()..];
    let (host, after) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = host.rsplit_once('@').map_or(host.to_owned(), |(_, host)| format!("…@{host}"));
    let Some((path, query)) = after.split_once('?') else { return format!("{prefix}{host}{after}") };
    let shown = query.split('&').map(|parameter| {
        let name = parameter.split('=').next().unwrap_or_default();
        match SECRETS.iter().any(|secret| secret.eq_ignore_ascii_case(name)) {
            true => format!("{name}=…"),
            false => parameter.to_owned(),
        }
    });
    format!("{prefix}{host}{path}?{}", shown.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_bucket_and_key() {
        let of = |url: &str| Location::of(Path::new(url)).map(|at| (at.scheme, at.bucket, at.key)).ok();
        assert_eq!(of("s3://b/a/b c.csv"), Some((Scheme::S3, "b".into(), "a/b c.csv".into())));
        assert_eq!(of("gs://b"), Some((Scheme::Google, "b".into(), String::new())));
        assert_eq!(of("AZ://b/x"), Some((Scheme::Azure, "b".into(), "x".into())));
        assert_eq!(of("https://h:8/x?y"), Some((Scheme::Web, "h:8".into(), "https://h:8/x?y".into())));
        for none in ["s3:///x", "https://", "ftp://h/x", "x.csv", "/s3://b/x"] {
            assert_eq!(of(none), None, "{none}");
        }
        assert!(is_remote(Path::new("s3://b/x")) && !is_remote(Path::new("data/s3.csv")));
    }

    #[test]
    fn extensions_are_those_of_the_name() {
        for (path, expected) in [
            ("https://h/a.parquet?X-Amz-Expires=3.5", "parquet"),
            ("s3://b/a?b.CSV", "csv"),
            ("a.b/c.tar", "tar"),
            ("https://h/download?id=1", ""),
        ] {
            assert_eq!(extension_of(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn access_is_not_shown() {
        assert_eq!(
            shown("https://me:pw@h/a.csv?X-Amz-Signature=abc&part=1&sig=x"),
            "https://…@h/a.csv?X-Amz-Signature=…&part=1&sig=…"
        );
        assert_eq!(shown("https://h/a.csv"), "https://h/a.csv");
        assert_eq!(shown("dir/a?sig=1"), "dir/a?sig=1");
    }
}
