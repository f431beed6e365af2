//! The plan as JSON: every resolved option that the output depends on, in the order of the manifest.

use std::path::Path;

use pixtune_core::columns::{ColumnChoice, Columns, ImagePosition, Role};
use pixtune_core::curate::{By, Dedup, SplitKind};
use pixtune_core::diagnostic::Rule;
use pixtune_core::json::{self, Object, ToJson, Value, list, object};
use pixtune_core::spec::{self, ModelSpec};

use pixtune_core::target::Target;

use super::super::options::{Images, Options, ScanOptions};
use super::PlannedInput;
use crate::fetch::Networks;
use crate::manifest::portable_name;
use crate::read::{Aside, TextEncoding};
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
        plan.field("inputs", list(inputs.iter().map(|planned| input(planned, &options.columns))));
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

/// An input, its columns, and which of them were guessed.
fn input<'p>(planned: &'p PlannedInput, choice: &'p ColumnChoice) -> impl ToJson + 'p {
    object(move |out| {
        out.field("path", portable_name(&planned.input.name));
        let roles = match &planned.schema.columns {
            Some(columns) => columns_of(columns, out),
            None => {
                out.field("messages", true);
                keys_of(&planned.schema.aside, choice, out)
            }
        };
        let guessed = roles.into_iter().filter(|role| choice.named(*role).next().is_none());
        out.field(GUESSED, list(guessed.map(Role::as_str)));
    })
}

/// Writes the columns and returns their roles.
fn columns_of(columns: &Columns, out: &mut Object<'_>) -> Vec<Role> {
    let Columns { image, prompt, completion, system, group, id, split, stratum, .. } = columns;
    let mut roles = Vec::new();
    out.field(Role::Image.as_str(), list(image));
    roles.extend(image.first().map(|_| Role::Image));
    let completion = Some(completion.clone());
    let named = [
        (Role::Prompt, prompt),
        (Role::Completion, &completion),
        (Role::System, system),
        (Role::Group, group),
        (Role::Id, id),
        (Role::Stratum, stratum),
        (Role::Split, split),
    ];
    add_named(&named, &mut roles, out);
    roles
}

/// Writes the keys beside `messages` that are used, and returns their roles.
fn keys_of(aside: &Aside, choice: &ColumnChoice, out: &mut Object<'_>) -> Vec<Role> {
    // Without a choice it is the usual key, whether the rows have it or not.
    let id = choice.named(Role::Id).next().map(str::to_owned);
    let mut roles = Vec::new();
    let named = [
        (Role::Group, &aside.group),
        (Role::Id, &id),
        (Role::Stratum, &aside.stratum),
        (Role::Split, &aside.split),
    ];
    add_named(&named, &mut roles, out);
    roles
}

fn add_named(named: &[(Role, &Option<String>)], roles: &mut Vec<Role>, out: &mut Object<'_>) {
    for (role, column) in named {
        out.optional(role.as_str(), column.as_ref());
        roles.extend(column.as_ref().map(|_| *role));
    }
}

/// The roles of an input whose columns were guessed.
const GUESSED: &str = "guessed";

/// A plan without the marks of guesses: a column is the same column, whether it was guessed or given.
pub(in super::super) fn without_guesses(plan: &Value<'_>) -> Value<'static> {
    let mut plan = plan.clone().into_owned();
    if let Value::Object(options) = &mut plan
        && let Some((_, Value::Array(inputs))) = options.iter_mut().find(|(name, _)| name == "inputs")
    {
        for input in inputs {
            if let Value::Object(members) = input {
                members.retain(|(name, _)| name != GUESSED);
            }
        }
    }
    plan
}
