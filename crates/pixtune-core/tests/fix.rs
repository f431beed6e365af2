//! A safe change leaves what the reference reads as it was: the same tokens, the same mask.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Read as _;
use std::path::Path;

use pixtune_core::diagnostic::{Fix, Rule};
use pixtune_core::fix::{Wanted, fix};
use pixtune_core::json::{self, Value};
use pixtune_core::rules;
use pixtune_core::sample::ImageSource;
use pixtune_core::spec::{self, ModelSpec, PIXTRAL_12B};
use pixtune_core::tokens::{ChatEncoder, Layout, Run};
use pixtune_core::{strict, target};

fn vectors(name: &str) -> Vec<Value<'static>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name);
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text.lines().map(|line| json::parse(line).unwrap().value.into_owned()).collect()
}

/// `pool:c32x24.png` stands for an image of that size; the name is kept in the payload.
fn with_images(value: Value<'static>) -> Value<'static> {
    match value {
        Value::String(text) => match text.strip_prefix("pool:") {
            Some(name) => Value::String(format!("data:image/png;base64,{name}").into()),
            None => Value::String(text),
        },
        Value::Array(values) => Value::Array(values.into_iter().map(with_images).collect()),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(key, value)| (key, with_images(value))).collect())
        }
        other => other,
    }
}

fn size(source: &ImageSource<&str>) -> (u32, u32) {
    let ImageSource::Inline { base64, .. } = source else { return (1, 1) };
    let size = base64.strip_prefix('c').and_then(|name| name.split_once('.')).unwrap_or(("1x1", "")).0;
    let (width, height) = size.split_once('x').unwrap_or(("1", "1"));
    (width.parse().unwrap_or(1), height.parse().unwrap_or(1))
}

/// The ids and the mask, where the reference takes the request.
fn encoded(request: &Value<'_>, spec: &ModelSpec) -> Option<(Vec<u32>, Vec<Run>)> {
    let sample = strict::read(request).ok()?;
    let sizes: Vec<(u32, u32)> = sample.images.iter().map(|image| size(&image.source)).collect();
    let encoded = ChatEncoder::new(spec, Layout::MistralCommon).encode(&sample, &sizes).ok()?;
    Some((encoded.ids, encoded.counts.runs))
}

/// Ids of calls are tokens: repairing those that the reference takes changes them.
fn keeps_tokens(rule: &Rule) -> bool {
    ![&rules::TOOL_ID_REPEATED, &rules::TOOL_ID_UNMATCHED].contains(&rule)
}

/// Repairs every vector in a directory for a model; returns how many that the reference accepts were changed, and how many
/// others were made good.
fn repair_all(directory: &str, spec: &ModelSpec) -> (usize, usize) {
    let chats = vectors(&format!("{directory}/chats.jsonl.gz")).into_iter().map(|row| {
        let part = |key: &str| Some((key.to_owned().into(), row.get(key)?.clone()));
        let keys = ["messages", "tools", "reasoning_effort"];
        Value::Object(keys.into_iter().filter_map(part).collect())
    });
    let invalid = vectors(&format!("{directory}/invalid.jsonl.gz"));
    let invalid = invalid.into_iter().map(|row| row.get("request").unwrap().clone());
    let wanted =
        Wanted { rule: &keeps_tokens, most: Fix::Safe, target: &target::MISTRAL, version: spec.tokenizer };
    let (mut changed, mut made_good) = (0, 0);
    for request in chats.chain(invalid).map(with_images) {
        let before = encoded(&request, spec);
        let (repaired, changes) = fix(request.clone(), &wanted);
        let after = encoded(&repaired, spec);
        if before.is_some() {
            assert_eq!(after, before, "{}: {request}\n{repaired}\n{changes:#?}", spec.id);
            changed += usize::from(!changes.is_empty());
        } else {
            made_good += usize::from(after.is_some());
        }
        let again = fix(repaired.clone(), &wanted);
        assert_eq!(again, (repaired, vec![]), "repaired twice");
    }
    (changed, made_good)
}

#[test]
fn safe_changes_keep_the_tokens_and_the_mask() {
    let (changed, made_good) = repair_all("vectors", &PIXTRAL_12B);
    assert!(
        changed > 100 && made_good > 50,
        "{changed} accepted rows changed, {made_good} refused ones made good"
    );
    println!("{changed} accepted rows changed, {made_good} refused ones made good");
}

#[test]
fn safe_changes_keep_the_tokens_of_newer_tokenizers() {
    for spec in [
        &spec::MISTRAL_SMALL_3_1,
        &spec::PIXTRAL_LARGE,
        &spec::MISTRAL_SMALL_3_2,
        &spec::MINISTRAL_3_8B,
        &spec::MISTRAL_SMALL_4,
    ] {
        let (changed, made_good) = repair_all(&format!("vectors_family/{}", spec.tokenizer), spec);
        assert!(changed > 10 && made_good > 10, "{}: {changed} changed, {made_good} made good", spec.id);
    }
}
