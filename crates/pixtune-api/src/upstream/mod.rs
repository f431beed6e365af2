//! A server that answers in place of the models on this machine: vLLM, or one with its API.
//!
//! Chats are forwarded with a key of this server's own, never with a client's. The adapter of a tuned model is converted to names
//! that the server applies, which is checked, and loaded before its first chat.

mod adapters;
mod body;
mod connection;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pixtune_core::json::{self, Value, object};
use pixtune_model::adapter::check::{Server, ServerOptions};
use tokio::sync::mpsc;

use crate::answer::Piece;
use crate::catalog::BaseModel;
use crate::error::ApiError;
use crate::request::chat::ChatShape;
use connection::Connection;

/// How an upstream server is reached, and what it was started with.
#[derive(Debug, Clone)]
pub struct UpstreamOptions {
    /// Its address, with or without `/v1`.
    pub url: String,
    /// The key that it asks for.
    pub key: Option<String>,
    /// The base models that it answers, each with its name there; empty for all, by the names that it lists.
    pub models: Vec<(String, Option<String>)>,
    /// Where adapters for it are written; the default is a directory in the data directory.
    pub adapters: Option<PathBuf>,
    /// The same directory as it is called there.
    pub adapters_there: Option<PathBuf>,
    /// The format of its checkpoint; without one it is that of the base's directory.
    pub server: Option<Server>,
    /// Its options for adapters.
    pub adapter_options: ServerOptions,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// An upstream server.
#[derive(Debug)]
pub struct Upstream {
    connection: Connection,
    options: UpstreamOptions,
    adapters: PathBuf,
    /// The names of base models there, once they are known.
    served: Mutex<BTreeMap<String, String>>,
    /// Adapters that were loaded; only one is converted at a time.
    loaded: Mutex<BTreeSet<String>>,
    answering: Arc<()>,
}

/// Answers at the same time: each has a thread that waits.
const MOST_ANSWERS: usize = 256;

/// Pieces that wait for a slow client.
const PIECES: usize = 64;

/// A model to ask.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The id of the model.
    pub id: &'a str,
    /// Its base.
    pub base: &'a BaseModel,
    /// The directory of its adapter, if it is tuned.
    pub adapter: Option<&'a std::path::Path>,
}

impl Upstream {
    /// A server, which need not be there yet. `default_adapters` is where adapters are written unless it is set. The error is a
    /// message.
    pub fn new(options: UpstreamOptions, default_adapters: PathBuf) -> Result<Upstream, String> {
        let connection = Connection::new(&options.url, options.key.clone(), options.timeout)?;
        let adapters = options.adapters.clone().unwrap_or(default_adapters);
        Ok(Upstream {
            connection,
            options,
            adapters,
            served: Mutex::default(),
            loaded: Mutex::default(),
            answering: Arc::new(()),
        })
    }

    /// Its address.
    pub fn url(&self) -> &str {
        self.connection.url()
    }

    /// Whether it answers for a base model.
    pub fn answers(&self, base: &BaseModel) -> bool {
        self.options.models.is_empty() || self.options.models.iter().any(|(name, _)| is_called(base, name))
    }

    /// The name of a base model there.
    fn served(&self, base: &BaseModel) -> Result<String, ApiError> {
        let given = self.options.models.iter().find(|(name, _)| is_called(base, name));
        if let Some((_, Some(name))) = given {
            return Ok(name.clone());
        }
        if let Some(name) = self.served.lock().unwrap_or_else(PoisonError::into_inner).get(&base.id) {
            return Ok(name.clone());
        }
        let text = self.connection.get("/v1/models")?;
        let name = served_name(&text, base)?;
        self.served.lock().unwrap_or_else(PoisonError::into_inner).insert(base.id.clone(), name.clone());
        Ok(name)
    }

    /// Asks a model. The pieces of the answer arrive on the channel; dropping it ends the answer.
    pub fn ask(
        self: &Arc<Self>,
        asked: Asked<'_>,
        shape: &ChatShape,
        request: &Value<'_>,
        default_temperature: Option<f64>,
    ) -> Result<mpsc::Receiver<Piece>, ApiError> {
        if Arc::strong_count(&self.answering) > MOST_ANSWERS {
            return Err(ApiError::too_many("too many answers of the upstream server are under way", 5));
        }
        let place = Arc::clone(&self.answering);
        let response = self.open(asked, request, default_temperature)?;
        let (sender, receiver) = mpsc::channel(PIECES);
        let choices = usize::try_from(shape.choices).unwrap_or(usize::MAX);
        let read = move || {
            stream::read(response, choices, &sender);
            drop(place);
        };
        std::thread::Builder::new()
            .name("upstream".to_owned())
            .spawn(read)
            .map_err(|error| ApiError::internal(error.to_string()))?;
        Ok(receiver)
    }

    /// Begins an answer. A server that was started again has lost its adapters: they are loaded once more.
    fn open(
        &self,
        asked: Asked<'_>,
        request: &Value<'_>,
        default_temperature: Option<f64>,
    ) -> Result<connection::Opened, ApiError> {
        let name = match asked.adapter {
            None => self.served(asked.base)?,
            Some(_) => asked.id.to_owned(),
        };
        let text = body::forwarded(request, &name, default_temperature)?;
        if asked.adapter.is_some() {
            self.load(asked)?;
        }
        match self.connection.open("/v1/chat/completions", &text) {
            Err(failure) if failure.is_unknown_model() && asked.adapter.is_some() => {
                self.forget_loaded(asked.id);
                self.load(asked)?;
                Ok(self.connection.open("/v1/chat/completions", &text)?)
            }
            Err(failure) if failure.is_unknown_model() => {
                self.served.lock().unwrap_or_else(PoisonError::into_inner).remove(&asked.base.id);
                Err(failure.into())
            }
            opened => Ok(opened?),
        }
    }

    fn forget_loaded(&self, id: &str) {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

fn is_called(base: &BaseModel, name: &str) -> bool {
    base.id == name || base.aliases.iter().any(|alias| alias == name)
}

/// The base model among those that a server lists: by its name, or by the directory that it was loaded from.
fn served_name(text: &str, base: &BaseModel) -> Result<String, ApiError> {
    let unreadable = || ApiError::bad_gateway("the upstream server does not list its models as OpenAI does");
    let root = json::parse(text).map_err(|_| unreadable())?.value;
    let models = root.get("data").and_then(Value::as_array).ok_or_else(unreadable)?;
    let bases: Vec<&Value<'_>> = models
        .iter()
        .filter(|model| model.get("parent").is_none_or(|parent| *parent == Value::Null))
        .collect();
    let is_path = |model: &Value<'_>| {
        let path = model.text("root").map(PathBuf::from);
        path.is_some_and(|path| {
            path.canonicalize().is_ok_and(|path| Ok(path) == base.path.canonicalize().map_err(drop))
        })
    };
    let found = bases.iter().find(|model| model.text("id").is_some_and(|id| is_called(base, id)));
    let found = found.or_else(|| bases.iter().find(|model| is_path(model)));
    match found.and_then(|model| model.text("id")) {
        Some(id) => Ok(id.to_owned()),
        None => {
            let names: Vec<&str> = bases.iter().filter_map(|model| model.text("id")).collect();
            Err(ApiError::bad_gateway(format!(
                "the upstream server does not serve `{}`; it serves {}: name it with `--upstream-model {}=NAME`",
                base.id,
                if names.is_empty() { "nothing".to_owned() } else { names.join(", ") },
                base.id
            )))
        }
    }
}

/// A body with one name.
fn named(lora: &str, path: Option<&str>) -> String {
    json::text(object(|out| {
        out.field("lora_name", lora).optional("lora_path", path);
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_models_are_found_by_name_or_directory() {
        let directory = tempfile::tempdir().unwrap();
        let base = BaseModel {
            aliases: vec!["mistralai/Pixtral-12B-2409".to_owned()],
            path: directory.path().to_owned(),
            ..BaseModel::gone("tiny")
        };
        let list = |models: &str| format!(r#"{{"object":"list","data":[{models}]}}"#);
        let by_alias = list(
            r#"{"id":"mistralai/Pixtral-12B-2409","root":"x","parent":null},{"id":"tiny","parent":"x"}"#,
        );
        assert_eq!(served_name(&by_alias, &base).unwrap(), "mistralai/Pixtral-12B-2409");
        let by_path =
            list(&format!(r#"{{"id":"served","root":"{}","parent":null}}"#, directory.path().display()));
        assert_eq!(served_name(&by_path, &base).unwrap(), "served");
        let error = served_name(&list(r#"{"id":"other","root":"o","parent":null}"#), &base).unwrap_err();
        assert!(error.message.contains("it serves other: name it with"), "{}", error.message);
        assert_eq!(served_name("<html>", &base).unwrap_err().status, 502);
    }
}
