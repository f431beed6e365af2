//! `--model` with a model directory: one directory from the table to the adapter.

use std::fs;

use crate::harness::{Case, root};

/// A table, images, and the tiny model with its tokenizer in `model`.
fn case() -> Case {
    let mut table = "image,prompt,completion\n".to_owned();
    for (index, image) in ["big.png", "a.png", "b.jpg", "c.png", "d.webp"].iter().cycle().take(15).enumerate()
    {
        table.push_str(&format!("{image},what is number {index},a gradient\n"));
    }
    let case = Case::table(&table);
    model(&case, "model", &["config.json", "model.safetensors"]);
    case
}

fn model(case: &Case, name: &str, files: &[&str]) {
    for file in files {
        let bytes = fs::read(root().join("fixtures/tiny_pixtral/hf_bf16").join(file)).unwrap();
        case.write(&format!("{name}/{file}"), bytes);
    }
    let tekken = fs::read(root().join("fixtures/tiny_tekken/tekken.json")).unwrap();
    case.write(&format!("{name}/tekken.json"), tekken);
}

#[test]
fn one_directory_serves_every_command_up_to_training() {
    let case = case();
    let run = case.prepare(&["--model", "model", "--validation", "0.2"]).ends(0);
    assert!(run.stdout.contains("pixtune tokens out/train.jsonl --model model"), "{}", run.stdout);
    case.run(&["check", "out", "--model", "model"]).ends(0);
    let tokens = case.run(&["tokens", "out/train.jsonl", "--model", "model"]).ends(0).stdout;
    assert!(tokens.contains("(model): 0 longer"), "{tokens}");
    case.run(&["stats", "out", "--model", "model"]).ends(0);
    case.run(&["report", "out", "--model", "model"]).ends(0);
    let plan = case.run(&["plan", "out", "--model", "model"]).ends(0).stdout;
    assert!(plan.contains("the configuration in `model`"), "{plan}");
    // The last command of the plan runs as it is printed.
    let command = plan.rsplit("  pixtune train").next().unwrap().replace("\\\n", "");
    let command = format!("{} train {command} --threads 1", env!("CARGO_BIN_EXE_pixtune"));
    let run = case.shell(&command.replace('\n', " ")).ends(0);
    assert!(run.stdout.contains("run/adapter"), "{}", run.stdout);
    // Without options, training uses what the plan printed.
    case.run(&["train", "--model", "model", "--data", "out", "--out", "other", "--threads", "1"]).ends(0);
    let settings = |run: &str| case.read(&format!("{run}/plan.json"));
    assert_eq!(settings("run"), settings("other"));
}

#[test]
fn images_are_fitted_to_the_directory_and_counted_with_its_tokenizer() {
    let case = case();
    case.prepare(&["--model", "model", "--validation", "0"]).ends(0);
    let manifest = case.read("out/manifest.json");
    assert!(manifest.contains("\"max_side\": 128"), "{manifest}");
    assert!(manifest.contains("\"path\": \"model/tekken.json\""), "{manifest}");
    let json =
        case.run(&["tokens", "out/train.jsonl", "--model", "model", "--format", "json"]).ends(0).stdout;
    // 128x86 pixels are 8x6 patches, with 5 breaks and an end.
    assert!(json.lines().next().unwrap().contains("\"image_tokens\":54"), "{json}");
    let grid =
        case.run(&["tokens", "--image", "1200x800", "--model", "model", "--format", "json"]).ends(0).stdout;
    assert!(grid.contains("54"), "{grid}");
    // Data for another grid is refused, as before.
    case.prepare(&["--force"]).ends(0);
    case.run(&["train", "--model", "model", "--data", "out", "--out", "run"]).ends(2);
}

#[test]
fn preparing_data_needs_no_weights() {
    let case = case();
    model(&case, "config-only", &["config.json"]);
    case.prepare(&["--model", "config-only"]).ends(0);
    case.run(&["check", "out", "--model", "./config-only"]).ends(0);
}

#[test]
fn wrong_models_are_explained() {
    let case = case();
    for command in [
        &["prepare", "data.csv", "--out", "out"][..],
        &["check", "data.csv"],
        &["tokens", "data.csv"],
        &["stats", "data.csv"],
        &["plan", "data.csv"],
    ] {
        let run = |model| case.run(&[command, &["--model", model]].concat()).ends(2);
        run("someone/model-7b")
            .prints("pixtune downloads nothing: run `hf download someone/model-7b --local-dir model-7b`");
        run("tiny").prints("`tiny` is not a model or a model directory; choose one of pixtral-12b");
        run("./modle").prints("did you mean `./model`?");
    }
    case.write("model/tekken.json", "{}");
    case.prepare(&["--model", "model"]).ends(2);
    fs::remove_file(case.path("model/tekken.json")).unwrap();
    case.prepare(&["--model", "model"]).ends(2).prints("`model` has no tekken.json");
    case.prepare(&["--model", "model", "--tokenizer", "pixtral-12b"])
        .ends(2)
        .prints("has a vocabulary of 400");
    case.prepare(&["--tokenizer", "pixtral-12b"]).ends(0);
}

#[test]
fn names_of_models_that_are_not_here_are_downloaded_by_hand() {
    let case = case();
    for command in [&["train", "--data", "data.csv", "--out", "run"][..], &["generate", "--prompt", "hello"]]
    {
        let run = |model| case.run(&[command, &["--model", model]].concat()).ends(2);
        run("pixtral-12b").prints("run `hf download mistralai/Pixtral-12B-2409 --local-dir pixtral-12b`");
        run("mistral-community/pixtral-12b")
            .prints("run `hf download mistral-community/pixtral-12b --local-dir pixtral-12b`");
    }
}

#[test]
fn the_plan_names_the_grid_of_a_directory() {
    let case = case();
    model(&case, "larger", &["config.json"]);
    let config = case.read("larger/config.json").replace("\"image_size\": 128", "\"image_size\": 256");
    case.write("larger/config.json", config);
    let of = |name| {
        case.run(&["prepare", "data.csv", "--out", "out", "--force", "--show-plan", "--model", name])
            .ends(0)
            .stdout
    };
    assert_ne!(of("model"), of("larger"));
}
