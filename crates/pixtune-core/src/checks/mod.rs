//! The checks of a single row, and the documentation of the rules they apply.
//!
//! A check is a function that appends findings. Checks that need an image's bytes or other rows live where these are read.

mod answer;
mod images;
mod json;
mod length;
mod order;
mod pages;
mod shape;
mod text;
mod tools;

use crate::content;
use crate::diagnostic::Finding;
use crate::foreign;
use crate::json::Value;
use crate::quality;
use crate::rules::{IMAGE_FORM, TOO_MANY_IMAGES, UNKNOWN_KEY};
use crate::sample::{Image, Sample};
use crate::strict;
use crate::target::Target;
use crate::text::counted;
use crate::tokens::{self, Tokenizer};

pub use length::{certain_overflow, context_overflow, nothing_to_train};
pub use pages::{explain, markdown};
pub use text::{CONTROL_TOKENS, sample_texts};

/// A row to check.
pub struct Row<'r> {
    /// The row as JSON.
    pub value: &'r Value<'r>,
    /// The service or trainer that the data is for.
    pub target: &'r Target,
}

/// A message as it is written.
struct Written<'r> {
    /// Its index in `messages`.
    index: usize,
    role: Option<&'r str>,
    content: Option<&'r Value<'r>>,
}

impl<'r> Row<'r> {
    fn messages(&self) -> Vec<Written<'r>> {
        let messages = self.value.get("messages").and_then(Value::as_array).unwrap_or_default();
        let written = |(index, message): (usize, &'r Value<'r>)| Written {
            index,
            role: message.text("role"),
            content: message.get("content"),
        };
        messages.iter().enumerate().map(written).collect()
    }
}

impl<'r> Written<'r> {
    /// The content parts, if the content is a list.
    fn parts(&self) -> &'r [Value<'r>] {
        self.content.and_then(Value::as_array).unwrap_or_default()
    }
}

/// Checks the row as it is written.
fn check_written(row: &Row<'_>, findings: &mut Vec<Finding>) {
    json::syntax(row, findings);
    let messages = row.messages();
    shape::empty_prompts(&messages, findings);
    text::texts(&messages, findings);
    answer::lists(&messages, findings);
    images::forms(&messages, row.target, findings);
}

/// Checks a conversation independently of how it is written: role order, tools, answers.
pub fn sample_findings<I, T: AsRef<str>>(sample: &Sample<I, T>) -> Vec<Finding> {
    let mut findings = Vec::new();
    order::assistant_first(sample, &mut findings);
    order::consecutive_roles(sample, &mut findings);
    order::system_place(sample, &mut findings);
    tools::patterns(sample, &mut findings);
    if tools::are_used(sample) {
        tools::undeclared(sample, &mut findings);
        tools::repeated_ids(sample, &mut findings);
        tools::unmatched_ids(sample, &mut findings);
        tools::arguments(sample, &mut findings);
    }
    findings.extend(quality::response_findings(sample));
    findings
}

/// Checks a row of `messages` as it is written, without the form of its images: for callers that rewrite the images.
pub fn row_findings(row: &Row<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    check_written(row, &mut findings);
    findings.retain(|finding| finding.rule != &IMAGE_FORM);
    findings
}

/// A row and the findings that it has on its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged<'r> {
    /// The part of the conversation that could be read.
    pub sample: Sample<Image<&'r str>, &'r str>,
    /// Whether the reference reads the whole row and accepts the conversation for training, as far as this is known
    /// without encoding it.
    pub accepted: bool,
    /// The findings.
    pub findings: Vec<Finding>,
}

/// Checks everything in a row but the bytes of its images and its length in tokens; the version of the tokenizer decides
/// what the reference accepts.
pub fn judge<'r>(row: &Row<'r>, tokenizer: &Tokenizer) -> Judged<'r> {
    let strict::Read { sample, all_messages, mut findings } = strict::read_all(row.value);
    if findings.is_empty() {
        findings.extend(tokens::refusals(&sample, tokenizer));
    } else if all_messages {
        findings.extend(tokens::order_refusals(&sample, tokenizer));
    }
    let accepted = findings.is_empty();
    findings.iter_mut().for_each(|finding| name_content(row.value, finding));
    if row.value.as_object().is_some() {
        findings.extend(content::undesirable(row.value, |_| false));
        check_written(row, &mut findings);
    }
    if all_messages {
        findings.extend(sample_findings(&sample));
    }
    if sample.images.len() > row.target.max_images {
        let (count, target) = (counted(sample.images.len() as u64, "image"), row.target);
        let message = format!("the sample has {count}; the limit of {} is {}", target.id, target.max_images);
        findings.push(Finding::new(&TOO_MANY_IMAGES, "/messages", message));
    }
    Judged { sample, accepted, findings }
}

/// Makes an unknown key of a row or message with content in it an error, unless `fix` brings the content into the messages.
fn name_content(row: &Value<'_>, finding: &mut Finding) {
    if finding.rule != &UNKNOWN_KEY {
        return;
    }
    let steps: Vec<&str> = finding.pointer.split('/').skip(1).collect();
    let (owner, key) = match steps.as_slice() {
        [key] => (Some(row), *key),
        ["messages", index, key] => {
            let messages = row.get("messages").and_then(Value::as_array);
            (index.parse::<usize>().ok().and_then(|index| messages?.get(index)), *key)
        }
        _ => return,
    };
    let is_taken = steps.len() == 1 && foreign::is_taken(row, key);
    let value = owner.filter(|_| !is_taken).and_then(|owner| owner.get(key));
    let held = value.and_then(|value| content::held(key, value)).filter(|held| held.is_certain());
    if let Some(held) = held {
        *finding = content::unused_content(finding.pointer.clone(), key, held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;
    use crate::target;

    pub(super) fn found(text: &str) -> Vec<String> {
        let parsed = parse(text).unwrap();
        let row = Row { value: &parsed.value, target: &target::MISTRAL };
        let judged = judge(&row, Tokenizer::embedded());
        judged.findings.iter().map(|finding| format!("{} {}", finding.rule.id, finding.pointer)).collect()
    }

    #[test]
    fn valid_sample_has_no_findings() {
        let good = r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"hello"},{"role":"assistant","content":"world"}]}"#;
        assert_eq!(found(good), Vec::<String>::new());
    }

    #[test]
    fn reports_all_findings_of_a_sample() {
        let bad = r#"{"messages":[{"role":"assistant","content":"a [INST]"},{"role":"user","content":""},
            {"role":"tool","content":"x","tool_call_id":"abcdefghi"},{"role":"user","content":"cafÃ©","name":"n"}]}"#;
        assert_eq!(
            found(bad),
            [
                "unknown-key /messages/3/name",
                "last-not-assistant /messages/3",
                "role-order /messages/2",
                "empty-prompt /messages/1/content",
                "control-token /messages/0/content",
                "mojibake /messages/3/content",
                "assistant-first /messages/0",
                "tool-id-unmatched /messages/2/tool_call_id",
            ]
        );
    }

    #[test]
    fn compares_calls_with_tools_and_results() {
        let call = |id: &str, name: &str, arguments: &str| {
            format!(r#"{{"id":"{id}","function":{{"name":"{name}","arguments":"{arguments}"}}}}"#)
        };
        let row = format!(
            r#"{{"tools":[{{"type":"function","function":{{"name":"f","parameters":{{}}}}}}],"messages":[{{"role":"user","content":"x"}},
            {{"role":"assistant","tool_calls":[{},{}]}},{{"role":"tool","content":"1","tool_call_id":"aaaaaaaaa"}},{{"role":"tool","content":"1","tool_call_id":"bbbbbbbbb"}},
            {{"role":"assistant","content":[{{"type":"text","text":"ok"}}]}}]}}"#,
            call("aaaaaaaaa", "f", "{}"),
            call("aaaaaaaaa", "g", "{1")
        );
        assert_eq!(
            found(&row),
            [
                "answer-list /messages/4/content",
                "tool-undeclared /messages/1/tool_calls/1/function/name",
                "tool-id-repeated /messages/1/tool_calls/1/id",
                "tool-id-unmatched /messages/3/tool_call_id",
                "tool-arguments /messages/1/tool_calls/1/function/arguments",
            ]
        );
    }
}
