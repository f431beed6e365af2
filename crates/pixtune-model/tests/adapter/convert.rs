//! Conversions between dialects: names, bytes, configurations.

use pixtune_core::json::Value;
use pixtune_model::adapter::{Adapter, Dialect};
use pixtune_model::weights::{Checkpoint, Dtype};

use super::harness::{Place, json_file, tensors, text, values};
use super::support::{Copy, fixture};

#[test]
fn old_names_are_those_of_peft() {
    let place = Place::new();
    for which in ["text_proj", "all"] {
        let source = fixture(&format!("lora_{which}"));
        place.convert(&source, Dialect::PeftLegacy, which, None).unwrap();
        let found = tensors(&place.path(which).join("adapter_model.safetensors"));
        let before = tensors(&source.join("adapter_model.safetensors"));
        let names = json_file(&fixture(&format!("lora_{which}_legacy_names/rename.json")));
        assert_eq!(found.len(), names.as_object().unwrap().len());
        for (new, old) in names.as_object().unwrap() {
            assert_eq!(found[old.as_str().unwrap()], before[new.as_ref()], "{new}");
        }
        // And back, to the byte.
        let back = format!("{which}-back");
        place.convert(&place.path(which), Dialect::Peft, &back, None).unwrap();
        assert_eq!(tensors(&place.path(&back).join("adapter_model.safetensors")), before);
    }
}

#[test]
fn mistral_s_dialect_has_the_rows_of_the_reference_and_a_scaling_of_two() {
    let place = Place::new();
    for (which, factor) in [("text_proj", 1.0), ("all", 0.75)] {
        let source = fixture(&format!("lora_{which}"));
        let report = place.convert(&source, Dialect::Mistral, which, Some(Dtype::F32)).unwrap();
        assert_eq!(report.rounding.largest, 0.0, "three quarters of a bf16 is exact in f32");
        let found = values(&place.path(which).join("lora.safetensors"));
        let wanted = values(&fixture(&format!("native_lora_{which}/lora.safetensors")));
        assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
        for (name, wanted) in wanted {
            let factor = if name.ends_with("lora_B.weight") { factor } else { 1.0 };
            let wanted: Vec<f32> = wanted.iter().map(|value| value * factor).collect();
            assert_eq!(found[&name], wanted, "{name}");
        }
        let params = json_file(&place.path(which).join("params.json"));
        assert_eq!(params.get("dim").map(Value::to_string).as_deref(), Some("64"));
        let rank = if which == "all" { 4 } else { 8 };
        assert_eq!(
            params.get("lora").map(Value::to_string),
            Some(format!("{{\"enable\":true,\"rank\":{rank},\"dropout\":0.0,\"scaling\":2.0}}"))
        );
    }
}

#[test]
fn mistral_s_dialect_takes_the_type_of_the_base_and_tells_what_that_costs() {
    let place = Place::new();
    let report = place.convert(&fixture("lora_all"), Dialect::Mistral, "bf16", None).unwrap();
    assert_eq!(report.dtypes.into_iter().collect::<Vec<_>>(), [(Dtype::BF16, 74)]);
    assert_eq!(report.folded, [(0.75, 37)]);
    assert!(
        report.rounding.largest > 0.0 && report.rounding.largest <= f64::powi(2.0, -8),
        "{:?}",
        report.rounding
    );
    assert_eq!(report.warnings.len(), 1, "{:?}", report.warnings);
}

#[test]
fn vllm_has_text_rows_of_one_format_and_vision_rows_of_the_other() {
    let place = Place::new();
    place.convert(&fixture("lora_all"), Dialect::VllmConsolidated, "vllm", None).unwrap();
    let found = values(&place.path("vllm/adapter_model.safetensors"));
    let before = values(&fixture("lora_all/adapter_model.safetensors"));
    let native = values(&fixture("native_lora_all/lora.safetensors"));
    assert_eq!(found.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    let moved: Vec<&String> = found.keys().filter(|name| found[*name] != before[*name]).collect();
    assert_eq!(moved.len(), 4, "q and k of two layers: {moved:?}");
    for layer in 0..2 {
        for (hf, mistral) in [("q_proj", "wq"), ("k_proj", "wk")] {
            let name = format!(
                "base_model.model.model.vision_tower.transformer.layers.{layer}.attention.{hf}.lora_B.weight"
            );
            let native_name =
                format!("vision_encoder.transformer.layers.{layer}.attention.{mistral}.lora_B.weight");
            assert_eq!(found[&name], native[&native_name]);
        }
    }
    // The dialect is noted, because names do not tell it, and the way back is exact.
    assert_eq!(Adapter::open(&place.path("vllm"), None).unwrap().dialect, Dialect::VllmConsolidated);
    place.convert(&place.path("vllm"), Dialect::Peft, "back", None).unwrap();
    assert_eq!(values(&place.path("back/adapter_model.safetensors")), before);
    assert_eq!(Adapter::open(&place.path("back"), None).unwrap().dialect, Dialect::Peft);
}

#[test]
fn what_was_in_mistral_s_dialect_comes_back_with_its_alpha() {
    let place = Place::new();
    place.convert(&fixture("native_lora_all"), Dialect::Peft, "peft", None).unwrap();
    assert_eq!(
        values(&place.path("peft/adapter_model.safetensors")),
        values(&fixture("lora_all/adapter_model.safetensors"))
    );
    let config = json_file(&place.path("peft/adapter_config.json"));
    assert_eq!(config.get("r").map(Value::to_string).as_deref(), Some("4"));
    assert_eq!(config.get("lora_alpha").map(Value::to_string).as_deref(), Some("6"));
}

/// Modules that peft would put LoRA into, by the configuration written.
fn targeted(config: &Adapter, dialect: Dialect) -> Vec<String> {
    let base = Checkpoint::open(&fixture("hf_bf16")).unwrap();
    let config = config.config.as_ref().unwrap();
    let paths = base.tensors().map(|tensor| dialect.path(tensor.name.module));
    let mut paths: Vec<String> = paths.filter(|path| config.targets(path)).collect();
    paths.dedup();
    paths
}

#[test]
fn target_modules_names_exactly_the_modules_of_the_adapter() {
    let place = Place::new();
    for (which, count) in [("text_proj", 23), ("all", 37)] {
        for dialect in [Dialect::Peft, Dialect::PeftLegacy, Dialect::VllmConsolidated] {
            let name = format!("{which}-{dialect}");
            place.convert(&fixture(&format!("native_lora_{which}")), dialect, &name, None).unwrap();
            let adapter = Adapter::open(&place.path(&name), None).unwrap();
            for named in [dialect, Dialect::Peft] {
                let mut wanted: Vec<String> = adapter.lora.keys().map(|module| named.path(*module)).collect();
                wanted.dedup();
                assert_eq!(wanted.len(), count);
                let mut found = targeted(&adapter, named);
                found.sort();
                wanted.sort();
                assert_eq!(found, wanted, "{name} at the paths of {named}");
            }
        }
    }
}

#[test]
fn ranks_and_alphas_of_single_modules_are_carried() {
    let adapter = Copy::of("lora_text_proj");
    adapter.edit(
        "adapter_config.json",
        "\"alpha_pattern\": {}",
        "\"alpha_pattern\": {\"model.language_model.layers.1.mlp.up_proj\": 4}",
    );
    let place = Place::new();
    for dialect in [Dialect::PeftLegacy, Dialect::VllmConsolidated, Dialect::Mistral] {
        place.convert(adapter.directory.path(), dialect, dialect.as_str(), Some(Dtype::F32)).unwrap();
    }
    let source = Adapter::open(adapter.directory.path(), None).unwrap();
    for dialect in [Dialect::PeftLegacy, Dialect::VllmConsolidated] {
        let converted = Adapter::open(&place.path(dialect.as_str()), None).unwrap();
        for (module, lora) in &source.lora {
            assert_eq!(converted.lora[module].scaling, lora.scaling, "{module:?} in {dialect}");
        }
    }
    let folded = values(&place.path("mistral/lora.safetensors"));
    let plain = values(&fixture("native_lora_text_proj/lora.safetensors"));
    let name = "layers.1.feed_forward.w3.lora_B.weight";
    let quarter: Vec<f32> = plain[name].iter().map(|value| value * 0.25).collect();
    assert_eq!(folded[name], quarter);
}

#[test]
fn an_adapter_of_the_text_decoder_alone_finds_the_whole_model() {
    let adapter = Copy::of("lora_text_proj");
    adapter.rewrite("adapter_model.safetensors", |mut stored| {
        if !stored.spec.name.contains("language_model") {
            return Vec::new();
        }
        stored.spec.name = stored.spec.name.replace("model.language_model.", "model.");
        vec![stored]
    });
    let place = Place::new();
    assert_eq!(Adapter::open(adapter.directory.path(), None).unwrap().dialect, Dialect::TextOnly);
    let report = place.convert(adapter.directory.path(), Dialect::Peft, "peft", None).unwrap();
    assert_eq!(report.modules.values().sum::<usize>(), 21);
    let found = tensors(&place.path("peft/adapter_model.safetensors"));
    let mut wanted = tensors(&fixture("lora_text_proj/adapter_model.safetensors"));
    wanted.retain(|name, _| name.contains("language_model"));
    assert_eq!(found, wanted);
}

#[test]
fn what_a_dialect_cannot_say_is_refused_with_the_way_out() {
    let place = Place::new();
    let adapter = Copy::of("lora_all");
    adapter.edit("adapter_config.json", "\"use_dora\": false", "\"use_dora\": true");
    adapter.edit("adapter_config.json", "\"modules_to_save\": null", "\"modules_to_save\": [\"lm_head\"]");
    let head = pixtune_model::weights::safetensors::TensorSpec {
        name: "base_model.model.lm_head.weight".to_owned(),
        dtype: Dtype::F32,
        shape: vec![400, 64],
    };
    let mut added = false;
    adapter.rewrite("adapter_model.safetensors", |stored| {
        let file = stored.file.clone();
        let bytes = vec![0; 400 * 64 * 4];
        let head = super::support::Stored { file, spec: head.clone(), bytes };
        if std::mem::replace(&mut added, true) { vec![stored] } else { vec![head, stored] }
    });
    for (dialect, server) in [(Dialect::Mistral, "mistral-inference"), (Dialect::VllmConsolidated, "vLLM")] {
        let error = text(&place.convert(adapter.directory.path(), dialect, "out", None).unwrap_err());
        assert!(
            error.contains(&format!("DoRA: {server} has no lengths of rows; merge it instead")),
            "{error}"
        );
        assert!(
            error.contains(&format!("`base_model.model.lm_head.weight`: {server} takes no whole tensors")),
            "{error}"
        );
    }
    assert!(!place.path("out").exists());
    // peft's own dialects say all of it.
    place.convert(adapter.directory.path(), Dialect::PeftLegacy, "legacy", None).unwrap();
    let config = json_file(&place.path("legacy/adapter_config.json"));
    assert_eq!(config.get("modules_to_save").map(Value::to_string).as_deref(), Some("[\"lm_head\"]"));
    assert_eq!(config.get("use_dora"), Some(&Value::Bool(true)));
}
