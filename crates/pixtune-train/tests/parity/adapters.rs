//! Adapters on disk.

use std::fs;

use pixtune_core::json;
use pixtune_model::network::{LoraConfig, NetworkError};

use super::fixture::{all, network, tensors};

#[test]
fn what_is_saved_loads_again() {
    for fixture in all() {
        let base = fixture.base();
        let lora = fixture.lora("lora_all");
        let mut first = network(&base, &lora);
        first.load_adapter(&fixture.folder.join("lora_all")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        first.save_adapter(folder.path(), "some/base").unwrap();
        let mut second = network(&base, &lora);
        assert_ne!(second.parameters(), first.parameters());
        second.load_adapter(folder.path()).unwrap();
        assert_eq!(second.parameters(), first.parameters());
        let file = folder.path().join("adapter_model.safetensors");
        assert_eq!(tensors(&file), tensors(&fixture.folder.join("lora_all/adapter_model.safetensors")));
        let config = fs::read_to_string(folder.path().join("adapter_config.json")).unwrap();
        let config = json::parse(&config).unwrap().value;
        assert_eq!(config.get("base_model_name_or_path").unwrap().as_str(), Some("some/base"));
        let names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }
}

#[test]
fn an_adapter_of_another_rank_is_refused() {
    for fixture in all() {
        let base = fixture.base();
        let lora = fixture.lora("lora_all");
        let mut network = network(&base, &LoraConfig { rank: lora.rank + 1, ..lora });
        let error = network.load_adapter(&fixture.folder.join("lora_all")).unwrap_err();
        assert!(matches!(error, NetworkError::Adapter { .. }), "{error}");
    }
}
