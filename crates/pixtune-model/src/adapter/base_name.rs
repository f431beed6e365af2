//! The base that an adapter names, compared with the one it is used with.

use std::collections::BTreeSet;
use std::path::Path;

use pixtune_core::json::Value;

use crate::weights::Checkpoint;

/// Parts of names by which models of one family differ.
const VARIANTS: [&str; 8] = ["base", "instruct", "chat", "large", "small", "medium", "nemo", "quantized"];

/// Why the base may be another than the one that the adapter was trained on, by their names; `None` if nothing shows it.
pub fn warning(trained_on: &str, base: &Checkpoint) -> Option<String> {
    let names = names_of(base);
    let of = |differs: bool| names.iter().find(|name| differ(trained_on, name) == Some(differs));
    let other = of(true).filter(|_| of(false).is_none())?;
    Some(format!(
        "adapter_config.json names the base `{trained_on}`, and the base here is `{other}`: an adapter computes something else \
         on other weights"
    ))
}

/// What the base is called: by its directory, and by its configuration.
fn names_of(base: &Checkpoint) -> Vec<String> {
    let real = std::fs::canonicalize(base.directory()).unwrap_or_else(|_| base.directory().to_owned());
    let noted = base.config().source.get("_name_or_path").and_then(Value::as_str);
    let noted = noted.filter(|name| !name.is_empty()).map(str::to_owned);
    hub_name(&real).or_else(|| last(&real.to_string_lossy())).into_iter().chain(noted).collect()
}

/// `org/name` of a snapshot in Hugging Face's cache.
fn hub_name(path: &Path) -> Option<String> {
    let steps = path.iter().filter_map(|step| step.to_str());
    let id = steps.filter_map(|step| step.strip_prefix("models--")).next_back()?;
    Some(id.replacen("--", "/", 1))
}

fn last(path: &str) -> Option<String> {
    path.rsplit(['/', '\\']).find(|step| !step.is_empty()).map(str::to_owned)
}

/// Whether two names of one family are of different models: sizes, dates or variants differ. `None` if the names have no
/// family in common.
fn differ(one: &str, other: &str) -> Option<bool> {
    let (one, other) = (words(one), words(other));
    let distinctive = |word: &&String| {
        VARIANTS.contains(&word.as_str()) || word.bytes().next().is_some_and(|byte| byte.is_ascii_digit())
    };
    let is_common = |word: &String| !distinctive(&word) && word.len() > 3;
    let same_family = one.intersection(&other).any(is_common);
    let kinds = |words: &BTreeSet<String>| -> [BTreeSet<String>; 3] {
        let pick = |test: &dyn Fn(&str) -> bool| words.iter().filter(|word| test(word)).cloned().collect();
        let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
        let is_size =
            |word: &str| word.strip_suffix('b').is_some_and(|size| !size.is_empty() && is_number(size));
        [
            pick(&|word| VARIANTS.contains(&word) && word != "instruct" && word != "chat"),
            pick(&is_size),
            pick(&|word| word.len() == 4 && is_number(word)),
        ]
    };
    let ([variant, size, date], [variant2, size2, date2]) = (kinds(&one), kinds(&other));
    let both_differ = |a: &BTreeSet<String>, b: &BTreeSet<String>| !a.is_empty() && !b.is_empty() && a != b;
    same_family.then(|| variant != variant2 || both_differ(&size, &size2) || both_differ(&date, &date2))
}

/// The words of a name's last step, in lower case.
fn words(name: &str) -> BTreeSet<String> {
    let name = last(name).unwrap_or_default().to_lowercase();
    name.split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_model_do_not_differ() {
        for (one, other) in [
            ("mistralai/Pixtral-12B-2409", "Pixtral-12B-2409"),
            ("mistral-community/pixtral-12b", "/models/Pixtral-12B-2409"),
            ("mistral-community/pixtral-12b", "pixtral-hf"),
            ("/home/me/models/base", "pixtral-12b"),
            ("mistralai/Mistral-Small-3.1-24B-Instruct-2503", "mistral-small-3.1-24b-2503"),
        ] {
            assert_ne!(differ(one, other), Some(true), "{one} and {other}");
        }
    }

    #[test]
    fn base_and_instruct_models_and_sizes_differ() {
        for (one, other) in [
            ("mistralai/Pixtral-12B-Base-2409", "Pixtral-12B-2409"),
            ("mistralai/Pixtral-Large-Instruct-2411", "pixtral-12b"),
            ("mistral-community/pixtral-12b", "pixtral-124b"),
            ("Mistral-Small-3.1-24B-Base-2503", "Mistral-Small-3.1-24B-Instruct-2503"),
            ("Mistral-Small-3.2-24B-Instruct-2506", "Mistral-Small-3.1-24B-Instruct-2503"),
        ] {
            assert_eq!(differ(one, other), Some(true), "{one} and {other}");
        }
    }

    #[test]
    fn snapshots_are_called_as_on_the_hub() {
        let path = Path::new("/cache/hub/models--mistral-community--pixtral-12b/snapshots/abc");
        assert_eq!(hub_name(path).as_deref(), Some("mistral-community/pixtral-12b"));
    }
}
