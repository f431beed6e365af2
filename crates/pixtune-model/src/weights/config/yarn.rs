//! The positions of Ministral 3: rotations that are stretched (YaRN), and queries that grow with their position.
//!
//! Formulas and defaults are those of transformers 5.23.0 `modeling_rope_utils.py` and `modeling_ministral3.py`, and of vLLM 0.33
//! `configs/mistral.py` for params.json.

use super::keys::Keys;
use super::{ConfigError, TextConfig};

/// How rotary frequencies are stretched to more positions than the model was first trained for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Yarn {
    /// How many times more positions.
    pub factor: f64,
    /// Positions of the first training.
    pub original_positions: usize,
    /// Frequencies with more rotations than this within the original positions are kept.
    pub beta_fast: f64,
    /// Frequencies with fewer rotations than this within the original positions are divided by the factor.
    pub beta_slow: f64,
    /// What rotated vectors are multiplied by.
    pub magnitude: Magnitude,
    /// Whether the two bounds are rounded to whole frequencies, outwards.
    pub truncate: bool,
}

/// What queries and keys are multiplied by besides their rotation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Magnitude {
    /// `attention_factor`.
    Stated(f64),
    /// `mscale` and `mscale_all_dim`, where an absent one is zero.
    Scales(f64, f64),
}

/// How much a query grows with its position: by `1 + beta ln(1 + floor(position / original_positions))`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QueryScaling {
    /// The factor of the logarithm.
    pub beta: f64,
    /// Positions after which it grows.
    pub original_positions: usize,
}

impl Yarn {
    /// What cosines and sines are multiplied by.
    pub fn attention_factor(&self) -> f64 {
        match self.magnitude {
            Magnitude::Stated(factor) => factor,
            Magnitude::Scales(scale, all) if scale != 0.0 && all != 0.0 => {
                self.scaled(scale) / self.scaled(all)
            }
            Magnitude::Scales(..) => self.scaled(1.0),
        }
    }

    fn scaled(&self, scale: f64) -> f64 {
        if self.factor <= 1.0 { 1.0 } else { 0.1 * scale * self.factor.ln() + 1.0 }
    }

    /// The value of `apply_scale` in params.json; `None` if it has none for this factor.
    pub(super) fn apply_scale(&self) -> Option<bool> {
        let factor = self.attention_factor();
        let is = |other: f64| (factor - other).abs() < 1e-9;
        if is(1.0) { Some(false) } else { is(self.scaled(1.0)).then_some(true) }
    }

    /// Of `text_config.rope_parameters`, or `rope_scaling` in older files.
    pub(super) fn from_hf(text: &Keys<'_>) -> Result<(Yarn, Option<QueryScaling>), ConfigError> {
        let areas = [
            text.object("rope_parameters", "text_config.rope_parameters.")?,
            text.object("rope_scaling", "text_config.rope_scaling.")?,
        ];
        let mut found: Option<(Yarn, Option<QueryScaling>)> = None;
        for rope in areas.into_iter().flatten() {
            let kind = match rope.text("rope_type")? {
                Some(kind) => Some(kind),
                None => rope.text("type")?,
            };
            if kind != Some("yarn") {
                return Err(rope.unsupported(format!(
                    "`{}` is {}, and the positions of `ministral3` are of type `yarn`",
                    rope.full("rope_type"),
                    kind.map_or("absent".to_owned(), |kind| format!("`{kind}`"))
                )));
            }
            let read = hf_area(&rope)?;
            if found.is_some_and(|found| found != read) {
                return Err(text.wrong("rope_scaling", "other positions", "the same as `rope_parameters`"));
            }
            found = Some(read);
        }
        found.ok_or_else(|| text.missing("rope_parameters"))
    }

    /// Of `yarn` in params.json.
    pub(super) fn from_native(yarn: &Keys<'_>) -> Result<Yarn, ConfigError> {
        let scaled = yarn.flag("apply_scale")?.unwrap_or(true);
        Ok(Yarn {
            factor: yarn.number("factor")?.ok_or_else(|| yarn.missing("factor"))?,
            original_positions: original_positions(yarn)?,
            beta_fast: yarn.number("beta")?.unwrap_or(32.0),
            beta_slow: yarn.number("alpha")?.unwrap_or(1.0),
            magnitude: Magnitude::Scales(1.0, if scaled { 0.0 } else { 1.0 }),
            truncate: true,
        })
    }
}

impl QueryScaling {
    /// Of `llama_4_scaling` in params.json.
    pub(super) fn from_native(scaling: &Keys<'_>) -> Result<Option<QueryScaling>, ConfigError> {
        let beta = scaling.not_negative("beta")?.ok_or_else(|| scaling.missing("beta"))?;
        let original_positions = original_positions(scaling)?;
        Ok((beta > 0.0).then_some(QueryScaling { beta, original_positions }))
    }
}

fn hf_area(rope: &Keys<'_>) -> Result<(Yarn, Option<QueryScaling>), ConfigError> {
    let scales = (rope.not_negative("mscale")?, rope.not_negative("mscale_all_dim")?);
    let original_positions = original_positions(rope)?;
    let yarn = Yarn {
        factor: rope.number("factor")?.ok_or_else(|| rope.missing("factor"))?,
        original_positions,
        beta_fast: rope.number("beta_fast")?.unwrap_or(32.0),
        beta_slow: rope.number("beta_slow")?.unwrap_or(1.0),
        magnitude: match rope.number("attention_factor")? {
            Some(factor) => Magnitude::Stated(factor),
            None => Magnitude::Scales(scales.0.unwrap_or(0.0), scales.1.unwrap_or(0.0)),
        },
        truncate: rope.flag("truncate")?.unwrap_or(true),
    };
    let beta = rope.not_negative("llama_4_scaling_beta")?.filter(|beta| *beta > 0.0);
    Ok((yarn, beta.map(|beta| QueryScaling { beta, original_positions })))
}

fn original_positions(keys: &Keys<'_>) -> Result<usize, ConfigError> {
    let key = "original_max_position_embeddings";
    // Positions are computed with in f32, which has every whole number up to this one.
    keys.size(key)?.ok_or_else(|| keys.missing(key))
}

/// Why a text's positions have no spelling in config.json, or in params.json.
pub(super) fn inexpressible(text: &TextConfig, in_params: bool) -> Option<String> {
    let yarn = text.yarn?;
    if in_params {
        if yarn.apply_scale().is_none() {
            return Some(format!(
                "its yarn positions have the attention factor {}, and `apply_scale` of params.json stands for 1 or {}",
                yarn.attention_factor(),
                yarn.scaled(1.0)
            ));
        }
        return (!yarn.truncate).then(|| {
            "its yarn positions have `truncate` set to false, which params.json has no key for".to_owned()
        });
    }
    let scaling =
        text.query_scaling.filter(|scaling| scaling.original_positions != yarn.original_positions)?;
    Some(format!(
        "its queries grow every {} positions, and its yarn positions are of {}; config.json has one number for both",
        scaling.original_positions, yarn.original_positions
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yarn(factor: f64, magnitude: Magnitude) -> Yarn {
        Yarn {
            factor,
            original_positions: 16_384,
            beta_fast: 32.0,
            beta_slow: 1.0,
            magnitude,
            truncate: true,
        }
    }

    #[test]
    fn magnitudes_are_those_of_transformers() {
        let of = |factor, magnitude| yarn(factor, magnitude).attention_factor();
        assert_eq!(of(16.0, Magnitude::Scales(1.0, 1.0)), 1.0);
        assert_eq!(of(64.0, Magnitude::Scales(1.0, 0.0)), 0.1 * 64f64.ln() + 1.0);
        assert_eq!(of(64.0, Magnitude::Scales(0.0, 0.0)), 0.1 * 64f64.ln() + 1.0);
        assert_eq!(of(0.5, Magnitude::Scales(0.0, 0.0)), 1.0);
        assert_eq!(of(16.0, Magnitude::Stated(1.25)), 1.25);
    }

    #[test]
    fn params_json_has_two_magnitudes() {
        let of = |magnitude| yarn(16.0, magnitude).apply_scale();
        assert_eq!(of(Magnitude::Scales(1.0, 1.0)), Some(false));
        assert_eq!(of(Magnitude::Scales(1.0, 0.0)), Some(true));
        assert_eq!(of(Magnitude::Scales(1.0, 0.5)), None);
    }
}
