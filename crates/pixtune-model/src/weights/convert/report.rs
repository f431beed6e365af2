//! What a conversion did, for people and as `conversion_report.json`.

use std::borrow::Cow;

use pixtune_core::json::{Value, document};

use super::transfer::NotFinite;
use super::verify::Verified;
use super::{Origin, Plan, layout};
use crate::weights::Format;
use crate::weights::config::Synthesised;

/// What a conversion did. No clock and no path: the same conversion gives the same report.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The format of the source.
    pub from: Format,
    /// The format of the output.
    pub to: Format,
    /// Tensors written.
    pub tensors: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their elements.
    pub parameters: u64,
    /// Tensors that got another name.
    pub renamed: u64,
    /// Tensors whose rows were moved.
    pub permuted: u64,
    /// Types of the output, with their number of tensors.
    pub dtypes: Vec<(&'static str, u64)>,
    /// Files written: the name, and where each comes from.
    pub files: Vec<(String, Origin)>,
    /// Keys of the configuration that the source does not state.
    pub synthesised: Vec<Synthesised>,
    /// Keys whose value was replaced: the key, before, after.
    pub corrected: Vec<[String; 3]>,
    /// Unknown keys that were taken over.
    pub carried: Vec<String>,
    /// Keys that have no counterpart, with their values.
    pub left_out: Vec<[String; 2]>,
    /// Tensors with values that are no numbers.
    pub not_finite: Vec<NotFinite>,
    /// What else people should know.
    pub warnings: Vec<String>,
    /// What was merged, where something was.
    pub merged: Option<Value<'static>>,
    /// What reading back came to, where it was asked for.
    pub verified: Option<Verified>,
}

impl Report {
    pub(super) fn new(plan: &Plan, not_finite: Vec<NotFinite>, verified: Option<Verified>) -> Report {
        let tensors = || plan.files.iter().flat_map(|file| &file.layout.header.tensors);
        let mut dtypes: Vec<(&'static str, u64)> = Vec::new();
        for tensor in tensors() {
            match dtypes.iter_mut().find(|(name, _)| *name == tensor.dtype.as_str()) {
                Some((_, count)) => *count += 1,
                None => dtypes.push((tensor.dtype.as_str(), 1)),
            }
        }
        let (renamed, permuted) = layout::changes(&plan.source, &plan.files, plan.options.to);
        let mut files: Vec<(String, Origin)> =
            plan.files.iter().map(|file| (file.name.clone(), Origin::Written)).collect();
        if plan.files.len() > 1 {
            files.push((layout::index_name(plan.options.to), Origin::Written));
        }
        files.push((plan.options.to.config_file().to_owned(), Origin::Written));
        files.extend(plan.extras.iter().map(|extra| (extra.name.clone(), extra.origin)));
        Report {
            from: plan.source.format(),
            to: plan.options.to,
            tensors: tensors().count() as u64,
            bytes: plan.bytes(),
            parameters: tensors().map(|tensor| tensor.bytes() / tensor.dtype.size() as u64).sum(),
            renamed: renamed as u64,
            permuted: permuted as u64,
            dtypes,
            files,
            synthesised: plan.config.synthesised.clone(),
            corrected: plan.config.corrected.clone(),
            carried: plan.config.carried.clone(),
            left_out: plan.config.left_out.clone(),
            not_finite,
            warnings: plan.warnings.clone(),
            merged: plan.merged.clone(),
            verified,
        }
    }

    /// The report as `conversion_report.json`.
    pub fn to_json(&self) -> String {
        document(&self.to_value())
    }

    /// The report as a JSON value.
    pub fn to_value(&self) -> Value<'static> {
        let synthesised = |key: &Synthesised| {
            object([("key", text(&key.key)), ("value", text(&key.value)), ("why", text(key.why))])
        };
        let corrected = |[key, before, after]: &[String; 3]| {
            object([("key", text(key)), ("before", text(before)), ("after", text(after))])
        };
        let left_out = |[key, value]: &[String; 2]| object([("key", text(key)), ("value", text(value))]);
        let not_finite = |found: &NotFinite| {
            object([
                ("tensor", text(&found.name)),
                ("nan", whole(found.nan)),
                ("infinite", whole(found.infinite)),
            ])
        };
        let file = |(name, origin): &(String, Origin)| {
            object([("name", text(name)), ("origin", text(origin.as_str()))])
        };
        let dtypes = self.dtypes.iter().map(|(name, count)| (Cow::Borrowed(*name), whole(*count)));
        object([
            ("pixtune", text(env!("CARGO_PKG_VERSION"))),
            ("from", text(self.from.as_str())),
            ("to", text(self.to.as_str())),
            ("tensors", whole(self.tensors)),
            ("bytes", whole(self.bytes)),
            ("parameters", whole(self.parameters)),
            ("renamed", whole(self.renamed)),
            ("permuted", whole(self.permuted)),
            ("dtypes", Value::Object(dtypes.collect())),
            ("files", Value::Array(self.files.iter().map(file).collect())),
            (
                "config",
                object([
                    ("synthesised", Value::Array(self.synthesised.iter().map(synthesised).collect())),
                    ("corrected", Value::Array(self.corrected.iter().map(corrected).collect())),
                    ("carried", Value::Array(self.carried.iter().map(|key| text(key)).collect())),
                    ("left_out", Value::Array(self.left_out.iter().map(left_out).collect())),
                ]),
            ),
            ("not_finite", Value::Array(self.not_finite.iter().map(not_finite).collect())),
            ("merged", self.merged.clone().unwrap_or(Value::Null)),
            ("warnings", Value::Array(self.warnings.iter().map(|warning| text(warning)).collect())),
            (
                "verified",
                self.verified.as_ref().map_or(Value::Null, |verified| {
                    object([
                        ("tensors", whole(verified.tensors)),
                        ("bytes", whole(verified.bytes)),
                        ("blake3", text(&verified.blake3)),
                    ])
                }),
            ),
        ])
    }
}

/// An object of these members.
pub(crate) fn object<const N: usize>(members: [(&'static str, Value<'static>); N]) -> Value<'static> {
    Value::Object(members.into_iter().map(|(key, value)| (Cow::Borrowed(key), value)).collect())
}

/// A string.
pub(crate) fn text(text: &str) -> Value<'static> {
    Value::String(Cow::Owned(text.to_owned()))
}

/// A whole number.
pub(crate) fn whole(number: u64) -> Value<'static> {
    Value::Number(Cow::Owned(number.to_string()))
}
