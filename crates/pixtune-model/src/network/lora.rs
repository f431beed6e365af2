//! Which linears have an adapter, and the adapter's settings.

use std::collections::BTreeSet;
use std::fmt;

use super::error::NetworkError;
use super::region::Region;
use super::shape::ModelShape;
use super::whole::WholeRegions;

/// One of the linears of a layer, or of the projector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Linear {
    /// Queries.
    Query,
    /// Keys.
    Key,
    /// Values.
    Value,
    /// The output projection of attention.
    Output,
    /// The gate projection of the feed-forward region.
    Gate,
    /// The up projection of the feed-forward region.
    Up,
    /// The down projection of the feed-forward region.
    Down,
    /// The projector's first linear.
    First,
    /// The projector's second linear.
    Second,
    /// The linear that merges patches.
    Merger,
}

impl Linear {
    /// The seven linears of a layer.
    pub const LAYER: [Linear; 7] =
        [Linear::Query, Linear::Key, Linear::Value, Linear::Output, Linear::Gate, Linear::Up, Linear::Down];
    /// The two linears of the projector.
    pub const PROJECTOR: [Linear; 2] = [Linear::First, Linear::Second];

    /// Its name in transformers and PEFT.
    pub fn as_str(self) -> &'static str {
        match self {
            Linear::Query => "q_proj",
            Linear::Key => "k_proj",
            Linear::Value => "v_proj",
            Linear::Output => "o_proj",
            Linear::Gate => "gate_proj",
            Linear::Up => "up_proj",
            Linear::Down => "down_proj",
            Linear::First => "linear_1",
            Linear::Second => "linear_2",
            Linear::Merger => "merging_layer",
        }
    }

    pub(super) fn find(name: &str) -> Option<Linear> {
        let outside = Linear::PROJECTOR.into_iter().chain([Linear::Merger]);
        Linear::LAYER.into_iter().chain(outside).find(|linear| linear.as_str() == name)
    }

    /// Whether it is between the vision encoder and the text decoder.
    pub(super) fn is_of_projector(self) -> bool {
        matches!(self, Linear::First | Linear::Second | Linear::Merger)
    }
}

/// The linears that have an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets(BTreeSet<(Region, Linear)>);

impl Targets {
    /// All linears of the text decoder.
    pub fn text() -> Targets {
        Targets(Linear::LAYER.into_iter().map(|linear| (Region::Text, linear)).collect())
    }

    /// Parses `text`, `projector`, `vision`, `all`, the names of linears (`q_proj`: of the text decoder; `vision.q_proj`,
    /// `text.q_proj`, `linear_1`, `merging_layer` where patches are merged), or several of these joined by `+` or `,`.
    pub fn parse(text: &str) -> Result<Targets, NetworkError> {
        let mut set = BTreeSet::new();
        for word in text.split([',', '+']).map(str::trim) {
            let layer = |region| Linear::LAYER.into_iter().map(move |linear| (region, linear));
            let projector = Linear::PROJECTOR.into_iter().map(|linear| (Region::Projector, linear));
            match word {
                "text" => set.extend(layer(Region::Text)),
                "vision" => set.extend(layer(Region::Vision)),
                "projector" => set.extend(projector),
                "all" => set.extend(layer(Region::Text).chain(layer(Region::Vision)).chain(projector)),
                _ => {
                    set.insert(Self::one(word).ok_or_else(|| NetworkError::Lora {
                        reason: format!(
                            "`{word}` is not a target; use text, projector, vision, all, or linears such as q_proj or vision.q_proj"
                        ),
                    })?);
                }
            }
        }
        Ok(Targets(set))
    }

    fn one(word: &str) -> Option<(Region, Linear)> {
        let (region, name) = match word.split_once('.') {
            Some(("vision", name)) => (Region::Vision, name),
            Some(("text", name)) => (Region::Text, name),
            Some(("projector", name)) => (Region::Projector, name),
            Some(_) => return None,
            None => (Region::Text, word),
        };
        let linear = Linear::find(name)?;
        match (linear.is_of_projector(), region) {
            (true, Region::Vision) => None,
            (true, Region::Text) if word.contains('.') => None,
            (true, _) => Some((Region::Projector, linear)),
            (false, Region::Projector) => None,
            (false, region) => Some((region, linear)),
        }
    }

    /// Whether this linear has an adapter.
    pub fn contains(&self, region: Region, linear: Linear) -> bool {
        self.0.contains(&(region, linear))
    }

    /// Whether any linear of this region has an adapter.
    pub fn includes(&self, region: Region) -> bool {
        self.0.iter().any(|&(of, _)| of == region)
    }

    /// All targets, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Region, Linear)> {
        self.0.iter().copied()
    }
}

impl FromIterator<(Region, Linear)> for Targets {
    fn from_iter<I: IntoIterator<Item = (Region, Linear)>>(targets: I) -> Targets {
        Targets(targets.into_iter().collect())
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut words = Vec::new();
        for (name, region, linears) in [
            ("text", Region::Text, &Linear::LAYER[..]),
            ("projector", Region::Projector, &Linear::PROJECTOR[..]),
            ("vision", Region::Vision, &Linear::LAYER[..]),
        ] {
            if linears.iter().all(|&linear| self.contains(region, linear)) {
                words.push(name.to_owned());
            } else {
                let here = linears.iter().filter(|&&linear| self.contains(region, linear));
                words.extend(here.map(|linear| format!("{name}.{}", linear.as_str())));
            }
            if region == Region::Projector && self.contains(region, Linear::Merger) {
                words.push(Linear::Merger.as_str().to_owned());
            }
        }
        f.write_str(&words.join("+"))
    }
}

/// The adapter to train: `y = W x + scaling * B A dropout(x)`.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraConfig {
    /// Rows of A, columns of B.
    pub rank: usize,
    /// The numerator of the scaling.
    pub alpha: f32,
    /// Divide alpha by the square root of the rank (rank-stabilized LoRA) instead of the rank.
    pub rslora: bool,
    /// Dropout rate of the input of A.
    pub dropout: f32,
    /// The linears that have an adapter.
    pub targets: Targets,
    /// What is trained as whole tensors instead.
    pub whole: WholeRegions,
    /// Seeds A (uniform, as PEFT draws it: Kaiming with a = sqrt(5)); B starts at zero.
    pub seed: u64,
}

impl Default for LoraConfig {
    fn default() -> LoraConfig {
        LoraConfig {
            rank: 16,
            alpha: 32.0,
            rslora: false,
            dropout: 0.0,
            targets: Targets::text(),
            whole: WholeRegions::default(),
            seed: 0,
        }
    }
}

impl LoraConfig {
    /// Rejects a target that a model of this shape does not have.
    pub(super) fn check_shape(&self, shape: &ModelShape) -> Result<(), NetworkError> {
        if shape.merge == 1 && self.targets.contains(Region::Projector, Linear::Merger) {
            let reason = "the model merges no patches, so it has no `merging_layer`".to_owned();
            return Err(NetworkError::Lora { reason });
        }
        Ok(())
    }

    /// The factor of the low-rank update `B A`.
    pub fn scaling(&self) -> f32 {
        let rank = self.rank as f32;
        self.alpha / if self.rslora { rank.sqrt() } else { rank }
    }

    /// Rejects invalid settings.
    pub fn check(&self) -> Result<(), NetworkError> {
        let refuse = |reason: &str| Err(NetworkError::Lora { reason: reason.to_owned() });
        match self {
            _ if self.rank == 0 || self.rank > 4096 => refuse("the LoRA rank must be between 1 and 4096"),
            _ if !(self.alpha.is_finite() && self.alpha > 0.0) => {
                refuse("the LoRA alpha must be a finite number above 0")
            }
            _ if !(0.0..1.0).contains(&self.dropout) => {
                refuse("the dropout rate must be at least 0 and below 1")
            }
            _ if self.targets.0.is_empty() => {
                refuse("no target is given: at least one linear must be trained")
            }
            _ => match self.whole.iter().find(|region| self.targets.includes(*region)) {
                Some(region) => Err(NetworkError::Lora {
                    reason: format!(
                        "{} is trained as a whole and cannot have LoRA as well: remove it from the targets",
                        WholeRegions::from_iter([region])
                    ),
                }),
                None => Ok(()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_parse_what_they_print() {
        for text in
            ["text", "text+projector", "text+projector+vision", "text.q_proj+text.v_proj+vision.q_proj"]
        {
            assert_eq!(Targets::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Targets::parse("q_proj,linear_1").unwrap().to_string(), "text.q_proj+projector.linear_1");
        assert_eq!(Targets::parse("all").unwrap(), Targets::parse("text,projector,vision").unwrap());
        for wrong in ["", "lm_head", "vision.linear_1", "text.linear_1", "projector.q_proj", "a.b"] {
            assert!(Targets::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn scaling_divides_alpha_by_rank_or_its_square_root() {
        let plain = LoraConfig { rank: 4, alpha: 6.0, ..LoraConfig::default() };
        assert_eq!(plain.scaling(), 1.5);
        assert_eq!(LoraConfig { rslora: true, ..plain }.scaling(), 3.0);
    }
}
