//! TOML with the lines of its mistakes.

use pixtune_core::spelling::nearest;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A mistake: its line, from 1, and what it is.
pub(super) type Mistake = (usize, String);

/// A value and its place.
pub(super) type Value<'i> = Spanned<DeValue<'i>>;

/// Reads values, and knows their lines.
pub(super) struct Reader<'l> {
    line: &'l dyn Fn(usize) -> usize,
}

/// Parses a file and reads its tables.
pub(super) fn parse_with<T>(
    text: &str,
    read: impl FnOnce(&Reader<'_>, &DeTable<'_>) -> Result<T, Mistake>,
) -> Result<T, Mistake> {
    let line = |offset: usize| 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
    let table = DeTable::parse(text).map_err(|error| {
        (line(error.span().map_or(0, |span| span.start)), error.message().replace('\n', "; "))
    })?;
    read(&Reader { line: &line }, table.get_ref())
}

impl Reader<'_> {
    /// Refuses every key but those that are known.
    pub(super) fn known(&self, table: &DeTable<'_>, known: &[&str]) -> Result<(), Mistake> {
        for key in table.keys() {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                let hint = match nearest(name, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the keys here are {}", known.join(", ")),
                };
                return Err((self.line_of(key.span().start), format!("`{name}` is not a key; {hint}")));
            }
        }
        Ok(())
    }

    /// A table.
    pub(super) fn table<'v, 'i>(&self, value: &'v Value<'i>, name: &str) -> Result<&'v DeTable<'i>, Mistake> {
        value.get_ref().as_table().ok_or_else(|| self.mistake(value, format!("`{name}` is not a table")))
    }

    /// A string.
    pub(super) fn string(&self, value: &Value<'_>, name: &str) -> Result<String, Mistake> {
        let text = value.get_ref().as_str().map(str::to_owned);
        text.ok_or_else(|| self.mistake(value, format!("`{name}` is not a string")))
    }

    /// The line of a byte.
    pub(super) fn line_of(&self, offset: usize) -> usize {
        (self.line)(offset)
    }

    /// A mistake in a value.
    pub(super) fn mistake(&self, value: &Value<'_>, what: String) -> Mistake {
        (self.line_of(value.span().start), what)
    }
}
