//! Adapters on disk.

use std::fs;

use pixtune_core::json;
use pixtune_model::adapter::Adapter;
use pixtune_model::network::{LoraConfig, NetworkError};

use super::fixture::{all, network, tensors};

#[test]
fn what_is_saved_loads_again() {
    for fixture in all() {
        let base = fixture.base();
        let lora = fixture.lora("lora_all");
        let mut first = network(&base, &lora);
        first.load_adapter(&fixture.adapter("lora_all")).unwrap();
        let directory = tempfile::tempdir().unwrap();
        first.save_adapter(directory.path(), "some/base").unwrap();
        let mut second = network(&base, &lora);
        assert_ne!(second.parameters(), first.parameters());
        second.load_adapter(&Adapter::open(directory.path(), None).unwrap()).unwrap();
        assert_eq!(second.parameters(), first.parameters());
        let file = directory.path().join("adapter_model.safetensors");
        assert_eq!(tensors(&file), tensors(&fixture.directory.join("lora_all/adapter_model.safetensors")));
        let config = fs::read_to_string(directory.path().join("adapter_config.json")).unwrap();
        let config = json::parse(&config).unwrap().value;
        assert_eq!(config.get("base_model_name_or_path").unwrap().as_str(), Some("some/base"));
        let names: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }
}

#[test]
fn an_adapter_of_another_rank_is_refused() {
    for fixture in all() {
        let base = fixture.base();
        let lora = fixture.lora("lora_all");
        let mut network = network(&base, &LoraConfig { rank: lora.rank + 1, ..lora });
        let error = network.load_adapter(&fixture.adapter("lora_all")).unwrap_err();
        assert!(matches!(error, NetworkError::Adapter { .. }), "{error}");
    }
}

#[test]
fn what_the_network_does_not_compute_is_refused_by_name() {
    for fixture in all() {
        for (from, to, told) in [
            (r#""use_dora": false"#, r#""use_dora": true"#, "`use_dora` is set"),
            (r#""bias": "none""#, r#""bias": "all""#, "trained biases"),
            (
                r#""modules_to_save": null"#,
                r#""modules_to_save": ["lm_head"]"#,
                "`lm_head` is trained as a whole",
            ),
            (r#""peft_type": "LORA""#, r#""peft_type": "LORA", "invented": 1"#, "`invented` is unknown"),
            (r#""alpha_pattern": {}"#, r#""alpha_pattern": {"q_proj": 1}"#, "a rank or a scaling of its own"),
            (r#""layer_replication": null"#, r#""layer_replication": [[0, 1]]"#, "`layer_replication`"),
        ] {
            let directory = tempfile::tempdir().unwrap();
            for entry in fs::read_dir(fixture.directory.join("lora_all")).unwrap().map(Result::unwrap) {
                fs::copy(entry.path(), directory.path().join(entry.file_name())).unwrap();
            }
            let config = directory.path().join("adapter_config.json");
            let text = fs::read_to_string(&config).unwrap();
            assert!(text.contains(from), "{from} is not in {text}");
            fs::write(&config, text.replace(from, to)).unwrap();
            let error =
                LoraConfig::of(&Adapter::open(directory.path(), None).unwrap()).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}

#[test]
fn an_adapter_of_another_scaling_is_refused() {
    for fixture in all() {
        let base = fixture.base();
        let lora = fixture.lora("lora_all");
        let mut network = network(&base, &LoraConfig { alpha: lora.alpha * 2.0, ..lora });
        let error = network.load_adapter(&fixture.adapter("lora_all")).unwrap_err().to_string();
        assert!(error.contains("its scaling is"), "{error}");
    }
}
