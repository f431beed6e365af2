//! The answer of an upstream server, as it is sent, to the pieces that answers on this machine have.

use std::io::{BufRead, Read as _};

use pixtune_core::json::{self, Value, list, object};
use pixtune_infer::{FinishReason, TokenLogprob, Usage};
use tokio::sync::mpsc;

use super::connection::number;
use crate::answer::Piece;
use crate::error::ApiError;

/// The longest line of a stream: a chunk with log-probabilities has some kilobytes.
const LONGEST: u64 = 16 << 20;

/// Reads a stream to its end, or until the client has gone.
pub(super) fn read(reader: impl BufRead, choices: usize, sender: &mpsc::Sender<Piece>) {
    let mut answer = Answer::new(choices);
    let result = answer.read(reader, &mut |piece| sender.blocking_send(piece).map_err(|_| End::Gone));
    if let Err(End::Failed(error)) = result {
        let _ = sender.blocking_send(Piece::Failed(error));
    }
}

/// Why an answer ends early.
enum End {
    /// The client has gone.
    Gone,
    /// The server failed.
    Failed(ApiError),
}

type Send<'s> = &'s mut dyn FnMut(Piece) -> Result<(), End>;

/// An answer that is being read. Choices are sent one after the other.
struct Answer {
    choices: Vec<Choice>,
    current: usize,
    usage: Usage,
}

#[derive(Default)]
struct Choice {
    waiting: Vec<Piece>,
    calls: Vec<Call>,
    finish: Option<FinishReason>,
}

/// A call of a tool, which arrives in parts.
#[derive(Default)]
struct Call {
    id: String,
    name: String,
    arguments: String,
}

impl Answer {
    fn new(choices: usize) -> Answer {
        Answer {
            choices: (0..choices).map(|_| Choice::default()).collect(),
            current: 0,
            usage: Usage::default(),
        }
    }

    fn read(&mut self, mut reader: impl BufRead, send: Send<'_>) -> Result<(), End> {
        let broken = |why: String| {
            End::Failed(ApiError::bad_gateway(format!("the answer of the upstream server {why}")))
        };
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.by_ref().take(LONGEST).read_until(b'\n', &mut line);
            let length = read.map_err(|error| broken(format!("broke off: {error}")))?;
            if length == 0 {
                return self.end(send, &broken);
            }
            if length as u64 == LONGEST {
                return Err(broken("has a line that is too long".to_owned()));
            }
            let text = String::from_utf8_lossy(&line);
            let Some(data) = text.trim().strip_prefix("data:").map(str::trim) else { continue };
            if data == "[DONE]" {
                return self.end(send, &broken);
            }
            let chunk = json::parse(data).map_err(|error| broken(format!("is not JSON: {error}")))?;
            self.chunk(&chunk.value)?;
            self.flush(send)?;
        }
    }

    fn chunk(&mut self, chunk: &Value<'_>) -> Result<(), End> {
        let error = chunk
            .get("error")
            .or_else(|| chunk.text("object").filter(|kind| *kind == "error").map(|_| chunk));
        if let Some(error) = error {
            let message = error.text("message").unwrap_or("no reason").to_owned();
            return Err(End::Failed(ApiError::bad_gateway(format!("the upstream server failed: {message}"))));
        }
        for choice in chunk.get("choices").and_then(Value::as_array).unwrap_or_default() {
            let index = number(choice, "index").map_or(0, |index| index as usize);
            if let Some(known) = self.choices.get_mut(index) {
                known.add(choice);
            }
        }
        if let Some(usage) = chunk.get("usage").filter(|usage| **usage != Value::Null) {
            let count = |key: &str| number(usage, key).map_or(0, |count| count as usize);
            self.usage = Usage {
                prompt_tokens: count("prompt_tokens"),
                completion_tokens: count("completion_tokens"),
            };
        }
        Ok(())
    }

    /// Sends what is complete. The last choice ends with the usage, which comes last.
    fn flush(&mut self, send: Send<'_>) -> Result<(), End> {
        while let Some(choice) = self.choices.get_mut(self.current) {
            for piece in choice.waiting.drain(..) {
                send(piece)?;
            }
            if choice.finish.is_none() || self.current + 1 == self.choices.len() {
                return Ok(());
            }
            self.finish(Usage::default(), send)?;
        }
        Ok(())
    }

    /// Ends the choice that is being sent.
    fn finish(&mut self, usage: Usage, send: Send<'_>) -> Result<(), End> {
        let Some(choice) = self.choices.get_mut(self.current) else { return Ok(()) };
        if !choice.calls.is_empty() {
            send(Piece::ToolCalls)?;
            send(Piece::Text(calls_text(&choice.calls)))?;
        }
        let reason = choice.finish.unwrap_or(FinishReason::Stop);
        self.current += 1;
        send(Piece::Finished(reason, usage))
    }

    fn end(&mut self, send: Send<'_>, broken: &dyn Fn(String) -> End) -> Result<(), End> {
        self.flush(send)?;
        match self.choices.get(self.current) {
            Some(last) if last.finish.is_some() => self.finish(self.usage, send),
            Some(_) => Err(broken("ended before it was complete".to_owned())),
            None => Ok(()),
        }
    }
}

impl Choice {
    fn add(&mut self, choice: &Value<'_>) {
        let logprobs = choice.get("logprobs").and_then(|logprobs| logprobs.get("content"));
        for token in logprobs.and_then(Value::as_array).unwrap_or_default() {
            self.waiting.push(Piece::Token(token_of(token)));
        }
        let delta = choice.get("delta");
        if let Some(text) = delta.and_then(|delta| delta.text("content")).filter(|text| !text.is_empty()) {
            self.waiting.push(Piece::Text(text.to_owned()));
        }
        let calls = delta.and_then(|delta| delta.get("tool_calls")).and_then(Value::as_array);
        for call in calls.unwrap_or_default() {
            self.add_call(call);
        }
        self.finish = match choice.text("finish_reason") {
            None => self.finish,
            Some("length") => Some(FinishReason::Length),
            Some(_) => Some(FinishReason::Stop),
        };
    }

    fn add_call(&mut self, part: &Value<'_>) {
        const MOST_CALLS: usize = 256;
        let index = number(part, "index").map_or(self.calls.len().saturating_sub(1), |index| index as usize);
        if index >= MOST_CALLS {
            return;
        }
        while self.calls.len() <= index {
            self.calls.push(Call::default());
        }
        let call = &mut self.calls[index];
        let function = part.get("function");
        let text = |key: &str| function.and_then(|function| function.text(key)).unwrap_or_default();
        call.name.push_str(text("name"));
        call.arguments.push_str(text("arguments"));
        if let Some(id) = part.text("id").filter(|id| !id.is_empty()) {
            id.clone_into(&mut call.id);
        }
    }
}

/// Calls as a model writes them.
fn calls_text(calls: &[Call]) -> String {
    json::text(list(calls.iter().map(|call| {
        object(move |out| {
            out.field("name", &call.name).field("arguments", &call.arguments).field("id", &call.id);
        })
    })))
}

fn token_of(value: &Value<'_>) -> TokenLogprob {
    let bytes = |value: &Value<'_>| match value.get("bytes").and_then(Value::as_array) {
        Some(bytes) => bytes.iter().filter_map(|byte| json::text(byte).parse::<u8>().ok()).collect(),
        None => value.text("token").unwrap_or_default().as_bytes().to_vec(),
    };
    let logprob = |value: &Value<'_>| number(value, "logprob").unwrap_or(f64::NEG_INFINITY);
    let top = value.get("top_logprobs").and_then(Value::as_array).unwrap_or_default();
    TokenLogprob {
        bytes: bytes(value),
        logprob: logprob(value),
        top: top.iter().map(|token| (bytes(token), logprob(token))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str, choices: usize) -> Vec<Piece> {
        let (sender, mut receiver) = mpsc::channel(100);
        read(text.as_bytes(), choices, &sender);
        drop(sender);
        std::iter::from_fn(|| receiver.blocking_recv()).collect()
    }

    const USAGE: Usage = Usage { prompt_tokens: 3, completion_tokens: 5 };

    #[test]
    fn choices_are_sent_one_after_the_other_and_the_usage_last() {
        let text = concat!(
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
            "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"b\"}}]}\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n",
            "data: {\"choices\":[{\"index\":1,\"delta\":{},\"finish_reason\":\"length\"}]}\n\n",
            ": a comment\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n",
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5}}\n\ndata: [DONE]\n\n"
        );
        let a = || Piece::Text("a".to_owned());
        let expected = [
            a(),
            a(),
            Piece::Finished(FinishReason::Stop, Usage::default()),
            Piece::Text("b".to_owned()),
            Piece::Finished(FinishReason::Length, USAGE),
        ];
        assert_eq!(pieces(text, 2), expected);
    }

    #[test]
    fn calls_of_tools_are_joined_from_their_parts() {
        let text = concat!(
            r#"data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"abcdefghi","function":{"name":"f","arguments":"{\"a\""}}]}}]}"#,
            "\n\n",
            r#"data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]},"finish_reason":"tool_calls"}],"#,
            r#""usage":{"prompt_tokens":3,"completion_tokens":5}}"#,
            "\n\ndata: [DONE]\n\n"
        );
        let calls = r#"[{"name":"f","arguments":"{\"a\":1}","id":"abcdefghi"}]"#;
        let expected =
            [Piece::ToolCalls, Piece::Text(calls.to_owned()), Piece::Finished(FinishReason::Stop, USAGE)];
        assert_eq!(pieces(text, 1), expected);
        assert_eq!(crate::answer::tool_calls(calls).unwrap()[0].arguments, r#"{"a":1}"#);
    }

    #[test]
    fn an_answer_that_breaks_off_is_an_error() {
        for text in [
            "",
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n",
            "data: {\"choi",
            "data: {\"error\":{\"message\":\"out of memory\"}}\n\n",
            "data: {\"object\":\"error\",\"message\":\"old\"}\n\n",
        ] {
            let pieces = pieces(text, 1);
            assert!(
                matches!(pieces.last(), Some(Piece::Failed(error)) if error.status == 502),
                "{text}: {pieces:?}"
            );
        }
    }
}
