//! `pixtune deploy`: what each server gets, and what is refused.

use std::fs;
use std::path::Path;

use pixtune_core::json;

use crate::harness::{Case, read_directory, root};
use crate::snapshots::check;

/// A model directory of the fixture with its tokenizer.
fn native(case: &Case) {
    copy(&root().join("fixtures/tiny_pixtral/native_bf16"), &case.path("native"));
    fs::copy(root().join("fixtures/tiny_tekken/tekken.json"), case.path("native/tekken.json")).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for (name, bytes) in read_directory(from) {
        fs::write(to.join(name), bytes).unwrap();
    }
}

/// The model in Hugging Face's format with every file, and adapters of the whole model and of text and projector.
fn models(case: &Case) {
    native(case);
    case.run(&["deploy", "native", "--for", "vllm", "--out", "hf"]).ends(0);
    for name in ["lora_all", "lora_text_proj"] {
        copy(&root().join("fixtures/tiny_pixtral").join(name), &case.path(name));
    }
}

fn names(case: &Case, directory: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(case.path(directory))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn every_server_gets_its_files_and_a_start_command() {
    let case = Case::new();
    native(&case);
    let mut shown = String::new();
    for target in
        ["vllm", "vllm-mistral", "mistral-inference", "transformers", "llama.cpp", "ollama", "lm-studio"]
    {
        let run = case.run(&["deploy", "native", "--for", target, "--out", &format!("for {target}")]).ends(0);
        shown.push_str(&run.stderr);
        shown.push_str(&run.stdout);
        shown.push('\n');
    }
    check("deploy.txt", &shown);
    check("deploy-modelfile.txt", &case.read("for ollama/Modelfile"));
    let weights = |name: &str| fs::read(case.path(name)).unwrap();
    assert!(
        weights("for vllm-mistral/consolidated.safetensors") == weights("native/consolidated.safetensors")
    );
}

#[test]
fn an_adapter_is_put_beside_a_base_that_is_ready_or_merged() {
    let case = Case::new();
    models(&case);
    // The base can be served as it is, and vLLM applies all of the adapter with its flag for the vision encoder.
    let run = case.run(&["deploy", "hf", "lora_all", "--for", "vllm", "--out", "tuned"]).ends(0);
    check("deploy-beside.txt", &format!("{}{}", run.stderr, run.stdout));
    assert_eq!(
        names(&case, "tuned"),
        ["adapter_config.json", "adapter_model.safetensors", "conversion_report.json"]
    );
    let verdicts = ["adapter", "check", "tuned", "--base", "hf", "--server", "vllm-hf"];
    case.run(&[&verdicts[..], &["--enable-tower-connector-lora"]].concat()).ends(0);
    // In the other format, the base has to be converted anyway.
    let run = case
        .run(&["deploy", "hf", "lora_all", "--base", "native", "--for", "vllm-mistral", "--out", "merged"])
        .ends(0);
    assert!(
        run.stdout.contains("not beside the base: `hf` cannot be served beside an adapter as it is"),
        "{}",
        run.stdout
    );
    let by_hand = ["adapter", "merge", "hf", "lora_all", "by-hand", "--to", "mistral", "--base", "native"];
    case.run(&by_hand).ends(0);
    let weights = |name: &str| fs::read(case.path(name).join("consolidated.safetensors")).unwrap();
    assert!(weights("merged") == weights("by-hand"));
    // mistral-inference would ignore the vision encoder's part: merged, and refused where that is not wanted.
    let args = ["deploy", "native", "lora_all", "--for", "mistral-inference", "--out"];
    let run = case.run(&[&args[..], &["for-mi"]].concat()).ends(0);
    assert!(
        run.stdout.contains("23 of 37 modules would be applied") || run.stdout.contains("of 37 modules"),
        "{}",
        run.stdout
    );
    case.run(&[&args[..], &["no", "--adapter", "beside"]].concat())
        .ends(2)
        .prints("mistral-inference would not compute the trained model")
        .prints("hint: `--adapter merge` merges it into the weights");
    assert!(!case.path("no").exists() && !case.path("no.partial").exists());
}

#[test]
fn gguf_files_hold_the_merged_model() {
    let case = Case::new();
    models(&case);
    let run = case
        .run(&["deploy", "hf", "lora_all", "--base", "native", "--for", "llama.cpp", "--out", "g"])
        .ends(0);
    assert!(
        run.stdout.contains("llama-server -m g/g-BF16.gguf --mmproj g/mmproj-g-BF16.gguf"),
        "{}",
        run.stdout
    );
    assert!(!case.path("g.merged").exists());
    case.run(&["adapter", "merge", "hf", "lora_all", "merged", "--to", "mistral", "--base", "native"])
        .ends(0);
    case.run(&["convert", "merged", "by-hand", "--to", "gguf"]).ends(0);
    let tensors = |path: &str| {
        let path = case.path(path);
        let start = pixtune_model::gguf::Header::read(&path).unwrap().data_start as usize;
        fs::read(path).unwrap()[start..].to_vec()
    };
    assert!(tensors("g/g-BF16.gguf") == tensors("by-hand/merged-BF16.gguf"));
    assert!(tensors("g/mmproj-g-BF16.gguf") == tensors("by-hand/mmproj-merged-BF16.gguf"));
    case.run(&["deploy", "hf", "lora_all", "--for", "ollama", "--adapter", "beside", "--out", "no"])
        .ends(2)
        .prints("ollama has no adapters beside GGUF files");
}

#[test]
fn a_directory_gets_the_files_that_its_server_needs_or_is_refused() {
    let case = Case::new();
    models(&case);
    // What a trainer leaves: weights and configuration.
    copy(&root().join("fixtures/tiny_pixtral/hf_bf16"), &case.path("bare"));
    case.run(&["deploy", "bare", "--for", "vllm", "--out", "out"])
        .ends(2)
        .prints("vllm needs tokenizer.json, tokenizer_config.json, chat_template.jinja, and neither `bare` nor --base has them")
        .prints("hint: give the directory of the original model with `--base`");
    case.run(&["deploy", "bare", "--for", "mistral-inference", "--out", "out"])
        .ends(2)
        .prints("mistral-inference needs tekken.json, and neither `bare` nor --base has it");
    assert!(!case.path("out").exists());
    let run = case.run(&["deploy", "bare", "--base", "native", "--for", "vllm", "--out", "out"]).ends(0);
    assert_eq!(names(&case, "out"), names(&case, "hf"), "{}", run.stdout);
    for name in ["preprocessor_config.json", "processor_config.json", "chat_template.jinja", "tokenizer.json"]
    {
        assert_eq!(case.read(&format!("out/{name}")), case.read(&format!("hf/{name}")), "{name}");
    }
    // Older directories have the template in tokenizer_config.json.
    copy(&case.path("hf"), &case.path("older"));
    fs::remove_file(case.path("older/chat_template.jinja")).unwrap();
    assert!(case.read("older/tokenizer_config.json").contains("\"chat_template\""));
    let run = case.run(&["deploy", "older", "--for", "vllm", "--out", "from-older"]).ends(0);
    assert!(run.stdout.contains("--chat-template-content-format openai"), "{}", run.stdout);
    // A template of one's own may be one whose parts vLLM does not recognize.
    case.write("hf/chat_template.jinja", "{{ messages }}");
    let run = case.run(&["deploy", "hf", "--for", "vllm", "--out", "own"]).ends(0);
    assert!(run.stdout.contains("vllm serve own --chat-template-content-format openai"), "{}", run.stdout);
}

#[test]
fn outputs_are_protected_and_json_is_for_programs() {
    let case = Case::new();
    native(&case);
    let args = ["deploy", "native", "--for", "vllm-mistral", "--out", "out"];
    let run = case.run(&[&args[..], &["--format", "json"]].concat()).ends(0);
    let object = json::parse(run.stdout.trim()).unwrap().value.into_owned();
    assert_eq!(object.text("for"), Some("vllm-mistral"));
    let start = object.get("start").unwrap().as_array().unwrap()[0].as_str().unwrap().to_owned();
    assert!(start.starts_with("vllm serve out --tokenizer-mode mistral"), "{start}");
    case.run(&args).ends(2).prints("`out` exists and is not empty");
    case.run(&[&args[..], &["--force"]].concat()).ends(0);
    case.write("mine/notes.txt", "x");
    case.run(&["deploy", "native", "--for", "vllm", "--out", "mine", "--force"]).ends(2);
    assert_eq!(case.read("mine/notes.txt"), "x");
    case.run(&["deploy", "native", "--for", "vllm", "--out", "native"]).ends(2);
    case.run(&["deploy", "native", "--for", "vllm", "--dtype", "q8_0", "--out", "q"])
        .ends(2)
        .prints("q8_0 is a type of GGUF files, which vllm does not read");
    case.run(&["deploy", "native", "--for", "tgi", "--out", "q"]).ends(2).prints("[possible values: vllm");
}
