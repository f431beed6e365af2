//! Whose API a request speaks: decided by its path, then by what the clients of each vendor send.

use pixtune_core::json::Value;

/// Whose shapes an answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    /// Mistral's API.
    Mistral,
    /// OpenAI's API.
    OpenAi,
}

impl Vendor {
    /// The name in headers, flags and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Vendor::Mistral => "mistral",
            Vendor::OpenAi => "openai",
        }
    }

    /// The vendor with this name.
    pub fn parse(name: &str) -> Option<Vendor> {
        [Vendor::Mistral, Vendor::OpenAi].into_iter().find(|vendor| vendor.as_str() == name)
    }
}

/// What a request is answered like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// Whose shapes.
    pub vendor: Vendor,
    /// The request came through Azure's paths.
    pub is_azure: bool,
    /// Mistral's Python client before 1.0, which fails on job states that it does not have.
    pub is_mistral_v0: bool,
}

/// What is known of a request before its answer, apart from the path.
#[derive(Debug, Default)]
pub struct Hints<'r> {
    /// The `User-Agent` header.
    pub user_agent: &'r str,
    /// Names of all headers, in lower case.
    pub headers: Vec<&'r str>,
    /// The path after its prefix, as segments.
    pub segments: Vec<&'r str>,
    /// Names of the query's parameters.
    pub query: Vec<&'r str>,
    /// The JSON body, if there is one.
    pub body: Option<&'r Value<'r>>,
}

impl Hints<'_> {
    /// The vendor whose client sent this; `None` where both could have.
    pub fn vendor(&self) -> Option<Vendor> {
        self.by_agent().or_else(|| self.by_body()).or_else(|| self.by_path()).or_else(|| self.by_query())
    }

    /// Mistral's Python client before 1.0.
    pub fn is_mistral_v0(&self) -> bool {
        self.user_agent.starts_with("mistral-client-python/0.")
    }

    fn by_agent(&self) -> Option<Vendor> {
        let agent = self.user_agent;
        let openai = ["OpenAI/", "AsyncOpenAI/", "AzureOpenAI/", "AsyncAzureOpenAI/"];
        if openai.iter().any(|name| agent.starts_with(name)) {
            return Some(Vendor::OpenAi);
        }
        if agent.starts_with("mistral-client-") {
            return Some(Vendor::Mistral);
        }
        let own = |name: &&str| name.starts_with("x-stainless-") || *name == "openai-organization";
        self.headers.iter().any(own).then_some(Vendor::OpenAi)
    }

    fn by_body(&self) -> Option<Vendor> {
        let has =
            |keys: &[&str]| keys.iter().any(|key| self.body.is_some_and(|body| body.get(key).is_some()));
        if has(&[
            "training_files",
            "validation_files",
            "auto_start",
            "repositories",
            "invalid_sample_skip_percentage",
        ]) {
            return Some(Vendor::Mistral);
        }
        let steps =
            self.body.and_then(|body| body.get("hyperparameters")).and_then(|of| of.get("training_steps"));
        match steps {
            Some(_) => Some(Vendor::Mistral),
            None => has(&["training_file", "validation_file", "method"]).then_some(Vendor::OpenAi),
        }
    }

    fn by_path(&self) -> Option<Vendor> {
        match self.segments[..] {
            ["fine_tuning", "jobs", _, "events" | "checkpoints" | "pause" | "resume"]
            | ["fine_tuning", "checkpoints", ..]
            | ["uploads", ..]
            | ["batches", ..] => Some(Vendor::OpenAi),
            ["fine_tuning", "jobs", _, "start"]
            | ["fine_tuning", "models", ..]
            | ["batch", ..]
            | ["files", _, "url"] => Some(Vendor::Mistral),
            ["fine_tuning", "jobs", id] | ["fine_tuning", "jobs", id, "cancel"] => by_job_id(id),
            _ => None,
        }
    }

    fn by_query(&self) -> Option<Vendor> {
        let has = |names: &[&str]| self.query.iter().any(|name| names.contains(name));
        if has(&["page", "page_size", "include_total", "dry_run", "created_by_me"]) {
            return Some(Vendor::Mistral);
        }
        let is_openai =
            has(&["after", "limit", "order"]) || self.query.iter().any(|name| name.starts_with("metadata"));
        is_openai.then_some(Vendor::OpenAi)
    }
}

/// A job answers in the shape of the API that created it, and its id shows which.
fn by_job_id(id: &str) -> Option<Vendor> {
    match id.starts_with("ftjob-") {
        true => Some(Vendor::OpenAi),
        false => (id.len() == 36 && id.bytes().filter(|byte| *byte == b'-').count() == 4)
            .then_some(Vendor::Mistral),
    }
}

/// A path without the prefix of its vendor, and what the prefix decides.
#[derive(Debug, PartialEq, Eq)]
pub struct ApiPath<'p> {
    /// The segments after `v1`, still percent-encoded.
    pub segments: Vec<&'p str>,
    /// The vendor that the prefix names.
    pub vendor: Option<Vendor>,
    /// Azure's paths: no `v1`, and the model is part of the path of a chat.
    pub is_azure: bool,
    /// The model of Azure's `deployments/{model}`.
    pub deployment: Option<&'p str>,
}

impl<'p> ApiPath<'p> {
    /// Splits the path of a request to the API; `None` for any other path. A base URL with a slash too many, or with `v1` where
    /// the client adds one, leads to the same path.
    pub fn parse(path: &'p str, has_api_version: bool) -> Option<ApiPath<'p>> {
        let mut all: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        all.dedup_by(|next, first| *next == "v1" && *first == "v1");
        let version = all.iter().take(6).position(|segment| *segment == "v1");
        if let Some(at) = version {
            let vendor = at.checked_sub(1).and_then(|before| Vendor::parse(all[before]));
            let is_bare = at == 0;
            if is_bare || vendor.is_some() {
                let segments = all.split_off(at + 1);
                return Some(ApiPath { segments, vendor, is_azure: false, deployment: None });
            }
        }
        let at = all.iter().take(4).position(|segment| *segment == "openai").filter(|_| has_api_version)?;
        let mut segments = all.split_off(at + 1);
        let deployment = match segments[..] {
            ["deployments", model, ..] => Some(model),
            _ => None,
        };
        if deployment.is_some() {
            segments.drain(..2);
        }
        Some(ApiPath { segments, vendor: Some(Vendor::OpenAi), is_azure: true, deployment })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(path: &str) -> Option<(String, Option<Vendor>)> {
        ApiPath::parse(path, false).map(|path| (path.segments.join("/"), path.vendor))
    }

    #[test]
    fn prefixes_and_doubled_parts_lead_to_the_same_path() {
        let mistral = Some(("files/a".to_owned(), Some(Vendor::Mistral)));
        for path in [
            "/mistral/v1/files/a",
            "/mistral//v1/files/a",
            "/t/a/mistral/v1/files/a",
            "/mistral/v1/v1/files/a",
        ] {
            assert_eq!(segments(path), mistral, "{path}");
        }
        assert_eq!(segments("/v1/files"), Some(("files".to_owned(), None)));
        assert_eq!(segments("//v1//files"), Some(("files".to_owned(), None)));
        assert_eq!(
            segments("/openai/v1/models/ft:a:b::c"),
            Some(("models/ft:a:b::c".to_owned(), Some(Vendor::OpenAi)))
        );
        assert_eq!(
            [segments("/"), segments("/other/v1/files"), segments("/openai/files")],
            [None, None, None]
        );
    }

    #[test]
    fn azure_names_the_model_in_the_path() {
        let path = ApiPath::parse("/openai/deployments/my%20model/chat/completions", true).unwrap();
        assert_eq!((path.segments, path.deployment), (vec!["chat", "completions"], Some("my%20model")));
        let path = ApiPath::parse("/openai/fine_tuning/jobs", true).unwrap();
        assert!(path.is_azure && path.deployment.is_none() && path.segments == ["fine_tuning", "jobs"]);
    }

    #[test]
    fn the_body_decides_where_the_client_does_not() {
        let vendor = |body: &str| {
            let parsed = pixtune_core::json::parse(body).unwrap().value;
            Hints { body: Some(&parsed), ..Hints::default() }.vendor()
        };
        assert_eq!(vendor(r#"{"model":"m","training_file":"f"}"#), Some(Vendor::OpenAi));
        assert_eq!(vendor(r#"{"model":"m","training_files":["f"]}"#), Some(Vendor::Mistral));
        assert_eq!(vendor(r#"{"model":"m","hyperparameters":{"training_steps":1}}"#), Some(Vendor::Mistral));
        assert_eq!(vendor(r#"{"model":"m","messages":[]}"#), None);
    }
}
