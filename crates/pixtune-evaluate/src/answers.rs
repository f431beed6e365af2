//! Answers of a model, each kept on disk as it arrives, so that a run that was killed asks nothing twice.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use pixtune_core::json::{self, Object, Value, object};
use pixtune_infer::{AnswerError, Answerer, Event, FinishReason, Request, Usage, request_json};

use crate::data::hash;

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answered {
    /// An answer, perhaps empty.
    Text {
        /// The answer.
        text: String,
        /// It ended at the token limit.
        is_cut: bool,
        /// The tokens that it cost, as the model counts them; 0 where they are not known.
        usage: Usage,
    },
    /// No answer.
    Failed {
        /// Why, for programs.
        kind: String,
        /// Why, for people.
        message: String,
    },
}

/// The answers that are there already, by the hash of their request.
pub(crate) struct AnswerLog {
    file: Mutex<File>,
    kept: Mutex<HashMap<u128, (u64, u32)>>,
}

/// More is no line that this module wrote.
const MAX_LINE: u64 = 256 << 20;

impl AnswerLog {
    /// Opens a log, and removes what a killed run wrote of its last line.
    pub(crate) fn open(path: &Path) -> io::Result<AnswerLog> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut kept = HashMap::new();
        let mut end = 0;
        let mut reader = BufReader::new(&file);
        loop {
            let mut line = Vec::new();
            let length = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? as u64;
            let Some(request) = line.strip_suffix(b"\n").and_then(request_of) else { break };
            kept.insert(request, (end, u32::try_from(length).unwrap_or(u32::MAX)));
            end += length;
        }
        if file.metadata()?.len() != end {
            file.set_len(end)?;
        }
        Ok(AnswerLog { file: Mutex::new(file), kept: Mutex::new(kept) })
    }

    /// Adds the answers of predictions that an earlier run wrote.
    pub(crate) fn import(&self, predictions: &Path) -> io::Result<()> {
        let mut reader = BufReader::new(File::open(predictions)?);
        loop {
            let mut line = Vec::new();
            if reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            let Some(request) = request_of(&line) else { continue };
            let is_new = !lock(&self.kept).contains_key(&request);
            if let (true, Some(answered)) = (is_new, answer_of(&line)) {
                self.add(request, &answered)?;
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        lock(&self.kept).len()
    }

    fn get(&self, request: u128) -> io::Result<Option<Answered>> {
        let Some((offset, length)) = lock(&self.kept).get(&request).copied() else { return Ok(None) };
        let mut line = vec![0; length as usize];
        let mut file = lock(&self.file);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(&mut line)?;
        Ok(answer_of(&line))
    }

    fn add(&self, request: u128, answered: &Answered) -> io::Result<()> {
        let Answered::Text { .. } = answered else { return Ok(()) };
        let line = json::line(object(|out| write_answer(out, request, answered)));
        let mut file = lock(&self.file);
        let offset = file.seek(SeekFrom::End(0))?;
        file.write_all(line.as_bytes())?;
        let length = u32::try_from(line.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        lock(&self.kept).insert(request, (offset, length));
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn hexadecimal(request: u128) -> String {
    format!("{request:032x}")
}

fn parsed(line: &[u8]) -> Option<Value<'_>> {
    Some(json::parse(std::str::from_utf8(line).ok()?).ok()?.value)
}

fn request_of(line: &[u8]) -> Option<u128> {
    u128::from_str_radix(parsed(line)?.text("request")?, 16).ok()
}

fn answer_of(line: &[u8]) -> Option<Answered> {
    let value = parsed(line)?;
    let is_cut = value.text("finish") == Some("length");
    let count = |key| match value.get(key) {
        Some(Value::Number(text)) => text.parse().unwrap_or_default(),
        _ => 0,
    };
    let usage =
        Usage { prompt_tokens: count("prompt_tokens"), completion_tokens: count("completion_tokens") };
    Some(Answered::Text { text: value.text("answer")?.to_owned(), is_cut, usage })
}

/// A request and its answer, as lines have them that are read again.
pub(crate) fn write_answer(out: &mut Object<'_>, request: u128, answered: &Answered) {
    out.field("request", &hexadecimal(request));
    match answered {
        Answered::Text { text, is_cut, usage } => {
            out.field("answer", text).field("finish", if *is_cut { "length" } else { "stop" });
            if *usage != Usage::default() {
                out.field("prompt_tokens", usage.prompt_tokens as u64);
                out.field("completion_tokens", usage.completion_tokens as u64);
            }
        }
        Answered::Failed { kind, message } => {
            out.field("answer", None::<&str>).field("failure", kind).field("message", message);
        }
    }
}

/// Asks a model, and keeps what it answers.
pub(crate) struct Asker<'m> {
    model: &'m dyn Answerer,
    /// Tells the answers of this model from those of others.
    identity: String,
    log: &'m AnswerLog,
    /// Failures in a row that every further request would share.
    failed_in_a_row: AtomicU64,
    most_in_a_row: u64,
    expense: Mutex<Expense>,
}

/// What the answers of a model cost, those of an earlier run that are used again included. A request that is asked for twice is
/// counted once, and a failed one is not: nobody reports its tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Expense {
    counted: HashSet<u128>,
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
    /// Requests whose tokens the model does not report.
    pub(crate) unreported: u64,
}

impl Expense {
    pub(crate) fn requests(&self) -> u64 {
        self.counted.len() as u64
    }

    fn add(&mut self, request: u128, answered: &Answered) {
        let Answered::Text { usage, .. } = answered else { return };
        if self.counted.insert(request) {
            self.prompt_tokens += usage.prompt_tokens as u64;
            self.completion_tokens += usage.completion_tokens as u64;
            self.unreported += u64::from(*usage == Usage::default());
        }
    }
}

/// What ends the run instead of an answer.
pub(crate) enum AskError {
    Log(io::Error),
    Model(AnswerError),
}

impl<'m> Asker<'m> {
    pub(crate) fn new(
        model: &'m dyn Answerer,
        identity: String,
        log: &'m AnswerLog,
        concurrency: usize,
    ) -> Asker<'m> {
        let most_in_a_row = 2 * concurrency as u64 + 8;
        let (failed_in_a_row, expense) = (AtomicU64::new(0), Mutex::default());
        Asker { model, identity, log, failed_in_a_row, most_in_a_row, expense }
    }

    /// What the answers have cost until now.
    pub(crate) fn expense(&self) -> Expense {
        lock(&self.expense).clone()
    }

    /// The answer to a request, asked for or kept, and the hash of the request.
    pub(crate) fn ask(&self, request: &Request) -> Result<(Answered, u128), AskError> {
        let body = match request_json(&self.identity, request) {
            Ok(body) => body,
            Err(error) => return Ok((failed(error).map_err(AskError::Model)?, 0)),
        };
        let key = hash(body.as_bytes());
        drop(body);
        if let Some(kept) = self.log.get(key).map_err(AskError::Log)? {
            lock(&self.expense).add(key, &kept);
            return Ok((kept, key));
        }
        if self.failed_in_a_row.load(Ordering::Relaxed) >= self.most_in_a_row {
            let message = format!("not asked: {} requests in a row failed", self.most_in_a_row);
            return Ok((Answered::Failed { kind: "not-asked".to_owned(), message }, key));
        }
        let answered = self.collect(request).map_err(AskError::Model)?;
        self.log.add(key, &answered).map_err(AskError::Log)?;
        lock(&self.expense).add(key, &answered);
        Ok((answered, key))
    }

    fn collect(&self, request: &Request) -> Result<Answered, AnswerError> {
        let (mut text, mut is_cut, mut tokens) = (String::new(), false, Usage::default());
        let answer = match self.model.answer(request) {
            Ok(answer) => answer,
            Err(error) => return failed(error),
        };
        for event in answer {
            match event {
                Ok(Event::Text(piece)) => text.push_str(&piece),
                Ok(Event::Token(_) | Event::ToolCalls) => {}
                Ok(Event::Finished { reason, usage }) => {
                    (is_cut, tokens) = (reason == FinishReason::Length, usage);
                }
                Err(error) => {
                    let is_of_all =
                        matches!(&error, AnswerError::Endpoint(failure) if failure.kind.is_of_endpoint());
                    if is_of_all {
                        self.failed_in_a_row.fetch_add(1, Ordering::Relaxed);
                    }
                    return failed(error);
                }
            }
        }
        self.failed_in_a_row.store(0, Ordering::Relaxed);
        Ok(Answered::Text { text, is_cut, usage: tokens })
    }
}

/// A failure of one request. What would fail for every request ends the run.
fn failed(error: AnswerError) -> Result<Answered, AnswerError> {
    let kind = match &error {
        AnswerError::Network(_) => return Err(error),
        AnswerError::Endpoint(failure) => failure.kind.id(),
        AnswerError::TooLong { .. } => "too-long",
        AnswerError::Image { .. } => "image",
        _ => "invalid-conversation",
    };
    Ok(Answered::Failed { kind: kind.to_owned(), message: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Answered {
        let usage = Usage { prompt_tokens: 7, completion_tokens: text.len() };
        Answered::Text { text: text.to_owned(), is_cut: false, usage }
    }

    #[test]
    fn what_a_killed_run_wrote_of_a_line_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("answers.jsonl");
        let log = AnswerLog::open(&path).unwrap();
        log.add(1, &text("one")).unwrap();
        log.add(2, &text("two\n")).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in 1..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let log = AnswerLog::open(&path).unwrap();
            log.add(3, &text("three")).unwrap();
            assert_eq!(log.get(3).unwrap(), Some(text("three")), "cut at {cut}");
            assert!(log.get(2).unwrap().is_none());
        }
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(AnswerLog::open(&path).unwrap().get(2).unwrap(), Some(text("two\n")));
    }

    #[test]
    fn failures_are_not_kept() {
        let directory = tempfile::tempdir().unwrap();
        let log = AnswerLog::open(&directory.path().join("a")).unwrap();
        log.add(1, &Answered::Failed { kind: "timeout".into(), message: String::new() }).unwrap();
        assert_eq!((log.get(1).unwrap(), log.len()), (None, 0));
    }
}
