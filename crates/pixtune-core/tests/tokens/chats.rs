//! Conversations to ids and loss masks, and which are refused.

use pixtune_core::json::Value;
use pixtune_core::sample::{Content, Image, ImageSource, Message, Part, Sample};
use pixtune_core::spec::PIXTRAL_12B;
use pixtune_core::strict::{self, BorrowedSample};
use pixtune_core::tokens::{
    ChatEncoder, Encoded, Layout, RenderedTurn, Run, Span, SystemPrompt, Tokenizer, grid, normalized,
    refusals,
};
use sha2::{Digest, Sha256};

use crate::vectors::{number, numbers, read, text};

/// An image `pool:c32x24.png` is 32 wide and 24 high; the reader is given a data URI that says so.
pub(super) fn pool_to_data_uris(value: &Value<'_>) -> Value<'static> {
    match value.clone().into_owned() {
        Value::String(text) => match text.strip_prefix("pool:") {
            Some(name) => Value::String(format!("data:image/png;base64,{name}").into()),
            None => Value::String(text),
        },
        Value::Array(values) => Value::Array(values.iter().map(pool_to_data_uris).collect()),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(key, value)| (key, pool_to_data_uris(&value))).collect())
        }
        other => other,
    }
}

pub(super) fn size(image: &Image<&str>) -> (u32, u32) {
    match &image.source {
        ImageSource::Inline { base64, .. } => {
            let size = base64.strip_prefix('c').and_then(|name| name.split_once('.'));
            let size = size.and_then(|(size, _)| size.split_once('x'));
            // The images written out in `invalid.jsonl.gz` are all 32 by 32.
            size.map_or((32, 32), |(width, height)| (width.parse().unwrap(), height.parse().unwrap()))
        }
        other => panic!("{other:?}"),
    }
}

fn encode(layout: Layout, sample: &BorrowedSample<'_>) -> Result<Encoded, String> {
    let sizes: Vec<_> = sample.images.iter().map(size).collect();
    let encoder = ChatEncoder::new(&PIXTRAL_12B, layout);
    let encoded = encoder.encode(sample, &sizes);
    assert_eq!(encoder.count(sample, &sizes), encoded.clone().map(|encoded| encoded.counts));
    if let Some(bound) =
        encoder.plain_bound(sample, &sizes).filter(|_| refusals(sample, Tokenizer::embedded()).is_empty())
    {
        let tokens = encoded.as_ref().map(|encoded| encoded.counts.tokens);
        assert!(tokens.is_ok_and(|tokens| tokens <= bound), "{bound}");
    }
    let encoded = encoded.map_err(|finding| finding.message)?;
    let counts = &encoded.counts;
    assert_eq!(counts.tokens, encoded.ids.len());
    assert_eq!(counts.runs.iter().map(|run| run.tokens).sum::<usize>(), counts.tokens);
    assert_eq!(counts.image_tokens, encoded.ids.iter().filter(|id| [10, 12, 13].contains(id)).count());
    Ok(encoded)
}

pub(super) fn runs(value: &Value<'_>) -> Vec<Run> {
    let run = |pair: &Value<'_>| match numbers(pair)[..] {
        [trained, tokens] => Run { trained: trained == 1, tokens: tokens as usize },
        _ => panic!("{pair} is no run"),
    };
    value.as_array().unwrap().iter().map(run).collect()
}

pub(super) fn mask_of(runs: &[Run]) -> Vec<bool> {
    runs.iter().flat_map(|run| std::iter::repeat_n(run.trained, run.tokens)).collect()
}

/// Ids and mask of the reference. Run on a newer mistral-common than it was written for, mistral-finetune puts a tool
/// result's ids into the row as a list in itself (and two empty ones), each masked once; here they are laid flat.
fn flatten(ids: &Value<'_>, runs: &[Run]) -> (Vec<u32>, Vec<bool>) {
    let elements = ids.as_array().unwrap();
    let (mask, mut flat, mut flat_mask) = (mask_of(runs), Vec::new(), Vec::new());
    assert_eq!(elements.len(), mask.len());
    for (element, trained) in elements.iter().zip(mask) {
        let ids = if element.as_array().is_some() { numbers(element) } else { vec![number(element)] };
        flat_mask.extend(ids.iter().map(|_| trained));
        flat.extend(ids);
    }
    (flat, flat_mask)
}

fn check_chats(layout: Layout, key: &str) {
    for row in read("chats.jsonl.gz") {
        let name = text(&row, "key");
        let mut request = vec![("messages".into(), pool_to_data_uris(row.get("messages").unwrap()))];
        if let Some(tools) = row.get("tools") {
            request.push(("tools".into(), tools.clone()));
        }
        let request = Value::Object(request);
        let sample = strict::read(&request).unwrap();
        let expected = row.get(key).unwrap();
        match (encode(layout, &sample), expected.get("error")) {
            (Ok(encoded), None) => {
                let ids = match expected.get("ids") {
                    Some(Value::String(_)) => {
                        row.get("finetuning").and_then(|common| common.get("ids")).unwrap()
                    }
                    ids => ids.unwrap(),
                };
                let (ids, mask) = flatten(ids, &runs(expected.get("mask_runs").unwrap()));
                assert_eq!(encoded.ids, ids, "{name}");
                assert_eq!(mask_of(&encoded.counts.runs), mask, "{name}");
            }
            (Err(_), Some(_)) => {}
            (ours, theirs) => panic!("{name}: {ours:?}, the reference {theirs:?}"),
        }
    }
}

#[test]
fn chats_are_laid_out_as_mistral_common_does() {
    check_chats(Layout::MistralCommon, "finetuning");
}

/// Ids and mask of a program that puts rendered messages between control tokens: all texts between two of them at once.
fn encode_rendered(turns: &[RenderedTurn<'_>], sizes: &[(u32, u32)]) -> (Vec<u32>, Vec<bool>) {
    let tokenizer = Tokenizer::embedded();
    let control = |name| tokenizer.special_token(name).unwrap();
    let mut ids = vec![control("<s>")];
    let mut mask = vec![false];
    for turn in turns {
        let mut spans = &turn.spans[..];
        if let [Span::Tools(tools), rest @ ..] = spans {
            ids.push(control("[AVAILABLE_TOOLS]"));
            ids.extend(tokenizer.encode(tools));
            ids.push(control("[/AVAILABLE_TOOLS]"));
            spans = rest;
        }
        let (before, after) = match turn.role {
            "user" => (Some("[INST]"), "[/INST]"),
            "tool" => (Some("[TOOL_RESULTS]"), "[/TOOL_RESULTS]"),
            "assistant" => (None, "</s>"),
            other => panic!("{other}"),
        };
        ids.extend(before.map(control));
        for span in spans {
            match span {
                Span::Text(text) => ids.extend(tokenizer.encode(text)),
                Span::Calls(calls) => {
                    ids.push(control("[TOOL_CALLS]"));
                    ids.extend(tokenizer.encode(calls));
                }
                Span::Image(index) => {
                    let (width, height) = sizes[*index];
                    let grid = grid(&PIXTRAL_12B, width, height);
                    for row in 1..=grid.rows {
                        ids.extend(vec![control("[IMG]"); grid.columns as usize]);
                        ids.push(control(if row == grid.rows { "[IMG_END]" } else { "[IMG_BREAK]" }));
                    }
                }
                Span::Tools(_) => panic!("tools stand at the start of a message"),
            }
        }
        ids.push(control(after));
        mask.resize(ids.len(), turn.trained == Some(true));
    }
    (ids, mask)
}

#[test]
fn normalized_chats_are_encoded_alike_as_they_stand() {
    let encoder = ChatEncoder::new(&PIXTRAL_12B, Layout::MistralCommon);
    let (mut alike, mut joints) = (0, 0);
    for row in read("chats.jsonl.gz") {
        let mut request = vec![("messages".into(), pool_to_data_uris(row.get("messages").unwrap()))];
        if let Some(tools) = row.get("tools") {
            request.push(("tools".into(), tools.clone()));
        }
        let request = Value::Object(request);
        let sample = strict::read(&request).unwrap();
        let encoded = encode(Layout::MistralCommon, &sample);
        let normalized = normalized(&sample, SystemPrompt::Fold);
        let rendered = normalized.as_ref().map_err(Clone::clone).and_then(|chat| chat.rendered());
        assert_eq!(rendered.is_ok(), encoded.is_ok(), "{}", text(&row, "key"));
        let (Ok(rendered), Ok(normalized), Ok(encoded)) = (rendered, &normalized, encoded) else { continue };
        let sizes: Vec<_> = sample.images.iter().map(size).collect();
        let (ids, mask) = encode_rendered(&rendered, &sizes);
        let is_alike = normalized.encodes_alike(&encoder);
        assert_eq!(ids == encoded.ids, is_alike, "{}", text(&row, "key"));
        assert!(!is_alike || mask == mask_of(&encoded.counts.runs), "{}", text(&row, "key"));
        alike += usize::from(is_alike);
        joints += usize::from(!is_alike);
    }
    assert!(alike > 100, "{alike} alike, {joints} not");
}

#[test]
fn chats_are_laid_out_as_mistral_finetune_does() {
    check_chats(Layout::MistralFinetune, "mistral_finetune");
}

#[test]
fn requests_have_the_verdict_of_mistral_common() {
    for row in read("invalid.jsonl.gz") {
        let (name, category) = (text(&row, "key"), text(&row, "cat"));
        if category.starts_with("url:") && text(&row, "verdict") == "error" {
            // Whether bytes are an image is not for this crate to say.
            continue;
        }
        let request = pool_to_data_uris(row.get("request").unwrap());
        let verdict = match strict::read(&request) {
            Ok(sample) => encode(Layout::MistralCommon, &sample),
            Err(findings) => Err(findings[0].message.clone()),
        };
        match (verdict, text(&row, "verdict")) {
            (Ok(encoded), "ok") => {
                let bytes: Vec<u8> = encoded.ids.iter().flat_map(|id| id.to_le_bytes()).collect();
                assert_eq!(
                    format!("{:x}", Sha256::digest(bytes)),
                    text(&row, "ids_sha256"),
                    "{name} {category}"
                );
            }
            (Err(_), "error") => {}
            (ours, theirs) => panic!("{name} {category}: {ours:?}, the reference: {theirs}"),
        }
    }
}

#[test]
fn ten_thousand_images_are_counted() {
    let parts = (0..10_000).map(Part::Image).collect();
    let answer = pixtune_core::sample::Assistant { content: Some(Content::Text("ok")), ..Default::default() };
    let messages = vec![Message::User(Content::Parts(parts)), Message::Assistant(answer)];
    let sample = Sample { messages, images: vec![(); 10_000], ..Sample::default() };
    let counts = ChatEncoder::new(&PIXTRAL_12B, Layout::MistralCommon)
        .count(&sample, &[(1024, 1024); 10_000])
        .unwrap();
    assert_eq!(counts.image_tokens, 41_600_000);
    assert_eq!(counts.trained_tokens, 2);
}
