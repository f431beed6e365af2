//! The final answer in a model's text, for prompts that ask for `Final Answer: …`.
//!
//! The rules are those of mistral-evals d61811f (`eval/metrics.py`).

use std::borrow::Cow;

use super::python::{is_space, strip};

/// What follows the last `answer:` of the text, in any case: the first line that is not blank, without Markdown.
/// `None` where the text has no such line.
///
/// ```
/// # use pixtune_core::score::final_answer;
/// assert_eq!(final_answer("It shows bars.\n**Final Answer:** *6.0*").as_deref(), Some("6.0"));
/// assert_eq!(final_answer("six"), None);
/// ```
pub fn final_answer(text: &str) -> Option<String> {
    let text = without_bold_marks(text);
    let rest = after_last_mark(&text)?;
    let line = rest.split('\n').find(|line| line.chars().any(|c| !is_space(c)))?;
    let mut answer = strip(line).to_owned();
    answer.retain(|c| !"*_[]()".contains(c));
    Some(answer).filter(|answer| !answer.is_empty())
}

/// What follows the last `answer:` of the text.
fn after_last_mark(text: &str) -> Option<&str> {
    const MARK: &str = "answer:";
    if text.is_ascii() {
        let bytes = text.as_bytes();
        let is_mark = |at: &usize| {
            at.checked_sub(MARK.len() - 1)
                .is_some_and(|start| bytes[start..=*at].eq_ignore_ascii_case(MARK.as_bytes()))
        };
        return memchr::memrchr_iter(b':', bytes).find(is_mark).map(|at| &text[at + 1..]);
    }
    // The place is found in the lower-case text and used in the original: where lower case has more characters
    // (`İ`), the reference is off by one, and so are we.
    let lower = text.to_lowercase();
    let start = lower[..lower.rfind(MARK)?].chars().count() + MARK.len();
    Some(text.char_indices().nth(start).map_or("", |(at, _)| &text[at..]))
}

/// Removes the asterisks around the colon of `Answer**:**` and `answer:**`.
fn without_bold_marks(text: &str) -> Cow<'_, str> {
    // Asterisks elsewhere stay.
    let is_marked = |at: usize| {
        let after = &text.as_bytes()[at + "nswer".len()..];
        after.starts_with(b"*") || after.starts_with(b":*")
    };
    if !memchr::memmem::find_iter(text.as_bytes(), "nswer").any(is_marked) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = rest.find("nswer") {
        let (head, tail) = rest.split_at(found + "nswer".len());
        out.push_str(head);
        rest = tail;
        if ends_with_answer(head) {
            let after = rest.trim_start_matches('*');
            if let Some(after) = after.strip_prefix(':') {
                out.push(':');
                rest = after.trim_start_matches('*');
            }
        }
    }
    Cow::Owned(out + rest)
}

fn ends_with_answer(head: &str) -> bool {
    head.ends_with("answer") || head.ends_with("Answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, answer: &str) {
        assert_eq!(final_answer(text).unwrap_or_default(), answer, "{text:?}");
    }

    #[test]
    fn takes_the_last_answer() {
        check("Answer: 5\nFinal Answer: 6", "6");
        check("answer: 5 the Answer is not answer : 7", "5 the Answer is not answer : 7");
        check("CORRECT ANSWER:\n \u{1c}\n  seven \nmore", "seven");
    }

    #[test]
    fn removes_markdown() {
        check("**Final Answer**: **Yes**", "Yes");
        check("Final Answer:** [x](y_z)", "xyz");
        check("FINAL ANSWER**: 5", "");
        check("Answer: **", "");
    }

    #[test]
    fn an_index_of_the_lower_case_text_is_used_on_the_original() {
        check("İ Answer: 12", "12");
        check("İİ Answer:123", "3");
    }

    #[test]
    fn text_without_an_answer_has_none() {
        check("", "");
        check("the answer is 5", "");
        check("Answer:", "");
    }
}
