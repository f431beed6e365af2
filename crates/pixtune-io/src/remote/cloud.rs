//! Buckets of the three large stores, through `object_store`: signatures, credentials and retries are its.

use std::env;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path as Key;
use object_store::{BackoffConfig, Error, GetOptions, GetRange, ObjectStore, RetryConfig};

use super::location::Scheme;
use super::transport::{Transport, cause};
use super::{Part, RemoteError, Store, profile, transport};

/// A bucket.
pub(super) struct Cloud {
    store: Box<dyn ObjectStore>,
    scheme: Scheme,
}

/// Objects of a list: their names are in memory.
const MOST_KEYS: usize = 1_000_000;

fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(200),
            max_backoff: Duration::from_secs(10),
            base: 2.0,
        },
        max_retries: 5,
        retry_timeout: Duration::from_secs(120),
    }
}

impl Cloud {
    /// Opens a bucket with what the environment states. Nothing is requested yet.
    pub(super) fn open(scheme: Scheme, bucket: &str) -> Result<Cloud, RemoteError> {
        let store = match scheme {
            Scheme::S3 => s3(bucket)?.build().map(|store| Box::new(store) as Box<dyn ObjectStore>),
            Scheme::Google => {
                let store = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
                let store = store.with_http_connector(Transport).with_retry(retries()).build();
                store.map(|store| Box::new(store) as _)
            }
            Scheme::Azure => azure(bucket).build().map(|store| Box::new(store) as _),
            Scheme::Web => return Err(RemoteError::Url),
        };
        let store =
            store.map_err(|error| RemoteError::Configuration(without_newlines(&error.to_string())))?;
        Ok(Cloud { store, scheme })
    }
}

/// The environment, and where it names no credentials, the files that the AWS command line writes.
fn s3(bucket: &str) -> Result<AmazonS3Builder, RemoteError> {
    let mut builder = AmazonS3Builder::from_env();
    let is_set = |key: AmazonS3ConfigKey| builder.get_config_value(&key).is_some();
    let skips = builder.get_config_value(&AmazonS3ConfigKey::SkipSignature);
    let has_credentials = is_set(AmazonS3ConfigKey::AccessKeyId)
        || is_set(AmazonS3ConfigKey::SecretAccessKey)
        || is_set(AmazonS3ConfigKey::WebIdentityTokenFile)
        || is_set(AmazonS3ConfigKey::ContainerCredentialsRelativeUri)
        || is_set(AmazonS3ConfigKey::ContainerCredentialsFullUri)
        || skips.is_some_and(|skips| !matches!(skips.as_str(), "false" | "0"));
    let has_region = is_set(AmazonS3ConfigKey::Region) || is_set(AmazonS3ConfigKey::DefaultRegion);
    let has_endpoint = is_set(AmazonS3ConfigKey::Endpoint) || is_set(AmazonS3ConfigKey::S3Endpoint);
    let profile = profile::Profile::of_environment(!has_credentials)?;
    if !has_credentials {
        match profile.keys {
            Some((id, secret, token)) => {
                builder = builder.with_access_key_id(id).with_secret_access_key(secret);
                if let Some(token) = token {
                    builder = builder.with_token(token);
                }
            }
            None if env::var("AWS_EC2_METADATA_DISABLED")
                .is_ok_and(|text| text.eq_ignore_ascii_case("true")) =>
            {
                return Err(RemoteError::NoCredentials(
                    "neither the environment nor ~/.aws/credentials has any".to_owned(),
                ));
            }
            None => {}
        }
    }
    if let Some(region) = profile.region.filter(|_| !has_region) {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = profile.endpoint.filter(|_| !has_endpoint) {
        builder = builder.with_endpoint(endpoint);
    }
    Ok(builder.with_bucket_name(bucket).with_http_connector(Transport).with_retry(retries()))
}

/// The environment, also in the spelling of the Azure command line.
fn azure(container: &str) -> MicrosoftAzureBuilder {
    let mut builder = MicrosoftAzureBuilder::from_env();
    let connection = env::var("AZURE_STORAGE_CONNECTION_STRING").unwrap_or_default();
    let of_connection = |name: &str| {
        let mut fields = connection.split(';').filter_map(|field| field.split_once('='));
        fields.find(|field| field.0 == name).map(|field| field.1.to_owned())
    };
    for (key, value) in [
        (AzureConfigKey::AccountName, env::var("AZURE_STORAGE_ACCOUNT").ok()),
        (AzureConfigKey::AccessKey, env::var("AZURE_STORAGE_KEY").ok()),
        (AzureConfigKey::AccountName, of_connection("AccountName")),
        (AzureConfigKey::AccessKey, of_connection("AccountKey")),
        (AzureConfigKey::SasKey, of_connection("SharedAccessSignature")),
        (AzureConfigKey::Endpoint, of_connection("BlobEndpoint")),
    ] {
        if let Some(value) = value.filter(|_| builder.get_config_value(&key).is_none()) {
            builder = builder.with_config(key, value);
        }
    }
    builder.with_container_name(container).with_http_connector(Transport).with_retry(retries())
}

impl Store for Cloud {
    fn read(&self, key: &str, range: Range<u64>, version: Option<&str>) -> Result<Part, RemoteError> {
        let location = Key::parse(key).map_err(|_| RemoteError::Missing("object"))?;
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            if_match: version.map(str::to_owned),
            ..GetOptions::default()
        };
        let read = async {
            let result = self.store.get_opts(&location, options).await?;
            let (length, version) = (result.meta.size, result.meta.e_tag.clone());
            Ok(Part { bytes: result.bytes().await?, length, version })
        };
        match wait(read)? {
            Ok(part) => Ok(part),
            // An empty object has no range.
            Err(error) if version.is_none() && status(&error) == Some(416) => {
                let options = GetOptions { head: true, ..GetOptions::default() };
                let about =
                    wait(self.store.get_opts(&location, options))?.map_err(|error| self.explain(&error))?;
                let bytes = bytes::Bytes::new();
                Ok(Part { bytes, length: about.meta.size, version: about.meta.e_tag })
            }
            Err(error) => Err(self.explain(&error)),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, RemoteError> {
        let key = Key::parse(prefix.trim_end_matches('/')).map_err(|_| RemoteError::Missing("prefix"))?;
        let mut objects = self.store.list(Some(&key).filter(|key| !key.as_ref().is_empty()));
        let mut keys = Vec::new();
        while let Some(object) = wait(objects.try_next())?.map_err(|error| self.explain(&error))? {
            if keys.len() == MOST_KEYS {
                return Err(RemoteError::Configuration(format!(
                    "the prefix has more than {MOST_KEYS} objects"
                )));
            }
            keys.push(object.location.to_string());
        }
        Ok(keys)
    }
}

/// Runs a request on this thread, with a clock for the pauses between attempts.
fn wait<T>(request: impl Future<Output = T>) -> Result<T, RemoteError> {
    thread_local! {
        static RUNTIME: io::Result<tokio::runtime::Runtime> =
            tokio::runtime::Builder::new_current_thread().enable_time().build();
    }
    RUNTIME.with(|runtime| match runtime {
        Ok(runtime) => Ok(runtime.block_on(request)),
        Err(error) => Err(RemoteError::Broken(error.to_string())),
    })
}

/// The status in the text of an error: the crate does not export the type that holds it.
fn status(error: &Error) -> Option<u16> {
    let text = error.to_string();
    let after = text.split("status code: ").nth(1)?;
    after.split(' ').next()?.parse().ok()
}

/// The content of an element of XML that has no others in it.
fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let after = text.split_once(&format!("<{name}>"))?.1;
    Some(after.split_once("</")?.0)
}

fn without_newlines(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The beginning of a text in one line.
pub(super) fn line(text: &str) -> String {
    let line = without_newlines(text);
    match line.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

impl Cloud {
    fn explain(&self, error: &Error) -> RemoteError {
        let text = error.to_string();
        let code = element(&text, "Code").unwrap_or_default();
        let detail = match (code, element(&text, "Message")) {
            ("", _) => String::new(),
            (code, Some(message)) => line(&format!("{code}: {message}")),
            (code, None) => line(code),
        };
        match code {
            "ExpiredToken" | "TokenRefreshRequired" | "RequestExpired" => {
                return RemoteError::Expired(detail);
            }
            "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "AuthenticationFailed" => {
                return RemoteError::Unauthenticated(detail);
            }
            "NoSuchBucket" | "ContainerNotFound" => return RemoteError::Missing("bucket"),
            "PermanentRedirect" | "AuthorizationHeaderMalformed" => return RemoteError::Region,
            _ => {}
        }
        if text.contains("Received redirect without LOCATION") {
            return RemoteError::Region;
        }
        let status = status(error);
        match (error, status) {
            (Error::Precondition { .. }, _) => RemoteError::Changed,
            (Error::NotFound { .. }, _) => RemoteError::Missing("object"),
            (_, Some(403)) => RemoteError::Denied(detail),
            (_, Some(401)) => RemoteError::Unauthenticated(detail),
            (_, Some(status)) => RemoteError::Status { status, detail },
            _ => self.explain_cause(error, &text),
        }
    }

    /// An error without a response.
    fn explain_cause(&self, error: &Error, text: &str) -> RemoteError {
        if text.contains("169.254.") || text.contains("metadata.google.internal") {
            let tried = match self.scheme {
                Scheme::S3 => {
                    "the environment and ~/.aws/credentials have none, and this machine has no role"
                }
                _ => "the environment has none, and this machine has no identity",
            };
            return RemoteError::NoCredentials(tried.to_owned());
        }
        match cause(error) {
            Some(ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve)) => {
                RemoteError::Unreachable("timeout".to_owned())
            }
            Some(ureq::Error::Timeout(_)) => RemoteError::Timeout(transport::RESPONSE),
            Some(ureq::Error::HostNotFound) => RemoteError::Unreachable("no such host".to_owned()),
            Some(ureq::Error::Io(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                RemoteError::Unreachable("connection refused".to_owned())
            }
            Some(cause) => RemoteError::Broken(line(&cause.to_string())),
            None => RemoteError::Invalid(line(text)),
        }
    }
}
