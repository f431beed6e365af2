//! `tokens` against the saved outputs of the reference, through the program itself: one process for each file.

use std::io::Read as _;
use std::path::Path;

use pixtune_core::json::{self, Value};
use sha2::{Digest, Sha256};

use crate::harness::{Case, Run, at, png_header, root, text};

/// Every line of a file of `fixtures/vectors`.
fn vectors(name: &str) -> Vec<Value<'static>> {
    vectors_in(&root().join("fixtures/vectors"), name)
}

/// Every line of a file with the vectors of newer tokenizers, in another directory if the environment names one.
fn family(name: &str) -> Vec<Value<'static>> {
    let directory = std::env::var_os("PIXTUNE_VECTORS");
    vectors_in(&directory.map_or_else(|| root().join("fixtures/vectors_family"), Into::into), name)
}

fn vectors_in(directory: &Path, name: &str) -> Vec<Value<'static>> {
    let file = std::fs::File::open(directory.join(name)).unwrap();
    let mut lines = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut lines).unwrap();
    lines.lines().map(|line| json::parse(line).unwrap().value.into_owned()).collect()
}

/// The program's answers to a file with these lines: as many, in the same order.
fn answers(lines: impl Iterator<Item = String>, args: &[&str], code: i32) -> Vec<Value<'static>> {
    let case = Case::new();
    let lines: Vec<String> = lines.map(|line| line + "\n").collect();
    case.write("lines", lines.concat());
    let Run { stdout, .. } = case.run(args).ends(code);
    let answers: Vec<_> = stdout.lines().map(|line| json::parse(line).unwrap().value.into_owned()).collect();
    assert_eq!(answers.len(), lines.len());
    answers
}

fn numbers(value: &Value<'_>) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|number| number.to_string().parse().unwrap()).collect()
}

#[test]
fn text_ids_match_mistral_common() {
    let rows = vectors("text_tekken.jsonl.gz");
    let texts = rows.iter().map(|row| at(row, "/text").to_string());
    for (row, answer) in rows.iter().zip(answers(texts, &["tokens", "--text", "lines"], 0)) {
        assert_eq!(at(&answer, "/ids"), at(row, "/ids"), "{}", at(row, "/text"));
    }
    assert_eq!(rows.len(), 3740);
}

#[track_caller]
fn check_sizes(name: &str, model: &str, count: usize) {
    let rows = vectors(name);
    let sizes = rows.iter().map(|row| format!("{} {}", at(row, "/w"), at(row, "/h")));
    let args = ["tokens", "--sizes", "lines", "--model", model];
    for (row, answer) in rows.iter().zip(answers(sizes, &args, 0)) {
        for (ours, theirs) in [
            ("/width", "/w"),
            ("/height", "/h"),
            ("/pixel_width", "/rw"),
            ("/pixel_height", "/rh"),
            ("/columns", "/gw"),
            ("/rows", "/gh"),
            ("/tokens", "/n"),
        ] {
            assert_eq!(at(&answer, ours), at(row, theirs), "{ours} of {row}");
        }
    }
    assert_eq!(rows.len(), count);
}

#[test]
fn image_grids_match_mistral_common() {
    check_sizes("image_sizes_p16_m1_1024.jsonl.gz", "pixtral-12b", 6750);
    check_sizes("image_sizes_p14_m2_1540.jsonl.gz", "mistral-small-3.2", 6738);
}

/// An image `pool:c32x24.png` is 32 wide and 24 high; the program is given a file that says so and holds nothing.
fn with_images(value: &Value<'static>) -> Value<'static> {
    match value {
        Value::String(text) if text.starts_with("pool:") => {
            let size = text.strip_prefix("pool:c").and_then(|name| name.strip_suffix(".png")).unwrap();
            let (width, height) = size.split_once('x').unwrap();
            let mut uri = b"data:image/png;base64,".to_vec();
            let png = png_header(width.parse().unwrap(), height.parse().unwrap());
            pixtune_io::base64::encode(&png, &mut uri);
            Value::String(String::from_utf8(uri).unwrap().into())
        }
        Value::Array(values) => Value::Array(values.iter().map(with_images).collect()),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(key, value)| (key.clone(), with_images(value))).collect())
        }
        other => other.clone(),
    }
}

/// A loss mask, one entry a token, from its runs.
fn mask(runs: &Value<'static>) -> Vec<bool> {
    let run = |run: &Value<'static>| match numbers(run)[..] {
        [trained, tokens] => std::iter::repeat_n(trained == 1, tokens as usize),
        _ => panic!("{run} is no run"),
    };
    runs.as_array().unwrap().iter().flat_map(run).collect()
}

/// Ids and mask of the reference. Run on a newer mistral-common than it was written for, mistral-finetune puts a tool
/// result's ids into the row as a list in itself (and two empty ones), each masked once; here they are laid flat.
fn flat(ids: &Value<'static>, mask: &[bool]) -> (Vec<u32>, Vec<bool>) {
    let ids = ids.as_array().unwrap();
    assert_eq!(ids.len(), mask.len());
    let (mut flat, mut flat_mask) = (Vec::new(), Vec::new());
    for (id, trained) in ids.iter().zip(mask) {
        let ids = if id.as_array().is_some() { numbers(id) } else { vec![id.to_string().parse().unwrap()] };
        flat_mask.extend(ids.iter().map(|_| trained));
        flat.extend(ids);
    }
    (flat, flat_mask)
}

#[track_caller]
fn check_chats(layout: &str, key: &str) {
    let rows = vectors("chats.jsonl.gz");
    let lines = rows.iter().map(|row| {
        let members = ["messages", "tools"].into_iter();
        let members = members.filter_map(|key| Some((key.into(), with_images(row.get(key)?))));
        Value::Object(members.collect()).to_string()
    });
    let args = ["tokens", "lines", "--ids", "--layout", layout];
    for (row, answer) in rows.iter().zip(answers(lines, &args, 1)) {
        let (name, expected) = (text(row, "/key"), row.get(key).unwrap());
        if expected.get("error").is_some() {
            assert!(answer.get("refused").is_some(), "{name}: the reference refuses it");
            continue;
        }
        // "same": as in the other layout.
        let ids = expected.get("ids").filter(|ids| ids.as_array().is_some());
        let ids = ids.unwrap_or_else(|| at(row, "/finetuning/ids"));
        let (ids, trained) = flat(ids, &mask(at(expected, "/mask_runs")));
        assert_eq!(numbers(at(&answer, "/ids")), ids, "{name}");
        assert_eq!(mask(at(&answer, "/trained_runs")), trained, "{name}");
        let count = |pointer: &str| at(&answer, pointer).to_string().parse::<usize>().unwrap();
        assert_eq!(count("/tokens"), ids.len(), "{name}");
        assert_eq!(count("/text_tokens") + count("/image_tokens"), ids.len(), "{name}");
        assert_eq!(count("/trained_tokens"), trained.iter().filter(|&&trained| trained).count(), "{name}");
    }
    assert_eq!(rows.len(), 344);
}

#[test]
fn chats_match_mistral_common() {
    check_chats("mistral-common", "finetuning");
}

#[test]
fn chats_match_mistral_finetune() {
    check_chats("mistral-finetune", "mistral_finetune");
}

#[test]
fn verdicts_match_mistral_common() {
    let rows = vectors("invalid.jsonl.gz");
    let lines = rows.iter().map(|row| with_images(at(row, "/request")).to_string());
    for (row, answer) in rows.iter().zip(answers(lines, &["tokens", "lines", "--ids"], 1)) {
        let name = format!("{} {}", text(row, "/key"), text(row, "/cat"));
        match text(row, "/verdict").as_str() {
            "ok" => {
                let ids = answer.get("ids").unwrap_or_else(|| panic!("{name}: {answer}"));
                let bytes: Vec<u8> = numbers(ids).iter().flat_map(|id| id.to_le_bytes()).collect();
                let sha256: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(sha256, text(row, "/ids_sha256"), "{name}");
            }
            _ => assert!(answer.get("refused").is_some(), "{name}: the reference refuses it"),
        }
    }
}

/// A model of each version, and so the way to name it.
const MODELS: [(&str, &str); 5] = [
    ("v7", "mistral-small-3.1"),
    ("v7m1", "pixtral-large"),
    ("v11", "mistral-small-3.2"),
    ("v13", "ministral-3-8b"),
    ("v15", "mistral-small-4"),
];

#[track_caller]
fn ids_sha256(ids: &Value<'static>) -> String {
    let bytes: Vec<u8> = numbers(ids).iter().flat_map(|id| id.to_le_bytes()).collect();
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn chats_of_newer_tokenizers_match_mistral_common() {
    for (version, model) in MODELS {
        let rows = family(&format!("{version}/chats.jsonl.gz"));
        // Other settings are those of a tokenizer file.
        let rows: Vec<_> = rows.into_iter().filter(|row| row.get("tokenizer").is_none()).collect();
        let lines = rows.iter().map(|row| {
            let members = ["messages", "tools", "reasoning_effort", "response_format"].into_iter();
            let members = members.filter_map(|key| Some((key.into(), with_images(row.get(key)?))));
            Value::Object(members.collect()).to_string()
        });
        let refused = rows.iter().any(|row| at(row, "/finetuning").get("error").is_some());
        let args = ["tokens", "lines", "--ids", "--model", model];
        for (row, answer) in rows.iter().zip(answers(lines, &args, i32::from(refused))) {
            let (name, expected) = (text(row, "/key"), at(row, "/finetuning"));
            if expected.get("error").is_some() {
                assert!(answer.get("refused").is_some(), "{name}: the reference refuses it");
                continue;
            }
            assert_eq!(at(&answer, "/ids"), at(expected, "/ids"), "{name}");
            assert_eq!(mask(at(&answer, "/trained_runs")), mask(at(expected, "/mask_runs")), "{name}");
        }
    }
}

#[test]
fn verdicts_of_newer_tokenizers_match_mistral_common() {
    for (version, model) in MODELS {
        let rows = family(&format!("{version}/invalid.jsonl.gz"));
        let lines = rows.iter().map(|row| with_images(at(row, "/request")).to_string());
        let args = ["tokens", "lines", "--ids", "--model", model];
        for (row, answer) in rows.iter().zip(answers(lines, &args, 1)) {
            let name = format!("{} {}", text(row, "/key"), text(row, "/cat"));
            match text(row, "/verdict").as_str() {
                "ok" => {
                    let ids = answer.get("ids").unwrap_or_else(|| panic!("{name}: {answer}"));
                    assert_eq!(ids_sha256(ids), text(row, "/ids_sha256"), "{name}");
                }
                _ => assert!(answer.get("refused").is_some(), "{name}: the reference refuses it"),
            }
        }
    }
}

#[test]
fn sentencepiece_ids_match_mistral_common() {
    let rows = family("v7m1/text_spm.jsonl.gz");
    let texts = rows.iter().map(|row| at(row, "/text").to_string());
    let args = ["tokens", "--text", "lines", "--model", "pixtral-large"];
    for (row, answer) in rows.iter().zip(answers(texts, &args, 0)) {
        assert_eq!(at(&answer, "/ids"), at(row, "/ids"), "{}", at(row, "/text"));
    }
}
