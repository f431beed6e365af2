//! Configurations, key by key.

use std::fs;
use std::path::{Path, PathBuf};

use pixtune_core::json::Value;
use pixtune_model::weights::config::Magnitude;
use pixtune_model::weights::convert::{Options, Plan};
use pixtune_model::weights::{Checkpoint, Format};

use super::{OWN, convert, json_file, own};

/// Every key of the reference is written with its value. Those that the other format has no key for are not compared.
fn contains(ours: &Value<'_>, theirs: &Value<'_>, path: &str, except: &[&str]) {
    for (key, wanted) in theirs.as_object().unwrap() {
        let full = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
        if except.contains(&full.as_str()) {
            continue;
        }
        let found = ours.get(key).unwrap_or_else(|| panic!("{full} is missing"));
        match (found, wanted) {
            (Value::Object(_), Value::Object(_)) => contains(found, wanted, &full, except),
            (Value::Number(a), Value::Number(b)) => {
                assert_eq!(a.parse::<f64>().unwrap(), b.parse::<f64>().unwrap(), "{full}");
            }
            _ => assert_eq!(found, wanted, "{full}"),
        }
    }
}

#[test]
fn both_files_are_written_with_every_key() {
    let place = tempfile::tempdir().unwrap();
    for (index, fixture) in OWN.map(own).iter().enumerate() {
        let [native, hf] = ["native", "hf"].map(|name| place.path().join(format!("{index}-{name}")));
        convert(&fixture.join("hf_bf16"), &native, Format::Mistral);
        let wanted = json_file(&fixture.join("native_bf16/params.json"));
        let found = json_file(&native.join("params.json"));
        // Without the key, the output is not tied.
        contains(&found, &wanted, "", &["max_seq_len", "tied_embeddings"]);
        let tied = |file: &Value<'static>| file.get("tied_embeddings") == Some(&Value::Bool(true));
        assert_eq!(tied(&found), tied(&wanted));
        convert(&fixture.join("native_bf16"), &hf, Format::Hf);
        let found = json_file(&hf.join("config.json"));
        let except = [
            "transformers_version",
            // What no key of params.json states, and transformers' name of it that changed.
            "text_config.max_position_embeddings",
            "vision_config.rope_parameters",
        ];
        contains(&found, &json_file(&fixture.join("hf_bf16/config.json")), "", &except);
        let tied = |area: &Value<'static>| area.get("tie_word_embeddings").cloned().unwrap();
        assert_eq!(tied(&found), tied(found.get("text_config").unwrap()), "at both levels");
    }
}

struct Copy {
    place: tempfile::TempDir,
    file: &'static str,
}

impl Copy {
    fn of(fixture: &str, format: &str) -> Copy {
        let place = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(own(fixture).join(format)).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, place.path().join(path.file_name().unwrap())).unwrap();
        }
        let file = if format == "hf_bf16" { "config.json" } else { "params.json" };
        Copy { place, file }
    }

    fn path(&self) -> &Path {
        self.place.path()
    }

    /// Replaces a text in the configuration; it has to be there.
    fn edit(&self, from: &str, to: &str) {
        let path: PathBuf = self.path().join(self.file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "`{from}` is not there");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    /// Why it is refused, with the cause.
    fn error(&self) -> String {
        let error = Checkpoint::open(self.path()).unwrap_err();
        let cause = std::error::Error::source(&error).map_or(String::new(), ToString::to_string);
        format!("{error}: {cause}")
    }

    fn notes(&self) -> Vec<String> {
        let checkpoint = Checkpoint::open(self.path()).unwrap();
        let notes = checkpoint.config().notes.iter();
        notes.map(|note| format!("{}{}", if note.damage { "damaged: " } else { "" }, note.text)).collect()
    }
}

#[test]
fn attention_factors_are_spelled_in_both_formats() {
    let place = tempfile::tempdir().unwrap();
    let grown = 0.1 * 16f64.ln() + 1.0;
    for (index, (mscale, all_dim, factor)) in
        [("1.0", "1.0", 1.0), ("1.0", "0.0", grown), ("0.0", "1.0", grown)].into_iter().enumerate()
    {
        let copy = Copy::of("tiny_ministral3", "hf_bf16");
        copy.edit("\"mscale\": 1.0", &format!("\"mscale\": {mscale}"));
        copy.edit("\"mscale_all_dim\": 1.0", &format!("\"mscale_all_dim\": {all_dim}"));
        let [native, back] = ["native", "back"].map(|name| place.path().join(format!("{index}-{name}")));
        convert(copy.path(), &native, Format::Mistral);
        let params = json_file(&native.join("params.json"));
        assert_eq!(
            params.get("yarn").unwrap().get("apply_scale"),
            Some(&Value::Bool(factor != 1.0)),
            "mscale {mscale}, mscale_all_dim {all_dim}"
        );
        convert(&native, &back, Format::Hf);
        let found = Checkpoint::open(&back).unwrap().config().text.yarn.unwrap();
        assert_eq!(found.attention_factor(), factor);
    }
    // Absent, it applies.
    let copy = Copy::of("tiny_ministral3", "native_bf16");
    copy.edit("\"apply_scale\": false,", "");
    let yarn = Checkpoint::open(copy.path()).unwrap().config().text.yarn.unwrap();
    assert_eq!((yarn.magnitude, yarn.attention_factor()), (Magnitude::Scales(1.0, 0.0), grown));
}

#[test]
fn what_the_other_format_has_no_key_for_is_refused() {
    let refused = |copy: &Copy, to: Format, message: &str| {
        let target = copy.path().join("out");
        let error = Plan::new(Options::new(copy.path(), target, to)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(message), "`{message}` is not in: {text}");
    };
    let copy = Copy::of("tiny_ministral3", "hf_bf16");
    copy.edit("\"mscale_all_dim\": 1.0", "\"mscale_all_dim\": 0.5");
    refused(&copy, Format::Mistral, "have the attention factor 1.12");
    let copy = Copy::of("tiny_ministral3", "hf_bf16");
    copy.edit("\"beta_slow\": 1.0", "\"beta_slow\": 1.0, \"truncate\": false");
    refused(&copy, Format::Mistral, "`truncate`");
    let copy = Copy::of("tiny_ministral3", "native_bf16");
    copy.edit(
        "\"original_max_position_embeddings\": 16,\n    \"beta\"",
        "\"original_max_position_embeddings\": 8,\n    \"beta\"",
    );
    refused(&copy, Format::Hf, "its queries grow every 8 positions");
}

#[test]
fn positions_that_are_incomplete_or_of_others_are_refused() {
    let check = |format: &str, from: &str, to: &str, message: &str| {
        let copy = Copy::of("tiny_ministral3", format);
        copy.edit(from, to);
        let error = copy.error();
        assert!(error.contains(message), "`{message}` is not in: {error}");
    };
    let hf = "hf_bf16";
    check(hf, "\"rope_type\": \"yarn\"", "\"rope_type\": \"linear\"", "`linear`");
    check(hf, "\"factor\": 16.0,", "", "has no `text_config.rope_parameters.factor`");
    check(hf, "\"factor\": 16.0,", "\"factor\": -1,", "`text_config.rope_parameters.factor` is `-1`");
    check(
        hf,
        "\"original_max_position_embeddings\": 16,",
        "",
        "has no `text_config.rope_parameters.original_max_position_embeddings`",
    );
    let other = "\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 8.0, \"original_max_position_embeddings\": 16}, \"sliding_window\"";
    check(hf, "\"sliding_window\"", other, "`text_config.rope_scaling` is `other positions`");
    check(hf, "\"model_type\": \"ministral3\"", "\"model_type\": \"mistral\"", "are of type `yarn`");
    check(hf, "\"model_type\": \"ministral3\"", "\"model_type\": \"mistral4\"", "a mixture of experts");
    let native = "native_bf16";
    check(native, "\"factor\": 16.0,", "", "has no `yarn.factor`");
    check(native, "\"yarn\"", "\"yarn_of_another\"", "`llama_4_scaling` without `yarn`");
    check(native, "\"dim\": 64,", "\"dim\": 64, \"moe\": {},", "`moe` means a mixture of experts");
    check(native, "\"patch_merge\"", "\"\"", "a projector `` that merges 2x2 patches with a norm");
}

#[test]
fn the_stored_tensor_decides_whether_the_output_is_tied() {
    let tied = |copy: &Copy| Checkpoint::open(copy.path()).unwrap().config().tied;
    // Ministral 3 8B has no key, and the class ties by default: the stored output is used.
    let copy = Copy::of("tiny_ministral3", "hf_bf16");
    assert!(!tied(&copy));
    assert_eq!(copy.notes(), [] as [&str; 0]);
    copy.edit("\"model_type\": \"mistral3\"", "\"model_type\": \"mistral3\", \"tie_word_embeddings\": true");
    assert!(!tied(&copy));
    assert!(copy.notes()[0].starts_with("damaged: the configuration ties the output"), "{:?}", copy.notes());
    // Written, both keys are what the tensors are.
    let target = copy.path().join("out");
    convert(copy.path(), &target, Format::Hf);
    let written = json_file(&target.join("config.json"));
    assert_eq!(written.get("tie_word_embeddings"), Some(&Value::Bool(false)));
    // Without any key, a missing output is tied.
    let copy = Copy::of("tiny_ministral3_tied", "hf_bf16");
    copy.edit(",\n    \"tie_word_embeddings\": true", "");
    assert!(tied(&copy));
    assert_eq!(copy.notes(), [] as [&str; 0]);
    // Two keys that disagree.
    let copy = Copy::of("tiny_ministral3_tied", "hf_bf16");
    copy.edit("\"model_type\": \"mistral3\"", "\"model_type\": \"mistral3\", \"tie_word_embeddings\": false");
    assert!(tied(&copy));
    assert!(copy.notes()[0].starts_with("damaged: tie_word_embeddings is false and"), "{:?}", copy.notes());
}
