//! The thread of a loaded model.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use pixtune_cuda::Device;
use pixtune_infer::{
    AnswerError, Answerer, Event, FinishReason, ModelDirectory, Request, TokenLogprob, TokenizerSource,
    Usage, load,
};
use pixtune_model::adapter::Adapter;
use pixtune_model::network::NetworkOptions;
use tokio::sync::mpsc;

use super::Weights;
use crate::error::ApiError;

/// What to answer.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The request; each choice has the next seed.
    pub request: Request,
    /// Choices.
    pub choices: u64,
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// A token, where log-probabilities are asked for.
    Token(TokenLogprob),
    /// The next text.
    Text(String),
    /// What follows are calls of tools, JSON.
    ToolCalls,
    /// The choice is complete; the next one follows.
    Finished(FinishReason, Usage),
    /// There is no answer.
    Failed(ApiError),
}

/// Requests that wait for a model.
const WAITING: usize = 64;

/// Pieces that wait for a slow client, which holds the model.
const PIECES: usize = 64;

#[derive(Debug)]
pub struct Worker {
    asks: SyncSender<(Ask, mpsc::Sender<Piece>)>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts to load a model.
    pub fn start(weights: Weights, threads: usize) -> io::Result<Worker> {
        let (asks, waiting) = sync_channel(WAITING);
        let thread = thread::Builder::new()
            .name("model".to_owned())
            .spawn(move || work(&weights, threads, &waiting))?;
        Ok(Worker { asks, thread })
    }

    /// Whether the model can be asked.
    pub fn is_alive(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Asks the model.
    pub fn ask(&self, ask: Ask) -> Result<mpsc::Receiver<Piece>, ApiError> {
        let (sender, receiver) = mpsc::channel(PIECES);
        match self.asks.try_send((ask, sender)) {
            Ok(()) => Ok(receiver),
            Err(TrySendError::Full(_)) => Err(ApiError::too_many("too many requests wait for this model", 5)),
            Err(TrySendError::Disconnected(_)) => {
                Err(ApiError::unavailable("the model is being unloaded: ask again"))
            }
        }
    }
}

/// Loads the model and answers until nobody can ask any more. A model that cannot be loaded gives the reason to all who wait.
fn work(weights: &Weights, threads: usize, waiting: &Receiver<(Ask, mpsc::Sender<Piece>)>) {
    let failed = match serve(weights, threads, waiting) {
        Ok(()) => return,
        Err(error) => error,
    };
    while let Ok((_, sender)) = waiting.try_recv() {
        let _ = sender.blocking_send(Piece::Failed(failed.clone()));
    }
}

fn serve(
    weights: &Weights,
    threads: usize,
    waiting: &Receiver<(Ask, mpsc::Sender<Piece>)>,
) -> Result<(), ApiError> {
    let failed =
        |error: &dyn std::fmt::Display| ApiError::internal(format!("the model cannot be loaded: {error}"));
    let directory = ModelDirectory::open(&weights.base, &TokenizerSource::DirectoryOrBuiltIn)
        .map_err(|error| failed(&error))?;
    let adapter = weights
        .adapter
        .as_ref()
        .map(|path| Adapter::open(path, None))
        .transpose()
        .map_err(|error| failed(&error))?;
    let device = Device::Cpu.open(threads).map_err(|error| failed(&error))?;
    let model = load(&directory, adapter.as_ref(), NetworkOptions::default(), device)
        .map_err(|error| failed(&error))?;
    while let Ok((ask, sender)) = waiting.recv() {
        let answered = catch_unwind(AssertUnwindSafe(|| answer(&*model, &ask, &sender)));
        if answered.is_err() {
            let error = ApiError::internal("the answer failed: this is a defect of the server");
            let _ = sender.blocking_send(Piece::Failed(error));
        }
    }
    Ok(())
}

/// Answers one request; a closed channel ends it.
fn answer(model: &dyn Answerer, ask: &Ask, sender: &mpsc::Sender<Piece>) {
    for choice in 0..ask.choices {
        let seed = ask.request.sampling.seed().wrapping_add(choice);
        let request = Request { sampling: ask.request.sampling.seeded(seed), ..ask.request.clone() };
        let events = match model.answer(&request) {
            Ok(events) => events,
            Err(error) => {
                let _ = sender.blocking_send(Piece::Failed(explain(&error)));
                return;
            }
        };
        for event in events {
            let piece = match event {
                Ok(Event::Token(token)) => Piece::Token(token),
                Ok(Event::Text(text)) => Piece::Text(text),
                Ok(Event::ToolCalls) => Piece::ToolCalls,
                Ok(Event::Finished { reason, usage }) => Piece::Finished(reason, usage),
                Err(error) => Piece::Failed(explain(&error)),
            };
            let is_failed = matches!(piece, Piece::Failed(_));
            if sender.blocking_send(piece).is_err() || is_failed {
                return;
            }
        }
    }
}

fn explain(error: &AnswerError) -> ApiError {
    match error {
        AnswerError::NotAssistantsTurn | AnswerError::Conversation(_) | AnswerError::Image { .. } => {
            ApiError::invalid("messages", error.to_string())
        }
        AnswerError::TooLong { .. } => {
            ApiError::bad_request(error.to_string()).about("messages").coded("context_length_exceeded")
        }
        error => ApiError::internal(error.to_string()),
    }
}
