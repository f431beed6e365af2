//! The rules: one constant each, with what it means and why it is there; and the checks that look for breaches.
//!
//! A check is a function in a list. Those of a single row are here; images need their bytes and repetitions need
//! other rows, so their checks live where those are read.

mod answer;
mod images;
mod json;
mod length;
mod list;
mod order;
mod pages;
mod shape;
mod text;
mod tools;

use crate::diagnostic::Finding;
use crate::json::Value;
use crate::quality;
use crate::sample::{Image, Sample};
use crate::strict;
use crate::target::Target;
use crate::tokens;

pub(crate) use images::is_in_another_form;
pub use length::{context_overflow, nothing_to_train};
pub use list::*;
pub use pages::{explain, markdown};
pub use text::{CONTROL_TOKENS, sample_texts};

/// What is known about one row when it is judged.
pub struct Row<'r> {
    /// The row as JSON.
    pub value: &'r Value<'r>,
    /// Where the data is to go.
    pub target: &'r Target,
}

/// A message as it is written.
struct Written<'r> {
    /// Its place in `messages`.
    index: usize,
    role: Option<&'r str>,
    content: Option<&'r Value<'r>>,
}

impl<'r> Row<'r> {
    fn messages(&self) -> Vec<Written<'r>> {
        let messages = self.value.get("messages").and_then(Value::as_array).unwrap_or_default();
        let written = |(index, message): (usize, &'r Value<'r>)| Written {
            index,
            role: message.get("role").and_then(Value::as_str),
            content: message.get("content"),
        };
        messages.iter().enumerate().map(written).collect()
    }
}

impl<'r> Written<'r> {
    /// The parts of a content that is a list.
    fn parts(&self) -> &'r [Value<'r>] {
        self.content.and_then(Value::as_array).unwrap_or_default()
    }
}

/// Looks for breaches in the row as it is written.
fn check_written(row: &Row<'_>, findings: &mut Vec<Finding>) {
    json::hidden(row, findings);
    let messages = row.messages();
    shape::empty_prompts(&messages, findings);
    text::texts(&messages, findings);
    answer::lists(&messages, findings);
    images::forms(&messages, row.target, findings);
}

/// What a conversation says by itself, however it was written: orders, tools, answers.
pub fn sample_findings<I, T: AsRef<str>>(sample: &Sample<I, T>) -> Vec<Finding> {
    let mut findings = Vec::new();
    order::assistant_first(sample, &mut findings);
    order::consecutive_roles(sample, &mut findings);
    order::system_place(sample, &mut findings);
    if tools::are_used(sample) {
        tools::undeclared(sample, &mut findings);
        tools::ids(sample, &mut findings);
        tools::arguments(sample, &mut findings);
    }
    findings.extend(quality::answer_findings(sample));
    findings
}

/// What a row of `messages` says as it is written, apart from how its images are: for those who write it anew.
pub fn row_findings(row: &Row<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    check_written(row, &mut findings);
    findings.retain(|finding| finding.rule != &IMAGE_FORM);
    findings
}

/// A row and everything that a look at it alone tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged<'r> {
    /// The conversation, as far as it could be read.
    pub sample: Sample<Image<&'r str>, &'r str>,
    /// Whether the reference reads all of it and takes the conversation for training, as far as it is known without
    /// encoding it.
    pub taken: bool,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// Judges a row by itself: everything but its images' bytes and its length.
pub fn judge<'r>(row: &Row<'r>) -> Judged<'r> {
    let strict::Read { sample, all_messages, mut findings } = strict::read_all(row.value);
    if findings.is_empty() {
        findings.extend(tokens::refusals(&sample));
    } else if all_messages {
        findings.extend(tokens::order_refusals(&sample));
    }
    let taken = findings.is_empty();
    if row.value.as_object().is_some() {
        check_written(row, &mut findings);
    }
    if all_messages {
        findings.extend(sample_findings(&sample));
    }
    if sample.images.len() > row.target.max_images {
        let (count, target) = (sample.images.len(), row.target);
        let message = format!("the sample has {count} images; {} takes {}", target.id, target.max_images);
        findings.push(Finding::new(&TOO_MANY_IMAGES, "/messages", message));
    }
    Judged { sample, taken, findings }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;
    use crate::target;

    pub(super) fn found(text: &str) -> Vec<String> {
        let parsed = parse(text).unwrap();
        let judged = judge(&Row { value: &parsed.value, target: &target::MISTRAL });
        judged.findings.iter().map(|finding| format!("{} {}", finding.rule.id, finding.pointer)).collect()
    }

    #[test]
    fn a_good_sample_has_no_findings() {
        let good = r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"hello"},{"role":"assistant","content":"world"}]}"#;
        assert_eq!(found(good), Vec::<String>::new());
    }

    #[test]
    fn one_sample_yields_all_its_findings() {
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
    fn tools_are_compared_with_calls() {
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
