//! Models on this machine that answer chats: each loaded one has a thread that answers one request after the other.

mod tools;
mod worker;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::mpsc;

use crate::error::ApiError;
pub use tools::tool_calls;
use worker::Worker;
pub use worker::{Ask, Piece};

/// The weights that a model answers with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weights {
    /// The directory of the base.
    pub base: PathBuf,
    /// The directory of the adapter of a tuned model.
    pub adapter: Option<PathBuf>,
}

/// The loaded models, the most recently used ones at most.
#[derive(Debug)]
pub struct Models {
    loaded: Mutex<Vec<Loaded>>,
    most: usize,
    threads: usize,
}

#[derive(Debug)]
struct Loaded {
    id: String,
    worker: Worker,
    used: Instant,
}

impl Models {
    /// At most `most` models are loaded, each computing on `threads` threads.
    pub fn new(most: usize, threads: usize) -> Models {
        Models { loaded: Mutex::default(), most: most.max(1), threads }
    }

    /// Asks a model, which is loaded first if it is not. The pieces of the answer arrive on the channel; dropping it ends the
    /// answer.
    pub fn ask(&self, id: &str, weights: &Weights, ask: Ask) -> Result<mpsc::Receiver<Piece>, ApiError> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.retain(|model| model.worker.is_alive());
        let known = loaded.iter_mut().find(|model| model.id == id);
        if let Some(model) = known {
            model.used = Instant::now();
            return model.worker.ask(ask);
        }
        if loaded.len() >= self.most {
            // An answer under way is not interrupted: its thread ends after it.
            let oldest =
                loaded.iter().enumerate().min_by_key(|(_, model)| model.used).map(|(index, _)| index);
            oldest.map(|index| loaded.swap_remove(index));
        }
        let worker = Worker::start(weights.clone(), self.threads)
            .map_err(|error| ApiError::internal(error.to_string()))?;
        let answer = worker.ask(ask);
        loaded.push(Loaded { id: id.to_owned(), worker, used: Instant::now() });
        answer
    }

    /// Unloads a model.
    pub fn forget(&self, id: &str) {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).retain(|model| model.id != id);
    }

    /// The ids of loaded models.
    pub fn loaded(&self) -> Vec<String> {
        self.loaded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|model| model.id.clone())
            .collect()
    }
}
