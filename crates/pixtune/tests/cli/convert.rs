//! `pixtune convert`, on the fixture.

mod output;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pixtune_core::json::{self, Value};
use sha2::{Digest as _, Sha256};

use crate::harness::{Case, Run, read_directory, root, text};
use crate::snapshots::check;

impl Case {
    /// Copies a directory of the tiny Pixtral.
    fn model(&self, fixture: &str, name: &str) {
        fs::create_dir_all(self.path(name)).unwrap();
        for (file, bytes) in read_directory(&root().join("fixtures/tiny_pixtral").join(fixture)) {
            fs::write(self.path(name).join(file), bytes).unwrap();
        }
    }

    /// Runs `convert SRC DST --to FORMAT` with more arguments.
    fn convert(&self, source: &str, target: &str, to: &str, more: &[&str]) -> Run {
        self.run(&[&["convert", source, target, "--to", to], more].concat())
    }

    fn json(&self, name: &str) -> Value<'static> {
        json::parse(&self.read(name)).unwrap().value.into_owned()
    }
}

/// SHA-256 of every tensor of a directory, by name.
fn hashes(directory: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (name, bytes) in
        read_directory(directory).into_iter().filter(|(name, _)| name.ends_with(".safetensors"))
    {
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header = json::parse(std::str::from_utf8(&bytes[8..8 + length]).unwrap()).unwrap().value;
        for (tensor, about) in header.as_object().unwrap() {
            let Some(offsets) = about.get("data_offsets").and_then(Value::as_array) else { continue };
            let [start, end] = [0, 1].map(|side| offsets[side].to_string().parse::<usize>().unwrap());
            let data = &bytes[8 + length + start..8 + length + end];
            let hash = Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(all.insert(tensor.to_string(), hash).is_none(), "{tensor} is twice in {name}");
        }
    }
    all
}

/// The hashes that the reference libraries gave.
fn golden(key: &str) -> BTreeMap<String, String> {
    let meta = fs::read_to_string(root().join("fixtures/tiny_pixtral/meta.json")).unwrap();
    let meta = json::parse(&meta).unwrap().value;
    let hash = |(name, hash): &(_, Value<'_>)| {
        let name: &std::borrow::Cow<'_, str> = name;
        (name.to_string(), hash.as_str().unwrap().to_owned())
    };
    meta.get(key).and_then(Value::as_object).unwrap().iter().map(hash).collect()
}

#[test]
fn conversion_to_mistral_writes_reference_tensors() {
    let case = Case::new();
    case.model("hf_bf16", "hf");
    case.convert("hf", "bf16", "mistral", &["--verify"]).ends(0);
    assert_eq!(hashes(&case.path("bf16")), golden("native_bf16_sha256"));
    case.convert("hf", "f32", "mistral", &["--verify", "--dtype", "f32"]).ends(0);
    assert_eq!(hashes(&case.path("f32")), golden("native_f32_sha256"));
    // The weights are exact in bf16, so that rounding brings them back.
    case.convert("f32", "again", "mistral", &["--verify", "--dtype", "bf16"])
        .ends(0)
        .prints("rounded to bf16");
    assert_eq!(hashes(&case.path("again")), golden("native_bf16_sha256"));
}

#[test]
fn conversion_to_hf_writes_reference_tensors() {
    let case = Case::new();
    case.model("native_bf16", "native");
    case.model("hf_bf16", "hf");
    case.convert("native", "out", "hf", &["--verify"]).ends(0);
    assert_eq!(hashes(&case.path("out")), hashes(&case.path("hf")));
}

#[test]
fn round_trip_writes_the_same_file() {
    let case = Case::new();
    for (fixture, file, there, back) in [
        ("native_bf16", "consolidated.safetensors", "hf", "mistral"),
        ("hf_bf16", "model.safetensors", "mistral", "hf"),
    ] {
        case.model(fixture, fixture);
        case.convert(fixture, there, there, &[]).ends(0);
        let name = format!("{fixture}-back");
        case.convert(there, &name, back, &[]).ends(0);
        let read = |directory: &str| fs::read(case.path(directory).join(file)).unwrap();
        assert_eq!(read(fixture), read(&name), "{fixture}");
        fs::remove_dir_all(case.path(there)).unwrap();
    }
}

#[test]
fn joins_and_splits_shards() {
    let case = Case::new();
    case.model("hf_bf16", "hf");
    case.convert("hf", "shards", "hf", &["--shard-size", "100kB", "--verify"]).ends(0);
    case.convert("shards", "native", "mistral", &["--shard-size", "200kB", "--verify"])
        .ends(0)
        .prints("mistral-inference reads only a single consolidated.safetensors");
    assert_eq!(hashes(&case.path("native")), golden("native_bf16_sha256"));
    let names: Vec<String> = read_directory(&case.path("native")).into_keys().collect();
    assert_eq!(
        names[..4],
        [
            "consolidated-00001-of-00004.safetensors",
            "consolidated-00002-of-00004.safetensors",
            "consolidated-00003-of-00004.safetensors",
            "consolidated-00004-of-00004.safetensors",
        ]
    );
    let index = case.json("native/consolidated.safetensors.index.json");
    assert_eq!(
        index.get("metadata").unwrap().to_string(),
        r#"{"total_parameters":308096,"total_size":616192}"#
    );
    case.convert("native", "single", "hf", &["--shard-size", "none"]).ends(0);
    assert_eq!(
        fs::read(case.path("single/model.safetensors")).unwrap(),
        fs::read(case.path("hf/model.safetensors")).unwrap()
    );
}

#[test]
fn tied_head_stays_tied_without_untie() {
    let case = Case::new();
    case.model("native_bf16", "whole");
    // Without its head and said to be tied.
    case.convert("whole", "hf", "hf", &[]).ends(0);
    drop_tensor(&case.path("whole/consolidated.safetensors"), "output.weight");
    let params = case.read("whole/params.json").replacen('{', "{\"tied_embeddings\": true,", 1);
    case.write("whole/params.json", params);
    case.convert("whole", "tied", "hf", &["--verify"]).ends(0);
    let config = case.json("tied/config.json");
    assert_eq!(config.get("tie_word_embeddings"), Some(&Value::Bool(true)));
    assert_eq!(config.get("text_config").unwrap().get("tie_word_embeddings"), Some(&Value::Bool(true)));
    assert!(!hashes(&case.path("tied")).contains_key("language_model.lm_head.weight"));
    case.convert("tied", "native", "mistral", &["--verify"])
        .ends(0)
        .prints("mistral-inference needs one: --untie");
    assert_eq!(hashes(&case.path("native")), hashes(&case.path("whole")));
    assert_eq!(case.json("native/params.json").get("tied_embeddings"), Some(&Value::Bool(true)));
    case.convert("tied", "untied", "mistral", &["--untie", "--verify"]).ends(0);
    let untied = hashes(&case.path("untied"));
    assert_eq!(untied["output.weight"], untied["tok_embeddings.weight"]);
    assert_eq!(untied.len(), 54);
    assert_eq!(case.json("untied/params.json").get("tied_embeddings"), None);
}

/// Writes a file again without one of its tensors.
fn drop_tensor(path: &Path, name: &str) {
    let bytes = fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = json::parse(std::str::from_utf8(&bytes[8..8 + length]).unwrap()).unwrap().value;
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (tensor, about) in header.as_object().unwrap() {
        let Some(offsets) = about.get("data_offsets").and_then(Value::as_array) else { continue };
        let [start, end] = [0, 1].map(|side| offsets[side].to_string().parse::<usize>().unwrap());
        if tensor != name {
            let at = data.len();
            data.extend_from_slice(&bytes[8 + length + start..8 + length + end]);
            let (dtype, shape) = (about.get("dtype").unwrap(), about.get("shape").unwrap());
            entries.push(format!(
                "\"{tensor}\":{{\"dtype\":{dtype},\"shape\":{shape},\"data_offsets\":[{at},{}]}}",
                data.len()
            ));
        }
    }
    let header = format!("{{{}}}", entries.join(","));
    fs::write(path, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()).unwrap();
}

#[test]
fn configurations_agree_in_both_formats() {
    let case = Case::new();
    case.model("native_bf16", "native");
    case.model("hf_bf16", "hf");
    case.convert("native", "out-hf", "hf", &[]).ends(0);
    case.convert("hf", "out-native", "mistral", &[]).ends(0);
    check("convert/config.json", &case.read("out-hf/config.json"));
    check("convert/params.json", &case.read("out-native/params.json"));
    check("convert/report.json", &case.read("out-hf/conversion_report.json"));
    // Everything the reference wrote stands in ours, except what tells of its run.
    let (ours, theirs) = (case.json("out-hf/config.json"), case.json("hf/config.json"));
    contains(&ours, &theirs, &["transformers_version", "pad_token_id", "rope_parameters"]);
    let text = [&ours, &theirs].map(|config| config.get("text_config").unwrap());
    contains(text[0], text[1], &["pad_token_id"]);
    // No name for the type of the encoder's frequencies is read by every release of transformers.
    assert!(ours.get("vision_config").unwrap().get("rope_parameters").is_none());
    contains(&case.json("out-native/params.json"), &case.json("native/params.json"), &[]);
}

fn contains(ours: &Value<'_>, theirs: &Value<'_>, except: &[&str]) {
    for (key, value) in theirs.as_object().unwrap().iter().filter(|(key, _)| !except.contains(&key.as_ref()))
    {
        match ours.get(key) {
            Some(found) if found.as_object().is_some() => contains(found, value, except),
            found => assert_eq!(found, Some(value), "{key}"),
        }
    }
}

#[test]
fn carries_unknown_keys_and_reports_repairs() {
    let case = Case::new();
    case.model("hf_bf16", "hf");
    let damaged =
        case.read("hf/config.json").replace("\"sliding_window\": null,", "\"our_note\": [1, 2],").replace(
            "\"silu\",\n  \"hidden_size\": 64,\n  \"image_size\"",
            "\"gelu\",\n  \"hidden_size\": 64,\n  \"image_size\"",
        );
    case.write("hf/config.json", damaged);
    let run = case.convert("hf", "repaired", "hf", &["--verify"]).ends(0);
    let run = run
        .prints("warning: damaged configuration: text_config.sliding_window is absent, which means 4096")
        .prints("warning: damaged configuration: vision_config.hidden_act is `gelu`");
    assert!(
        run.stdout.contains("corrected       vision_config.hidden_act: \"gelu\" to \"silu\""),
        "{}",
        run.stdout
    );
    let config = case.json("repaired/config.json");
    assert_eq!(config.get("text_config").unwrap().get("sliding_window"), Some(&Value::Null));
    assert_eq!(config.get("text_config").unwrap().get("our_note").unwrap().to_string(), "[1,2]");
    case.convert("hf", "native", "mistral", &[]).ends(0);
    assert_eq!(case.json("native/params.json").get("our_note").unwrap().to_string(), "[1,2]");
}

#[test]
fn base_provides_files_that_the_source_lacks() {
    let case = Case::new();
    case.model("hf_bf16", "hf");
    case.model("native_bf16", "base");
    let params = case.read("base/params.json").replacen('{', "{\"max_batch\": 7,", 1);
    case.write("base/params.json", params);
    case.write("base/SYSTEM_PROMPT.txt", "be brief");
    case.convert("hf", "native", "mistral", &["--base", "base", "--verify"]).ends(0);
    let written = case.json("native/params.json");
    assert_eq!(written.get("max_batch").unwrap().to_string(), "7");
    assert_eq!(written.get("max_position_embeddings"), None, "the base does not say it either");
    assert_eq!(case.read("native/SYSTEM_PROMPT.txt"), "be brief");
    let report = case.json("native/conversion_report.json");
    let files = report.get("files").unwrap().to_string();
    assert!(files.contains(r#"{"name":"SYSTEM_PROMPT.txt","origin":"base"}"#), "{files}");
    let other = case.read("base/params.json").replace("\"n_layers\": 3", "\"n_layers\": 40");
    case.write("base/params.json", other);
    case.convert("hf", "other", "mistral", &["--base", "base"])
        .ends(2)
        .prints("layers: 3 in the source, 40 in the base");
    assert!(!case.path("other").exists() && !case.path("other.partial").exists());
}

#[test]
fn rejects_vocabulary_of_other_size() {
    let case = Case::new();
    case.model("native_bf16", "native");
    case.write("native/tekken.json", b"{}");
    case.convert("native", "out", "hf", &[])
        .ends(2)
        .prints("the tokenizer `native/tekken.json` cannot be used");
    assert!(!case.path("out").exists());
}

#[test]
fn reports_match_snapshots() {
    let case = Case::new();
    case.model("native_bf16", "native");
    let run = case.convert("native", "hf", "hf", &["--verify"]).ends(0);
    check("convert/summary.txt", &format!("{}\n{}", run.stderr, run.stdout));
    let run = case.convert("native", "json", "hf", &["--verify", "--format", "json"]).ends(0);
    let report = json::parse(run.stdout.trim()).unwrap().value.into_owned();
    assert_eq!(report, case.json("json/conversion_report.json"));
    assert_eq!(text(&report, "/from"), "mistral");
}

#[test]
fn conversion_is_deterministic() {
    let case = Case::new();
    case.model("hf_bf16", "hf");
    case.convert("hf", "a", "mistral", &["--verify"]).ends(0);
    case.convert("hf", "b", "mistral", &["--verify"]).ends(0);
    assert_eq!(read_directory(&case.path("a")), read_directory(&case.path("b")));
}

#[test]
fn reports_weights_that_are_not_finite() {
    let case = Case::new();
    case.model("hf_bf16", "hf");
    let path = case.path("hf/model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let length = bytes.len();
    bytes[length - 2..].copy_from_slice(&0x7fc1u16.to_le_bytes());
    bytes[length - 4..length - 2].copy_from_slice(&0xff80u16.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let run = case.convert("hf", "out", "mistral", &["--verify"]).ends(1);
    assert!(run.stdout.contains("has 1 NaN and 1 infinity"), "{}", run.stdout);
    let report = case.json("out/conversion_report.json");
    assert!(report.get("not_finite").unwrap().to_string().contains("\"nan\":1,\"infinite\":1"));
    case.convert("hf", "f16", "mistral", &["--dtype", "f16"]).ends(1).prints("f16 holds values up to 65504");
}

#[test]
fn directory_with_both_formats_is_read_in_the_other() {
    let case = Case::new();
    case.model("hf_bf16", "both");
    case.model("native_bf16", "both");
    case.convert("both", "out", "mistral", &[])
        .ends(0)
        .prints("the source contains both formats; the weights in the hf format are converted");
}

#[test]
fn rejects_invalid_arguments() {
    let case = Case::new();
    case.model("hf_bf16", "hf");
    case.convert("hf", "out", "mistral", &["--shard-size", "much"]).ends(2).prints("`much` is not a size");
    case.convert("hf", "out", "mistral", &["--shard-size", "0"]).ends(2).prints("at least one byte");
    case.convert("nowhere", "out", "mistral", &[]).ends(2).prints("cannot read `nowhere`");
    case.run(&["convert", "hf", "out"]).ends(2).prints("--to");
    assert!(!case.path("out").exists());
}

#[test]
fn inspection_describes_directory() {
    let case = Case::new();
    case.model("hf_bf16", "hf");
    case.model("native_bf16", "native");
    let fine = case.run(&["convert", "--inspect", "native"]).ends(0).stdout;
    let hf = case.run(&["convert", "--inspect", "hf", "--format", "json"]).ends(0).stdout;
    let view = json::parse(hf.trim()).unwrap().value.into_owned();
    assert_eq!(view.as_array().unwrap().len(), 1);
    assert_eq!(text(&view, "/0/weights/spelling/0"), "language_model.model");
    let damaged = case.read("hf/config.json").replace("\"sliding_window\": null,", "").replace(
        "\"silu\",\n  \"hidden_size\": 64,\n  \"image_size\"",
        "\"gelu\",\n  \"hidden_size\": 64,\n  \"image_size\"",
    );
    case.write("hf/config.json", damaged);
    let damaged = case.run(&["convert", "--inspect", "hf"]).ends(1).stdout;
    drop_tensor(&case.path("hf/model.safetensors"), "language_model.model.norm.weight");
    case.model("native_bf16", "hf");
    let broken = case.run(&["convert", "--inspect", "hf"]).ends(1).stdout;
    check("convert/inspect.txt", &format!("{fine}\n{damaged}\n{broken}"));
    case.write("empty/readme", "");
    case.run(&["convert", "--inspect", "empty"]).ends(2).prints("`empty` contains no checkpoint");
}
