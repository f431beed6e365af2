//! The name patterns of adapter_config.json, matched as peft matches them.

use fancy_regex::{Regex, RegexBuilder};
use pixtune_core::text::counted;

/// Patterns longer than this are refused: real ones are names or one line of a regular expression.
const MAX_LENGTH: usize = 20_000;

/// Steps a pattern with look-around may take over one name.
const BACKTRACK_LIMIT: usize = 1_000_000;

/// Bytes a compiled pattern may take.
const SIZE_LIMIT: usize = 1 << 20;

/// A pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pattern `{pattern}` cannot be read: {reason}")]
pub struct PatternError {
    /// The pattern as it was written.
    pub pattern: String,
    /// The error of the regular expression's compiler.
    pub reason: String,
}

/// A key of `rank_pattern` or `alpha_pattern`, or a regular expression of `target_modules`.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    matcher: Matcher,
}

#[derive(Debug, Clone)]
enum Matcher {
    /// Letters, digits, `_` and `.`: by far the most, matched without a regular expression.
    Tail,
    Regex(Box<Regex>),
}

impl Pattern {
    /// A key of `rank_pattern` or `alpha_pattern`: the end of a module's path, from its start or from a dot on.
    ///
    /// peft 0.21.2 `utils/other.py` `get_pattern_key`: `re.match(rf"(.*\.)?({key})$", path)`.
    pub fn tail(text: &str) -> Result<Pattern, PatternError> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.');
        let matcher = match is_plain {
            true => Matcher::Tail,
            false => Matcher::Regex(compile(text, &format!(r"^(.*\.)?({text})$"))?),
        };
        Ok(Pattern { text: text.to_owned(), matcher })
    }

    /// `target_modules` or `exclude_modules` given as one text: it has to match a module's whole path.
    ///
    /// peft 0.21.2 `tuners/tuners_utils.py` `check_target_module_exists`: `re.fullmatch`.
    pub fn whole(text: &str) -> Result<Pattern, PatternError> {
        Ok(Pattern {
            text: text.to_owned(),
            matcher: Matcher::Regex(compile(text, &format!("^(?:{text})$"))?),
        })
    }

    /// Whether a module's path matches. A pattern that needs too many steps matches nothing.
    pub fn matches(&self, path: &str) -> bool {
        match &self.matcher {
            Matcher::Tail => tail_matches(self.text.as_bytes(), path.as_bytes()),
            Matcher::Regex(regex) => regex.is_match(path).unwrap_or(false),
        }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The value of the first pattern that matches, as in peft.
pub fn first_match<'p, T>(patterns: &'p [(Pattern, T)], path: &str) -> Option<&'p T> {
    patterns.iter().find(|(pattern, _)| pattern.matches(path)).map(|(_, value)| value)
}

fn compile(text: &str, whole: &str) -> Result<Box<Regex>, PatternError> {
    let refuse = |reason: String| PatternError { pattern: text.chars().take(200).collect(), reason };
    if text.len() > MAX_LENGTH {
        return Err(refuse(format!(
            "it has {}; the limit is {MAX_LENGTH}",
            counted(text.len() as u64, "byte")
        )));
    }
    RegexBuilder::new(whole)
        .backtrack_limit(BACKTRACK_LIMIT)
        .delegate_size_limit(SIZE_LIMIT)
        .delegate_dfa_size_limit(SIZE_LIMIT)
        .build()
        .map(Box::new)
        .map_err(|error| refuse(error.to_string()))
}

/// A dot in a key is a regular expression's dot: any character.
fn tail_matches(key: &[u8], path: &[u8]) -> bool {
    let Some(start) = path.len().checked_sub(key.len()) else { return false };
    let from_a_boundary = start == 0 || path[start - 1] == b'.';
    from_a_boundary && key.iter().zip(&path[start..]).all(|(key, byte)| key == byte || *key == b'.')
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_key_matches_the_end_of_a_path_from_a_dot_on() {
        let path = "model.language_model.layers.11.self_attn.q_proj";
        let matches = |key: &str| Pattern::tail(key).unwrap().matches(path);
        assert!(matches("q_proj"));
        assert!(matches("layers.11.self_attn.q_proj"));
        assert!(matches(path));
        assert!(!matches("proj"));
        assert!(!matches("1.self_attn.q_proj"));
        assert!(!matches("x.model.language_model.layers.11.self_attn.q_proj"));
        assert!(matches("self_attn.q_proj|v_proj"));
        assert!(matches(r"layers\.\d+\.self_attn\.[qk]_proj"));
        assert!(!matches(r"layers\.[0-9]\.self_attn\.q_proj"));
        assert!(matches("self_attn.q.proj"), "an unescaped dot is any character");
    }

    #[test]
    fn a_whole_pattern_matches_whole_paths_with_look_around() {
        let pattern = Pattern::whole(r"^model\.language_model(?=\.).*\.(q_proj|v_proj)").unwrap();
        assert!(pattern.matches("model.language_model.layers.0.self_attn.q_proj"));
        assert!(!pattern.matches("model.language_model.layers.0.self_attn.q_proj.base"));
        assert!(!pattern.matches("model.vision_tower.transformer.layers.0.attention.q_proj"));
    }

    #[test]
    fn the_first_key_that_matches_counts() {
        let patterns =
            [(Pattern::tail("q_proj").unwrap(), 4), (Pattern::tail("self_attn.q_proj").unwrap(), 8)];
        assert_eq!(first_match(&patterns, "layers.0.self_attn.q_proj"), Some(&4));
        assert_eq!(first_match(&patterns, "layers.0.self_attn.k_proj"), None);
    }

    #[test]
    fn hostile_patterns_end() {
        assert!(Pattern::tail("(").is_err());
        assert!(Pattern::whole(&"a".repeat(MAX_LENGTH + 1)).is_err());
        assert!(Pattern::whole("(a{1000}){1000}").is_err());
        assert!(!Pattern::whole(r"(?=a)(a|aa)+\1$x").unwrap().matches(&"a".repeat(200)));
    }
}
