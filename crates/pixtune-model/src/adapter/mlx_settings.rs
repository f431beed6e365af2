//! What is written for mlx-lm: names of factors, the one scale, and adapter_config.json.

use std::collections::BTreeSet;

use pixtune_core::json::{self, list, object, raw};

use super::open::Adapter;
use super::settings;
use crate::weights::Checkpoint;

/// What names of the factors end in when they are written.
pub const FACTORS: [&str; 2] = [".lora_a", ".lora_b"];

/// The one scale of an adapter that is written: that of its first module. Those of others are folded into `lora_b`.
pub fn scale(adapter: &Adapter) -> f64 {
    adapter.lora.values().next().map_or(1.0, |lora| lora.scaling)
}

/// adapter_config.json for an adapter that is written. mlx-lm puts LoRA into the modules that `keys` names in every layer; those
/// without stored tensors do not change the result, because their `lora_b` is zero.
pub fn config(adapter: &Adapter, base: &Checkpoint) -> String {
    let rank = adapter.lora.values().next().map_or(1, |lora| lora.rank);
    let dropout = adapter.config.as_ref().map_or(0.0, |config| config.dropout);
    let keys: BTreeSet<String> = adapter
        .lora
        .keys()
        .map(|module| {
            let tail = settings::tail(*module);
            tail.splitn(3, '.').nth(2).map_or(tail.clone(), str::to_owned)
        })
        .collect();
    let model = adapter.config.as_ref().and_then(|config| config.base_model.as_ref());
    json::document(object(|out| {
        out.field("fine_tune_type", "lora");
        let parameters = object(|parameters| {
            parameters.field("dropout", raw(&format!("{dropout:?}"))).field("keys", list(&keys));
            parameters.field("rank", rank).field("scale", raw(&format!("{:?}", scale(adapter))));
        });
        out.field("lora_parameters", parameters).field("model", model);
        out.field("num_layers", base.config().text.layers);
    }))
}
