//! The plan as JSON: every resolved option that the output depends on, in the order of the manifest.

use std::path::Path;

use pixtune_core::columns::{Columns, ImagePosition};
use pixtune_core::curate::{By, Dedup, SplitKind};
use pixtune_core::diagnostic::Rule;
use pixtune_core::json::{self, Object, ToJson, Value, list, object};
use pixtune_core::spec::{self, ModelSpec};

use pixtune_core::target::Target;

use super::super::options::{Images, Options, ScanOptions};
use super::PlannedInput;
use crate::fetch::Networks;
use crate::manifest::portable_name;
use crate::read::TextEncoding;
use crate::tokens::TokenizerFile;
use crate::verify::Verify;

/// The options by their names.
pub(super) fn plan_value(
    options: &Options,
    inputs: &[PlannedInput],
    tokenizer: Option<&TokenizerFile>,
) -> Value<'static> {
    let Options { scan, split, .. } = options;
    json::value(object(|plan| {
        plan.field("inputs", list(inputs.iter().map(input)));
        target(scan, plan);
        let folder = options.image_folder.as_deref().map(Path::to_string_lossy);
        let folder = folder.as_deref().map(|folder| portable_name(folder.trim_end_matches('/')));
        plan.field("image_folder", folder);
        images(scan, plan);
        let fetched = options.fetch.as_ref().map(|fetch| match fetch.networks {
            Networks::Public => "public",
            Networks::All => "all",
        });
        plan.field("fetch", fetched);
        let tokenizer = tokenizer.map(|TokenizerFile { path, blake3, .. }| {
            let path = path.to_string_lossy();
            object(move |file| {
                file.field("path", portable_name(&path)).field("blake3", blake3.as_str());
            })
        });
        plan.field("answers", scan.answers.as_str());
        plan.field("removed_columns", list(options.columns.removed()));
        plan.field("tokenizer", tokenizer).field("max_tokens", scan.max_tokens);
        plan.field("validation", &split.validation.to_string()).field("split", split_name(split.kind));
        plan.field("keep_given_split", split.keeps_given).field("write_test", options.write_test);
        plan.field("dedup", dedup_name(options.dedup));
        plan.field("dedup_by", if options.by == By::Sample { "sample" } else { "image" });
        plan.field("near_distance", options.distance);
        plan.field("drop", ids(&scan.drop)).field("ignore", ids(&scan.ignore));
        plan.field("measure", scan.measure).field("seed", split.seed);
        plan.field("max_reject", options.max_reject.map(|limit| limit.to_string()).as_ref());
        plan.field("max_row_bytes", options.max_row_bytes);
        let encoding = options.text.encoding.map(TextEncoding::name);
        let separator = options.text.separator.map(|separator| char::from(separator).to_string());
        plan.field("encoding", encoding).field("separator", separator.as_ref());
        plan.field("sheet", options.text.sheet.as_ref());
        plan.field("max_image_bytes", scan.max_image_bytes).field("max_image_side", scan.max_image_side);
        plan.field("max_decoded_bytes", scan.max_decoded_bytes);
    }))
}

fn target(scan: &ScanOptions, plan: &mut Object<'_>) {
    let Target { id, max_images, max_image_bytes, max_file_bytes, .. } = scan.target;
    plan.field("model", scan.model.id);
    // A known name stands for its numbers; the directory of a model may have others.
    let numbers = |model: &ModelSpec| (model.patch, model.merge, model.max_side, model.context);
    if spec::find(scan.model.id).is_none_or(|known| numbers(known) != numbers(scan.model)) {
        plan.field("model_images", images_of(scan.model)).field("model_context", scan.model.context);
    }
    plan.field("target", id);
    plan.field("target_max_images", (max_images != usize::MAX).then_some(max_images));
    plan.field("target_max_image_bytes", max_image_bytes).field("target_max_file_bytes", max_file_bytes);
}

fn images_of(&ModelSpec { patch, merge, max_side, .. }: &ModelSpec) -> impl ToJson {
    object(move |images| {
        images.field("patch", patch).field("merge", merge).field("max_side", max_side);
    })
}

fn images(scan: &ScanOptions, plan: &mut Object<'_>) {
    plan.field("images", if scan.images == Images::Fit { "fit" } else { "keep" });
    let position = if scan.image_position == ImagePosition::First { "first" } else { "last" };
    plan.field("image_position", position).field("resampling", scan.resampling.as_str());
    plan.field("verify", if scan.verify == Verify::Full { "full" } else { "header" });
    plan.field("jpeg_quality", scan.jpeg_quality);
}

fn split_name(kind: SplitKind) -> &'static str {
    match kind {
        SplitKind::Random => "random",
        SplitKind::Group => "group",
        SplitKind::Stratify => "stratify",
        SplitKind::Auto => "auto",
    }
}

fn dedup_name(dedup: Dedup) -> &'static str {
    match dedup {
        Dedup::Off => "off",
        Dedup::Exact => "exact",
        Dedup::Near => "near",
    }
}

fn ids<'r>(rules: &'r [&'static Rule]) -> impl ToJson + 'r {
    list(rules.iter().map(|rule| rule.id))
}

/// An input and its columns.
fn input(planned: &PlannedInput) -> impl ToJson {
    object(move |out| {
        out.field("path", portable_name(&planned.input.name));
        match &planned.schema.columns {
            Some(columns) => columns_of(columns, out),
            None => {
                out.field("messages", true);
            }
        }
    })
}

fn columns_of(columns: &Columns, out: &mut Object<'_>) {
    out.field("image", list(&columns.image)).optional("prompt", columns.prompt.as_ref());
    out.field("completion", &columns.completion).optional("system", columns.system.as_ref());
    out.optional("group", columns.group.as_ref()).optional("id", columns.id.as_ref());
    out.optional("stratify", columns.stratum.as_ref()).optional("split", columns.split.as_ref());
}
