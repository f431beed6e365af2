//! Reads `params.json`.

use std::path::Path;

use pixtune_core::json::Value;

use super::keys::Keys;
use super::{
    ConfigError, Family, ModelConfig, Note, ProjectorConfig, Quantization, QueryScaling, Stated, TextConfig,
    VisionConfig, Yarn, check, named_dtype,
};

/// What a mixture of experts is for here.
pub(super) const MIXTURE: &str = "a mixture of experts, whose network is not implemented; data and token counts work with `--model mistral-small-4`";

/// Keys of models that compute something else.
const OTHER_MODELS: [(&str, &str); 3] =
    [("moe", MIXTURE), ("q_lora_rank", "latent attention"), ("sliding_window", "sliding windows")];

pub fn read(path: &Path, source: Value<'static>) -> Result<ModelConfig, ConfigError> {
    let top = Keys::new(path, "", &source);
    for (key, what) in OTHER_MODELS {
        if top.get(key).is_some() {
            return Err(top.unsupported(format!("`{key}` means {what}")));
        }
    }
    let vision_keys = top
        .object("vision_encoder", "vision_encoder.")?
        .ok_or_else(|| top.unsupported("it has no `vision_encoder`, so it is a text model"))?;
    let mut notes = Vec::new();
    let text = text(&top, &mut notes)?;
    let vision = vision(&vision_keys)?;
    // mistral-inference 1.6 `args.py`: `adapter_bias` is true unless stated otherwise.
    let bias = vision_keys.flag("adapter_bias")?;
    let (family, projector) = projector(&vision_keys, bias.unwrap_or(true))?;
    let family = match (family, text.yarn) {
        (Family::Mistral3, Some(_)) => Family::Ministral3,
        (_, Some(_)) => return Err(top.unsupported("yarn positions without a patch merger")),
        (family, None) => family,
    };
    let stated = Stated {
        tied: top.flag("tied_embeddings")?,
        bias,
        head_dim: top.size("head_dim")?,
        vision_head_dim: None,
    };
    let image_token = vision_keys.size("image_token_id")?.unwrap_or(10);
    if top.get("lora").is_some() {
        notes.push(Note {
            damage: false,
            text: "the `lora` block of params.json describes an adapter and is not carried over".to_owned(),
        });
    }
    let config = ModelConfig {
        family,
        text,
        vision,
        projector,
        tied: stated.tied.unwrap_or(false),
        image_token: u32::try_from(image_token).unwrap_or(u32::MAX),
        notes,
        dtype: named_dtype(&source),
        quantization: Quantization::find(&source),
        stated,
        source: Value::Null,
    };
    check(&config, &top)?;
    Ok(ModelConfig { source, ..config })
}

fn text(keys: &Keys<'_>, notes: &mut Vec<Note>) -> Result<TextConfig, ConfigError> {
    let hidden_size = keys.needed("dim")?;
    let heads = keys.needed("n_heads")?;
    let rope_theta = keys.number("rope_theta")?;
    if rope_theta.is_none() {
        notes.push(Note {
            damage: true,
            text: "params.json has no rope_theta: mistral-inference uses 1000000, mistral-finetune 10000; pixtune uses \
                   1000000"
                .to_owned(),
        });
    }
    let yarn = keys.object("yarn", "yarn.")?.map(|keys| Yarn::from_native(&keys)).transpose()?;
    let scaling = keys.object("llama_4_scaling", "llama_4_scaling.")?;
    if scaling.is_some() && yarn.is_none() {
        return Err(keys.unsupported("`llama_4_scaling` without `yarn`"));
    }
    Ok(TextConfig {
        hidden_size,
        intermediate_size: keys.needed("hidden_dim")?,
        layers: keys.whole("n_layers", 10_000)?.ok_or_else(|| keys.missing("n_layers"))?,
        heads,
        kv_heads: keys.needed("n_kv_heads")?,
        head_dim: keys.size("head_dim")?.unwrap_or(hidden_size / heads),
        vocab_size: keys.needed("vocab_size")?,
        norm_eps: keys.number("norm_eps")?.ok_or_else(|| keys.missing("norm_eps"))?,
        rope_theta: rope_theta.unwrap_or(1e6),
        yarn,
        query_scaling: scaling.map(|keys| QueryScaling::from_native(&keys)).transpose()?.flatten(),
        max_positions: keys.whole("max_position_embeddings", usize::MAX >> 16)?,
    })
}

fn vision(keys: &Keys<'_>) -> Result<VisionConfig, ConfigError> {
    let hidden_size = keys.needed("hidden_size")?;
    let heads = keys.needed("num_attention_heads")?;
    Ok(VisionConfig {
        hidden_size,
        intermediate_size: keys.needed("intermediate_size")?,
        layers: keys.whole("num_hidden_layers", 10_000)?.ok_or_else(|| keys.missing("num_hidden_layers"))?,
        heads,
        head_dim: hidden_size / heads,
        channels: keys.size("num_channels")?.unwrap_or(3),
        image_size: keys.needed("image_size")?,
        patch_size: keys.needed("patch_size")?,
        rope_theta: keys.number("rope_theta")?.unwrap_or(1e4),
        norm_eps: 1e-5,
    })
}

/// mistral-inference 1.6 `vision_encoder.py`: an `mm_projector_id` of `patch_merge` brings the patch merger,
/// `add_pre_mm_projector_layer_norm` the norm.
fn projector(keys: &Keys<'_>, bias: bool) -> Result<(Family, ProjectorConfig), ConfigError> {
    let norm = keys.flag("add_pre_mm_projector_layer_norm")?.unwrap_or(false);
    let spatial_merge = keys.size("spatial_merge_size")?.unwrap_or(1);
    match keys.text("mm_projector_id")?.unwrap_or("") {
        "" if spatial_merge == 1 && !norm => {
            Ok((Family::Pixtral, ProjectorConfig { bias, spatial_merge, norm }))
        }
        "patch_merge" if norm => Ok((Family::Mistral3, ProjectorConfig { bias, spatial_merge, norm })),
        id => Err(keys.unsupported(format!(
            "a projector `{id}` that merges {spatial_merge}x{spatial_merge} patches {} a norm",
            if norm { "with" } else { "without" }
        ))),
    }
}
