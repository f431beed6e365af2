//! The response to a request of chat completions: an answer, or what it is instead.

use std::borrow::Cow;

use pixtune_core::json::{self, Value};
use pixtune_io::post::Posted;

use crate::answerer::{Event, FinishReason, Usage};
use crate::failure::FailureKind;

/// The events of an answer, or why there is none.
pub(super) fn read_response(posted: &Posted) -> Result<Vec<Event>, (FailureKind, String)> {
    let text = String::from_utf8_lossy(&posted.body);
    if posted.status != 200 {
        let kind = match posted.status {
            401 | 403 => FailureKind::Unauthorized,
            404 => FailureKind::NotFound,
            429 => FailureKind::RateLimit,
            408 | 425 | 500.. => FailureKind::Server,
            _ => FailureKind::Rejected,
        };
        return Err((kind, format!("the endpoint answers {}{}", posted.status, detail(&text))));
    }
    let other = |what: &str| (FailureKind::NotAnAnswer, format!("the endpoint answers 200 with {what}"));
    if text.trim().is_empty() {
        return Err(other("an empty body"));
    }
    let parsed = match json::parse(&text) {
        Ok(parsed) => parsed.value,
        Err(_) if is_html(&text) => return Err(other(&format!("an HTML page{}", title(&text)))),
        Err(error) => {
            return Err(other(&format!("invalid JSON ({} at byte {})", error.what, error.offset + 1)));
        }
    };
    if let Some(error) = parsed.get("error").filter(|error| !matches!(error, Value::Null)) {
        return Err((
            FailureKind::Server,
            format!("the endpoint answers 200 with an error: {}", message(error)),
        ));
    }
    let choice = parsed.get("choices").and_then(Value::as_array).and_then(<[_]>::first);
    let Some(choice) = choice else { return Err(other("no `choices`")) };
    let Some(answer) = choice.get("message") else { return Err(other("no `message`")) };
    let reason = choice.text("finish_reason").unwrap_or("stop");
    if let Some(refusal) = answer.text("refusal") {
        return Err((FailureKind::Refused, format!("the model refuses: {}", short(refusal))));
    }
    if reason == "content_filter" {
        return Err((FailureKind::Refused, "a content filter stopped the answer".to_owned()));
    }
    let Some(answer) = content(answer.get("content")) else {
        return Err(other("a `content` that is not text"));
    };
    let finished = Event::Finished {
        reason: if reason == "length" { FinishReason::Length } else { FinishReason::Stop },
        usage: usage(&parsed),
    };
    let answer = (!answer.is_empty()).then(|| Event::Text(answer.into_owned()));
    Ok(answer.into_iter().chain([finished]).collect())
}

/// The text of a message: a string, a list of text parts, or nothing.
fn content<'v>(content: Option<&'v Value<'_>>) -> Option<Cow<'v, str>> {
    match content {
        None | Some(Value::Null) => Some(Cow::Borrowed("")),
        Some(Value::String(text)) => Some(Cow::Borrowed(text)),
        Some(Value::Array(parts)) => {
            parts.iter().map(|part| part.text("text")).collect::<Option<String>>().map(Cow::Owned)
        }
        Some(_) => None,
    }
}

fn usage(response: &Value<'_>) -> Usage {
    let count = |key| match response.get("usage").and_then(|usage| usage.get(key)) {
        Some(Value::Number(text)) => text.parse().unwrap_or_default(),
        _ => 0,
    };
    Usage { prompt_tokens: count("prompt_tokens"), completion_tokens: count("completion_tokens") }
}

/// The message in the body of an error, shortened.
fn detail(text: &str) -> String {
    if is_html(text) {
        return format!(" with an HTML page{}", title(text));
    }
    let parsed = json::parse(text).ok().map(|parsed| parsed.value.into_owned());
    let said = parsed.as_ref().map(|value| message(value.get("error").unwrap_or(value)));
    let said = said.unwrap_or_else(|| short(text));
    if said.is_empty() { said } else { format!(": {said}") }
}

fn message(error: &Value<'_>) -> String {
    let nested = error.get("detail").or_else(|| error.get("message"));
    match nested.unwrap_or(error) {
        Value::String(text) => short(text),
        other => short(&other.to_string()),
    }
}

fn is_html(text: &str) -> bool {
    let start: String = text.trim_start().chars().take(15).collect::<String>().to_lowercase();
    start.starts_with("<!doctype html") || start.starts_with("<html")
}

fn title(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let title = lower.find("<title>").zip(lower.find("</title>"));
    match title.and_then(|(start, end)| text.get(start + 7..end)) {
        Some(title) if !title.trim().is_empty() => format!(" (`{}`)", short(title)),
        _ => String::new(),
    }
}

/// The beginning of a text on one line.
fn short(text: &str) -> String {
    const MOST: usize = 200;
    let line: Vec<&str> = text.split_whitespace().take(MOST).collect();
    let line = line.join(" ");
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(status: u16, body: &str) -> Result<Vec<Event>, (FailureKind, String)> {
        read_response(&Posted { status, retry_after: None, body: body.as_bytes().to_vec() })
    }

    #[track_caller]
    fn fails(status: u16, body: &str, kind: FailureKind, message: &str) {
        assert_eq!(read(status, body), Err((kind, message.to_owned())));
    }

    #[test]
    fn texts_are_strings_or_parts() {
        for content in [r#""ab""#, r#"[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#] {
            let body = format!(
                r#"{{"choices":[{{"message":{{"content":{content}}},"finish_reason":"length"}}],"usage":{{"prompt_tokens":3,"completion_tokens":2}}}}"#
            );
            let usage = Usage { prompt_tokens: 3, completion_tokens: 2 };
            let expected =
                vec![Event::Text("ab".into()), Event::Finished { reason: FinishReason::Length, usage }];
            assert_eq!(read(200, &body), Ok(expected));
        }
        let empty = read(200, r#"{"choices":[{"message":{"content":null}}]}"#).unwrap();
        assert!(matches!(empty[..], [Event::Finished { reason: FinishReason::Stop, .. }]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_a_failure(
            status in prop_oneof![Just(200u16), 100u16..600],
            body in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = read_response(&Posted { status, retry_after: None, body });
        }

        #[test]
        fn an_answer_that_is_cut_anywhere_is_none(end in 0usize..90) {
            let body = r#"{"choices":[{"message":{"content":"<html> \u00e9 {}"},"finish_reason":"stop"}],"usage":null}"#;
            prop_assert!(read(200, body).is_ok());
            prop_assert!(read(200, &body[..end.min(body.len() - 1)]).is_err());
        }
    }

    #[test]
    fn what_is_no_answer_is_named() {
        fails(200, "", FailureKind::NotAnAnswer, "the endpoint answers 200 with an empty body");
        fails(
            200,
            "<!DOCTYPE html><title>Log in</title>",
            FailureKind::NotAnAnswer,
            "the endpoint answers 200 with an HTML page (`Log in`)",
        );
        assert!(read(200, r#"{"choices":[{"mes"#).unwrap_err().1.contains("invalid JSON"));
        fails(200, "{}", FailureKind::NotAnAnswer, "the endpoint answers 200 with no `choices`");
        fails(
            200,
            r#"{"choices":[{"message":{"content":null,"refusal":"I cannot"}}]}"#,
            FailureKind::Refused,
            "the model refuses: I cannot",
        );
        fails(
            400,
            r#"{"error":{"message":"too many images"}}"#,
            FailureKind::Rejected,
            "the endpoint answers 400: too many images",
        );
        fails(401, r#"{"detail":"bad key"}"#, FailureKind::Unauthorized, "the endpoint answers 401: bad key");
        fails(404, "", FailureKind::NotFound, "the endpoint answers 404");
        fails(502, "<html></html>", FailureKind::Server, "the endpoint answers 502 with an HTML page");
        assert_eq!(read(503, &"x".repeat(5000)).unwrap_err().1.chars().count(), 227);
    }
}
