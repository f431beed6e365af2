//! adapter_config.json: any content is parsed or rejected, and an accepted one can be queried for any module.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pixtune_model::adapter::AdapterConfig;

fuzz_target!(|text: &str| {
    let Ok(config) = AdapterConfig::parse(text) else { return };
    assert!(config.rank >= 1 && config.alpha.is_finite());
    for path in
        ["model.language_model.layers.12.self_attn.q_proj", "lm_head", "layers.0.attention.wq", "", "."]
    {
        assert!(config.rank_of(path) >= 1);
        assert!(config.scaling_of(path).is_finite());
        let _ = config.targets(path);
    }
});
