//! `pixtune generate` on a tiny random model.

use std::fs;

use crate::harness::{Case, read_directory, root};
use crate::tokenizers::tekken_of;

/// An image, and the model of `fixtures/tiny_pixtral` with a tokenizer of its size.
fn case(special: usize) -> Case {
    let case = Case::new();
    case.images();
    for (name, bytes) in read_directory(&root().join("fixtures/tiny_pixtral/hf_bf16")) {
        case.write(&format!("model/{name}"), bytes);
    }
    let image = r#"{"image_patch_size":16,"max_image_size":128,"spatial_merge_size":1}"#;
    case.write("model/tekken.json", tekken_of("v3", special, image));
    case
}

const ASK: &[&str] =
    &["generate", "--model", "model", "--prompt", "ab?", "--image", "big.png", "--max-tokens", "12"];

#[test]
fn seed_decides_the_answer_on_any_number_of_threads() {
    let case = case(143);
    let ask = |more: &[&str]| case.run(&[ASK, more].concat()).ends(0).stdout;
    let greedy = ask(&[]);
    assert!(greedy.ends_with('\n'));
    assert_eq!(ask(&["--threads", "1"]), greedy);
    assert_eq!(ask(&["--threads", "3", "--seed", "9"]), greedy);
    let drawn = ask(&["--temperature", "3", "--seed", "1"]);
    assert_eq!(ask(&["--temperature", "3", "--seed", "1"]), drawn);
    assert_ne!(ask(&["--temperature", "3", "--seed", "2"]), drawn);
}

#[test]
fn adapter_changes_the_answer() {
    let case = case(143);
    let adapter = root().join("fixtures/tiny_pixtral/lora_all").display().to_string();
    let base = case.run(ASK).ends(0).stdout;
    assert_ne!(case.run(&[ASK, &["--adapter", &adapter]].concat()).ends(0).stdout, base);
}

#[test]
fn reports_damaged_configuration_and_reads_it_as_pixtral() {
    let case = case(143);
    let answer = case.run(ASK).ends(0).stdout;
    let config = case.read("model/config.json");
    let (text, vision) = config.split_at(config.find("vision_config").unwrap());
    assert!(vision.contains("\"silu\""), "{vision}");
    case.write("model/config.json", format!("{text}{}", vision.replacen("\"silu\"", "\"gelu\"", 1)));
    let run = case.run(ASK).ends(0).prints("damaged configuration: vision_config.hidden_act is `gelu`");
    assert_eq!(run.stdout, answer);
}

#[test]
fn adapters_of_every_dialect_give_the_same_answer() {
    let case = case(143);
    let adapter = |name: &str| root().join("fixtures/tiny_pixtral").join(name).display().to_string();
    let answer = |adapter: &str| case.run(&[ASK, &["--adapter", adapter]].concat()).ends(0).stdout;
    case.run(&["adapter", "convert", &adapter("lora_all"), "served", "--to", "mistral", "--base", "model"])
        .ends(0);
    case.run(&["adapter", "convert", "served", "back", "--to", "peft", "--base", "model"]).ends(0);
    assert_eq!(answer("served"), answer("back"));
}

#[test]
fn rejects_invalid_input_before_computing() {
    let case = case(100);
    case.run(ASK)
        .ends(2)
        .prints("`model/tekken.json` has 357 tokens, but the model in `model` has a vocabulary of 400");
    fs::remove_file(case.path("model/tekken.json")).unwrap();
    case.run(ASK).ends(2).prints("the built-in vocabulary of Pixtral 12B has 131,072 tokens, but");
    let case = self::case(143);
    let with = |more: &[&str]| case.run(&[ASK, more].concat()).ends(2);
    with(&["--image", "missing.png"]).prints("cannot read `missing.png`: No such file");
    with(&["--image", "model/config.json"]).prints("`model/config.json` is a text file");
    with(&["--temperature", "-1"]).prints("temperature");
    with(&["--adapter", "nowhere"])
        .prints("cannot read `nowhere`")
        .prints("hint: the path is relative to the current directory `");
    let long = ["generate", "--model", "model", "--prompt", "ab?", "--max-tokens", "99999999"];
    case.run(&long).ends(2).prints("exceed the model's limit of 1,024,000 tokens");
}
