//! Values of columns, under the names that different copies of a benchmark give them.

use pixtune_core::diagnostic::Finding;
use pixtune_core::json::{self, Value, parse_python};
use pixtune_core::rules;

/// The first of these columns that has a value.
pub(super) fn first<'r>(row: &'r Value<'_>, names: &[&str]) -> Option<&'r Value<'r>> {
    let has_value = |value: &&Value<'_>| !matches!(value, Value::Null) && value.as_str() != Some("");
    names.iter().find_map(|name| row.get(name).filter(has_value))
}

/// The text of a column.
pub(super) fn text(row: &Value<'_>, names: &[&str]) -> Result<String, Finding> {
    let value = first(row, names).ok_or_else(|| missing(names))?;
    plain(value).ok_or_else(|| {
        let message = format!("`{}` is {}, not a text", names[0], value.kind());
        Finding::new(&rules::WRONG_TYPE, format!("/{}", names[0]), message)
    })
}

/// The finding about a column that a row lacks.
pub(super) fn missing(names: &[&str]) -> Finding {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let message = format!("the row has no value in the column {}", names.join(" or "));
    Finding::new(&rules::MISSING_FIELD, "", message)
}

fn plain(value: &Value<'_>) -> Option<String> {
    match value {
        Value::String(text) | Value::Number(text) => Some(text.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// The texts of a column: a list, a list of objects with `answer`, a list as Python or JSON writes it, or one text.
pub(super) fn texts(row: &Value<'_>, names: &[&str]) -> Result<Vec<String>, Finding> {
    let value = first(row, names).ok_or_else(|| missing(names))?;
    let found = match value {
        Value::String(text) if text.trim_start().starts_with('[') => listed(text),
        Value::Array(values) => all(values),
        value => plain(value).map(|text| vec![text]),
    };
    // A text with brackets is a text.
    found.or_else(|| plain(value).map(|text| vec![text])).ok_or_else(|| {
        let message = format!("`{}` does not hold answers", names[0]);
        Finding::new(&rules::WRONG_TYPE, format!("/{}", names[0]), message)
    })
}

/// A list in a text.
fn listed(text: &str) -> Option<Vec<String>> {
    let python = parse_python(text.trim()).ok();
    let value = python.or_else(|| json::parse(text).ok().map(|parsed| parsed.value.into_owned()))?;
    all(value.as_array()?)
}

fn all(values: &[Value<'_>]) -> Option<Vec<String>> {
    let one = |value: &Value<'_>| plain(value).or_else(|| plain(value.get("answer")?));
    values.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(row: &str) -> Vec<String> {
        texts(&json::parse(row).unwrap().value, &["answers", "answer"]).unwrap()
    }

    #[test]
    fn answers_are_read_in_every_form() {
        assert_eq!(found(r#"{"answers": ["a", "b"]}"#), ["a", "b"]);
        assert_eq!(found(r#"{"answers": [{"answer": "a", "answer_id": 1}]}"#), ["a"]);
        assert_eq!(found(r#"{"answer": "['it\\'s', \"b\"]"}"#), ["it's", "b"]);
        assert_eq!(found(r#"{"answers": null, "answer": "[1, 2.5]"}"#), ["1", "2.5"]);
        assert_eq!(found(r#"{"answer": "[in brackets"}"#), ["[in brackets"]);
        assert_eq!(found(r#"{"answer": 7}"#), ["7"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let row = json::parse(r#"{"answer": "", "answers": [[1]]}"#).unwrap().value;
        let error = text(&row, &["question", "query"]).unwrap_err();
        assert_eq!(error.message, "the row has no value in the column `question` or `query`");
        texts(&row, &["answers"]).unwrap_err();
    }
}
