//! The body that creates a job, of both vendors.

use pixtune_core::json::{self, Value, object};

use super::fields::Fields;
use crate::error::ApiError;
use crate::vendor::Vendor;

/// A job as it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRequest {
    /// The base model, in the client's words.
    pub model: String,
    /// Training files, each with its weight.
    pub training: Vec<(String, f64)>,
    /// Validation files.
    pub validation: Vec<String>,
    /// The user's part of the tuned model's name.
    pub suffix: Option<String>,
    /// The seed of the run.
    pub seed: Option<u64>,
    /// Whether the job is queued at once.
    pub auto_start: bool,
    /// The largest share of invalid samples that are skipped.
    pub skip_share: f64,
    /// How to train.
    pub hyperparameters: Hyperparameters,
    /// The user's labels.
    pub metadata: Vec<(String, String)>,
    /// The run is to be uploaded to Weights & Biases.
    pub wandb: Option<Wandb>,
    /// Jobs with a higher priority run first; an extension of this server.
    pub priority: i64,
    /// What is accepted and has no effect, as messages for the job's events.
    pub notes: Vec<String>,
}

/// How to train; what is `None` is left to the defaults of `pixtune train`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hyperparameters {
    /// Steps, instead of epochs.
    pub steps: Option<u64>,
    /// Epochs.
    pub epochs: Option<f64>,
    /// Peak learning rate.
    pub learning_rate: Option<f64>,
    /// A multiple of the default learning rate.
    pub learning_rate_multiplier: Option<f64>,
    /// Weight decay.
    pub weight_decay: Option<f64>,
    /// Warmup as a fraction of the steps.
    pub warmup_fraction: Option<f64>,
    /// The largest number of tokens per batch.
    pub seq_len: Option<u32>,
    /// Samples per step.
    pub batch_size: Option<u64>,
    /// Rank of the adapter; an extension of this server.
    pub lora_rank: Option<u64>,
}

/// Where a run is to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wandb {
    /// The project.
    pub project: String,
    /// The name of the run.
    pub name: Option<String>,
}

/// Mistral's limit of a suffix, and OpenAI's.
const SUFFIX: [usize; 2] = [18, 64];

impl JobRequest {
    /// Reads a body. Unknown keys are notes; what would change the training and is not supported is an error.
    pub fn parse(vendor: Vendor, body: &Value<'_>) -> Result<JobRequest, ApiError> {
        if body.as_object().is_none() {
            return Err(ApiError::bad_request(format!("the body is {}, not an object", body.kind())));
        }
        let fields = Fields { value: body, path: "" };
        let mut request = match vendor {
            Vendor::Mistral => mistral(&fields)?,
            Vendor::OpenAi => openai(&fields)?,
        };
        request.priority = fields.number("priority", -1000.0..=1000.0)?.map_or(0, |priority| priority as i64);
        if request.training.is_empty() {
            let param = if vendor == Vendor::Mistral { "training_files" } else { "training_file" };
            return Err(ApiError::invalid(param, "at least one training file is required"));
        }
        Ok(request)
    }
}

const HYPERPARAMETERS: [&str; 10] = [
    "training_steps",
    "learning_rate",
    "weight_decay",
    "warmup_fraction",
    "epochs",
    "seq_len",
    "fim_ratio",
    "n_epochs",
    "batch_size",
    "learning_rate_multiplier",
];

/// Keys of Mistral's `hyperparameters`, then of OpenAI's; both take the extension `lora_rank`.
fn hyperparameters(
    fields: &Fields<'_, '_>,
    vendor: Vendor,
) -> Result<(Hyperparameters, Vec<String>), ApiError> {
    let known: Vec<&str> = match vendor {
        Vendor::Mistral => HYPERPARAMETERS[..7].iter().copied().chain(["lora_rank"]).collect(),
        Vendor::OpenAi => HYPERPARAMETERS[7..].iter().copied().chain(["lora_rank"]).collect(),
    };
    let mut notes = fields.unknown(&known);
    let is_known = |key: &str| known.contains(&key);
    let number = |key: &str, least: f64, most: f64| match is_known(key) {
        true => fields.number(key, least..=most),
        false => Ok(None),
    };
    let count = |key: &str, least: u64| if is_known(key) { fields.count(key, least) } else { Ok(None) };
    if fields.get("fim_ratio").is_some_and(|_| vendor == Vendor::Mistral) {
        notes.push(
            "`hyperparameters.fim_ratio` has no effect: chat models are not trained to fill in the middle"
                .to_owned(),
        );
    }
    let epochs = match count("n_epochs", 1)? {
        Some(epochs) => Some(epochs as f64),
        None => number("epochs", 1e-6, 1e6)?,
    };
    // Mistral's own limits of the learning rate, the weight decay and the warmup.
    let parsed = Hyperparameters {
        steps: count("training_steps", 1)?,
        epochs,
        learning_rate: number("learning_rate", 1e-8, 1.0)?,
        learning_rate_multiplier: number("learning_rate_multiplier", 1e-6, 1e6)?,
        weight_decay: number("weight_decay", 0.0, 1.0)?,
        warmup_fraction: number("warmup_fraction", 0.0, 1.0)?,
        seq_len: count("seq_len", 100)?.and_then(|tokens| u32::try_from(tokens).ok()),
        batch_size: count("batch_size", 1)?,
        lora_rank: fields.number("lora_rank", 1.0..=4096.0)?.map(|rank| rank as u64),
    };
    if parsed.steps.is_some() && parsed.epochs.is_some() {
        notes.push("`training_steps` decides the length of the run: `epochs` has no effect".to_owned());
    }
    Ok((parsed, notes))
}

fn mistral(fields: &Fields<'_, '_>) -> Result<JobRequest, ApiError> {
    let mut notes = fields.unknown(&[
        "model",
        "hyperparameters",
        "training_files",
        "validation_files",
        "suffix",
        "integrations",
        "auto_start",
        "invalid_sample_skip_percentage",
        "job_type",
        "repositories",
        "metadata",
        "priority",
    ]);
    if let Some(kind) = fields.text("job_type")?.filter(|kind| *kind != "completion") {
        let message = format!("jobs of the type `{kind}` are not supported: only `completion` is");
        return Err(ApiError::invalid("job_type", message));
    }
    if !fields.list("repositories")?.is_empty() {
        return Err(ApiError::invalid(
            "repositories",
            "repositories are not supported: upload training files",
        ));
    }
    let hyper = fields.object("hyperparameters", "hyperparameters")?;
    let (hyperparameters, unused) = match &hyper {
        Some(hyper) => hyperparameters(hyper, Vendor::Mistral)?,
        None => Default::default(),
    };
    notes.extend(unused);
    let file = |value: &Value<'_>| match (value.as_str(), value.text("file_id")) {
        (Some(id), _) => Ok((id.to_owned(), 1.0)),
        (None, Some(id)) => {
            let weight = Fields { value, path: "training_files" }.number("weight", 1e-3..=1e3)?;
            Ok((id.to_owned(), weight.unwrap_or(1.0)))
        }
        _ => Err(ApiError::invalid(
            "training_files",
            "each training file has to be an id, or an object with `file_id`",
        )),
    };
    let id = |value: &Value<'_>| {
        value
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| ApiError::invalid("validation_files", "each validation file has to be an id"))
    };
    Ok(JobRequest {
        model: required(fields, "model")?,
        training: fields.list("training_files")?.iter().map(file).collect::<Result<_, _>>()?,
        validation: fields.list("validation_files")?.iter().map(id).collect::<Result<_, _>>()?,
        suffix: fields.suffix(SUFFIX[0])?,
        seed: None,
        auto_start: fields.flag("auto_start")?.unwrap_or(true),
        skip_share: fields.number("invalid_sample_skip_percentage", 0.0..=0.5)?.unwrap_or(0.0),
        hyperparameters,
        metadata: fields.metadata()?,
        wandb: wandb(fields)?,
        priority: 0,
        notes,
    })
}

fn openai(fields: &Fields<'_, '_>) -> Result<JobRequest, ApiError> {
    let mut notes = fields.unknown(&[
        "model",
        "training_file",
        "validation_file",
        "hyperparameters",
        "suffix",
        "seed",
        "method",
        "metadata",
        "integrations",
        "priority",
        "trainingType",
    ]);
    let method = fields.object("method", "method")?;
    let kind =
        method.as_ref().map(|method| method.text("type")).transpose()?.flatten().unwrap_or("supervised");
    if kind != "supervised" {
        let message = format!("the method `{kind}` is not supported: only `supervised` is");
        return Err(ApiError::invalid("method.type", message));
    }
    let supervised = match &method {
        Some(method) => method.object("supervised", "method.supervised")?,
        None => None,
    };
    let of_method = match &supervised {
        Some(supervised) => supervised.object("hyperparameters", "method.supervised.hyperparameters")?,
        None => None,
    };
    let of_body = fields.object("hyperparameters", "hyperparameters")?;
    let (hyperparameters, unused) = match of_method.or(of_body) {
        Some(hyper) => hyperparameters(&hyper, Vendor::OpenAi)?,
        None => Default::default(),
    };
    notes.extend(unused);
    Ok(JobRequest {
        model: required(fields, "model")?,
        training: fields.text("training_file")?.map(|id| (id.to_owned(), 1.0)).into_iter().collect(),
        validation: fields.text("validation_file")?.map(str::to_owned).into_iter().collect(),
        suffix: fields.suffix(SUFFIX[1])?,
        seed: fields.count("seed", 0)?,
        auto_start: true,
        skip_share: 0.0,
        hyperparameters,
        metadata: fields.metadata()?,
        wandb: wandb(fields)?,
        priority: 0,
        notes,
    })
}

fn required(fields: &Fields<'_, '_>, key: &str) -> Result<String, ApiError> {
    fields.text(key)?.map(str::to_owned).ok_or_else(|| ApiError::invalid(key, format!("`{key}` is required")))
}

/// The integration with Weights & Biases: Mistral's has the settings beside the type, OpenAI's under `wandb`.
fn wandb(fields: &Fields<'_, '_>) -> Result<Option<Wandb>, ApiError> {
    let mut found = None;
    for integration in fields.list("integrations")? {
        let kind = integration.text("type").unwrap_or_default();
        if kind != "wandb" {
            let message = format!("the integration `{kind}` is not supported: only `wandb` is");
            return Err(ApiError::invalid("integrations", message));
        }
        let settings = integration.get("wandb").unwrap_or(integration);
        let project = settings.text("project").unwrap_or("pixtune").to_owned();
        let name = settings.text("name").or_else(|| settings.text("run_name")).map(str::to_owned);
        found = Some(Wandb { project, name });
    }
    Ok(found)
}

/// A body without what must not be stored: the keys of integrations and tokens of repositories.
pub fn without_secrets(body: &Value<'_>) -> String {
    json::text(redacted(body))
}

fn redacted<'v>(value: &'v Value<'_>) -> impl json::ToJson + 'v {
    Redacted(value)
}

struct Redacted<'v, 'a>(&'v Value<'a>);

impl json::ToJson for Redacted<'_, '_> {
    fn write_json(self, slot: json::Slot<'_>) {
        match self.0 {
            Value::Object(members) => object(|out| {
                for (key, value) in members {
                    match matches!(&**key, "api_key" | "token" | "secret") {
                        true => out.field(key, "[redacted]"),
                        false => out.field(key, Redacted(value)),
                    };
                }
            })
            .write_json(slot),
            Value::Array(values) => slot.list(values.iter().map(Redacted)),
            value => value.write_json(slot),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(vendor: Vendor, body: &str) -> Result<JobRequest, ApiError> {
        JobRequest::parse(vendor, &json::parse(body).unwrap().value)
    }

    #[test]
    fn both_spellings_of_training_files_are_accepted() {
        let body = r#"{"model":"m","training_files":["a",{"file_id":"b","weight":2.5}],"validation_files":["c"],"auto_start":false,
            "hyperparameters":{"training_steps":10,"learning_rate":0.0001}}"#;
        let request = parse(Vendor::Mistral, body).unwrap();
        assert_eq!(request.training, [("a".to_owned(), 1.0), ("b".to_owned(), 2.5)]);
        assert_eq!((request.auto_start, request.hyperparameters.steps), (false, Some(10)));
        assert_eq!((request.validation, request.notes), (vec!["c".to_owned()], vec![]));
    }

    #[test]
    fn hyperparameters_of_the_method_precede_those_of_the_body() {
        let body = r#"{"model":"m","training_file":"f","hyperparameters":{"n_epochs":9},"method":{"type":"supervised",
            "supervised":{"hyperparameters":{"n_epochs":3,"batch_size":"auto","learning_rate_multiplier":0.5}}},"unknown":1}"#;
        let request = parse(Vendor::OpenAi, body).unwrap();
        let hyper = request.hyperparameters;
        assert_eq!(
            (hyper.epochs, hyper.batch_size, hyper.learning_rate_multiplier),
            (Some(3.0), None, Some(0.5))
        );
        assert_eq!(request.notes, ["`unknown` is not supported and has no effect"]);
    }

    #[test]
    fn what_would_train_something_else_is_an_error() {
        let param = |vendor, body: &str| parse(vendor, body).unwrap_err().param.unwrap_or_default();
        assert_eq!(
            param(Vendor::OpenAi, r#"{"model":"m","training_file":"f","method":{"type":"dpo"}}"#),
            "method.type"
        );
        assert_eq!(
            param(Vendor::Mistral, r#"{"model":"m","training_files":["f"],"job_type":"classifier"}"#),
            "job_type"
        );
        assert_eq!(
            param(Vendor::Mistral, r#"{"model":"m","training_files":["f"],"repositories":[{"name":"r"}]}"#),
            "repositories"
        );
        assert_eq!(param(Vendor::Mistral, r#"{"model":"m","training_files":[]}"#), "training_files");
        assert_eq!(param(Vendor::OpenAi, r#"{"training_file":"f"}"#), "model");
        assert_eq!(
            param(Vendor::OpenAi, r#"{"model":"m","training_file":"f","hyperparameters":{"n_epochs":1.5}}"#),
            "hyperparameters.n_epochs"
        );
        assert_eq!(
            param(
                Vendor::Mistral,
                r#"{"model":"m","training_files":["f"],"suffix":"much-too-long-for-a-suffix"}"#
            ),
            "suffix"
        );
        assert_eq!(
            param(Vendor::Mistral, r#"{"model":"m","training_files":[{"file_id":"f","weight":-1}]}"#),
            "training_files.weight"
        );
        assert!(parse(Vendor::OpenAi, "[]").is_err());
    }

    #[test]
    fn keys_of_integrations_are_not_stored() {
        let body = r#"{"integrations":[{"type":"wandb","project":"p","api_key":"0123"}],"model":"m"}"#;
        let stored = without_secrets(&json::parse(body).unwrap().value);
        assert_eq!(
            stored,
            r#"{"integrations":[{"type":"wandb","project":"p","api_key":"[redacted]"}],"model":"m"}"#
        );
    }
}
