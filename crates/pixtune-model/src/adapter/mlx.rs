//! Adapters of MLX: adapters.safetensors and adapter_config.json as `mlx_lm.lora` writes them.
//!
//! A layer computes `x @ lora_a @ lora_b`, so both factors are peft's transposed, and `scale` multiplies their product (mlx-lm
//! 0.32.2 `tuner/lora.py`). `tests/peers/mlx_adapters.py` compares with mlx-lm.

use std::collections::BTreeSet;

use pixtune_core::json::{self, Value, list, object, raw};

use super::config::AdapterConfig;
use super::dialect::PEFT_PREFIX;
use super::error::AdapterError;
use super::tensors::Tensors;

/// What names of tensors end in, and peft's ending.
const ENDINGS: [(&str, &str); 3] =
    [(".lora_a", ".lora_A.weight"), (".lora_b", ".lora_B.weight"), (".m", ".lora_magnitude_vector")];

/// Gives tensors peft's names and shapes. The configuration in peft's terms.
pub fn read(tensors: &mut Tensors, text: &str) -> Result<AdapterConfig, AdapterError> {
    let path = tensors.path().to_owned();
    let wrong = |reason: &str| AdapterError::Mlx { path: path.clone(), reason: reason.to_owned() };
    let parsed = json::parse(text).map_err(|_| wrong("its adapter_config.json is not JSON"))?.value;
    let is_vlm = tensors.all().iter().any(|tensor| tensor.name.ends_with(".A"));
    if is_vlm {
        return Err(wrong(
            "it was written by mlx-vlm, whose scaling differs between versions; load it there and merge it",
        ));
    }
    let kind = parsed.get("fine_tune_type").and_then(Value::as_str).unwrap_or("lora");
    if !["lora", "dora"].contains(&kind) {
        return Err(wrong("its `fine_tune_type` is not lora or dora: it has whole weights"));
    }
    let parameters = parsed.get("lora_parameters").unwrap_or(&Value::Null);
    let number = |key: &str| match parameters.get(key) {
        Some(Value::Number(text)) => text.parse::<f64>().ok().filter(|number| number.is_finite()),
        _ => None,
    };
    let scale = number("scale").ok_or_else(|| wrong("`lora_parameters` has no `scale`"))?;
    let rank = number("rank").filter(|rank| (1.0..=65536.0).contains(rank) && rank.fract() == 0.0);
    let rank = rank.ok_or_else(|| wrong("`lora_parameters` has no `rank`"))?;
    let strange = tensors.all().iter().find(|tensor| peft_name(&tensor.name).is_none());
    if let Some(tensor) = strange {
        return Err(wrong(&format!("`{}` is not a tensor of LoRA", tensor.name)));
    }
    tensors.rename_transposed(|tensor| peft_name(&tensor.name).unwrap_or_default());
    let modules = tensors.all().iter().filter_map(|tensor| {
        let path = tensor.name.strip_prefix(PEFT_PREFIX)?.split_once(".lora_")?.0;
        Some(path.strip_prefix("language_model.").unwrap_or(path).to_owned())
    });
    let modules: BTreeSet<String> = modules.collect();
    let config = json::text(object(|config| {
        config.field("peft_type", "LORA").field("r", raw(&format!("{rank:.0}")));
        config.field("lora_alpha", raw(&format!("{:?}", scale * rank)));
        config.field("lora_dropout", raw(&format!("{:?}", number("dropout").unwrap_or(0.0))));
        config.field("use_dora", kind == "dora");
        config.field("target_modules", list(&modules));
        config.field("base_model_name_or_path", parsed.get("model").and_then(Value::as_str));
        config.field("task_type", "CAUSAL_LM");
    }));
    AdapterConfig::parse(&config).map_err(|source| AdapterError::Config { path, source: Box::new(source) })
}

fn peft_name(name: &str) -> Option<String> {
    let (module, ending) = ENDINGS.iter().find_map(|(end, peft)| Some((name.strip_suffix(end)?, *peft)))?;
    Some(format!("{PEFT_PREFIX}{module}{ending}"))
}
