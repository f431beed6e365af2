//! Whom a model is compared with: what `--compare` names, the rest as for the model itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pixtune_evaluate::{AnswerSource, Contestant};

use super::remote;
use crate::args::EvaluateArgs;
use crate::error::Error;

const KEYS: [&str; 5] = ["model", "adapter", "served-model", "endpoint", "predictions"];

/// The other contestant, if there is one.
pub fn compared(args: &EvaluateArgs, contestant: &Contestant) -> Result<Option<Contestant>, Error> {
    if args.compare.is_empty() {
        return Ok(None);
    }
    let mut found = if args.compare == ["base"] { base(args)? } else { named(args)? };
    if found.name == contestant.name {
        found.name.push_str(" (compared)");
    }
    Ok(Some(found))
}

/// The model without its adapter.
fn base(args: &EvaluateArgs) -> Result<Contestant, Error> {
    match (&args.model, &args.adapter) {
        (Some(model), Some(_)) => Ok(local(model.clone(), None)),
        _ => Err(Error::argument(
            "--compare base needs --model and --adapter: it is the model without the adapter",
        )),
    }
}

fn local(model: PathBuf, adapter: Option<PathBuf>) -> Contestant {
    let name = adapter.as_ref().unwrap_or(&model).display().to_string();
    Contestant { name, source: AnswerSource::Local { model, adapter } }
}

fn named(args: &EvaluateArgs) -> Result<Contestant, Error> {
    let mut given = BTreeMap::new();
    for text in &args.compare {
        let Some((key, value)) =
            text.split_once('=').filter(|(key, value)| KEYS.contains(key) && !value.is_empty())
        else {
            return Err(Error::argument(format!(
                "--compare {text} is neither `base` nor KEY=VALUE with one of the keys {}",
                KEYS.join(", ")
            )));
        };
        if given.insert(key, value).is_some() {
            return Err(Error::argument(format!("--compare sets `{key}` twice")));
        }
    }
    let has = |key: &str| given.contains_key(key);
    let kinds = [has("model") || has("adapter"), has("served-model") || has("endpoint"), has("predictions")];
    if kinds.iter().filter(|kind| **kind).count() > 1 {
        return Err(Error::argument(
            "--compare names a local model, an endpoint or predictions, and only one of them",
        ));
    }
    if let Some(path) = given.get("predictions") {
        let source = AnswerSource::Predictions(PathBuf::from(path));
        return Ok(Contestant { name: (*path).to_owned(), source });
    }
    if has("model") || has("adapter") {
        let model = given.get("model").map(PathBuf::from).or_else(|| args.model.clone());
        let Some(model) = model else {
            return Err(Error::argument("--compare adapter=DIR needs --compare model=DIR or --model"));
        };
        return Ok(local(model, given.get("adapter").map(PathBuf::from)));
    }
    let text =
        |key: &str, own: &Option<String>| given.get(key).map(|text| (*text).to_owned()).or(own.clone());
    let (Some(endpoint), Some(model)) =
        (text("endpoint", &args.endpoint), text("served-model", &args.served_model))
    else {
        return Err(Error::argument("--compare needs both endpoint=URL and served-model=NAME here"));
    };
    let source = AnswerSource::Endpoint(remote(args, &endpoint, &model)?);
    Ok(Contestant { name: model, source })
}
