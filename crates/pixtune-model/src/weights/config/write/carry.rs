//! Unknown keys of a configuration.

use pixtune_core::json::Value;

use super::{Out, hf, members_at, native};
use crate::weights::Format;
use crate::weights::config::ModelConfig;
use crate::weights::config::quantization::KEYS;

/// Takes unknown keys of the source along, to the place that corresponds to theirs. What is known but has no counterpart
/// is listed.
pub(super) fn carry(config: &ModelConfig, from: Format, out: &mut Out) {
    type Area = (&'static str, &'static [&'static str], &'static [&'static str]);
    let areas: &[Area] = match from {
        Format::Hf => &[
            ("", &hf::KNOWN, &[]),
            ("text_config", &hf::INNER_KNOWN, &[]),
            ("vision_config", &hf::INNER_KNOWN, &["vision_encoder"]),
        ],
        Format::Mistral => {
            &[("", &native::KNOWN, &[]), ("vision_encoder", &native::VISION_KNOWN, &["vision_config"])]
        }
    };
    for (area, known, target) in areas {
        let object = if area.is_empty() { Some(&config.source) } else { config.source.get(area) };
        for (key, value) in object.and_then(Value::as_object).unwrap_or_default() {
            let full = if area.is_empty() { key.to_string() } else { format!("{area}.{key}") };
            if known.contains(&key.as_ref()) {
                continue;
            }
            let is_dropped = KEYS.contains(&key.as_ref());
            let members = members_at(&mut out.root, target).filter(|_| !is_dropped);
            match members {
                Some(members) if members.iter().all(|(other, _)| other != key) => {
                    members.push((key.clone(), value.clone()));
                    out.written.carried.push(full);
                }
                _ => out.written.left_out.push([full, value.to_string()]),
            }
        }
    }
}
