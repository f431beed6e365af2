//! Checkpoints on disk: safetensors, names, configurations, conversion.
