//! Embedding and head: tied bases, larger vocabularies, single tokens. `tests/peers/adapters.py` compares logits with peft's.

use std::fs;

use pixtune_core::json::Value;
use pixtune_model::adapter::Dialect;
use pixtune_model::weights::convert::{Options, Plan};
use pixtune_model::weights::safetensors::TensorSpec;
use pixtune_model::weights::{Dtype, Format};

use super::harness::{Place, json_file, text, values};
use super::support::{Copy, Stored, fixture, write};

const EMBEDDING: &str = "base_model.model.model.language_model.embed_tokens";
const HEAD: &str = "base_model.model.lm_head";
const DISK_EMBEDDING: &str = "language_model.model.embed_tokens.weight";
const DISK_HEAD: &str = "language_model.lm_head.weight";

/// The fixture with its head tied to the embedding.
fn tied() -> Copy {
    let base = Copy::of("hf_bf16");
    base.rewrite("model.safetensors", |stored| match stored.spec.name == DISK_HEAD {
        true => Vec::new(),
        false => vec![stored],
    });
    let config = fs::read_to_string(base.path("config.json")).unwrap();
    let config = config.replace("\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true");
    fs::write(base.path("config.json"), config).unwrap();
    base
}

fn floats(name: &str, shape: &[usize], seed: usize) -> Stored {
    let value = |at: usize| ((at * 7919 + seed * 104_729) % 1009) as f32 / 1009.0 - 0.5;
    let count: usize = shape.iter().product();
    Stored {
        file: "adapter_model.safetensors".to_owned(),
        spec: TensorSpec { name: name.to_owned(), dtype: Dtype::F32, shape: shape.to_vec() },
        bytes: (0..count).flat_map(|at| value(at).to_le_bytes()).collect(),
    }
}

fn numbers(stored: &Stored) -> Vec<f32> {
    stored.bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect()
}

fn adapter(tensors: &[Stored]) -> Copy {
    let adapter = Copy::of("lora_all");
    write(&adapter.path("adapter_model.safetensors"), tensors.iter());
    adapter
}

fn ties(place: &Place, name: &str) -> Vec<Option<bool>> {
    let config = json_file(&place.path(name).join("config.json"));
    let flag = |value: Option<&Value<'_>>| match value?.get("tie_word_embeddings")? {
        Value::Bool(flag) => Some(*flag),
        _ => None,
    };
    vec![flag(Some(&config)), flag(config.get("text_config"))]
}

/// What is trained alone leaves the other as it was, and the merged model has both.
#[test]
fn a_tied_base_keeps_what_was_not_trained() {
    let base = tied();
    let path = base.directory.path().to_str().unwrap();
    let old = values(&base.path("model.safetensors"))[DISK_EMBEDDING].clone();
    let lora_of = |start: &str, a: &str, b: &str, shapes: [[usize; 2]; 2]| {
        vec![floats(&format!("{start}{a}"), &shapes[0], 1), floats(&format!("{start}{b}"), &shapes[1], 2)]
    };
    let whole = |name: &str, seed| floats(&format!("{name}.weight"), &[400, 64], seed);
    for (index, (tensors, changes)) in [
        (vec![whole(EMBEDDING, 3)], [true, false]),
        (vec![whole(HEAD, 4)], [false, true]),
        (vec![whole(EMBEDDING, 3), whole(HEAD, 4)], [true, true]),
        (lora_of(EMBEDDING, ".lora_embedding_A", ".lora_embedding_B", [[4, 400], [64, 4]]), [true, false]),
        (lora_of(HEAD, ".lora_A.weight", ".lora_B.weight", [[4, 64], [400, 4]]), [false, true]),
    ]
    .into_iter()
    .enumerate()
    {
        let adapter = adapter(&tensors);
        let place = Place::new();
        let report =
            place.merge(path, adapter.directory.path(), Format::Hf, Some(Dtype::F32), "merged").unwrap();
        assert!(report.warnings.iter().any(|text| text.contains("`tie_word_embeddings` is false")));
        assert_eq!(ties(&place, "merged"), [Some(false), Some(false)], "case {index}");
        let merged = values(&place.path("merged/model.safetensors"));
        for (name, changes) in [DISK_EMBEDDING, DISK_HEAD].into_iter().zip(changes) {
            assert_eq!(merged[name] != old, changes, "case {index}: {name}");
        }
        for stored in tensors.iter().filter(|stored| stored.spec.shape == [400, 64]) {
            let name = if stored.spec.name.starts_with(HEAD) { DISK_HEAD } else { DISK_EMBEDDING };
            assert_eq!(merged[name], numbers(stored));
        }
        place.merge(path, adapter.directory.path(), Format::Mistral, Some(Dtype::F32), "native").unwrap();
        let native = values(&place.path("native/consolidated.safetensors"));
        assert_eq!(native["output.weight"], merged[DISK_HEAD]);
        assert_eq!(native["tok_embeddings.weight"], merged[DISK_EMBEDDING]);
    }
}

#[test]
fn a_tied_base_stays_tied_if_neither_is_trained() {
    let base = tied();
    let place = Place::new();
    let path = base.directory.path().to_str().unwrap();
    place.merge(path, &fixture("lora_all"), Format::Hf, None, "merged").unwrap();
    assert_eq!(ties(&place, "merged"), [Some(true), Some(true)]);
    assert!(!values(&place.path("merged/model.safetensors")).contains_key(DISK_HEAD));
}

#[test]
fn a_tied_base_stays_tied_if_both_are_stored_as_one() {
    let base = tied();
    let tensors = [
        floats(&format!("{EMBEDDING}.weight"), &[404, 64], 5),
        floats(&format!("{HEAD}.weight"), &[404, 64], 5),
    ];
    let adapter = adapter(&tensors);
    let place = Place::new();
    let path = base.directory.path().to_str().unwrap();
    place.merge(path, adapter.directory.path(), Format::Hf, Some(Dtype::F32), "merged").unwrap();
    assert_eq!(ties(&place, "merged"), [Some(true), Some(true)]);
    let merged = values(&place.path("merged/model.safetensors"));
    assert_eq!(merged[DISK_EMBEDDING], numbers(&tensors[0]));
    assert!(!merged.contains_key(DISK_HEAD));
}

#[test]
fn a_larger_vocabulary_is_merged_with_its_tokenizer() {
    let tensors = [
        floats(&format!("{EMBEDDING}.weight"), &[408, 64], 5),
        floats(&format!("{HEAD}.weight"), &[408, 64], 6),
    ];
    let adapter = adapter(&tensors);
    fs::write(
        adapter.path("tokenizer.json"),
        r#"{"model": {"vocab": {"a": 0, "b": 399}}, "added_tokens": [{"id": 407, "content": "<box>"}]}"#,
    )
    .unwrap();
    let place = Place::new();
    let merge = |to, name: &str| place.merge("hf_bf16", adapter.directory.path(), to, Some(Dtype::F32), name);
    let report = merge(Format::Hf, "merged").unwrap();
    let merged = values(&place.path("merged/model.safetensors"));
    assert_eq!(merged[DISK_EMBEDDING], numbers(&tensors[0]));
    assert_eq!(merged[DISK_HEAD], numbers(&tensors[1]));
    let config = json_file(&place.path("merged/config.json"));
    assert_eq!(config.get("text_config").unwrap().get("vocab_size").unwrap().to_string(), "408");
    assert!(fs::read_to_string(place.path("merged/tokenizer.json")).unwrap().contains("<box>"));
    assert!(
        report.files.iter().any(|(name, origin)| name == "tokenizer.json" && origin.as_str() == "adapter")
    );
    let error = text(&merge(Format::Mistral, "native").unwrap_err());
    assert!(error.contains("the model has 408 tokens, 8 more than its tekken.json"), "{error}");
    fs::write(adapter.path("tokenizer.json"), r#"{"model": {"vocab": {}}, "added_tokens": [{"id": 408}]}"#)
        .unwrap();
    let error = text(&merge(Format::Hf, "more").unwrap_err());
    assert!(error.contains("has 409 tokens, the model 408"), "{error}");
}

/// The tokenizer of the fixture with this many pieces of words more.
fn larger_tekken(more: usize) -> String {
    let text = fs::read_to_string(fixture("../tiny_tekken/tekken.json")).unwrap();
    let text = text.replace("\"num_vocab_tokens\": 300", &format!("\"num_vocab_tokens\": {}", 300 + more));
    let text =
        text.replace("\"default_vocab_size\": 400", &format!("\"default_vocab_size\": {}", 400 + more));
    let end = text.rfind(']').unwrap();
    // `!!!A` to `!!!Z` in base64.
    let added = (0..more).map(|index| {
        let letter = char::from(b'A' + index as u8);
        let bytes =
            ["ISEhQQ==", "ISEhQg==", "ISEhQw==", "ISEhRA==", "ISEhRQ==", "ISEhRg==", "ISEhRw==", "ISEhSA=="];
        format!(
            ",{{\"rank\": {}, \"token_bytes\": \"{}\", \"token_str\": \"!!!{letter}\"}}",
            300 + index,
            bytes[index]
        )
    });
    format!("{}{}{}", &text[..end], added.collect::<String>(), &text[end..])
}

/// A tekken.json with all tokens carries them in both formats, and tokenizer.json is made of it.
#[test]
fn a_larger_tekken_is_carried_in_both_formats() {
    let tensors = [
        floats(&format!("{EMBEDDING}.weight"), &[408, 64], 5),
        floats(&format!("{HEAD}.weight"), &[408, 64], 6),
    ];
    let adapter = adapter(&tensors);
    let base = Copy::of("hf_bf16");
    fs::write(base.path("tekken.json"), larger_tekken(0)).unwrap();
    let path = base.directory.path().to_str().unwrap();
    fs::write(adapter.path("tekken.json"), larger_tekken(8)).unwrap();
    let place = Place::new();
    let merge = |to, name: &str| place.merge(path, adapter.directory.path(), to, Some(Dtype::F32), name);
    merge(Format::Mistral, "native").unwrap();
    let native = values(&place.path("native/consolidated.safetensors"));
    assert_eq!(native["tok_embeddings.weight"], numbers(&tensors[0]));
    assert_eq!(native["output.weight"], numbers(&tensors[1]));
    let params = json_file(&place.path("native/params.json"));
    assert_eq!(params.get("vocab_size").unwrap().to_string(), "408");
    let written = |name: &str| fs::read_to_string(place.path(name)).unwrap();
    assert_eq!(written("native/tekken.json"), larger_tekken(8));
    merge(Format::Hf, "merged").unwrap();
    assert_eq!(written("merged/tekken.json"), larger_tekken(8));
    assert!(written("merged/tokenizer.json").contains("\"!!!H\": 407"));

    let refused = |tekken: String, to, message: &str| {
        fs::write(adapter.path("tekken.json"), tekken).unwrap();
        let error = text(&merge(to, "refused").unwrap_err());
        assert!(error.contains(message), "`{message}` is not in: {error}");
    };
    let other = larger_tekken(8).replace("\"token_bytes\": \"aGE=\"", "\"token_bytes\": \"IyMj\"");
    refused(other, Format::Hf, "its token 398 is not that of the base");
    refused(larger_tekken(8).replace("\"aGE=\"", "\"aGE\""), Format::Hf, "cannot be used");
    // That of the base beside the adapter, as trainers copy it, has no added tokens.
    refused(larger_tekken(0), Format::Mistral, "the model has 408 tokens, 8 more than its tekken.json");
    fs::write(adapter.path("tekken.json"), larger_tekken(0)).unwrap();
    let report = merge(Format::Hf, "without").unwrap();
    assert!(report.warnings.iter().any(|warning| warning.contains("mistral-common cannot be used")));
    assert!(!place.path("without/tekken.json").exists());
}

/// The same without an adapter: a model whose vocabulary had grown before.
#[test]
fn a_model_with_added_tokens_is_converted_where_its_format_can_carry_them() {
    let tensors = [
        floats(&format!("{EMBEDDING}.weight"), &[408, 64], 5),
        floats(&format!("{HEAD}.weight"), &[408, 64], 6),
    ];
    let adapter = adapter(&tensors);
    fs::write(
        adapter.path("tokenizer.json"),
        r#"{"model": {"vocab": {"a": 0, "b": 399}}, "added_tokens": [{"id": 407, "content": "<box>"}]}"#,
    )
    .unwrap();
    let place = Place::new();
    place.merge("hf_bf16", adapter.directory.path(), Format::Hf, None, "grown").unwrap();
    let convert = |to, name: &str| {
        Plan::new(Options::new(place.path("grown"), place.path(name), to))
            .and_then(|plan| plan.run(None, &mut |_| {}))
    };
    let error = convert(Format::Mistral, "native").unwrap_err().to_string();
    assert!(error.contains("the model has 408 tokens, 8 more than its tekken.json"), "{error}");
    fs::write(place.path("grown/tekken.json"), larger_tekken(0)).unwrap();
    let error = convert(Format::Mistral, "native").unwrap_err().to_string();
    assert!(error.contains("the model has 408 tokens, 8 more than its tekken.json"), "{error}");
    let report = convert(Format::Hf, "again").unwrap();
    assert!(report.warnings.iter().any(|warning| warning.contains("mistral-common cannot be used")));
    let written = |name: &str| fs::read_to_string(place.path(name)).unwrap();
    assert_eq!(written("again/tokenizer.json"), written("grown/tokenizer.json"));
    fs::write(place.path("grown/tekken.json"), larger_tekken(8)).unwrap();
    convert(Format::Mistral, "native").unwrap();
    assert_eq!(written("native/tekken.json"), larger_tekken(8));
    let native = values(&place.path("native/consolidated.safetensors"));
    assert_eq!(native["output.weight"].len(), 408 * 64);
}

#[test]
fn a_larger_vocabulary_needs_embedding_and_head() {
    let place = Place::new();
    let refused = |tensors: &[Stored], message: &str| {
        let adapter = adapter(tensors);
        let error = place.merge("hf_bf16", adapter.directory.path(), Format::Hf, None, "merged").unwrap_err();
        assert!(text(&error).contains(message), "`{message}` is not in:\n{}", text(&error));
    };
    let whole = |name: &str, rows| floats(&format!("{name}.weight"), &[rows, 64], 5);
    refused(&[whole(EMBEDDING, 408)], "the adapter does not store `lm_head`: the rows of the added tokens");
    refused(&[whole(HEAD, 408)], "the adapter does not store `model.language_model.embed_tokens`");
    refused(&[whole(EMBEDDING, 408), whole(HEAD, 404)], "has the shape [404, 64]");
    refused(&[whole(EMBEDDING, 392), whole(HEAD, 392)], "has the shape [392, 64]");
}

#[test]
fn rows_of_single_tokens_are_replaced() {
    let rows = floats(&format!("{EMBEDDING}.token_adapter.trainable_tokens_delta"), &[3, 64], 7);
    let adapter = adapter(std::slice::from_ref(&rows));
    for (tokens, shown) in [("[20, 3, 399]", "list"), ("{\"embed_tokens\": [20, 3, 399]}", "object")] {
        adapter.edit(
            "adapter_config.json",
            "\"trainable_token_indices\": null",
            &format!("\"trainable_token_indices\": {tokens}"),
        );
        let place = Place::new();
        place.merge("hf_bf16", adapter.directory.path(), Format::Hf, Some(Dtype::F32), "merged").unwrap();
        let merged = &values(&place.path("merged/model.safetensors"))[DISK_EMBEDDING];
        let base = &values(&fixture("hf_bf16/model.safetensors"))[DISK_EMBEDDING];
        let trained = numbers(&rows);
        for (token, (row, before)) in merged.chunks(64).zip(base.chunks(64)).enumerate() {
            match [20, 3, 399].iter().position(|trained| *trained == token) {
                Some(index) => assert_eq!(row, &trained[index * 64..][..64], "{shown}"),
                None => assert_eq!(row, before, "{shown}"),
            }
        }
        let error = place.convert(adapter.directory.path(), Dialect::Peft, "converted", None).unwrap_err();
        assert!(text(&error).contains("`trainable_token_indices`"), "{}", text(&error));
        adapter.edit("adapter_config.json", tokens, "null");
    }
    let error =
        Place::new().merge("hf_bf16", adapter.directory.path(), Format::Hf, None, "merged").unwrap_err();
    assert!(text(&error).contains("`trainable_token_indices` does not name"), "{}", text(&error));
    adapter.edit(
        "adapter_config.json",
        "\"trainable_token_indices\": null",
        "\"trainable_token_indices\": [1, 2, 400]",
    );
    let error =
        Place::new().merge("hf_bf16", adapter.directory.path(), Format::Hf, None, "merged").unwrap_err();
    assert!(text(&error).contains("`trainable_token_indices` has token 400"), "{}", text(&error));
}
