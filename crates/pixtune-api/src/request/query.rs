//! The query of a request.

use pixtune_core::conversation::percent_decode;

use crate::error::ApiError;

/// The parameters, decoded, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses `a=1&b=2`.
    pub fn parse(text: &str) -> Query {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Query(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name), decode(value))
                })
                .collect(),
        )
    }

    /// The names of the parameters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The value of a parameter, if it is not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Every value of a parameter that is given several times.
    pub fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        self.0
            .iter()
            .filter(move |(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// A whole number within limits, or the default.
    pub fn number(
        &self,
        name: &str,
        default: u64,
        limits: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, ApiError> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let number = text.parse::<u64>().ok().filter(|number| limits.contains(number));
        number.ok_or_else(|| {
            let (least, most) = (limits.start(), limits.end());
            ApiError::invalid(name, format!("`{name}` has to be a whole number from {least} to {most}"))
        })
    }

    /// Whether a flag is set.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| matches!(value, "true" | "True" | "1"))
    }

    /// The members of `name[key]=value`.
    pub fn members(&self, name: &str) -> Vec<(String, String)> {
        let member = |(key, value): &(String, String)| {
            let key = key.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?;
            Some((key.to_owned(), value.clone()))
        };
        self.0.iter().filter_map(member).collect()
    }
}

fn decode(text: &str) -> String {
    percent_decode(&text.replace('+', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse("limit=1&metadata%5Bteam%5D=x+y&after=&dry_run=true&limit=2");
        assert_eq!(query.members("metadata"), [("team".to_owned(), "x y".to_owned())]);
        assert_eq!((query.get("after"), query.flag("dry_run")), (None, true));
        assert_eq!(query.number("limit", 20, 1..=100), Ok(2));
        assert_eq!(query.number("page", 0, 0..=9), Ok(0));
        assert!(Query::parse("limit=0").number("limit", 20, 1..=100).is_err());
        assert!(Query::parse("limit=-1").number("limit", 20, 0..=100).is_err());
    }
}
