//! What a conversion did: printed, and written as `conversion_report.json`.

use pixtune_core::json::{Slot, ToJson, list, members, object, raw};

use super::transfer::NotFinite;
use super::verify::Verified;
use super::{Origin, Plan, layout};
use crate::weights::Format;
use crate::weights::config::Synthesized;

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
    /// How tensors of the source are quantized, with the number of tensors of each method. They were dequantized.
    pub quantized: Vec<(String, u64)>,
    /// Types of the output, with their number of tensors.
    pub dtypes: Vec<(&'static str, u64)>,
    /// Files written: the name, and where each comes from.
    pub files: Vec<(String, Origin)>,
    /// Keys of the configuration that the source does not state.
    pub synthesized: Vec<Synthesized>,
    /// Keys whose value was replaced: the key, before, after.
    pub corrected: Vec<[String; 3]>,
    /// Unknown keys that were carried over.
    pub carried: Vec<String>,
    /// Keys that have no counterpart, with their values.
    pub left_out: Vec<[String; 2]>,
    /// Tensors with values that are no numbers.
    pub not_finite: Vec<NotFinite>,
    /// Warnings for the user.
    pub warnings: Vec<String>,
    /// What was merged, where something was.
    pub merged: Option<Merged>,
    /// The result of the verification, if it was requested.
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
            quantized: plan.source.quantizations().into_iter().collect(),
            dtypes,
            files,
            synthesized: plan.config.synthesized.clone(),
            corrected: plan.config.corrected.clone(),
            carried: plan.config.carried.clone(),
            left_out: plan.config.left_out.clone(),
            not_finite,
            warnings: plan.warnings.clone(),
            merged: plan.merged.clone(),
            verified,
        }
    }
}

/// An adapter that was merged.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// Its dialect.
    pub dialect: &'static str,
    /// Its modules, by the part of the network they are in.
    pub modules: Vec<(&'static str, usize)>,
    /// Its scalings, with the number of modules of each.
    pub scalings: Vec<(String, usize)>,
    /// Tensors that were replaced as a whole.
    pub replaced: Vec<String>,
    /// The weights that it was merged into, if the base is quantized.
    pub into: Option<MergedInto>,
}

/// The weights that an adapter of a quantized base was merged into.
#[derive(Debug, Clone, PartialEq)]
pub enum MergedInto {
    /// The weights of the base, dequantized. The original ones are not known.
    Dequantized {
        /// The expected norm of the difference from the original weights, divided by the norm of the weights.
        relative: f64,
    },
    /// The original weights, with the distance of the dequantized ones from them.
    Original(Distance),
}

/// How far dequantized weights are from the original ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Distance {
    /// The norm of the difference divided by the norm of the original weights, over all quantized tensors.
    pub relative: f64,
    /// The largest difference of an element.
    pub largest: f64,
    /// The tensor with the largest relative difference.
    pub worst: String,
}

impl ToJson for &Report {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(|report| {
            report.field("pixtune", env!("CARGO_PKG_VERSION"));
            report.field("from", self.from.as_str()).field("to", self.to.as_str());
            report.field("tensors", self.tensors).field("bytes", self.bytes);
            report.field("parameters", self.parameters).field("renamed", self.renamed);
            report.field("permuted", self.permuted);
            report.field("quantized", members(self.quantized.iter().map(|(method, count)| (method, count))));
            report.field("dtypes", members(self.dtypes.iter().map(|(name, count)| (name, count))));
            let files = self
                .files
                .iter()
                .map(|(name, origin)| members([("name", name.as_str()), ("origin", origin.as_str())]));
            report.field("files", list(files)).field("config", self.config());
            report.field("not_finite", list(&self.not_finite)).field("merged", self.merged.as_ref());
            report.field("warnings", list(&self.warnings)).field("verified", self.verified.as_ref());
        });
    }
}

impl Report {
    /// What happened to the keys of the configuration.
    fn config(&self) -> impl ToJson {
        let synthesized = self
            .synthesized
            .iter()
            .map(|key| members([("key", key.key.as_str()), ("value", key.value.as_str()), ("why", key.why)]));
        let corrected = self.corrected.iter().map(|[key, before, after]| {
            members([("key", key.as_str()), ("before", before.as_str()), ("after", after.as_str())])
        });
        let left_out = self
            .left_out
            .iter()
            .map(|[key, value]| members([("key", key.as_str()), ("value", value.as_str())]));
        object(move |config| {
            config.field("synthesised", list(synthesized)).field("corrected", list(corrected));
            config.field("carried", list(&self.carried)).field("left_out", list(left_out));
        })
    }
}

impl ToJson for &NotFinite {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(|found| {
            found.field("tensor", &self.name).field("nan", self.nan).field("infinite", self.infinite);
        });
    }
}

impl ToJson for &Merged {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(|merged| {
            merged.field("dialect", self.dialect);
            merged.field("modules", members(self.modules.iter().map(|(area, count)| (area, count))));
            merged.field("scalings", members(self.scalings.iter().map(|(scaling, count)| (scaling, count))));
            merged.field("replaced", list(&self.replaced)).field("into", self.into.as_ref());
        });
    }
}

impl ToJson for &MergedInto {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(|into| match self {
            MergedInto::Dequantized { relative } => {
                into.field("weights", "dequantized");
                into.field("expected_relative_difference", raw(&format!("{relative:e}")));
            }
            MergedInto::Original(distance) => {
                into.field("weights", "original");
                into.field("relative_difference", raw(&format!("{:e}", distance.relative)));
                into.field("largest_difference", raw(&format!("{:e}", distance.largest)));
                into.field("worst_tensor", &distance.worst);
            }
        });
    }
}

impl ToJson for &Verified {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(|verified| {
            verified.field("tensors", self.tensors).field("bytes", self.bytes);
            verified.field("blake3", &self.blake3);
        });
    }
}
