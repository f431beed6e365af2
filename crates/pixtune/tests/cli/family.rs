//! Models after Pixtral, from data to an adapter that is applied: Mistral Small 3 and Ministral 3.

use std::fs;

use pixtune_core::spec::MINISTRAL_3_8B;
use pixtune_core::tokens::tokenizer::Tokenizer;

use crate::harness::{Case, read_directory, root};
use crate::tokenizers::tekken_of;
use crate::train::{toy, train};

/// A model directory with a tokenizer of its version and size.
fn case(fixture: &str, version: &str) -> Case {
    let case = Case::new();
    case.images();
    write_model(&case, "model", fixture, version);
    case.write("train.jsonl", toy().concat());
    case
}

/// Writes the fixture of a model and a tokenizer of a version into a directory.
pub fn write_model(case: &Case, directory: &str, fixture: &str, version: &str) {
    for (name, bytes) in read_directory(&root().join("fixtures").join(fixture).join("hf_bf16")) {
        case.write(&format!("{directory}/{name}"), bytes);
    }
    case.write(&format!("{directory}/tekken.json"), tokenizer(version));
}

/// A `tekken.json` of 320 tokens with the special tokens of a version.
fn tokenizer(version: &str) -> String {
    let image = r#"{"image_patch_size":14,"max_image_size":140,"spatial_merge_size":2}"#;
    let file = tekken_of(version, 63, image);
    let known = Tokenizer::built_in(MINISTRAL_3_8B.tokenizer).special_tokens();
    let entry = |(rank, name)| format!(r#"{{"rank":{rank},"token_str":"{name}","is_control":true}}"#);
    let list: Vec<String> = known[..63].iter().enumerate().map(entry).collect();
    file.replacen("\"vocab\":", &format!("\"special_tokens\":[{}],\"vocab\":", list.join(",")), 1)
}

#[test]
fn adapters_are_trained_applied_and_merged() {
    for (fixture, version) in
        [("tiny_mistral3", "v11"), ("tiny_ministral3", "v13"), ("tiny_ministral3_tied", "v13")]
    {
        let case = case(fixture, version);
        train(&case, &["--targets", "all+merging_layer", "--lora-rank", "4", "--steps", "3"]).ends(0);
        let check = ["adapter", "check", "run/adapter", "--base", "model", "--server", "transformers"];
        let shown = case.run(&check).ends(0).stdout;
        let modules = if fixture.ends_with("tied") { 31 } else { 38 };
        assert!(shown.contains(&format!("{modules} of {modules} modules applied")), "{shown}");
        let ask =
            ["generate", "--model", "model", "--prompt", "ab?", "--image", "big.png", "--max-tokens", "8"];
        case.run(&[&ask[..], &["--adapter", "run/adapter"]].concat()).ends(0);
        case.run(&["adapter", "merge", "model", "run/adapter", "merged", "--verify"]).ends(0);
        let weights = fs::read(case.path("merged/model.safetensors")).unwrap();
        let header = String::from_utf8_lossy(&weights[..weights.len().min(20_000)]).into_owned();
        assert_eq!(header.contains("lm_head"), !fixture.ends_with("tied"), "{fixture}");
        case.run(&["evaluate", "train.jsonl", "--model", "merged", "--max-tokens", "4", "--out", "scores"])
            .ends(0);
        case.run(&["plan", "train.jsonl", "--model", "model"]).ends(0);
    }
}

#[test]
fn a_mixture_of_experts_is_for_data_alone() {
    let case = case("tiny_ministral3", "v13");
    case.run(&["tokens", "train.jsonl", "--model", "mistral-small-4"])
        .ends(0)
        .prints("from published tables");
    let export = |to: &str| {
        let model = ["--model", "mistral-small-4", "--base-model", "mistralai/Mistral-Small-4-119B-2603"];
        case.run(&[&["export", "train.jsonl", "--to", to, "--out", to], &model[..]].concat())
    };
    export("hf-dataset").ends(0);
    export("mds").ends(0);
    export("trl").ends(2).prints("mistral-small-4");
    let config = case.read("model/config.json").replace("ministral3", "mistral4");
    case.write("model/config.json", config);
    let refused = "a mixture of experts, whose network is not implemented; data and token counts work";
    train(&case, &["--steps", "1"]).ends(2).prints(refused);
    case.run(&["convert", "model", "out", "--to", "mistral"]).ends(2).prints(refused);
}
