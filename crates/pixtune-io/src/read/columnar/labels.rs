//! Names of classes, which `datasets` stores as numbers: the numbers alone would be trained.

use std::borrow::Cow;
use std::collections::HashMap;

use arrow_schema::Metadata;
use pixtune_core::json::{self, Value};

/// The names of classes by column.
#[derive(Debug, Default)]
pub(super) struct Labels(HashMap<String, Vec<String>>);

impl Labels {
    /// Those in the metadata of a schema, where `datasets` describes its features; none in other files.
    pub(super) fn of(metadata: &Metadata) -> Labels {
        Labels::in_description(metadata.get("huggingface").map_or("", String::as_str))
    }

    fn in_description(text: &str) -> Labels {
        let Ok(parsed) = json::parse(text) else {
            return Labels::default();
        };
        let features = parsed.value.get("info").and_then(|info| info.get("features"));
        let features = features.and_then(Value::as_object).unwrap_or_default();
        let labels =
            features.iter().filter_map(|(column, feature)| Some((column.to_string(), names(feature)?)));
        Labels(labels.collect())
    }

    /// The value of a column with names in place of the numbers of classes; -1 is no class.
    pub(super) fn name<'v>(&self, column: &str, value: Value<'v>) -> Value<'v> {
        match self.0.get(column) {
            Some(names) => named(names, value),
            None => value,
        }
    }
}

/// The names of a feature that is a class, or a list of classes.
fn names(feature: &Value<'_>) -> Option<Vec<String>> {
    if feature.text("_type") == Some("ClassLabel") {
        let names = feature.get("names")?.as_array()?;
        return names.iter().map(|name| name.as_str().map(str::to_owned)).collect();
    }
    names(feature.get("feature").or_else(|| feature.as_array()?.first())?)
}

fn named<'v>(names: &[String], value: Value<'v>) -> Value<'v> {
    match value {
        Value::Array(values) => Value::Array(values.into_iter().map(|value| named(names, value)).collect()),
        Value::Number(number) if number == "-1" => Value::Null,
        Value::Number(number) => match number.parse::<usize>().ok().and_then(|number| names.get(number)) {
            Some(name) => Value::String(Cow::Owned(name.clone())),
            None => Value::Object(vec![(Cow::Borrowed("class without a name"), Value::Number(number))]),
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_their_names() {
        let features = r#"{"info": {"features": {
            "kind": {"names": ["cat", "dog"], "_type": "ClassLabel"},
            "kinds": {"feature": {"names": ["a"], "_type": "ClassLabel"}, "_type": "List"},
            "old": [{"names": ["b"], "_type": "ClassLabel"}],
            "n": {"dtype": "int64", "_type": "Value"}}}}"#;
        let labels = Labels::in_description(features);
        let name =
            |column: &str, value: &str| labels.name(column, json::parse(value).unwrap().value).to_string();
        assert_eq!(name("kind", "1"), "\"dog\"");
        assert_eq!(name("kind", "-1"), "null");
        assert_eq!(name("kind", "2"), "{\"class without a name\":2}");
        assert_eq!(name("kinds", "[0,0]"), "[\"a\",\"a\"]");
        assert_eq!(name("old", "[0]"), "[\"b\"]");
        assert_eq!(name("n", "1"), "1");
        assert_eq!(Labels::in_description("").name("kind", Value::Null), Value::Null);
    }
}
