//! What a conversion or a merge did, as JSON. No clock and no path: the same run gives the same report.

use std::borrow::Cow;

use pixtune_core::json::Value;

use super::convert::ConversionReport;
use super::fold::Rounding;
use super::settings::number;

impl ConversionReport {
    /// The report as `conversion_report.json`.
    pub fn to_json(&self) -> String {
        format!("{}\n", self.to_value())
    }

    /// The report as a JSON value.
    pub fn to_value(&self) -> Value<'static> {
        let modules = self.modules.iter().map(|(area, count)| (area.as_str().to_owned(), whole(*count)));
        let ranks = self.ranks.iter().map(|(rank, count)| (rank.to_string(), whole(*count)));
        let dtypes = self.dtypes.iter().map(|(dtype, count)| (dtype.to_string(), whole(*count)));
        let folded = self.folded.iter().map(|(factor, count)| {
            members([("factor", Value::Number(Cow::Owned(number(*factor)))), ("modules", whole(*count))])
        });
        members([
            ("pixtune", text(env!("CARGO_PKG_VERSION"))),
            ("from", text(self.from.as_str())),
            ("to", text(self.to.as_str())),
            ("modules", object(modules)),
            ("ranks", object(ranks)),
            ("permuted", whole(self.permuted)),
            ("dtypes", object(dtypes)),
            ("folded", Value::Array(folded.collect())),
            ("rounding", rounding(&self.rounding)),
            ("files", list(&self.files)),
            ("warnings", list(&self.warnings)),
        ])
    }
}

/// A rounding as a JSON value.
pub(super) fn rounding(rounding: &Rounding) -> Value<'static> {
    members([
        ("largest_relative_error", Value::Number(Cow::Owned(number(rounding.largest)))),
        ("module", rounding.module.as_deref().map_or(Value::Null, text)),
        ("lost", whole(rounding.lost as usize)),
    ])
}

pub(super) fn members<const N: usize>(members: [(&'static str, Value<'static>); N]) -> Value<'static> {
    Value::Object(members.into_iter().map(|(key, value)| (Cow::Borrowed(key), value)).collect())
}

pub(super) fn object(members: impl Iterator<Item = (String, Value<'static>)>) -> Value<'static> {
    Value::Object(members.map(|(key, value)| (Cow::Owned(key), value)).collect())
}

pub(super) fn list<T: AsRef<str>>(texts: &[T]) -> Value<'static> {
    Value::Array(texts.iter().map(|entry| text(entry.as_ref())).collect())
}

pub(super) fn text(text: &str) -> Value<'static> {
    Value::String(Cow::Owned(text.to_owned()))
}

pub(super) fn whole(number: usize) -> Value<'static> {
    Value::Number(Cow::Owned(number.to_string()))
}
