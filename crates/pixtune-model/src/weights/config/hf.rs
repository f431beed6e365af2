//! Reads `config.json`, with the defaults of transformers' classes where it is silent.

use std::path::Path;

use pixtune_core::json::Value;

use super::keys::Keys;
use super::native::MIXTURE;
use super::{
    ConfigError, Family, ModelConfig, Note, ProjectorConfig, Quantization, Stated, TextConfig, VisionConfig,
    Yarn, check, named_dtype,
};

/// Defaults of `MistralConfig`, transformers 4.57.1 and 5.23.0.
const TEXT: TextConfig = TextConfig {
    hidden_size: 4096,
    intermediate_size: 14336,
    layers: 32,
    heads: 32,
    kv_heads: 8,
    head_dim: 128,
    vocab_size: 32000,
    norm_eps: 1e-6,
    rope_theta: 1e4,
    yarn: None,
    query_scaling: None,
    max_positions: Some(131_072),
};

/// Defaults of `Ministral3Config`, transformers 5.23.0.
const MINISTRAL_3: TextConfig =
    TextConfig { layers: 34, vocab_size: 131_072, norm_eps: 1e-5, max_positions: Some(262_144), ..TEXT };

/// Defaults of `PixtralVisionConfig`, transformers 4.57.1 and 5.23.0.
const VISION: VisionConfig = VisionConfig {
    hidden_size: 1024,
    intermediate_size: 4096,
    layers: 24,
    heads: 16,
    head_dim: 64,
    channels: 3,
    image_size: 1024,
    patch_size: 16,
    rope_theta: 1e4,
    norm_eps: 1e-5,
};

pub fn read(path: &Path, source: Value<'static>) -> Result<ModelConfig, ConfigError> {
    let top = Keys::new(path, "", &source);
    let family = family(&top)?;
    let mut notes = Vec::new();
    let text_keys = top.object("text_config", "text_config.")?.ok_or_else(|| top.missing("text_config"))?;
    let vision_keys =
        top.object("vision_config", "vision_config.")?.ok_or_else(|| top.missing("vision_config"))?;
    let text = text(&text_keys, family, &mut notes)?;
    let vision = vision(&vision_keys, family, &mut notes)?;
    let bias = top.flag("multimodal_projector_bias")?;
    let spatial_merge = match family.merges_patches() {
        false => 1,
        true => top.size("spatial_merge_size")?.unwrap_or(2),
    };
    let projector = ProjectorConfig {
        bias: bias.unwrap_or(family == Family::Pixtral),
        spatial_merge,
        norm: family.merges_patches(),
    };
    let image_token = image_token(&top, family, &mut notes)?;
    features(&top, family, &mut notes)?;
    let stated = Stated {
        tied: tied([top, text_keys].map(|keys| keys.flag("tie_word_embeddings")), &mut notes)?,
        bias,
        head_dim: text_keys.size("head_dim")?,
        vision_head_dim: vision_keys.size("head_dim")?,
    };
    let tied = stated.tied.unwrap_or(false);
    let quantization = Quantization::find(&source);
    let config = ModelConfig {
        family,
        text,
        vision,
        projector,
        tied,
        image_token,
        notes,
        dtype: named_dtype(&source),
        quantization,
        stated,
        source: Value::Null,
    };
    check(&config, &top)?;
    Ok(ModelConfig { source, ..config })
}

/// Whether the output is tied to the embedding. Of the two keys, programs read one or the other.
fn tied(
    flags: [Result<Option<bool>, ConfigError>; 2],
    notes: &mut Vec<Note>,
) -> Result<Option<bool>, ConfigError> {
    let [top, text] = flags;
    let (top, text) = (top?, text?);
    if let (Some(top), Some(text)) = (top, text)
        && top != text
    {
        notes.push(Note {
            damage: true,
            text: format!(
                "tie_word_embeddings is {top} and text_config.tie_word_embeddings is {text}: programs that read one of them \
                 make another output of it than those that read the other"
            ),
        });
    }
    Ok(match (top, text) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (top, text) => top.or(text),
    })
}

fn family(top: &Keys<'_>) -> Result<Family, ConfigError> {
    let kind = |keys: Option<Keys<'_>>| -> Result<Option<String>, ConfigError> {
        Ok(match keys {
            Some(keys) => keys.text("model_type")?.map(str::to_owned),
            None => None,
        })
    };
    let family = match top.text("model_type")? {
        Some("llava") => Family::Pixtral,
        Some("mistral3") => Family::Mistral3,
        Some("mistral") => {
            return Err(top.unsupported("`model_type` is `mistral`, a text model without vision"));
        }
        Some("mistral4") => return Err(top.unsupported(format!("`model_type` is `mistral4`, {MIXTURE}"))),
        Some(other) => return Err(top.unsupported(format!("`model_type` is `{other}`"))),
        None => return Err(top.missing("model_type")),
    };
    let family = match kind(top.object("text_config", "text_config.")?)?.as_deref() {
        Some("mistral") => family,
        Some("ministral3") if family == Family::Mistral3 => Family::Ministral3,
        Some("mistral4") => {
            return Err(top.unsupported(format!("`text_config.model_type` is `mistral4`, {MIXTURE}")));
        }
        None => return Err(top.missing("text_config.model_type")),
        Some(other) => return Err(top.unsupported(format!("`text_config.model_type` is `{other}`"))),
    };
    match kind(top.object("vision_config", "vision_config.")?)?.as_deref() {
        Some("pixtral") => Ok(family),
        None => Err(top.missing("vision_config.model_type")),
        Some(other) => Err(top.unsupported(format!("`vision_config.model_type` is `{other}`"))),
    }
}

fn text(keys: &Keys<'_>, family: Family, notes: &mut Vec<Note>) -> Result<TextConfig, ConfigError> {
    let is_ministral = family == Family::Ministral3;
    let defaults = if is_ministral { MINISTRAL_3 } else { TEXT };
    if let Some(act) = keys.text("hidden_act")?.filter(|act| *act != "silu") {
        notes.push(Note {
            damage: true,
            text: format!("text_config.hidden_act is `{act}`, and Mistral's decoder uses `silu`"),
        });
    }
    match keys.get("sliding_window") {
        None if keys.has("sliding_window") || is_ministral => {}
        found => {
            let found = found.map_or("absent, which means 4096".to_owned(), ToString::to_string);
            notes.push(Note {
                damage: true,
                text: format!(
                    "text_config.sliding_window is {found}; Pixtral has none, and one large image has more tokens \
                     than that: it has to be null"
                ),
            });
        }
    }
    let heads = keys.size("num_attention_heads")?.unwrap_or(defaults.heads);
    let hidden_size = keys.size("hidden_size")?.unwrap_or(defaults.hidden_size);
    let positions = if is_ministral { Some(Yarn::from_hf(keys)?) } else { None };
    Ok(TextConfig {
        hidden_size,
        intermediate_size: keys.size("intermediate_size")?.unwrap_or(defaults.intermediate_size),
        layers: keys.whole("num_hidden_layers", 10_000)?.unwrap_or(defaults.layers),
        heads,
        kv_heads: keys.size("num_key_value_heads")?.unwrap_or(defaults.kv_heads),
        head_dim: match keys.size("head_dim")? {
            Some(head_dim) => head_dim,
            // The class has a default of its own where the key is absent, and divides where it is null.
            None if is_ministral && !keys.has("head_dim") => defaults.head_dim,
            None => hidden_size / heads,
        },
        vocab_size: keys.size("vocab_size")?.unwrap_or(defaults.vocab_size),
        norm_eps: keys.number("rms_norm_eps")?.unwrap_or(defaults.norm_eps),
        rope_theta: rope_theta(keys, if is_ministral { "yarn" } else { "default" }, family, notes)?,
        yarn: positions.map(|(yarn, _)| yarn),
        query_scaling: positions.and_then(|(_, scaling)| scaling),
        max_positions: keys.whole("max_position_embeddings", usize::MAX >> 16)?.or(defaults.max_positions),
    })
}

fn vision(keys: &Keys<'_>, family: Family, notes: &mut Vec<Note>) -> Result<VisionConfig, ConfigError> {
    match keys.text("hidden_act")? {
        Some("silu") => {}
        found => {
            let found = found.map_or("absent, which means `gelu`".to_owned(), |act| format!("`{act}`"));
            notes.push(Note {
                damage: true,
                text: format!(
                    "vision_config.hidden_act is {found}, and Pixtral's vision encoder uses `silu`: images would be \
                     misread"
                ),
            });
        }
    }
    let heads = keys.size("num_attention_heads")?.unwrap_or(VISION.heads);
    let hidden_size = keys.size("hidden_size")?.unwrap_or(VISION.hidden_size);
    Ok(VisionConfig {
        hidden_size,
        intermediate_size: keys.size("intermediate_size")?.unwrap_or(VISION.intermediate_size),
        layers: keys.whole("num_hidden_layers", 10_000)?.unwrap_or(VISION.layers),
        heads,
        head_dim: keys.size("head_dim")?.unwrap_or(hidden_size / heads),
        channels: keys.size("num_channels")?.unwrap_or(VISION.channels),
        image_size: keys.size("image_size")?.unwrap_or(VISION.image_size),
        patch_size: keys.size("patch_size")?.unwrap_or(VISION.patch_size),
        rope_theta: rope_theta(keys, "axial", family, notes)?,
        norm_eps: VISION.norm_eps,
    })
}

/// The base of the rotary frequencies: `rope_theta` is what transformers 4 reads, `rope_parameters` what 5 writes.
fn rope_theta(
    keys: &Keys<'_>,
    kind: &str,
    family: Family,
    notes: &mut Vec<Note>,
) -> Result<f64, ConfigError> {
    if let Some(scaling) = keys.object("rope_scaling", "rope_scaling.")? {
        check_rope_kind(keys, &scaling, kind)?;
    }
    let old = keys.number("rope_theta")?;
    let new = match keys.object("rope_parameters", "rope_parameters.")? {
        None => None,
        Some(parameters) => {
            check_rope_kind(keys, &parameters, kind)?;
            parameters.number("rope_theta")?
        }
    };
    let key = keys.full("rope_theta");
    match (old, new) {
        (Some(old), Some(new)) if old != new => Err(keys.wrong(
            "rope_theta",
            old,
            format!("the same as `rope_parameters.rope_theta`, which is {new}"),
        )),
        // transformers 4 has no Ministral 3.
        (None, Some(new)) if new != TEXT.rope_theta && family != Family::Ministral3 => {
            notes.push(Note {
                damage: true,
                text: format!(
                    "{key} is only written as rope_parameters: transformers 4 reads 10000 instead of {new}"
                ),
            });
            Ok(new)
        }
        (old, new) => Ok(old.or(new).unwrap_or(TEXT.rope_theta)),
    }
}

fn check_rope_kind(keys: &Keys<'_>, rope: &Keys<'_>, kind: &str) -> Result<(), ConfigError> {
    for name in ["rope_type", "type"] {
        if let Some(found) = rope.text(name)?.filter(|found| *found != kind && *found != "default") {
            let area = keys.full("rope_parameters");
            return Err(keys.unsupported(format!("`{area}` are of type `{found}`")));
        }
    }
    Ok(())
}

fn image_token(top: &Keys<'_>, family: Family, notes: &mut Vec<Note>) -> Result<u32, ConfigError> {
    let token = match top.size("image_token_index")? {
        Some(token) => Some(token),
        None => top.size("image_token_id")?,
    };
    match token {
        Some(token) => Ok(u32::try_from(token).unwrap_or(u32::MAX)),
        None => {
            if family == Family::Pixtral {
                notes.push(Note {
                    damage: true,
                    text: "image_token_index is absent, which means 32000; Pixtral's is 10".to_owned(),
                });
            }
            Ok(10)
        }
    }
}

/// What the classes take from the vision encoder, and their defaults, which are not Pixtral's.
fn features(top: &Keys<'_>, family: Family, notes: &mut Vec<Note>) -> Result<(), ConfigError> {
    let mut damaged = |key: &str, found: String, right: &str| {
        notes.push(Note { damage: true, text: format!("{key} is {found}, and Pixtral's is {right}") });
    };
    match top.get("vision_feature_layer") {
        Some(Value::Number(layer)) if layer == "-1" => {}
        None if family.merges_patches() => {}
        found => {
            let found = found.map_or("absent, which means -2".to_owned(), ToString::to_string);
            damaged("vision_feature_layer", found, "-1");
        }
    }
    if family == Family::Pixtral {
        match top.text("vision_feature_select_strategy")? {
            Some("full") => {}
            found => {
                let found =
                    found.map_or("absent, which means `default`".to_owned(), |text| format!("`{text}`"));
                damaged("vision_feature_select_strategy", found, "`full`");
            }
        }
    }
    if let Some(act) = top.text("projector_hidden_act")?.filter(|act| *act != "gelu") {
        damaged("projector_hidden_act", format!("`{act}`"), "`gelu`");
    }
    Ok(())
}
