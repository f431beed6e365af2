//! The files in `~/.aws`: keys, region and endpoint of the profile in use, as the AWS command line reads them.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;

use super::RemoteError;

/// What the files state for the profile in use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Profile {
    /// Id, secret and session token.
    pub(super) keys: Option<(String, String, Option<String>)>,
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
}

type Section = BTreeMap<String, String>;

/// Ways to get keys that need another program or a browser.
const INDIRECT: [&str; 6] =
    ["role_arn", "source_profile", "credential_process", "sso_session", "sso_start_url", "credential_source"];

impl Profile {
    /// The profile that `AWS_PROFILE` names, or `default`. If its keys are needed and only another program can get them, that is
    /// an error.
    pub(super) fn of_environment(needs_keys: bool) -> Result<Profile, RemoteError> {
        let chosen = env::var("AWS_PROFILE").ok().filter(|name| !name.is_empty());
        let path = |variable: &str, name: &str| {
            let given = env::var_os(variable).map(PathBuf::from);
            given.or_else(|| Some(env::home_dir()?.join(".aws").join(name)))
        };
        let text = |path: Option<PathBuf>| match path.map(|path| (fs::read_to_string(&path), path)) {
            None => Ok(String::new()),
            Some((Ok(text), _)) => Ok(text),
            Some((Err(error), _)) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Some((Err(error), path)) => {
                Err(RemoteError::Configuration(format!("`{}` cannot be read: {error}", path.display())))
            }
        };
        let credentials = text(path("AWS_SHARED_CREDENTIALS_FILE", "credentials"))?;
        let config = text(path("AWS_CONFIG_FILE", "config"))?;
        Profile::of(&credentials, &config, chosen.as_deref(), needs_keys)
    }

    fn of(
        credentials: &str,
        config: &str,
        chosen: Option<&str>,
        needs_keys: bool,
    ) -> Result<Profile, RemoteError> {
        let name = chosen.unwrap_or("default");
        let (keys, settings) = (section(credentials, &[name.to_owned()]), {
            let headings = match name {
                "default" => vec![name.to_owned(), "profile default".to_owned()],
                name => vec![format!("profile {name}")],
            };
            section(config, &headings)
        });
        if keys.is_none() && settings.is_none() && chosen.is_some() && needs_keys {
            return Err(RemoteError::NoCredentials(format!("~/.aws has no profile `{name}`")));
        }
        let (keys, settings) = (keys.unwrap_or_default(), settings.unwrap_or_default());
        let value = |key: &str| keys.get(key).or_else(|| settings.get(key)).cloned();
        let found = value("aws_access_key_id").zip(value("aws_secret_access_key"));
        let found = found.map(|(id, secret)| (id, secret, value("aws_session_token")));
        let indirect = INDIRECT.iter().find(|key| keys.contains_key(**key) || settings.contains_key(**key));
        if let (None, Some(key), true) = (&found, indirect, needs_keys) {
            return Err(RemoteError::NoCredentials(format!(
                "profile `{name}` gets them by `{key}`, which is not supported; run `eval \"$(aws configure \
                 export-credentials --format env)\"` first"
            )));
        }
        Ok(Profile { keys: found, region: value("region"), endpoint: value("endpoint_url") })
    }
}

/// The values under a heading; `None` if there is no such heading. Nested values, which are indented, are not read.
fn section(text: &str, headings: &[String]) -> Option<Section> {
    let mut found: Option<Section> = None;
    let mut is_within = false;
    for line in text.lines() {
        if let Some(heading) = line.trim().strip_prefix('[').and_then(|line| line.split(']').next()) {
            let heading = heading.split_whitespace().collect::<Vec<_>>().join(" ");
            is_within = headings.contains(&heading);
            if is_within {
                found.get_or_insert_default();
            }
        } else if let (true, Some((key, value)), false) =
            (is_within, line.split_once('='), line.starts_with([' ', '\t', '#', ';']))
        {
            let values = found.get_or_insert_default();
            values.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "[default]\naws_access_key_id = A\naws_secret_access_key=B=\n\n[ work ]\n\
        aws_access_key_id=C\naws_secret_access_key=D\naws_session_token = E\n# [x]\n";
    const CONFIG: &str = "[default]\nregion = eu-west-1\n[profile work]\nregion=us-west-2\ns3 =\n  region = no\n\
        endpoint_url = http://h:1\n[profile sso]\nsso_session = my\n";

    #[test]
    fn keys_are_those_of_the_profile() {
        let of = |name| Profile::of(CREDENTIALS, CONFIG, name, true);
        let default = of(None).unwrap();
        assert_eq!(default.keys, Some(("A".into(), "B=".into(), None)));
        assert_eq!(default.region.as_deref(), Some("eu-west-1"));
        let work = of(Some("work")).unwrap();
        assert_eq!(work.keys, Some(("C".into(), "D".into(), Some("E".into()))));
        assert_eq!(
            (work.region.as_deref(), work.endpoint.as_deref()),
            (Some("us-west-2"), Some("http://h:1"))
        );
        assert_eq!(Profile::of("", "", None, true), Ok(Profile::default()));
    }

    #[test]
    fn profiles_without_keys_are_explained() {
        let of = |name, needs_keys| Profile::of(CREDENTIALS, CONFIG, Some(name), needs_keys);
        assert!(
            of("sso", true).unwrap_err().to_string().contains("by `sso_session`, which is not supported")
        );
        assert!(of("sso", false).is_ok());
        assert_eq!(
            of("none", true).unwrap_err().to_string(),
            "there are no credentials: ~/.aws has no profile `none`"
        );
    }
}
