//! Several reference answers to one prompt, as datasets for visual question answering have them: which of them is trained.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::content::list_in;
use crate::json::{Value, parse_python};

/// Samples that one row becomes at most: datasets have ten answers to a question.
pub const MOST_SAMPLES: u8 = u8::MAX;

/// Which of several reference answers becomes the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Answers {
    /// The first in the list.
    First,
    /// The one that most annotators gave; of equally common ones the first.
    #[default]
    MostCommon,
    /// Each becomes a sample of its own, without those that are the same.
    Each,
}

impl Answers {
    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Answers::First => "first",
            Answers::MostCommon => "most-common",
            Answers::Each => "each",
        }
    }

    /// How many samples a row with these answers becomes; `None` if they are more than 255.
    pub fn samples(self, answers: &[Cow<'_, str>]) -> Option<u8> {
        match self {
            Answers::Each => u8::try_from(distinct(answers).len().max(1)).ok(),
            Answers::First | Answers::MostCommon => Some(1),
        }
    }

    /// The answer that the `nth` sample of a row is trained on; `None` if there are none.
    pub(super) fn choose<'v>(self, answers: &[Cow<'v, str>], nth: u8) -> Option<Cow<'v, str>> {
        match self {
            Answers::First => answers.first().cloned(),
            Answers::MostCommon => {
                let mut counts: HashMap<&str, usize> = HashMap::new();
                answers.iter().for_each(|answer| *counts.entry(answer).or_default() += 1);
                // Of equal keys the last is the maximum, and the first answer is wanted.
                answers.iter().rev().max_by_key(|answer| counts[answer.as_ref()]).cloned()
            }
            Answers::Each => distinct(answers).get(nth as usize).map(|answer| (*answer).clone()),
        }
    }
}

fn distinct<'l, 'v>(answers: &'l [Cow<'v, str>]) -> Vec<&'l Cow<'v, str>> {
    let mut seen: HashSet<&'l str> = HashSet::new();
    let mut kept = Vec::new();
    for answer in answers {
        if seen.insert(answer.as_ref()) {
            kept.push(answer);
        }
    }
    kept
}

/// The reference answers in a value, if it is a list of them: texts, numbers, or objects with a text, as an array or as
/// pandas writes it into a cell. A text that is a JSON array is read as a list only under a name in the plural: it may be
/// the response itself.
pub fn reference_answers<'v>(column: &str, value: &'v Value<'_>) -> Option<Vec<Cow<'v, str>>> {
    match value {
        Value::Array(values) => values.iter().map(answer).collect(),
        Value::Object(_) => {
            reference_answers(column, value.get("text").filter(|text| text.as_array().is_some())?)
        }
        Value::String(text) if text.trim_start().starts_with('[') => {
            let is_plural = column.trim().ends_with(['s', 'S']);
            let list = if is_plural { list_in(text) } else { python_list(text) };
            let Some(Value::Array(values)) = list else { return None };
            values
                .into_iter()
                .map(|value| answer(&value).map(|answer| Cow::Owned(answer.into_owned())))
                .collect()
        }
        _ => None,
    }
}

/// A list that only Python writes so: with single quotes, or with `None` and `True`.
fn python_list(text: &str) -> Option<Value<'static>> {
    let is_json = crate::json::parse(text.trim()).is_ok();
    let list = if is_json { None } else { parse_python(text).ok() };
    list.filter(|list| list.as_array().is_some())
}

fn answer<'v>(value: &'v Value<'_>) -> Option<Cow<'v, str>> {
    match value {
        Value::String(text) | Value::Number(text) => Some(Cow::Borrowed(text)),
        Value::Object(_) => ["answer", "raw", "text", "caption", "value"]
            .into_iter()
            .find_map(|key| value.text(key))
            .map(Cow::Borrowed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    fn chosen(policy: Answers, column: &str, json: &str, nth: u8) -> Option<String> {
        let parsed = parse(json).unwrap();
        let answers = reference_answers(column, &parsed.value)?;
        policy.choose(&answers, nth).map(Cow::into_owned)
    }

    #[test]
    fn chooses_one_of_several() {
        let list = r#"["no","yes","yes","maybe"]"#;
        assert_eq!(chosen(Answers::First, "answer", list, 0).as_deref(), Some("no"));
        assert_eq!(chosen(Answers::MostCommon, "answer", list, 0).as_deref(), Some("yes"));
        assert_eq!(chosen(Answers::Each, "answer", list, 2).as_deref(), Some("maybe"));
        assert_eq!(chosen(Answers::MostCommon, "answer", r#"["b","a"]"#, 0).as_deref(), Some("b"));
        assert_eq!(chosen(Answers::First, "answer", "[]", 0), None);
        let vqa = r#"[{"answer":"net","answer_id":1},{"answer":"a net","answer_id":2},{"answer":"a net","answer_id":3}]"#;
        assert_eq!(chosen(Answers::MostCommon, "answers", vqa, 0).as_deref(), Some("a net"));
        let squad = r#"{"text":["Denver","Denver Broncos"],"answer_start":[1,2]}"#;
        assert_eq!(chosen(Answers::First, "answers", squad, 0).as_deref(), Some("Denver"));
    }

    #[test]
    fn json_in_a_text_may_be_the_response() {
        assert_eq!(chosen(Answers::First, "completion", r#""[\"yes\"]""#, 0), None);
        assert_eq!(chosen(Answers::First, "answers", r#""[\"yes\"]""#, 0).as_deref(), Some("yes"));
        assert_eq!(chosen(Answers::First, "completion", r#""['yes', 'no']""#, 0).as_deref(), Some("yes"));
        assert_eq!(chosen(Answers::First, "completion", r#""[see below]""#, 0), None);
    }
}
