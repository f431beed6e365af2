//! Opening directories.

use std::fs;
use std::path::Path;

use pixtune_core::json::{self, Value};
use pixtune_model::weights::{Checkpoint, Dtype, Format, Module, Part, RowOrder, Spelling};
use sha2::{Digest as _, Sha256};

use super::support::{Copy, Stored, fixture};

#[track_caller]
fn refused(directory: &Path, message: &str) {
    let error = Checkpoint::open(directory).expect_err("it is wrong");
    let mut text = error.to_string();
    if let Some(source) = std::error::Error::source(&error).map(ToString::to_string) {
        text.push_str(&format!(": {source}"));
    }
    let text = text.replace(directory.to_str().unwrap(), "DIR");
    assert!(text.contains(message), "`{message}` is not in:\n{text}");
}

#[test]
fn both_formats_of_the_fixture_are_the_same_model() {
    let hf = Checkpoint::open(&fixture("hf_bf16")).unwrap();
    let native = Checkpoint::open(&fixture("native_bf16")).unwrap();
    assert_eq!((hf.format(), native.format()), (Format::Hf, Format::Mistral));
    let (a, b) = (hf.config(), native.config());
    assert_eq!(a.notes, []);
    assert_eq!(b.notes, []);
    assert_eq!((a.vision, a.projector, a.tied), (b.vision, b.projector, b.tied));
    assert_eq!(a.text.max_positions, Some(1_024_000));
    assert_eq!(
        pixtune_model::weights::TextConfig { max_positions: None, ..a.text },
        b.text,
        "params.json says nothing about positions"
    );
    assert_eq!(hf.tensors().count(), 54);
    for (a, b) in hf.tensors().zip(native.tensors()) {
        assert_eq!(a.name, b.name);
        for order in [RowOrder::HalfSplit, RowOrder::Interleaved] {
            assert_eq!(a.to_f32(order).unwrap(), b.to_f32(order).unwrap(), "{:?}", a.name);
        }
    }
}

#[test]
fn tensors_have_the_hashes_of_the_reference() {
    let meta = fs::read_to_string(fixture("meta.json")).unwrap();
    let meta = json::parse(&meta).unwrap().value;
    let hf = Checkpoint::open(&fixture("hf_bf16")).unwrap();
    let hashes = meta.get("native_f32_sha256").and_then(Value::as_object).unwrap();
    assert_eq!(hashes.len(), hf.tensors().count());
    for tensor in hf.tensors() {
        let values = tensor.to_f32(RowOrder::Interleaved).unwrap();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let name = tensor.name.path(Spelling::Native);
        let wanted = hashes.iter().find(|(key, _)| *key == name).unwrap().1.as_str().unwrap();
        let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, wanted, "{name}");
    }
}

#[test]
fn every_spelling_is_read() {
    let copy = Copy::of("hf_bf16");
    copy.rewrite("model.safetensors", |mut tensor| {
        let (name, _) = pixtune_model::weights::TensorName::parse(&tensor.spec.name).unwrap();
        tensor.spec.name = name.path(Spelling::Live);
        vec![tensor]
    });
    let checkpoint = Checkpoint::open(copy.directory.path()).unwrap();
    assert!(checkpoint.tensors().all(|tensor| tensor.spelling == Spelling::Live));
}

#[test]
fn a_tensor_that_is_there_twice_in_two_spellings_is_refused() {
    let copy = Copy::of("hf_bf16");
    copy.rewrite("model.safetensors", |tensor| {
        let mut second = tensor.clone();
        second.spec.name = "lm_head.weight".to_owned();
        if tensor.spec.name == "language_model.lm_head.weight" { vec![tensor, second] } else { vec![tensor] }
    });
    refused(
        copy.directory.path(),
        "`lm_head.weight` in `model.safetensors` is the same tensor as `language_model.lm_head.weight` in",
    );
}

#[test]
fn unknown_missing_and_misshapen_tensors_are_listed() {
    let copy = Copy::of("native_bf16");
    copy.rewrite("consolidated.safetensors", |mut tensor| {
        match tensor.spec.name.as_str() {
            "layers.1.attention.wo.weight" => return vec![],
            "norm.weight" => tensor.spec.name = "final_norm.weight".to_owned(),
            "layers.0.attention.wk.weight" => tensor.spec.shape = vec![64, 64 * 64 / 64],
            "layers.0.attention.wv.weight" => tensor.spec.shape = vec![32, 128],
            "layers.0.attention.wq.weight" => {
                tensor.spec.name = "layers.0.attention.wq.qweight".to_owned();
            }
            _ => {}
        }
        vec![tensor]
    });
    for message in [
        "`layers.1.attention.wo.weight` is missing",
        "`norm.weight` is missing",
        "`final_norm.weight` is not part of the model",
        "`layers.0.attention.wv.weight` has the shape [32, 128], and [64, 64] follows from the configuration",
        "`layers.0.attention.wq.qweight` is not part of the model: these weights are quantized in a way that is not supported",
    ] {
        refused(copy.directory.path(), message);
    }
}

#[test]
fn names_of_the_other_format_are_unknown() {
    let copy = Copy::of("hf_bf16");
    copy.rewrite("model.safetensors", |mut tensor| {
        if tensor.spec.name == "language_model.lm_head.weight" {
            tensor.spec.name = "output.weight".to_owned();
        }
        vec![tensor]
    });
    refused(copy.directory.path(), "`output.weight` is not part of the model");
}

#[test]
fn one_bias_alone_is_refused_and_none_against_the_configuration_too() {
    let drop = |dropped: &'static [&'static str]| {
        let copy = Copy::of("native_bf16");
        copy.rewrite("consolidated.safetensors", |tensor| {
            if dropped.contains(&tensor.spec.name.as_str()) { vec![] } else { vec![tensor] }
        });
        copy
    };
    let both = &["vision_language_adapter.w_in.bias", "vision_language_adapter.w_out.bias"];
    let one = drop(&both[..1]);
    refused(one.directory.path(), "`vision_language_adapter.w_in.bias` is missing");
    let none = drop(both);
    refused(none.directory.path(), "`vision_language_adapter.w_out.bias` is missing");
    none.edit("params.json", "\"adapter_bias\": true,", "");
    assert!(!Checkpoint::open(none.directory.path()).unwrap().config().projector.bias);
}

#[test]
fn biases_that_the_configuration_denies_are_kept_and_told() {
    let copy = Copy::of("hf_bf16");
    copy.edit("config.json", "\"multimodal_projector_bias\": true", "\"multimodal_projector_bias\": false");
    let checkpoint = Checkpoint::open(copy.directory.path()).unwrap();
    assert!(checkpoint.config().projector.bias);
    assert_eq!(
        checkpoint.config().notes[0].text,
        "the configuration gives the projector no biases, and there are tensors for them"
    );
}

#[test]
fn a_tied_head_needs_to_be_said() {
    let copy = Copy::of("native_bf16");
    copy.rewrite("consolidated.safetensors", |tensor| {
        if tensor.spec.name == "output.weight" { vec![] } else { vec![tensor] }
    });
    let checkpoint = Checkpoint::open(copy.directory.path()).unwrap();
    assert!(checkpoint.config().tied && checkpoint.tensor(Module::Head.weight()).is_none());
    assert!(checkpoint.config().notes[0].damage);
    copy.edit("params.json", "\"dim\": 64,", "\"dim\": 64, \"tied_embeddings\": false,");
    refused(copy.directory.path(), "`output.weight` is missing");
    copy.edit("params.json", "\"tied_embeddings\": false", "\"tied_embeddings\": true");
    assert_eq!(Checkpoint::open(copy.directory.path()).unwrap().config().notes, []);
}

#[test]
fn the_width_of_a_head_comes_from_the_tensor() {
    let copy = Copy::of("hf_bf16");
    copy.edit("config.json", "\"head_dim\": 32,", "");
    let checkpoint = Checkpoint::open(copy.directory.path()).unwrap();
    assert_eq!(checkpoint.config().text.head_dim, 32, "hidden / heads would be 16");
    assert_eq!(checkpoint.rotary_head_dim(Module::Text(0, Part::K)), Some(32));
    assert_eq!(checkpoint.rotary_head_dim(Module::Vision(0, Part::Q)), Some(16));
    assert_eq!(checkpoint.rotary_head_dim(Module::Text(0, Part::V)), None);
}

#[test]
fn damaged_configurations_are_told() {
    let copy = Copy::of("hf_bf16");
    copy.edit("config.json", "\"sliding_window\": null,", "");
    copy.edit(
        "config.json",
        "\"hidden_act\": \"silu\",\n  \"hidden_size\": 64,\n  \"image_size\"",
        "\"hidden_act\": \"gelu\",\n  \"hidden_size\": 64,\n  \"image_size\"",
    );
    copy.edit("config.json", "\"vocab_size\": 400,\n  \"rope_theta\": 1000000000.0", "\"vocab_size\": 400");
    copy.edit("config.json", "\"vision_feature_layer\": -1", "\"vision_feature_layer\": -2");
    let notes: Vec<String> = Checkpoint::open(copy.directory.path())
        .unwrap()
        .config()
        .notes
        .iter()
        .map(|note| note.text.clone())
        .collect();
    assert_eq!(notes.len(), 4, "{notes:#?}");
    assert!(notes[0].starts_with("text_config.sliding_window is absent, which means 4096"));
    assert!(notes[1].starts_with("text_config.rope_theta is only written as rope_parameters"));
    assert!(notes[2].starts_with("vision_config.hidden_act is `gelu`"));
    assert_eq!(notes[3], "vision_feature_layer is -2, and Pixtral's is -1");
}

#[test]
fn configurations_that_contradict_themselves_or_are_of_others_are_refused() {
    let check = |from: &str, to: &str, message: &str| {
        let copy = Copy::of("hf_bf16");
        copy.edit("config.json", from, to);
        refused(copy.directory.path(), message);
    };
    check("\"rope_theta\": 10000.0\n", "\"rope_theta\": 20000.0\n", "`vision_config.rope_theta` is `20000`");
    check("\"rope_type\": \"default\"", "\"rope_type\": \"yarn\"", "are of type `yarn`");
    check("\"model_type\": \"mistral\"", "\"model_type\": \"llama\"", "`text_config.model_type` is `llama`");
    check("\"model_type\": \"mistral\"", "\"model_type\": \"ministral3\"", "is `ministral3`");
    check("\"model_type\": \"llava\"", "\"model_type\": \"idefics3\"", "`model_type` is `idefics3`");
    check("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3", "it must be a divisor of the 4 heads");
    check(
        "\"num_key_value_heads\": 2",
        "\"num_key_value_heads\": -1",
        "`text_config.num_key_value_heads` is `-1`",
    );
    check("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 99999999", "a whole number from 1 to 10000");
    check("\"hidden_size\": 64", "\"hidden_size\": \"64\"", "`text_config.hidden_size` is `\"64\"`");
    check("{", "[", "is not JSON");
    let copy = Copy::of("native_bf16");
    copy.edit("params.json", "\"dim\": 64,", "");
    refused(copy.directory.path(), "has no `dim`");
    copy.edit("params.json", "{", "{\"dim\": 64, \"moe\": {\"num_experts\": 8},");
    refused(copy.directory.path(), "a mixture of experts");
}

#[test]
fn a_directory_of_both_formats_is_refused_unless_one_is_asked_for() {
    let copy = Copy::of("hf_bf16");
    for name in ["params.json", "consolidated.safetensors"] {
        fs::copy(fixture("native_bf16").join(name), copy.path(name)).unwrap();
    }
    refused(copy.directory.path(), "contains both formats");
    assert_eq!(
        Checkpoint::open_as(copy.directory.path(), Format::Mistral).unwrap().format(),
        Format::Mistral
    );
}

#[test]
fn weights_of_other_kinds_are_refused_by_name() {
    let copy = Copy::of("native_bf16");
    fs::rename(copy.path("consolidated.safetensors"), copy.path("consolidated.00.pth")).unwrap();
    refused(copy.directory.path(), "its weights are pickled");
    refused(&fixture("lora_all"), "it is an adapter");
    refused(&fixture("meta.json"), "is not a directory");
    refused(&fixture("nowhere"), "cannot read");
}

/// The fixture in two shards, with an index.
fn sharded() -> Copy {
    let copy = Copy::of("hf_bf16");
    let mut map = Vec::new();
    copy.rewrite("model.safetensors", |mut tensor| {
        let shard = usize::from(tensor.spec.name.contains("vision")) + 1;
        tensor.file = format!("model-0000{shard}-of-00002.safetensors");
        map.push(format!("\"{}\": \"{}\"", tensor.spec.name, tensor.file));
        vec![tensor]
    });
    let index = format!("{{\"metadata\": {{}}, \"weight_map\": {{\n{}\n}}}}", map.join(",\n"));
    fs::write(copy.path("model.safetensors.index.json"), index).unwrap();
    copy
}

#[test]
fn shards_are_read_by_their_index() {
    let checkpoint = Checkpoint::open(sharded().directory.path()).unwrap();
    assert_eq!((checkpoint.files().len(), checkpoint.tensors().count()), (2, 54));
}

#[test]
fn shards_without_an_index_are_read_by_their_numbers() {
    let copy = sharded();
    fs::remove_file(copy.path("model.safetensors.index.json")).unwrap();
    assert_eq!(Checkpoint::open(copy.directory.path()).unwrap().files().len(), 2);
    fs::remove_file(copy.path("model-00001-of-00002.safetensors")).unwrap();
    refused(copy.directory.path(), "but number 1 of 2 is not among them");
}

#[test]
fn an_index_that_is_wrong_is_refused() {
    let index = "model.safetensors.index.json";
    let norm = "\"language_model.model.norm.weight\": \"model-00001-of-00002.safetensors\"";
    let check = |from: &str, to: &str, message: &str| {
        let copy = sharded();
        copy.edit(index, from, to);
        refused(copy.directory.path(), message);
    };
    check(
        norm,
        "\"x.weight\": \"model-00001-of-00002.safetensors\"",
        "`x.weight` is not in `model-00001-of-00002.safetensors`",
    );
    check(
        norm,
        "\"x.weight\": \"model-00001-of-00002.safetensors\"",
        "`language_model.model.norm.weight` of `model-00001-of-00002.safetensors` is not in the index",
    );
    check(norm, &norm.replace("00001", "00002"), "should be in `model-00002-of-00002.safetensors`");
    check(norm, &format!("{norm}, {norm}"), "lists `language_model.model.norm.weight` twice");
    check(
        norm,
        &norm.replace("model-00001", "../model-00001"),
        "lists the shard `../model-00001-of-00002.safetensors`, which is not a file name",
    );
    check(
        norm,
        &norm.replace("model-00001-of-00002.safetensors", "/etc/passwd"),
        "lists the shard `/etc/passwd`",
    );
    check(norm, &norm.replace("00001-of", "00003-of"), "`model-00003-of-00002.safetensors` is not there");
    check("weight_map", "weights", "has no `weight_map`");
    let copy = sharded();
    fs::copy(fixture("hf_bf16/model.safetensors"), copy.path("model.safetensors")).unwrap();
    refused(
        copy.directory.path(),
        "contains both `model.safetensors` and `model.safetensors.index.json`, and one of them must go",
    );
}

#[test]
fn a_tensor_in_two_shards_is_refused() {
    let copy = sharded();
    let first = "model-00001-of-00002.safetensors";
    let extra = super::support::read(&copy.path(first))[0].clone();
    copy.rewrite("model-00002-of-00002.safetensors", {
        let mut extra = Some(Stored { file: "model-00002-of-00002.safetensors".to_owned(), ..extra });
        move |tensor| extra.take().into_iter().chain([tensor]).collect()
    });
    refused(copy.directory.path(), "should be in `model-00001-of-00002.safetensors`");
    fs::remove_file(copy.path("model.safetensors.index.json")).unwrap();
    refused(copy.directory.path(), "is the same tensor as");
}

#[test]
fn a_truncated_shard_is_refused() {
    let copy = Copy::of("native_bf16");
    let bytes = fs::read(copy.path("consolidated.safetensors")).unwrap();
    for length in [bytes.len() - 1, bytes.len() / 2, 1000, 9, 0] {
        fs::write(copy.path("consolidated.safetensors"), &bytes[..length]).unwrap();
        refused(copy.directory.path(), "consolidated.safetensors` is damaged");
    }
}

#[test]
fn weights_of_another_type_are_refused() {
    let copy = Copy::of("native_bf16");
    copy.rewrite("consolidated.safetensors", |mut tensor| {
        if tensor.spec.name == "norm.weight" {
            tensor.spec.dtype = Dtype::I16;
        }
        vec![tensor]
    });
    refused(copy.directory.path(), "`norm.weight` is I16; weights are BF16, F16 or F32");
}
