//! Which members of two objects differ.

use std::fmt;

use super::Value;

/// A member that is not the same in two objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its key.
    pub key: String,
    /// Its value in the first object, as JSON; `None` where it has no such member.
    pub before: Option<String>,
    /// Its value in the second object.
    pub now: Option<String>,
}

/// The members that differ, in the order of the first object; then those that only the second has.
pub fn differences(before: &Value<'_>, now: &Value<'_>) -> Vec<Difference> {
    let text = |value: &Value<'_>, key: &str| value.get(key).map(Value::to_string);
    let added = keys(now).filter(|key| before.get(key).is_none());
    keys(before)
        .chain(added)
        .filter(|key| before.get(key) != now.get(key))
        .map(|key| Difference { key: key.to_owned(), before: text(before, key), now: text(now, key) })
        .collect()
}

fn keys<'v>(value: &'v Value<'_>) -> impl Iterator<Item = &'v str> {
    value.as_object().unwrap_or_default().iter().map(|(key, _)| &**key)
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
        write!(f, "`{}` was {}, is {}", self.key, text(&self.before), text(&self.now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    #[test]
    fn names_what_was_changed_removed_or_added() {
        let before = parse(r#"{"same":1,"seed":0,"gone":[1, 2]}"#).unwrap().value;
        let now = parse(r#"{"new":null,"seed":1,"same":1}"#).unwrap().value;
        let found: Vec<String> = differences(&before, &now).iter().map(Difference::to_string).collect();
        let expected = ["`seed` was 0, is 1", "`gone` was [1,2], is not set", "`new` was not set, is null"];
        assert_eq!(found, expected);
        assert_eq!(differences(&now, &now), []);
    }
}
