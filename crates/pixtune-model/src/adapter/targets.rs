//! Which modules peft puts LoRA into: `target_modules`, `exclude_modules` and `layers_to_transform`.

use super::pattern::{Pattern, PatternError};

/// `target_modules` or `exclude_modules`.
#[derive(Debug, Clone)]
pub enum Targets {
    /// Names: a module's whole path, or its end from a dot on.
    Names(Vec<String>),
    /// One regular expression that has to match a module's whole path.
    Regex(Pattern),
    /// Every linear layer but the output layer.
    AllLinear,
}

/// `layers_to_transform`: only modules in these layers, among those found by the end of their names.
#[derive(Debug, Clone)]
pub struct LayerChoice {
    layers: Vec<u32>,
    /// Names of the lists that contain layers; any if empty.
    containers: Vec<Pattern>,
}

impl Targets {
    /// Whether a module's path is meant, by the rules of peft 0.21.2 `check_target_module_exists`.
    pub fn matches(&self, path: &str, layers: Option<&LayerChoice>) -> bool {
        match self {
            Targets::Regex(pattern) => pattern.matches(path),
            Targets::AllLinear => {
                let leaf = path.rsplit('.').next().unwrap_or(path);
                !matches!(leaf, "lm_head" | "embed_tokens" | "patch_conv")
            }
            Targets::Names(names) => {
                let whole = names.iter().any(|name| name == path);
                let tail = names
                    .iter()
                    .any(|name| path.strip_suffix(name.as_str()).is_some_and(|before| before.ends_with('.')));
                whole || tail && layers.is_none_or(|layers| layers.contains(path))
            }
        }
    }

    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        matches!(self, Targets::Names(names) if names.is_empty())
    }
}

impl LayerChoice {
    /// These layers, in lists of these names or in any.
    pub fn new(layers: Vec<u32>, containers: &[String]) -> Result<LayerChoice, PatternError> {
        let containers = containers.iter().map(|name| Pattern::tail(name)).collect::<Result<_, _>>()?;
        Ok(LayerChoice { layers, containers })
    }

    /// Whether the first number in the path, after one of the containers, is one of the layers.
    fn contains(&self, path: &str) -> bool {
        let steps: Vec<&str> = path.split('.').collect();
        // A number is looked for between a name before it and a name after it, as peft's pattern has it.
        let is_number =
            |at: &usize| !steps[*at].is_empty() && steps[*at].bytes().all(|byte| byte.is_ascii_digit());
        let named = |at: &usize| {
            let before = steps[..*at].join(".");
            match self.containers.is_empty() {
                true => *at >= 2,
                false => self.containers.iter().any(|container| container.matches(&before)),
            }
        };
        let found = (1..steps.len().saturating_sub(1)).filter(is_number).find(named);
        found.and_then(|at| steps[at].parse().ok()).is_some_and(|layer| self.layers.contains(&layer))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const Q: &str = "model.language_model.layers.12.self_attn.q_proj";

    #[test]
    fn names_are_paths_or_their_ends() {
        let names = |names: &[&str]| Targets::Names(names.iter().map(ToString::to_string).collect());
        assert!(names(&["q_proj"]).matches(Q, None));
        assert!(names(&["self_attn.q_proj"]).matches(Q, None));
        assert!(names(&[Q]).matches(Q, None));
        assert!(!names(&["proj", "layers.12", "language_model.lm_head"]).matches(Q, None));
        assert!(!names(&["language_model.lm_head"]).matches("lm_head", None));
        assert!(names(&["lm_head"]).matches("lm_head", None));
    }

    #[test]
    fn layers_are_the_first_number() {
        let names = Targets::Names(vec!["q_proj".to_owned()]);
        let layers = |layers: &[u32], containers: &[&str]| {
            let containers: Vec<String> = containers.iter().map(ToString::to_string).collect();
            LayerChoice::new(layers.to_vec(), &containers).unwrap()
        };
        assert!(names.matches(Q, Some(&layers(&[12], &[]))));
        assert!(!names.matches(Q, Some(&layers(&[1, 2], &[]))));
        assert!(names.matches(Q, Some(&layers(&[12], &["layers"]))));
        assert!(!names.matches(Q, Some(&layers(&[12], &["h"]))));
        let whole = Targets::Names(vec![Q.to_owned()]);
        assert!(whole.matches(Q, Some(&layers(&[1], &[]))), "a full path matches in any layer");
    }

    #[test]
    fn all_linear_leaves_the_output_out() {
        assert!(Targets::AllLinear.matches(Q, None));
        assert!(!Targets::AllLinear.matches("lm_head", None));
    }
}
