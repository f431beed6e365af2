//! Adapters that are wrong in one way each.

use std::fs;

use pixtune_model::adapter::{Adapter, Dialect};
use pixtune_model::weights::Format;

use super::harness::{Place, text};
use super::support::{Copy, fixture};

/// Opening says this.
#[track_caller]
fn refused(adapter: &Copy, message: &str) {
    let error = Adapter::open(adapter.directory.path(), None).expect_err("it is wrong");
    let text = text(&error).replace(adapter.directory.path().to_str().unwrap(), "DIR");
    assert!(text.contains(message), "`{message}` is not in:\n{text}");
}

/// Opening is fine, and neither a merge nor a conversion is, for this reason; nothing is left behind.
#[track_caller]
fn refused_later(adapter: &Copy, message: &str) {
    let place = Place::new();
    let merged =
        place.merge("hf_bf16", adapter.directory.path(), Format::Hf, None, "out").expect_err("it is wrong");
    let converted =
        place.convert(adapter.directory.path(), Dialect::Mistral, "out", None).expect_err("it is wrong");
    for error in [merged, converted] {
        let text = text(&error);
        assert!(text.contains(message), "`{message}` is not in:\n{text}");
    }
    assert!(!place.path("out").exists());
    assert!(!place.path("out.partial").exists());
}

fn config(from: &str, to: &str) -> Copy {
    let adapter = Copy::of("lora_all");
    adapter.edit("adapter_config.json", from, to);
    adapter
}

#[test]
fn configurations_that_are_wrong_are_refused() {
    refused(&config("\"r\": 4", "\"r\": 0"), "`r` is 0; a rank is at least 1");
    refused(&config("\"r\": 4", "\"r\": -4"), "`r` is -4");
    refused(&config("\"r\": 4", "\"r\": 4.5"), "`r` is 4.5");
    refused(&config("\"r\": 4", "\"r\": \"4\""), "`r` is \"4\", not a whole number");
    refused(&config("\"r\": 4", "\"r\": true"), "`r` is true, not a whole number");
    refused(&config("\"r\": 4,", ""), "`r` is missing");
    refused(&config("\"r\": 4,", "\"r\": 4, \"r\": 8,"), "`r` is there twice");
    refused(&config("\"lora_alpha\": 6", "\"lora_alpha\": NaN"), "`lora_alpha` is NaN, not a finite number");
    refused(&config("\"peft_type\": \"LORA\"", "\"peft_type\": \"IA3\""), "`peft_type` is \"IA3\"");
    refused(
        &config("\"rank_pattern\": {}", "\"rank_pattern\": {\"q_proj\": 0}"),
        "`rank_pattern/q_proj` is 0",
    );
    refused(
        &config("\"rank_pattern\": {}", "\"rank_pattern\": {\"(\": 4}"),
        "the pattern `(` cannot be read",
    );
    refused(
        &config("\"rank_pattern\": {}", "\"rank_pattern\": []"),
        "`rank_pattern` is an array, not an object",
    );
    refused(
        &config("\"use_dora\": false", "\"use_dora\": \"no\""),
        "`use_dora` is \"no\", not true or false",
    );
    refused(&config("{", "[{"), "it is not JSON");
}

#[test]
fn adapters_of_another_base_are_refused_with_their_shapes() {
    let adapter = Copy::of("lora_all");
    adapter.rewrite("adapter_model.safetensors", |mut stored| {
        if stored.spec.name.ends_with("layers.1.mlp.up_proj.lora_A.weight") {
            stored.spec.shape = vec![4, 96];
            stored.bytes = vec![0; 4 * 96 * 4];
        }
        stored.spec.name = stored.spec.name.replace("layers.2.", "layers.7.");
        vec![stored]
    });
    refused_later(
        &adapter,
        "`model.language_model.layers.1.mlp.up_proj` has lora_A of [4, 96] and lora_B of [96, 4]; the base's weight is [96, 64]",
    );
    refused_later(&adapter, "`model.language_model.layers.7.self_attn.q_proj` is not part of the base");
}

#[test]
fn ranks_that_disagree_are_refused() {
    refused_later(
        &config("\"r\": 4", "\"r\": 8"),
        "`model.language_model.layers.0.self_attn.q_proj` has rank 4, and adapter_config.json gives 8",
    );
    let adapter = Copy::of("lora_all");
    adapter.rewrite("adapter_model.safetensors", |mut stored| {
        if stored.spec.name.contains("linear_1") {
            let is_a = stored.spec.name.contains("lora_A");
            stored.spec.shape = if is_a { vec![0, 64] } else { vec![64, 0] };
            stored.bytes.clear();
        }
        vec![stored]
    });
    refused(&adapter, "`model.multi_modal_projector.linear_1` has rank 0");
}

#[test]
fn values_that_are_not_finite_are_refused_by_name() {
    let adapter = Copy::of("lora_all");
    adapter.rewrite("adapter_model.safetensors", |mut stored| {
        if stored.spec.name.ends_with("layers.2.mlp.down_proj.lora_B.weight") {
            stored.bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
            stored.bytes[8..12].copy_from_slice(&f32::INFINITY.to_le_bytes());
        }
        vec![stored]
    });
    refused_later(
        &adapter,
        "`base_model.model.model.language_model.layers.2.mlp.down_proj.lora_B.weight` has 2 of 256",
    );
}

#[test]
fn tensors_without_a_partner_or_a_place_are_refused() {
    let adapter = Copy::of("lora_all");
    adapter.rewrite("adapter_model.safetensors", |stored| {
        match stored.spec.name.ends_with("linear_1.lora_A.weight") {
            true => Vec::new(),
            false => vec![stored],
        }
    });
    refused(&adapter, "`model.multi_modal_projector.linear_1` has only one of lora_A and lora_B");
    let adapter = Copy::of("lora_all");
    adapter.rewrite("adapter_model.safetensors", |mut stored| {
        stored.spec.name = stored.spec.name.replace("linear_1", "linear_9");
        vec![stored]
    });
    refused(
        &adapter,
        "`base_model.model.model.multi_modal_projector.linear_9.lora_A.weight` is not the name of one of its tensors",
    );
}

#[test]
fn names_of_two_dialects_in_one_file_are_refused() {
    let adapter = Copy::of("lora_all");
    adapter.rewrite("adapter_model.safetensors", |mut stored| {
        stored.spec.name =
            stored.spec.name.replace("model.language_model.layers.1.", "language_model.model.layers.1.");
        vec![stored]
    });
    refused(
        &adapter,
        "its names are mixed, peft names of transformers 4.52 and later and peft names from before transformers 4.52",
    );
}

#[test]
fn a_directory_with_two_adapters_is_refused_unless_one_is_asked_for() {
    let adapter = Copy::of("lora_all");
    fs::copy(fixture("native_lora_all/lora.safetensors"), adapter.path("lora.safetensors")).unwrap();
    refused(&adapter, "contains two adapters");
    let opened = Adapter::open(adapter.directory.path(), Some(Dialect::Mistral)).unwrap();
    assert_eq!(opened.dialect, Dialect::Mistral);
    assert_eq!(opened.warnings, ["`adapter_model.safetensors` is in the same directory and is not read"]);
}

#[test]
fn a_directory_with_weights_beside_the_adapter_is_told() {
    let adapter = Copy::of("lora_all");
    fs::write(adapter.path("consolidated.safetensors"), "").unwrap();
    let opened = Adapter::open(adapter.directory.path(), None).unwrap();
    assert_eq!(opened.warnings.len(), 1);
    assert!(opened.warnings[0].contains("may load them without the adapter"), "{:?}", opened.warnings);
}

#[test]
fn files_that_are_missing_cut_off_or_pickled_are_refused() {
    let adapter = Copy::of("lora_all");
    let path = adapter.path("adapter_model.safetensors");
    let bytes = fs::read(&path).unwrap();
    for length in [0, 9, 400, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        refused(&adapter, "is damaged");
    }
    fs::rename(&path, adapter.path("adapter_model.bin")).unwrap();
    refused(&adapter, "adapter_model.bin` cannot be read: it is not a file of torch.save");
    let adapter = Copy::of("lora_all");
    fs::remove_file(adapter.path("adapter_config.json")).unwrap();
    refused(&adapter, "has no adapter_config.json, which has the rank and alpha");
    let empty = Copy { directory: tempfile::tempdir().unwrap() };
    refused(&empty, "neither adapter_model.safetensors nor lora.safetensors");
}

#[test]
fn targets_that_would_destroy_a_source_are_refused() {
    let adapter = Copy::of("lora_all");
    let place = Place::new();
    fs::create_dir(place.path("full")).unwrap();
    fs::write(place.path("full/file"), "").unwrap();
    let error = place.convert(adapter.directory.path(), Dialect::Mistral, "full", None).unwrap_err();
    assert!(text(&error).contains("exists and is not empty"), "{error}");
    let target = adapter.directory.path().to_str().unwrap();
    let error = place.convert(adapter.directory.path(), Dialect::Mistral, target, None).unwrap_err();
    assert!(text(&error).contains("is also the source"), "{error}");
    let error = place.merge("hf_bf16", adapter.directory.path(), Format::Hf, None, target).unwrap_err();
    assert!(text(&error).contains("is also the source"), "{error}");
}

#[test]
fn what_names_alone_do_not_tell_has_to_be_said() {
    refused(
        &config("\"r\": 4", "\"pixtune_dialect\": \"klingon\", \"r\": 4"),
        "sets `pixtune_dialect` to \"klingon\"",
    );
    let opened = Adapter::open(&fixture("lora_all"), Some(Dialect::VllmConsolidated)).unwrap();
    assert_eq!(opened.dialect, Dialect::VllmConsolidated);
    let wrong = Adapter::open(&fixture("lora_all"), Some(Dialect::Mistral)).unwrap_err();
    assert!(text(&wrong).contains("is not of the dialect mistral"), "{wrong}");
}
