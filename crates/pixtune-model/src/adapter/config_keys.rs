//! The keys of adapter_config.json: which change the computation, which are notes, which are read one by one.

/// The key under which pixtune stores a dialect that cannot be detected from names.
pub const DIALECT_KEY: &str = "pixtune_dialect";

/// Keys that change how an adapter is computed, beside those read one by one (peft 0.21.2 `tuners/lora/config.py`).
pub const CHANGES_COMPUTATION: [&str; 11] = [
    "alora_invocation_tokens",
    "arrow_config",
    "ensure_weight_tying",
    "kasa_config",
    "layer_replication",
    "lora_bias",
    "megatron_config",
    "monteclora_config",
    "target_parameters",
    "use_bdlora",
    "use_qalora",
];

/// Keys that matter in training or are notes, and are left out of what is written.
pub const NEUTRAL: [&str; 16] = [
    "auto_mapping",
    "corda_config",
    "eva_config",
    "fan_in_fan_out",
    "inference_mode",
    "loftq_config",
    "lora_ga_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "runtime_config",
    "velora_config",
    "peft_type",
    // ms-swift 3 `tuners/lora.py`: the type of LoRA's parameters in memory, and learning rates of LoRA+.
    "lora_dtype",
    "lorap_emb_lr",
    "lorap_lr_ratio",
];

/// Keys read one by one.
pub const READ: [&str; 19] = [
    "r",
    "lora_alpha",
    "use_rslora",
    "rank_pattern",
    "alpha_pattern",
    "target_modules",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
    "modules_to_save",
    "bias",
    "use_dora",
    "init_lora_weights",
    "base_model_name_or_path",
    "revision",
    "task_type",
    "lora_dropout",
    "trainable_token_indices",
    DIALECT_KEY,
];
